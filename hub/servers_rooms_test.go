package hub

import (
	"maps"
	"slices"
	"time"

	"parley/store"
)

// The part of a node (servers_node_test.go) that is about rooms, who is in them, and its own being one.

type heldRoom struct {
	name    string
	loading bool
	claim   store.Ref
	last    int64
	record  record
	people  map[string]record
	gone    map[string]int64 // while loading: revisions of deletions
	waits   []feedWait       // for messages
}

// after calls do when everything up to seq has been reported.
func (r *heldRoom) after(seq int64, do func()) {
	if seq <= r.last {
		do()
		return
	}
	r.waits = append(r.waits, feedWait{seq, do})
}

// hearNext reports the room's next message, or notes that what it waits for was removed.
func (n *node) hearNext(r *heldRoom) {
	if in := n.s.messages(r.name, r.last); len(in) > 0 {
		r.last = in[0].Seq
		n.report.Stored = append(n.report.Stored, in[0])
	} else {
		r.last = int64(len(n.s.log))
	}
	waits := r.waits
	r.waits = nil
	for _, w := range waits {
		r.after(w.seq, w.do)
	}
}

func (n *node) setRoom(room *heldRoom, r record) {
	if r.rev <= room.record.rev {
		return
	}
	if r.dropped > room.record.dropped && !room.loading {
		n.report.Trimmed = append(n.report.Trimmed, store.Trim{Room: room.name, Through: r.dropped})
	}
	room.record = r
}

func (n *node) setUser(room *heldRoom, r record, tell bool) {
	old := room.people[r.nick]
	if r.rev <= old.rev {
		return
	}
	tell = tell && !room.loading
	if r.gone {
		delete(room.people, r.nick)
		if room.loading {
			room.gone[r.nick] = r.rev
		}
		if old.rev > 0 && tell {
			n.change(store.Left, old, r.reason)
		}
		return
	}
	room.people[r.nick] = r
	switch {
	case !tell:
	case old.rev == 0:
		n.change(store.Arrived, r, "")
	case old.id != r.id:
		n.change(store.Left, old, "")
		n.change(store.Arrived, r, "")
	case old.node != r.node || r.node == n.number && old.away && !r.away:
		n.change(store.Moved, r, "")
	}
}

func (n *node) change(kind store.ChangeKind, r record, reason string) {
	m := n.member(r)
	if q := n.waiting[r.key()]; kind != store.Left && m.Here && len(q) > 0 && q[0].kind == entersRoom && q[0].id == r.id {
		m.Ref = q[0].ref
	}
	n.report.Changes = append(n.report.Changes, store.Change{Kind: kind, Member: m, Reason: reason})
}

func (n *node) member(r record) store.Member {
	u := store.User{ID: r.id, Name: r.name, Nick: r.nick, Room: r.room, Arrival: r.born}
	return store.Member{User: u, Session: r.session, Here: r.node == n.number}
}

// Claim implements store.Shared.
func (n *node) Claim(ref store.Ref, name string) (store.Claimed, bool, error) {
	return store.Claimed{}, false, n.ask(func() {
		r := &heldRoom{name: name, claim: ref, people: make(map[string]record), loading: true, gone: make(map[string]int64)}
		n.rooms[name] = r
		n.work(func() func() {
			if n.released[name] {
				delete(n.released, name)
				n.s.forget(name)
			}
			rec, people := n.s.get(name+"/"), n.s.people(name)
			messages, last := n.s.messages(name, 0), n.s.last(name)
			return func() { n.loaded(ref, r, rec, people, messages, last) }
		})
	})
}

func (n *node) loaded(ref store.Ref, r *heldRoom, rec record, people []record, messages []store.Message, last int64) {
	if n.rooms[r.name] != r {
		return // lost meanwhile
	}
	if n.s.loses() {
		r.loading = false
		n.report.Claimed = append(n.report.Claimed, store.Claimed{Ref: ref, Err: errServers})
		return
	}
	n.setRoom(r, rec)
	r.loading = false
	for _, p := range people {
		if r.gone[p.nick] < p.rev {
			n.setUser(r, p, false)
		}
	}
	r.last = max(last, r.record.dropped)
	state := store.RoomState{Known: r.record.opened, Lock: r.record.lock, Seq: r.last, Dropped: r.record.dropped}
	state.Recent = messages[max(0, len(messages)-n.s.recent):]
	if len(state.Recent) < len(messages) {
		state.From = state.Recent[0].Seq - 1
	}
	for _, p := range inOrder(r.people) {
		state.Members = append(state.Members, n.member(p))
	}
	n.tell()
	n.report.Claimed = append(n.report.Claimed, store.Claimed{Ref: ref, State: state})
	n.tell() // before what came since
}

// Release implements store.Shared.
func (n *node) Release(name string) {
	n.call(func() {
		r := n.rooms[name]
		if r == nil {
			return
		}
		delete(n.rooms, name)
		for _, w := range r.waits {
			w.do()
		}
		for _, p := range inOrder(r.people) {
			n.stray(p)
		}
		if r.record.opened && len(r.people) == 0 {
			n.released[name] = true
			n.work(func() func() {
				if n.released[name] {
					delete(n.released, name)
					n.s.forget(name)
				}
				return func() {}
			})
		}
	})
}

// Remove implements store.Shared.
func (n *node) Remove(ref store.Ref, name string) (store.Removed, bool, error) {
	return store.Removed{}, false, n.ask(func() {
		n.removals[ref] = name
		n.work(func() func() {
			through := int64(len(n.s.log))
			n.s.lives++
			n.s.write(record{room: name, dropped: through, life: n.s.lives}, n.s.newest[name+"/"])
			n.s.purged[name] = through
			return func() { n.work(func() func() { return n.sendAway(ref, name, through) }) }
		})
	})
}

// sendAway takes all users out of a room.
func (n *node) sendAway(ref store.Ref, name string, through int64) func() {
	people := n.s.people(name)
	left := 1 + len(people)
	done := func() {
		if left--; left == 0 && n.removals[ref] != "" {
			delete(n.removals, ref)
			n.report.Removed = append(n.report.Removed, store.Removed{Ref: ref, Room: name, Through: through})
		}
	}
	for _, p := range people {
		n.work(func() func() {
			if _, ok := n.s.write(record{room: name, nick: p.nick, gone: true}, p.rev); ok {
				n.s.removed[p.id] = true
			}
			return done
		})
	}
	return done
}

// stray does with a user of a room that is not held here what the hub does with a member without a connection.
func (n *node) stray(r record) {
	if r.gone || r.node != n.number {
		return
	}
	takeOut := func() {
		n.work(func() func() {
			n.s.write(record{room: r.room, nick: r.nick, gone: true}, r.rev)
			return func() {}
		})
	}
	switch {
	case r.session == nil || n.s.grace == 0:
		takeOut()
	case r.away:
		n.later = append(n.later, laterOn{n.s.now.Add(DefaultGrace), takeOut})
	default:
		expected := r.rev
		r.away = true
		n.work(func() func() {
			n.s.write(r, expected)
			return func() {}
		})
	}
}

// register gives the node a number under which it is known.
func (n *node) register() {
	n.s.named++
	n.number = n.s.named
	n.s.leases[n.number], n.fed = n, int64(len(n.s.feed))
}

// lose has the others do without the node, which begins anew. Those who were there have their grace period.
func (n *node) lose() {
	n.losses++
	number := n.number
	for _, key := range slices.Sorted(maps.Keys(n.waiting)) {
		for _, c := range n.waiting[key] {
			n.refuse(c, store.ErrLost)
			c.over = true
		}
		delete(n.waiting, key)
	}
	for _, name := range slices.Sorted(maps.Keys(n.rooms)) {
		if r := n.rooms[name]; r.loading {
			n.report.Claimed = append(n.report.Claimed, store.Claimed{Ref: r.claim, Err: store.ErrLost})
		}
		delete(n.rooms, name)
	}
	for _, ref := range slices.Sorted(maps.Keys(n.removals)) {
		n.report.Removed = append(n.report.Removed, store.Removed{Ref: ref, Room: n.removals[ref], Err: store.ErrLost})
		delete(n.removals, ref)
	}
	for _, ref := range slices.Sorted(maps.Keys(n.pending)) {
		n.report.Appended = append(n.report.Appended, store.Appended{Ref: ref, Err: store.ErrLost})
		delete(n.pending, ref)
	}
	n.waits, n.report.Lost = nil, true
	n.tell()
	delete(n.s.leases, number)
	clean := func() {
		for _, room := range modelRooms {
			for _, p := range n.s.people(room) {
				if p.node == number {
					n.s.write(record{room: room, nick: p.nick, gone: true}, p.rev)
				}
			}
		}
	}
	for _, d := range []time.Duration{DefaultGrace, 3 * DefaultGrace} { // once more for what was on its way
		n.later = append(n.later, laterOn{n.s.now.Add(d), clean})
	}
	n.register()
}
