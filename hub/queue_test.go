package hub

import (
	"reflect"
	"slices"
	"strconv"
	"testing"

	"parley/protocol"
)

// parked is an outlet whose writer never comes, so that its queue can be read.
func parked(limit int) *outlet {
	return &outlet{pool: &writers{}, limit: limit, busy: true}
}

func (o *outlet) waitingFrames() []string {
	var all []string
	for _, e := range o.queue.entries {
		all = append(all, string(e.frames))
	}
	return all
}

func TestReplacedEventsStandAtTheEnd(t *testing.T) {
	o := parked(1 << 20)
	o.replace(slotTyping, "ann", []byte("ann types"))
	o.push([]byte("message"))
	o.replace(slotUsers, "", []byte("users"))
	o.replace(slotTyping, "bob", []byte("bob types"))
	o.replace(slotTyping, "ann", []byte("ann stops"))
	o.replace(slotUsers, "", []byte("more users"))
	o.pong([]byte("pong 1"))
	o.push([]byte("message"))
	o.pong([]byte("pong 2"))
	want := []string{"message", "bob types", "ann stops", "more users", "message", "pong 2"}
	if got := o.waitingFrames(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	total := 0
	for _, s := range want {
		total += len(s)
	}
	o.pool.flush()
	if o.size() != total || o.pool.total() != int64(total) {
		t.Errorf("size %d, total %d, want %d", o.size(), o.pool.total(), total)
	}
}

func TestLimit(t *testing.T) {
	big, small := make([]byte, 60), make([]byte, 50)
	t.Run("an oversize answer does not overflow an empty queue", func(t *testing.T) {
		o := parked(40)
		if !o.push(big) {
			t.Error("refused")
		}
		if o.push(small[:1]) {
			t.Error("taken behind it")
		}
	})
	t.Run("what would go over it is not added", func(t *testing.T) {
		o := parked(100)
		for range 2 {
			if !o.push(small) {
				t.Error("refused within the limit")
			}
		}
		if o.push(small[:1]) {
			t.Error("taken over the limit")
		}
		if o.size() != 100 {
			t.Errorf("size %d", o.size())
		}
	})
	t.Run("what is replaced makes room", func(t *testing.T) {
		o := parked(100)
		o.push(small[:40])
		for range 2 {
			if !o.replace(slotUsers, "", big) {
				t.Error("refused")
			}
		}
		if o.replace(slotUsers, "", make([]byte, 61)) {
			t.Error("taken over the limit")
		}
		if got := len(o.queue.entries); got != 2 {
			t.Errorf("%d entries: a refused event must leave the queue as it was", got)
		}
	})
	t.Run("what the writer has counts", func(t *testing.T) {
		o := parked(100)
		o.push(big)
		o.take(nil)
		if o.push(small) {
			t.Error("taken over the limit")
		}
		o.release(len(big))
		if !o.push(small) {
			t.Error("refused when the writer was through")
		}
	})
}

func user(id string) protocol.User { return protocol.User{ID: id, Name: id, Room: "lobby"} }

func TestMergePresence(t *testing.T) {
	users := func(ids ...string) []protocol.User {
		var all []protocol.User
		for _, id := range ids {
			all = append(all, user(id))
		}
		return all
	}
	var many []string
	for i := range 30 {
		many = append(many, strconv.Itoa(i))
	}
	tests := map[string]struct{ old, newer, want protocol.Presence }{
		"lists are joined": {
			protocol.Presence{Joined: users("a"), Left: []string{"x"}, Count: 5},
			protocol.Presence{Joined: users("b"), Left: []string{"y"}, Count: 6},
			protocol.Presence{Joined: users("a", "b"), Left: []string{"x", "y"}, Count: 6},
		},
		"who came and went is in neither": {
			protocol.Presence{Joined: users("a", "b"), Count: 5},
			protocol.Presence{Left: []string{"a", "x"}, Count: 4},
			protocol.Presence{Joined: users("b"), Left: []string{"x"}, Count: 4},
		},
		"who went and came is in neither": {
			protocol.Presence{Left: []string{"a", "x"}, Count: 4},
			protocol.Presence{Joined: users("a"), Count: 5},
			protocol.Presence{Left: []string{"x"}, Count: 5},
		},
		"the newest are kept": {
			protocol.Presence{Joined: users(many[:15]...), Count: 15},
			protocol.Presence{Joined: users(many[15:]...), Count: 30},
			protocol.Presence{Joined: users(many[10:]...), Count: 30},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := parked(1 << 20)
			frame := func(p protocol.Presence) []byte { return appendText(nil, protocol.AppendPresence(nil, p)) }
			o.mergePresence(&tt.old, frame(tt.old))
			o.push([]byte("message"))
			o.mergePresence(&tt.newer, frame(tt.newer))
			if got, want := o.waitingFrames(), []string{"message", string(frame(tt.want))}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := o.queue.presence; len(got.Joined) != len(tt.want.Joined) || got.Count != tt.want.Count {
				t.Errorf("kept %+v for the next merge", got)
			}
		})
	}
}

func TestMergePresenceLeavesItsArgumentsAlone(t *testing.T) {
	old := protocol.Presence{Joined: []protocol.User{user("a"), user("b")}, Left: []string{"x", "y"}}
	newer := protocol.Presence{Joined: []protocol.User{user("x")}, Left: []string{"a"}}
	mergePresence(&old, &newer)
	want := protocol.Presence{Joined: []protocol.User{user("a"), user("b")}, Left: []string{"x", "y"}}
	if !reflect.DeepEqual(old, want) {
		t.Errorf("shared between connections, but now %+v", old)
	}
}

func TestQueueGivesBackWhatWasBig(t *testing.T) {
	if s := recycle(make([]entry, keptEntries+1)); s != nil {
		t.Errorf("kept room for %d entries", cap(s))
	}
	taken := []entry{{frames: []byte("x")}, {frames: []byte("y")}}
	if s := recycle(taken); cap(s) != 2 || len(s) != 0 || taken[0].frames != nil {
		t.Errorf("a small one must be kept, without what it held: %v", taken)
	}
}

// The rest of what a writer took is cut into chunks that end where frames end.
func TestRemainder(t *testing.T) {
	var run []byte
	for range 10 {
		run = appendText(run, make([]byte, 8)) // 10 bytes each
	}
	big := appendText(nil, make([]byte, 100)) // 102 bytes
	list := func() []entry { return []entry{{frames: run}, {frames: big}, {frames: run[:20]}, {frames: run[:10]}} }
	r := remainder{list: list(), bytes: 232}
	r.skip(13) // a short write left it inside the second frame
	var sizes []int
	buf := make([]byte, 40)
	for chunk := r.peek(buf); chunk != nil; chunk = r.peek(buf) {
		sizes = append(sizes, len(chunk))
		r.skip(len(chunk))
	}
	if want := []int{37, 40, 10, 102, 30}; !slices.Equal(sizes, want) {
		t.Errorf("chunks of %v bytes, want %v", sizes, want)
	}
	if r.bytes != 0 {
		t.Errorf("%d bytes left", r.bytes)
	}
	for skip, left := range map[int]int{0: 0, 10: 0, 13: 7, 100: 0, 101: 101, 202: 0, 225: 7} {
		r := remainder{list: list(), bytes: 232}
		r.skip(skip)
		if dropped := r.cut(); r.bytes != left || dropped != 232-skip-left || len(r.peek(buf)) != left {
			t.Errorf("cut after %d bytes: %d left, %d dropped, next chunk %d; want %d left", skip, r.bytes, dropped, len(r.peek(buf)), left)
		}
	}
}
