package store

import (
	"context"
	"encoding/json"
	"time"
)

// change is a call that changes a user. Those of one user are carried out one after the other. Each looks at what
// the feed has told, and is through, or refused, or writes what should be; when that is written, and the feed has
// come to it, or when somebody else was faster, it looks again.
type change struct {
	kind   changeKind
	room   string // token
	key    string // of the user's record
	nick   string // token
	id     string
	reason string

	busy     bool  // something is on its way for it
	over     bool  // it was given up
	deleted  int64 // revision of the deletion that it has to replace
	ref      Ref   // of enters, as what follows
	written  int64 // revision of the user's record that it wrote; 0: none yet
	entry    Entry
	deadline time.Time
	resumed  bool
	logAt    int64 // the room's newest seq when it was asked, -1: not known yet
}

type changeKind int

const (
	enters changeKind = iota
	goesAway
	expires
	leaves
	isKicked
)

const retryPause = 250 * time.Millisecond

// alter puts a change behind those of the same user.
func (j *JetStream) alter(c *change) {
	c.nick = token(c.nick)
	c.key = userKey(c.room, c.nick)
	j.waiting[c.key] = append(j.waiting[c.key], c)
	j.carryOn(c.key)
}

// carryOn does what can be done for a user.
func (j *JetStream) carryOn(key string) {
	for q := j.waiting[key]; len(q) > 0 && !q[0].busy; q = j.waiting[key] {
		c := q[0]
		if !c.over && !j.step(c) {
			return
		}
		if q = q[1:]; len(q) == 0 {
			delete(j.waiting, key)
		} else {
			j.waiting[key] = q
		}
	}
}

// step does the next thing for a change, and reports whether it is through.
func (j *JetStream) step(c *change) (through bool) {
	r := j.rooms[c.room]
	if r == nil || r.loading {
		j.refuse(c, ErrAway)
		return true
	}
	p := r.people[c.nick]
	switch c.kind {
	case goesAway:
		if p == nil || p.ID != c.id || p.Node != j.lease.id || p.Away {
			return true
		}
		rec := p.userRecord
		rec.Away, rec.Born = true, p.born
		j.setKey(c, c.key, rec, p.rev)
	case expires, leaves, isKicked:
		if p == nil || p.ID != c.id || c.kind != isKicked && p.Node != j.lease.id || c.kind == expires && !p.Away {
			return true
		}
		j.deleteKey(c, c.key, c.reason, p.rev)
	case enters:
		return j.stepIn(c, r, p)
	}
	return false
}

func (j *JetStream) setKey(c *change, key string, value any, expected int64) {
	c.busy = true
	work(j, serverTimeout, func(ctx context.Context) (*rawMessage, error) {
		return j.written(ctx, key, value, expected)
	}, func(m *rawMessage, err error) { j.wrote(c, key, m, err) })
}

func (j *JetStream) deleteKey(c *change, key, reason string, expected int64) {
	c.busy = true
	work(j, serverTimeout, func(ctx context.Context) (*rawMessage, error) {
		rev, err := j.remove(ctx, key, reason, expected)
		return &rawMessage{Subject: j.names.keys + key, Seq: rev, reason: reason}, err
	}, func(m *rawMessage, err error) { j.wrote(c, key, m, err) })
}

// written writes a key, and gives what the feed will tell of it.
func (j *JetStream) written(ctx context.Context, key string, value any, expected int64) (*rawMessage, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	rev, err := j.put(ctx, key, value, expected)
	return &rawMessage{Subject: j.names.keys + key, Seq: rev, Data: data}, err
}

// wrote goes on with a change after its write.
func (j *JetStream) wrote(c *change, key string, m *rawMessage, err error) {
	switch {
	case err == nil:
		if key == c.key {
			c.written = m.Seq
		}
		j.feed.wrote(m)
		j.seen(c, m.Seq)
	case conflict(err):
		j.lookUp(c, key)
	default: // it may be written or not: the next look tells
		time.AfterFunc(retryPause, func() { j.tell(func() { j.lookUp(c, key) }) })
	}
}

// seen carries on when the feed has come to seq.
func (j *JetStream) seen(c *change, seq int64) {
	j.feed.after(seq, func() {
		c.busy = false
		j.carryOn(c.key)
	})
}

// lookUp asks the bucket's leader for a key of which this node does not know the newest.
func (j *JetStream) lookUp(c *change, key string) {
	if c.over {
		c.busy = false
		j.carryOn(c.key)
		return
	}
	r, rev := j.rooms[c.room], int64(0)
	if r != nil {
		rev = r.recordRev
	}
	work(j, serverTimeout, func(ctx context.Context) (*rawMessage, error) {
		return j.get(ctx, j.names.bucket, getRequest{LastFor: j.names.keys + key})
	}, func(m *rawMessage, err error) {
		switch {
		case err != nil:
			j.wrote(c, key, nil, err)
			return
		case m == nil: // never written, or forgotten since; but the feed may have told of a newer one meanwhile
			c.deleted = 0
			if key == roomKey(c.room) && r != nil && r == j.rooms[c.room] && r.recordRev == rev {
				r.recordRev, r.known, r.record = 0, false, roomRecord{}
			}
			j.seen(c, 0)
			return
		case m.deleted() && key == c.key:
			c.deleted = m.Seq
		}
		j.seen(c, m.Seq) // as the feed tells it: the feed may know more by now
	})
}
