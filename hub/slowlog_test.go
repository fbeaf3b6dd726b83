package hub

import (
	"context"
	"errors"
	"slices"

	"parley/store"
)

// slowLog is a log and directory of which every answer waits until the schedule
// says so, within what package store promises: calls are committed in the order
// made, in groups; stored and appended are reported in order; what is being read
// for a claim is not trimmed meanwhile. A group that fails is not stored, or is
// stored nevertheless and then reported as such, but to its sender.
type slowLog struct {
	quick   bool // Append and Claim are answered in place, as by the log in memory
	recent  int  // messages in a claim's answer at most
	rooms   map[string]*slowRoom
	seq     int64
	forgot  int64 // the highest mark of all forgotten rooms
	calls   []slowCall
	reports []store.Report
	loading []slowCall // claims that are committed and not answered

	busy     int // so many calls are refused
	badReads int // so many reads fail
	badLoads int // so many claims fail
	failures int // made on purpose until now

	outcomes map[string]error // of each message that was appended, by its body; refused ones too
	appended func(store.Message)
}

type slowCall struct {
	kind   byte // a(ppend), c(laim), l(ock), r(elease)
	ref    store.Ref
	msg    store.Message
	room   string
	access []byte
}

// slowRoom is a room. What was stored in it is known for good, so that a checker
// can tell what is missing.
type slowRoom struct {
	all     []store.Message // ever stored
	told    int             // so many of them have been reported
	kept    int             // all[kept:] has not been dropped
	dropped int64           // while known
	heard   int64           // the mark that has been reported
	known   bool
	lock    []byte
	held    bool
	claims  int // being answered
}

var errSlowLog = errors.New("as the schedule wants it")

const slowFirst = 1000 // the lowest number that the log gives

func newSlowLog(quick bool, recent int) *slowLog {
	return &slowLog{quick: quick, recent: recent, seq: slowFirst - 1, rooms: make(map[string]*slowRoom), outcomes: make(map[string]error)}
}

func (l *slowLog) room(name string) *slowRoom {
	r := l.rooms[name]
	if r == nil {
		r = &slowRoom{}
		l.rooms[name] = r
	}
	return r
}

func (l *slowLog) Epoch() string      { return "epoch of this log" }
func (l *slowLog) First() int64       { return slowFirst }
func (l *slowLog) Durability() string { return "disk" }
func (l *slowLog) Start(store.Sink)   {}
func (l *slowLog) Ready() error       { return nil }
func (l *slowLog) Close() error       { return nil }

func (l *slowLog) refuse() bool {
	if l.busy == 0 {
		return false
	}
	l.busy--
	l.failures++
	return true
}

func (l *slowLog) Append(ref store.Ref, m store.Message) (store.Appended, bool, error) {
	l.appended(m)
	if l.refuse() {
		l.outcomes[m.Body] = store.ErrBusy
		return store.Appended{}, false, store.ErrBusy
	}
	if l.quick {
		out := l.store(ref, m)
		l.rooms[m.Room].told = len(l.rooms[m.Room].all)
		return out, true, nil
	}
	l.calls = append(l.calls, slowCall{kind: 'a', ref: ref, msg: m})
	return store.Appended{}, false, nil
}

func (l *slowLog) Claim(ref store.Ref, room string) (store.Claimed, bool, error) {
	if l.refuse() {
		return store.Claimed{}, false, store.ErrBusy
	}
	c := slowCall{kind: 'c', ref: ref, room: room}
	if l.quick {
		l.commit(c)
		return l.load(), true, nil
	}
	l.calls = append(l.calls, c)
	return store.Claimed{}, false, nil
}

func (l *slowLog) Lock(room string, access []byte) error {
	if l.refuse() {
		return store.ErrBusy
	}
	l.call(slowCall{kind: 'l', room: room, access: access})
	return nil
}

func (l *slowLog) Release(room string) { l.call(slowCall{kind: 'r', room: room}) }

func (l *slowLog) call(c slowCall) {
	if l.quick {
		l.commit(c)
	} else {
		l.calls = append(l.calls, c)
	}
}

// store keeps m, and is what an Append comes to.
func (l *slowLog) store(ref store.Ref, m store.Message) store.Appended {
	r := l.room(m.Room)
	l.learn(r)
	l.outcomes[m.Body] = nil
	if m.Key != "" {
		for _, old := range r.all {
			if old.Nick == m.Nick && old.Key == m.Key {
				return store.Appended{Ref: ref, Seq: old.Seq, At: old.At, Duplicate: true}
			}
		}
	}
	l.seq += 1 + l.seq%3 // numbers may be skipped
	m.Seq = l.seq
	r.all = append(r.all, m)
	return store.Appended{Ref: ref, Seq: m.Seq, At: m.At}
}

func (l *slowLog) learn(r *slowRoom) {
	if !r.known {
		r.known, r.dropped = true, max(r.dropped, l.forgot)
	}
}

// commit makes one call other than an Append take effect.
func (l *slowLog) commit(c slowCall) {
	r := l.room(c.room)
	switch c.kind {
	case 'c':
		r.held = true
		r.claims++
		l.loading = append(l.loading, c)
	case 'l':
		l.learn(r)
		r.lock = c.access
	case 'r':
		r.held = false
		l.forget(r)
	}
}

func (l *slowLog) forget(r *slowRoom) {
	if r.known && !r.held && r.kept == len(r.all) {
		l.forgot = max(l.forgot, r.dropped)
		r.known, r.lock = false, nil
	}
}

// The fates of a group.
const (
	groupStored = iota
	groupLost   // fails and is not stored
	groupUnsure // fails, and is stored all the same
)

// group commits the n oldest calls, or as many as there are.
func (l *slowLog) group(n, fate int) {
	n = min(n, len(l.calls))
	group := l.calls[:n]
	l.calls = l.calls[n:]
	var rep store.Report
	for _, c := range group {
		if c.kind != 'a' {
			l.commit(c)
			continue
		}
		out := store.Appended{Ref: c.ref}
		if fate != groupLost {
			out = l.store(c.ref, c.msg)
			if !out.Duplicate {
				c.msg.Seq = out.Seq
				rep.Stored = append(rep.Stored, c.msg)
			}
		}
		if fate != groupStored {
			out = store.Appended{Ref: c.ref, Err: errSlowLog}
			l.outcomes[c.msg.Body] = errSlowLog
			l.failures++
		}
		rep.Appended = append(rep.Appended, out)
	}
	switch {
	case len(rep.Appended) == 0:
	case n%2 == 0 && fate == groupUnsure:
		l.reports = append(l.reports, store.Report{Appended: rep.Appended}, store.Report{Stored: rep.Stored})
	case n%2 == 0: // what is stored may be told before whose it is
		l.reports = append(l.reports, store.Report{Stored: rep.Stored}, store.Report{Appended: rep.Appended})
	default:
		l.reports = append(l.reports, rep)
	}
}

// load reads the state for the oldest claim.
func (l *slowLog) load() store.Claimed {
	c := l.loading[0]
	l.loading = l.loading[1:]
	r := l.room(c.room)
	r.claims--
	if l.badLoads > 0 {
		l.badLoads--
		l.failures++
		return store.Claimed{Ref: c.ref, Err: errSlowLog}
	}
	out := store.Claimed{Ref: c.ref, State: store.RoomState{Known: r.known, Lock: r.lock, Dropped: r.dropped}}
	s := &out.State
	if !r.known {
		s.Dropped = max(s.Dropped, l.forgot)
	}
	s.Seq = s.Dropped
	stored := r.all[r.kept:]
	s.Recent = slices.Clone(stored[max(0, len(stored)-l.recent):])
	if n := len(s.Recent); n > 0 {
		s.Seq = s.Recent[n-1].Seq
		if n < len(stored) {
			s.From = s.Recent[0].Seq - 1
		}
	}
	r.heard = max(r.heard, s.Dropped)
	r.told = len(r.all)
	return out
}

// trim drops the n oldest messages of a room, or as many as there are.
func (l *slowLog) trim(name string, n int) {
	r := l.room(name)
	if n = min(n, len(r.all)-r.kept); n == 0 || r.claims > 0 {
		return
	}
	r.kept += n
	r.dropped = r.all[r.kept-1].Seq
	if r.held {
		l.reports = append(l.reports, store.Report{Trimmed: []store.Trim{{Room: name, Through: r.dropped}}})
	}
	l.forget(r)
}

// report takes the oldest report.
func (l *slowLog) report() store.Report {
	rep := l.reports[0]
	l.reports = l.reports[1:]
	for _, m := range rep.Stored {
		r := l.rooms[m.Room]
		for r.told < len(r.all) && r.all[r.told].Seq <= m.Seq {
			r.told++
		}
	}
	for _, t := range rep.Trimmed {
		l.rooms[t.Room].heard = t.Through
	}
	return rep
}

func (l *slowLog) idle() bool { return len(l.calls)+len(l.reports)+len(l.loading) == 0 }

func (l *slowLog) Read(_ context.Context, room string, q store.Query) (store.Page, error) {
	if l.badReads > 0 {
		l.badReads--
		l.failures++
		return store.Page{}, errSlowLog
	}
	r := l.room(room)
	page := store.Page{Dropped: max(r.dropped, 0)}
	if !r.known {
		page.Dropped = max(page.Dropped, l.forgot)
	}
	var in []store.Message
	for _, m := range r.all[r.kept:] {
		if m.Seq > q.After && (q.Before == 0 || m.Seq < q.Before) {
			in = append(in, m)
		}
	}
	if !q.Oldest {
		slices.Reverse(in)
	}
	bytes := 0
	for i, m := range in {
		if bytes += len(m.Body); i == q.Limit || i > 0 && q.Bytes > 0 && bytes > q.Bytes {
			page.More, in = true, in[:i]
			break
		}
	}
	if !q.Oldest {
		slices.Reverse(in)
	}
	page.Messages = in
	return page, nil
}

// Remove implements store.Directory; no schedule removes a room.
func (l *slowLog) Remove(store.Ref, string) (store.Removed, bool, error) {
	return store.Removed{}, false, store.ErrBusy
}
