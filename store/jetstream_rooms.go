package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// sharedRoom is a room that this node holds. Owned by loop.
type sharedRoom struct {
	name  string
	token string
	sub   *nats.Subscription

	loading bool // what it has is being read; what comes meanwhile is kept
	claims  []Ref

	last     int64 // everything up to it has been reported, or was in the state
	ahead    []ahead
	marks    marks
	waiting  []roomWait
	checking bool
	again    bool // with checking: once more
	trimAt   time.Time

	record    roomRecord
	known     bool  // there is a record
	recordRev int64 // of its last write or deletion
	people    map[string]*person
	gone      map[string]int64 // while loading: revisions of deletions
}

// ahead is a message that came before one that is missing.
type ahead struct {
	stored
	previous int64 // on the same subject
}

// roomWait is what is to be done when everything up to seq has been reported.
type roomWait struct {
	seq int64
	do  func(error)
}

// claim begins to hold a room.
func (j *JetStream) claim(ref Ref, name string) {
	if !j.lease.held { // since it was asked
		j.report.Claimed = append(j.report.Claimed, Claimed{Ref: ref, Err: errLeaseLost})
		return
	}
	t := token(name)
	r := j.rooms[t]
	if r == nil {
		r = &sharedRoom{name: name, token: t, people: make(map[string]*person)}
		var err error
		if r.sub, err = j.nc.ChanSubscribe(j.names.room+t+".*", j.live); err != nil {
			j.report.Claimed = append(j.report.Claimed, Claimed{Ref: ref, Err: err})
			return
		}
		j.rooms[t] = r
	}
	r.claims = append(r.claims, ref)
	if r.loading {
		return
	}
	r.loading, r.gone = true, make(map[string]int64)
	released := j.forgetting[t]
	work(j, readTimeout, func(ctx context.Context) (loaded, error) {
		if released != nil {
			select {
			case <-released:
			case <-ctx.Done():
			}
		}
		return j.loadRoom(ctx, r)
	}, func(l loaded, err error) { j.loaded(r, l, err) })
}

// loaded is what the servers have of a room.
type loaded struct {
	page   Page
	newest []stored
	record roomRecord
	rev    int64
	known  bool
	users  []*rawMessage
}

func (j *JetStream) loadRoom(ctx context.Context, r *sharedRoom) (l loaded, err error) {
	// From here on what is stored is republished to this node, or found below, or by a check.
	if err = j.nc.FlushWithContext(ctx); err != nil {
		return l, err
	}
	if j.opts.Now().Sub(j.startedAt) > patience {
		if err = j.forget(ctx, r.token); err != nil { // what crashed nodes left
			return l, err
		}
	}
	if l.rev, l.known, err = j.load(ctx, roomKey(r.token), &l.record); err != nil {
		return l, err
	}
	if l.page, l.newest, err = j.pageOf(ctx, r.name, Query{Limit: RecentMessages, Bytes: RecentBytes}); err != nil {
		return l, err
	}
	l.users, err = j.users(ctx, r.token+".user.*")
	return l, err
}

// users reads the bucket's keys that match the filter.
func (j *JetStream) users(ctx context.Context, filter string) (all []*rawMessage, err error) {
	newest, err := j.last(ctx, j.names.bucket, j.names.keys+filter)
	if err != nil {
		return nil, err
	}
	err = j.stretch(ctx, j.names.bucket, j.names.keys+filter, 1, newest, func(m *rawMessage) bool {
		all = append(all, m)
		return true
	})
	return all, err
}

// loaded goes on with a room that was read.
func (j *JetStream) loaded(r *sharedRoom, l loaded, err error) {
	if j.rooms[r.token] != r {
		return // lost meanwhile
	}
	claims := r.claims
	r.claims, r.loading = nil, false
	if err != nil {
		j.opts.Logger.Warn("cannot read a room", "error", err.Error())
		for _, ref := range claims {
			j.report.Claimed = append(j.report.Claimed, Claimed{Ref: ref, Err: err})
		}
		j.late[r] = struct{}{}
		return
	}
	j.setRecord(r, l.rev, l.known, l.record)
	state := roomState(r.known && r.record.Opened, r.record.Lock, l.page)
	r.last = max(r.last, state.Seq)
	r.marks.reset(l.newest)
	for _, m := range l.users {
		nick := m.Subject[len(j.names.keys+r.token+".user."):]
		if r.gone[nick] < m.Seq {
			r.setUser(j, nick, m, false)
		}
	}
	r.gone = nil
	for _, ref := range claims {
		state.Members = j.membersOf(r)
		j.report.Claimed = append(j.report.Claimed, Claimed{Ref: ref, State: state})
	}
	j.tellHub() // before what came since
	r.drain(j)
	j.check(r) // what was stored before every server knew of the subscription
}

// release holds a room no longer.
func (j *JetStream) release(name string) {
	r := j.rooms[token(name)]
	if r == nil {
		return
	}
	j.drop(r, ErrAway)
	for nick, p := range r.people {
		j.stray(r.token+".user."+nick, p.userRecord, p.rev)
	}
	if r.known && len(r.people) == 0 {
		done := make(chan struct{})
		j.forgetting[r.token] = done
		work(j, readTimeout, func(ctx context.Context) (struct{}, error) {
			defer close(done)
			return struct{}{}, j.forget(ctx, r.token)
		}, func(struct{}, error) { // if it failed, whoever claims it later tries again
			if j.forgetting[r.token] == done {
				delete(j.forgetting, r.token)
			}
		})
	}
}

// drop lets go of a room; whoever waits in it is told err.
func (j *JetStream) drop(r *sharedRoom, err error) {
	_ = r.sub.Unsubscribe() // it fails only when the connection is closed
	delete(j.rooms, r.token)
	delete(j.late, r)
	for _, w := range r.waiting {
		w.do(err)
	}
	r.waiting = nil
}

// republished takes a message that the stream has stored.
func (j *JetStream) republished(r *sharedRoom, m *nats.Msg) {
	raw, err := rawOf(m)
	if err != nil {
		return // not the stream's: what is missing is found by a check
	}
	a := ahead{}
	a.previous, _ = strconv.ParseInt(m.Header.Get("Nats-Last-Sequence"), 10, 64)
	if err := a.decode(raw.Data); err != nil {
		j.opts.Logger.Error("cannot read a message", "seq", raw.Seq, "error", err.Error())
		return
	}
	a.Room, a.Seq = r.name, raw.Seq
	r.ahead = append(r.ahead, a)
	r.drain(j)
}

// drain reports what is next in order.
func (r *sharedRoom) drain(j *JetStream) {
	if r.loading {
		return
	}
	for len(r.ahead) > 0 {
		a := r.ahead[0]
		if a.Seq > r.last {
			if a.previous > r.last {
				j.late[r] = struct{}{}
				j.check(r)
				return
			}
			r.accept(j, a.stored)
		}
		r.ahead = r.ahead[1:]
	}
	r.ahead = nil
}

// accept reports the room's next message.
func (r *sharedRoom) accept(j *JetStream, m stored) {
	r.last = m.Seq
	r.marks.add(m.Seq)
	j.report.Stored = append(j.report.Stored, m.Message)
	r.settle()
}

func (r *sharedRoom) settle() {
	kept := r.waiting[:0]
	for _, w := range r.waiting {
		if w.seq <= r.last {
			w.do(nil)
		} else {
			kept = append(kept, w)
		}
	}
	r.waiting = kept
}

// after calls do when everything up to seq has been reported.
func (r *sharedRoom) after(j *JetStream, seq int64, do func(error)) {
	if seq <= r.last {
		do(nil)
		return
	}
	r.waiting = append(r.waiting, roomWait{seq, do})
	j.late[r] = struct{}{} // if it does not come by itself
}

// check reads what this node lacks of the room, as its leader tells.
func (j *JetStream) check(r *sharedRoom) {
	if r.checking || r.loading {
		r.again = true
		return
	}
	r.checking, r.again = true, false
	from := r.last + 1
	type found struct {
		messages []stored
		last     int64
	}
	work(j, serverTimeout, func(ctx context.Context) (f found, err error) {
		subject := j.names.messages + r.token
		if f.last, err = j.last(ctx, j.names.log, subject); err != nil || f.last < from {
			return f, err
		}
		reader := roomReader{j: j, ctx: ctx, room: r.name, subject: subject}
		f.messages, err = reader.between(from, f.last)
		return f, err
	}, func(f found, err error) {
		r.checking = false
		if j.rooms[r.token] != r || r.loading {
			return
		}
		if err == nil {
			for _, m := range f.messages {
				if m.Seq > r.last {
					r.accept(j, m)
				}
			}
			r.last = max(r.last, f.last) // a removal may have taken some
			r.settle()
			r.drain(j)
		}
		if len(r.ahead) == 0 && len(r.waiting) == 0 && err == nil {
			delete(j.late, r)
		} else {
			j.late[r] = struct{}{}
		}
		if r.again {
			j.check(r)
		}
	})
}

const (
	rotateEvery = time.Second
	rotateRooms = 64 // looked at in that time
)

// rotate looks after rooms that lack something, and after some of all.
func (j *JetStream) rotate(now time.Time) {
	if j.ready.Load() != nil {
		return
	}
	for r := range j.late {
		j.check(r)
	}
	if now.Before(j.rotateAt) {
		return
	}
	j.rotateAt = now.Add(rotateEvery)
	j.feed.check(j)
	if len(j.rotation) == 0 {
		for t := range j.rooms {
			j.rotation = append(j.rotation, t)
		}
	}
	n := min(rotateRooms, len(j.rotation))
	for _, t := range j.rotation[:n] {
		if r := j.rooms[t]; r != nil {
			j.check(r)
			j.trimRoom(r, now)
		}
	}
	j.rotation = j.rotation[n:]
}

// setRecord takes what the bucket says of the room.
func (j *JetStream) setRecord(r *sharedRoom, rev int64, known bool, rec roomRecord) {
	if rev <= r.recordRev {
		return
	}
	if rec.Dropped > r.record.Dropped && !r.loading {
		j.report.Trimmed = append(j.report.Trimmed, Trim{Room: r.name, Through: rec.Dropped})
	}
	r.recordRev, r.known, r.record = rev, known, rec
}

// fedRoom takes the feed's word on a room's record.
func (j *JetStream) fedRoom(r *sharedRoom, m *rawMessage) {
	var rec roomRecord
	if !m.deleted() {
		if err := json.Unmarshal(m.Data, &rec); err != nil {
			j.opts.Logger.Error("cannot read a room's record", "error", fmt.Sprint(err))
			return
		}
	}
	j.setRecord(r, m.Seq, !m.deleted(), rec)
}
