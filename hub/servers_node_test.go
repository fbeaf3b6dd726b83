package hub

import (
	"context"
	"slices"
	"time"

	"parley/store"
)

// node is the driver of one hub: a store.Log and a store.Shared, of which each thing is done when the schedule says so.
// It goes about it as the JetStream driver does (see there).
type node struct {
	s        *servers
	number   int
	h        *Hub
	calls    []func()        // the hub's, and answers of the servers
	requests []func() func() // on their way to the servers, in no order; what comes back is called
	appends  []func() func() // the same, in order
	acks     []func()        // what came back of these
	fed      int64           // so much of the feed is applied
	own      map[int64]bool  // revisions that it wrote, and knows of
	waits    []feedWait
	rooms    map[string]*heldRoom
	waiting  map[string][]*sharedChange
	released map[string]bool // rooms that are yet to be forgotten
	later    []laterOn
	canceled map[store.Ref]bool
	removals map[store.Ref]string // not answered
	pending  map[store.Ref]bool   // messages that are not answered
	losses   int
	report   store.Report
	reports  []store.Report
}

type feedWait struct {
	seq int64
	do  func()
}

type laterOn struct {
	at time.Time
	do func()
}

// Epoch and the like implement store.Log.
func (n *node) Epoch() string { return "epoch of this log" }

func (n *node) First() int64 { return 1 }

func (n *node) Durability() string { return "disk" }

func (n *node) Start(store.Sink) {}

func (n *node) Ready() error { return nil }

func (n *node) Close() error { return nil }

func (n *node) Read(_ context.Context, room string, q store.Query) (store.Page, error) {
	if n.s.loses() {
		return store.Page{}, errServers
	}
	page := store.Page{Dropped: n.s.get(room + "/").dropped}
	page.Messages = n.s.messages(room, q.After)
	if q.Before > 0 {
		page.Messages = slices.DeleteFunc(page.Messages, func(m store.Message) bool { return m.Seq >= q.Before })
	}
	if over := len(page.Messages) - q.Limit; over > 0 {
		page.More = true
		if q.Oldest {
			page.Messages = page.Messages[:q.Limit]
		} else {
			page.Messages = page.Messages[over:]
		}
	}
	return page, nil
}

func (n *node) call(do func()) { n.calls = append(n.calls, do) }

func (n *node) work(do func() func()) { n.requests = append(n.requests, do) }

func (n *node) ask(do func()) error {
	if n.s.refuses() {
		return store.ErrAway
	}
	n.call(do)
	return nil
}

// tell makes a report of what has come together.
func (n *node) tell() {
	r := n.report
	if len(r.Stored)+len(r.Appended)+len(r.Claimed)+len(r.Trimmed)+len(r.Removed)+len(r.Changes)+len(r.Entered)+len(r.Typing) > 0 || r.Lost {
		n.reports = append(n.reports, r)
		n.report = store.Report{}
	}
}

// todo is what the node could do next, each in one go.
func (n *node) todo() (all []func()) {
	if len(n.calls) > 0 {
		all = append(all, func() { take(&n.calls, 0)() })
	}
	if len(n.acks) > 0 {
		all = append(all, func() { take(&n.acks, 0)() })
	}
	if len(n.appends) > 0 {
		all = append(all, func() { n.acks = append(n.acks, take(&n.appends, 0)()) })
	}
	for i := range n.requests {
		all = append(all, func() { n.call(take(&n.requests, i)()) })
	}
	for i, l := range n.later {
		if !l.at.After(n.s.now) {
			all = append(all, func() { take(&n.later, i).do() })
			break
		}
	}
	if n.fed < int64(len(n.s.feed)) {
		all = append(all, func() { n.applyNext() }, func() { n.applyNext() })
	}
	for _, name := range modelRooms {
		if r := n.rooms[name]; r != nil && !r.loading && (len(n.s.messages(name, r.last)) > 0 || len(r.waits) > 0) {
			all = append(all, func() { n.hearNext(r) })
		}
	}
	return all
}

// Append implements store.Log.
func (n *node) Append(ref store.Ref, m store.Message) (store.Appended, bool, error) {
	answer := func(out store.Appended) {
		if !n.pending[ref] {
			return
		}
		delete(n.pending, ref)
		out.Ref = ref
		n.report.Appended = append(n.report.Appended, out)
	}
	return store.Appended{}, false, n.ask(func() {
		n.pending[ref] = true
		r := n.rooms[m.Room]
		if r == nil || r.loading {
			answer(store.Appended{Err: store.ErrAway})
			return
		}
		life := r.record.life
		n.appends = append(n.appends, func() func() {
			out := n.s.store(m, life)
			return func() {
				if n.s.loses() {
					answer(store.Appended{Err: errServers})
				} else if r := n.rooms[m.Room]; r == nil {
					answer(out)
				} else {
					r.after(out.Seq, func() { answer(out) })
				}
			}
		})
	})
}

// applyNext takes the next change of the feed into account.
func (n *node) applyNext() {
	n.fed++
	n.apply(n.s.feed[n.fed-1])
	n.settle()
}

// catchUp takes all at once that was missed; what was written over since is passed by, unless this node wrote it.
func (n *node) catchUp() {
	for n.fed < int64(len(n.s.feed)) {
		n.fed++
		if r := n.s.feed[n.fed-1]; n.s.newest[r.key()] == r.rev || n.own[r.rev] {
			n.apply(r)
		}
	}
	n.settle()
}

func (n *node) apply(r record) {
	room := n.rooms[r.room]
	switch {
	case room != nil && r.nick != "":
		n.setUser(room, r, true)
	case room != nil:
		n.setRoom(room, r)
	case r.nick != "":
		n.stray(r)
	}
}

func (n *node) settle() {
	waits := n.waits
	n.waits = nil
	for _, w := range waits {
		n.after(w.seq, w.do)
	}
}

func (n *node) after(rev int64, do func()) {
	if rev <= n.fed {
		do()
		return
	}
	n.waits = append(n.waits, feedWait{rev, do})
}
