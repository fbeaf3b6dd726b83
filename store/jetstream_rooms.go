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
	presumed  int64 // while there never was one: up to here the hub was told that messages are dropped; else -1
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

// republished takes a message that the stream has stored.
func (j *JetStream) republished(r *sharedRoom, m *nats.Msg) {
	raw, err := rawOf(m)
	if err != nil {
		return // not the stream's: what is missing is found by a check
	}
	a := ahead{}
	a.previous, _ = strconv.ParseInt(m.Header.Get("Nats-Last-Sequence"), 10, 64)
	if err := a.decode(raw.Data); err != nil {
		j.opts.Logger.Error("cannot read a message, which is left out", "seq", raw.Seq, "error", err.Error())
		return // the next one, or a check, goes past it
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
		for _, m := range f.messages { // without a hole, though it failed later: so it comes on, however much it lacks
			if m.Seq > r.last {
				r.accept(j, m)
			}
		}
		if err == nil {
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
	if known {
		r.presumed = -1
	}
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
