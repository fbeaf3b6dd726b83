package store

import "maps"

// index is a map by name that gives its memory back. Go's maps keep what they needed once; so after three
// quarters have gone this one is made anew, which costs each removal a constant.
type index[V any] struct {
	m    map[string]V
	peak int
}

const smallIndex = 1024 // not worth the trouble

func (x *index[V]) get(name string) V { return x.m[name] }

func (x *index[V]) put(name string, v V) {
	if x.m == nil {
		x.m = make(map[string]V)
	}
	x.m[name] = v
	x.peak = max(x.peak, len(x.m))
}

func (x *index[V]) remove(name string) {
	delete(x.m, name)
	if x.peak > smallIndex && len(x.m) < x.peak/4 {
		m := make(map[string]V, len(x.m))
		maps.Copy(m, x.m)
		x.m, x.peak = m, len(m)
	}
}
