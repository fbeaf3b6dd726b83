package store

import (
	"context"
	"errors"
	"time"
)

// enter begins an Enter.
func (j *JetStream) enter(ref Ref, e Entry) {
	c := &change{
		kind: enters, room: token(e.User.Room), nick: e.User.Nick, id: e.User.ID, ref: ref, entry: e,
		deadline: time.Now().Add(serverTimeout), logAt: -1,
	}
	work(j, serverTimeout, func(ctx context.Context) (int64, error) {
		return j.last(ctx, j.names.log, j.names.messages+c.room)
	}, func(last int64, err error) {
		if err == nil { // else the deadline comes
			c.logAt = last
			j.carryOn(c.key)
		}
	})
	j.alter(c)
}

// stepIn is step for Enter, in the order in which PROTOCOL.md section 2 checks.
func (j *JetStream) stepIn(c *change, r *sharedRoom, p *person) (through bool) {
	e := &c.entry
	switch {
	case !r.record.opens(e.Access):
		j.refuse(c, ErrWrongKey)
		return true
	case !r.known || !r.record.Opened || r.record.Closing:
		j.openRoom(c, r)
	case c.written != 0 && p != nil && p.rev == c.written:
		return j.stepBehind(c, r)
	case c.written != 0: // somebody took it from here, or out, already
		j.refuse(c, ErrAway)
		return true
	case p == nil:
		if len(r.people) >= e.Limit {
			j.refuse(c, ErrRoomFull)
			return true
		}
		c.resumed, c.id = false, e.User.ID // it may have been about to resume one who has left since
		j.setKey(c, c.key, j.newcomer(e), c.deleted)
	case p.ID == e.User.ID, e.Session != nil && string(p.Session) == string(e.Session):
		// Written though it is here: it may be elsewhere by now, and this node not know yet.
		c.resumed, c.id = p.ID != e.User.ID, p.ID
		rec := p.userRecord
		rec.Node, rec.Away, rec.Born = j.lease.id, false, p.born
		j.setKey(c, c.key, rec, p.rev)
	case p.Away || !j.lease.alive(p.Node): // only in grace, and makes way
		c.resumed, c.id = false, e.User.ID
		j.setKey(c, c.key, j.newcomer(e), p.rev)
	default:
		j.refuse(c, ErrNameTaken)
		return true
	}
	return false
}

func (j *JetStream) newcomer(e *Entry) userRecord {
	return userRecord{ID: e.User.ID, Name: e.User.Name, Nick: e.User.Nick, Session: e.Session, Node: j.lease.id}
}

// stepBehind answers an Enter once this node has shown what the room had when it was asked.
func (j *JetStream) stepBehind(c *change, r *sharedRoom) (through bool) {
	if c.logAt < 0 {
		return false // carried on when it is known
	}
	if c.logAt > r.last {
		c.busy = true
		r.after(j, c.logAt, func(error) {
			c.busy = false
			j.carryOn(c.key)
		})
		j.check(r)
		return false
	}
	for _, behind := range j.waiting[c.key][1:] {
		if behind.kind == goesAway { // told of an earlier connection
			behind.over = true
		}
	}
	j.report.Entered = append(j.report.Entered, Entered{Ref: c.ref, ID: c.id, Resumed: c.resumed, Lock: r.record.Lock})
	return true
}

// openRoom writes that the room is open, or locked.
func (j *JetStream) openRoom(c *change, r *sharedRoom) {
	c.busy = true
	rec, rev := r.record, r.recordRev
	if !rec.Opened {
		rec.Opened, rec.Lock = true, c.entry.Access
	}
	rec.Closing = false
	known, presumed := r.known, r.presumed
	work(j, serverTimeout, func(ctx context.Context) (m *rawMessage, err error) {
		if !known { // an earlier room of that name may have had what the stream has dropped by now
			first, last, err := j.ends(ctx, j.names.log)
			if err != nil {
				return nil, err
			}
			rec.After, rec.Dropped = last, first-1
			if presumed >= 0 {
				rec.Dropped = presumed // as the hub was told
			}
		}
		return j.written(ctx, roomKey(r.token), rec, rev)
	}, func(m *rawMessage, err error) { j.wrote(c, roomKey(r.token), m, err) })
}

// refuse answers an Enter that failed.
func (j *JetStream) refuse(c *change, err error) {
	if c.kind == enters && !c.over {
		j.report.Entered = append(j.report.Entered, Entered{Ref: c.ref, Err: err})
	}
}

// errCanceled: nobody waits for it.
var errCanceled = errors.New("the connection has ended")

// cancelEnter gives up on one Enter.
func (j *JetStream) cancelEnter(ref Ref) {
	for key, q := range j.waiting {
		for _, c := range q {
			if c.kind == enters && c.ref == ref && !c.over {
				j.refuse(c, errCanceled)
				c.over = true
				j.carryOn(key)
				return
			}
		}
	}
}

// expireChanges gives up on Enters that take too long. What they wrote, or still write, is reported like anything
// else that happens.
func (j *JetStream) expireChanges(now time.Time) {
	for key, q := range j.waiting {
		for _, c := range q {
			if c.kind == enters && !c.over && now.After(c.deadline) {
				j.refuse(c, errUnanswered)
				c.over = true
			}
		}
		if !q[0].busy {
			j.carryOn(key)
		}
	}
}
