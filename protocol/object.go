package protocol

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// maxNames is how many members of an object this package asks for at most.
const maxNames = 8

// object is a JSON object of which only some members are wanted.
type object struct {
	names  []string         // the wanted ones, maxNames at most
	values [maxNames][]byte // by index in names; nil when absent or null; aliases what was read
	given  uint             // bit i: names[i] was there, null or not
	twice  uint             // bit i: names[i] was there more than once
}

// read scans src, which must be valid UTF-8, as one JSON object (RFC 8259) and
// nothing after it. It reports false for anything else. Names match exactly,
// escapes in them undone; members that are not wanted are passed over.
func (o *object) read(src []byte) bool {
	s := scanner{src: src}
	s.space()
	if !s.take('{') {
		return false
	}
	s.space()
	if s.take('}') {
		return s.end()
	}
	for {
		name, ok := s.name()
		if !ok {
			return false
		}
		value, ok := s.value()
		if !ok {
			return false
		}
		o.set(name, value)
		s.space()
		if s.take('}') {
			return s.end()
		}
		if !s.take(',') {
			return false
		}
		s.space()
	}
}

// set keeps the value of a member, if it is wanted.
func (o *object) set(literal, value []byte) {
	name := literal[1 : len(literal)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		// A name that is not Unicode text is none of ours.
		name, _ = jsontext.AppendUnquote(nil, literal)
	}
	for i, wanted := range o.names {
		if string(name) != wanted {
			continue
		}
		o.twice |= o.given & (1 << i)
		o.given |= 1 << i
		if value[0] != 'n' {
			o.values[i] = value
		}
		return
	}
}
