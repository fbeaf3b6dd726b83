package store

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is what a log does, without a thought for speed.
type model struct {
	durable bool
	history int
	retain  time.Duration
	now     func() time.Time

	opened  time.Time // when the driver was
	dropped int64     // mark of the unknown rooms
	rooms   map[string]*modelRoom
	keys    map[[3]string]modelKey
}

type modelRoom struct {
	held, known bool
	waits       bool // for its people, since a restart: who is refused does not end its lock
	lock        []byte
	dropped     int64
	told        int64 // the mark that its owner must have heard of
	messages    []Message
}

type modelKey struct {
	seq int64
	at  time.Time
}

func (m *model) room(name string) *modelRoom {
	r := m.rooms[name]
	if r == nil {
		r = &modelRoom{}
		m.rooms[name] = r
	}
	return r
}

// know opens the room.
func (m *model) know(name string) *modelRoom {
	r := m.room(name)
	r.waits = false
	if !r.known {
		r.known, r.dropped = true, m.dropped
	}
	return r
}

// first gives what a message is a duplicate of.
func (m *model) first(msg Message) (modelKey, bool) {
	k, ok := m.keys[[3]string{msg.Room, msg.Nick, msg.Key}]
	return k, ok && msg.Key != ""
}

// add stores a message as it was reported.
func (m *model) add(msg Message) {
	r := m.know(msg.Room)
	r.messages = append(r.messages, msg)
	if msg.Key != "" {
		m.keys[[3]string{msg.Room, msg.Nick, msg.Key}] = modelKey{msg.Seq, msg.At}
	}
	m.shorten(r, func() bool { return len(r.messages) > m.history })
}

func (m *model) shorten(r *modelRoom, while func() bool) {
	for len(r.messages) > 0 && while() {
		gone := r.messages[0]
		r.messages, r.dropped = r.messages[1:], gone.Seq
		if r.held {
			r.told = gone.Seq
		}
		if !m.durable {
			delete(m.keys, [3]string{gone.Room, gone.Nick, gone.Key})
		}
	}
}

func (m *model) release(name string) {
	r := m.room(name)
	if r.held, r.told = false, 0; !r.waits {
		m.forget(name, r)
	}
}

func (m *model) forget(name string, r *modelRoom) {
	if r.held || len(r.messages) > 0 {
		return
	}
	m.dropped = max(m.dropped, r.dropped)
	delete(m.rooms, name)
}

// pass does what time brings.
func (m *model) pass() {
	now := m.now()
	for name, r := range m.rooms {
		m.shorten(r, func() bool { return r.messages[0].At.Before(now.Add(-m.retain)) })
		if !m.durable || !now.Before(m.opened.Add(patience)) {
			r.waits = false
			m.forget(name, r)
		} else if !r.held && len(r.messages) == 0 {
			r.waits = true
		}
	}
	for k, v := range m.keys {
		r := m.rooms[k[0]]
		kept := r != nil && slices.ContainsFunc(r.messages, func(msg Message) bool { return msg.Seq == v.seq })
		if !kept && now.After(v.at.Add(keyMemory)) {
			delete(m.keys, k)
		}
	}
}

// remove: what had a number is gone from the room, and the room is as unknown as another.
func (m *model) remove(name string, through int64) {
	for k := range m.keys {
		if k[0] == name {
			delete(m.keys, k)
		}
	}
	r := m.rooms[name]
	if r == nil {
		return
	}
	if r.known {
		m.dropped = max(m.dropped, through)
	}
	if m.rooms[name] = (&modelRoom{held: r.held}); !r.held {
		delete(m.rooms, name)
	}
}

func (m *model) restart() {
	m.opened = m.now()
	if !m.durable {
		m.rooms, m.keys, m.dropped = map[string]*modelRoom{}, map[[3]string]modelKey{}, 0
		return
	}
	for name, r := range m.rooms {
		if r.held, r.told = false, 0; !r.known {
			delete(m.rooms, name)
		}
		r.waits = len(r.messages) == 0
	}
}

func (m *model) page(name string, q Query) Page {
	p := Page{Dropped: m.dropped}
	r := m.rooms[name]
	if r == nil || !r.known {
		return p
	}
	p.Dropped = r.dropped
	var all []Message
	for _, msg := range r.messages {
		if msg.Seq > q.After && (q.Before == 0 || msg.Seq < q.Before) {
			all = append(all, msg)
		}
	}
	if !q.Oldest {
		slices.Reverse(all)
	}
	bytes := 0
	for _, msg := range all {
		bytes += len(msg.Body)
		if len(p.Messages) == q.Limit || len(p.Messages) > 0 && q.Bytes > 0 && bytes > q.Bytes {
			p.More = true
			break
		}
		p.Messages = append(p.Messages, msg)
	}
	if !q.Oldest {
		slices.Reverse(p.Messages)
	}
	return p
}

// bubbled hides a test's Deadline, for which rapid would ask in vain where time is not real.
type bubbled struct{ rapid.TB }

// TestModel plays random calls, restarts and the passing of time on each driver and on the model.
//
// Calls come at multiples of settling, and Options.Retain is such that no message's time ends within settling of
// one: after a settle, what is due is done, and what is not due is far from it.
func TestModel(t *testing.T) {
	for _, d := range drivers {
		if d.served {
			continue // the model is about time
		}
		t.Run(d.name, func(t *testing.T) {
			if d.durable && os.Getenv("RAPID_CHECKS") == "" {
				checks(t, "25") // they cost more; RAPID_CHECKS=1000 searches longer
			}
			base := memoryDir(t)
			d.run(t, func(t *testing.T) {
				rapid.Check(bubbled{t}, func(t *rapid.T) { play(t, d, base) })
			})
		})
	}
}

// checks sets rapid's number of them for the test.
func checks(t *testing.T, n string) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	before := f.Value.String()
	t.Cleanup(func() { _ = f.Value.Set(before) })
	if err := f.Value.Set(n); err != nil {
		t.Fatal(err)
	}
}

// memoryDir gives a directory in memory where the system has one: thousands of flushes prove nothing here.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "store")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func play(t *rapid.T, d driver, base string) {
	dir, err := os.MkdirTemp(base, "")
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // else thousands pile up
	opts := Options{History: 4, Retain: 21 * time.Second}
	r := newRig(t, d, dir, opts)
	defer func() { r.close(t) }()
	m := &model{
		durable: d.durable, history: opts.History, retain: opts.Retain, now: r.now, opened: r.now(),
		rooms: map[string]*modelRoom{}, keys: map[[3]string]modelKey{},
	}
	some := func(of ...string) *rapid.Generator[string] { return rapid.SampledFrom(of) }
	room, nick := some("a", "b", "c"), some("ann", "bob")
	var last int64

	t.Repeat(map[string]func(*rapid.T){
		// Several calls that are under way together.
		"burst": func(t *rapid.T) {
			var refs []Ref
			var sent, stored []Message
			calls := rapid.SliceOfN(some("append", "append", "append", "lock", "release"), 1, 8).Draw(t, "calls")
			var apply []func()
			released := map[string]bool{}
			for _, call := range calls {
				name := room.Draw(t, "room")
				switch call {
				case "append":
					msg := Message{
						Room: name, Nick: nick.Draw(t, "nick"), Key: some("", "k1", "k2", "k3").Draw(t, "key"),
						Body: strings.Repeat("x", rapid.IntRange(1, 20).Draw(t, "size")),
					}
					msg.At = instant(r.now())
					i := len(refs)
					refs, sent = append(refs, r.send(t, msg)), append(sent, msg)
					apply = append(apply, func() {
						out, msg := r.outcome(t, refs[i]), sent[i]
						if first, ok := m.first(msg); ok != out.Duplicate || ok && (first.seq != out.Seq || !first.at.Equal(out.At)) {
							t.Fatalf("append %+v: %+v, the first is %+v, %v", msg, out, first, ok)
						}
						if out.Duplicate {
							return
						}
						if out.Seq <= last {
							t.Fatalf("seq %d after %d", out.Seq, last)
						}
						last, msg.Seq = out.Seq, out.Seq
						m.add(msg)
						if len(stored) == 0 || stored[0] != msg {
							t.Fatalf("stored %+v, want first %+v", stored, msg)
						}
						stored = stored[1:]
					})
				case "lock":
					if released[name] || !m.room(name).held {
						continue // the hub locks only what it holds
					}
					access := []byte(some("", "access1", "access2").Draw(t, "access"))
					if len(access) == 0 {
						access = nil
					}
					r.mustLock(t, name, access)
					apply = append(apply, func() { m.know(name).lock = access })
				case "release":
					r.Release(name)
					released[name] = true
					apply = append(apply, func() { m.release(name) })
				}
			}
			r.settle()
			stored = r.newlyStored()
			for _, f := range apply {
				f()
			}
			if len(stored) > 0 {
				t.Fatalf("stored besides: %+v", stored)
			}
		},
		"claim": func(t *rapid.T) {
			name := room.Draw(t, "room")
			s := r.claim(t, name)
			mr := m.room(name)
			mr.held = true
			want := roomState(mr.known, mr.lock, m.page(name, Query{Limit: RecentMessages}))
			if got := fmt.Sprintf("%+v", s); got != fmt.Sprintf("%+v", want) {
				t.Fatalf("claim %s: %s, want %+v", name, got, want)
			}
		},
		"remove": func(t *rapid.T) {
			name := room.Draw(t, "room")
			through := r.remove(t, name)
			if through < last {
				t.Fatalf("removed through %d, not %d", through, last)
			}
			m.remove(name, through)
		},
		"wait": func(t *rapid.T) {
			r.skew.Add(int64(rapid.SampledFrom([]time.Duration{
				settling, 3 * settling, 12 * time.Minute, 49 * time.Hour,
			}).Draw(t, "time")))
		},
		"restart": func(t *rapid.T) {
			r.reopen(t)
			m.restart()
		},
		"": func(t *rapid.T) {
			r.settle()
			m.pass()
			for _, name := range []string{"a", "b", "c"} {
				q := Query{
					Limit: rapid.IntRange(0, 6).Draw(t, "limit"), Bytes: rapid.IntRange(0, 50).Draw(t, "bytes"),
					Oldest: rapid.Bool().Draw(t, "oldest"),
				}
				if rapid.Bool().Draw(t, "bounds") {
					q.After = max(0, last-int64(rapid.IntRange(0, 9).Draw(t, "after")))
					q.Before = last - int64(rapid.IntRange(-2, 9).Draw(t, "before"))
					q.Before = max(0, q.Before)
				}
				got, want := r.page(t, name, q), m.page(name, q)
				if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
					t.Fatalf("%s %+v:\n got %+v\nwant %+v", name, q, got, want)
				}
				if mr := m.rooms[name]; mr != nil && mr.told > 0 && r.told(name) != mr.told {
					t.Fatalf("%s: told that %d was dropped, not %d", name, r.told(name), mr.told)
				}
			}
		},
	})
}
