package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// lease is what makes this process a node, and what it knows of the others. Owned by loop.
//
// A node renews its key in the bucket. When it could not for as long as the lease lasts, it is a node no more: it
// says so to the hub, which sends its clients away, and begins anew under another name. The others, who go by
// when they heard of it last, which is later than it was written, wait longer, and then delete the key; the
// bucket lets one of them. Its users have their grace period from then on; the node with the lowest name takes
// those out who have not come back.
type lease struct {
	id      string
	rev     int64
	held    bool
	busy    bool
	renewed time.Time // when the last renewal that worked was sent
	renewAt time.Time
	back    time.Time // when the connection to the servers was last mended
	others  map[string]*node
	died    map[string]time.Time // when others ended
	cleanAt time.Time            // when users of nodes that are no more are taken out; zero: there are none
}

// node is another node, or this one.
type node struct {
	rev       int64
	heard     time.Time
	declaring bool
}

// registration is a node that has just been made.
type registration struct {
	id     string
	rev    int64
	sent   time.Time
	newest int64 // the bucket's, no older than rev
	nodes  []*rawMessage
}

// register makes this process a node under a new name.
func (j *JetStream) register(ctx context.Context) (in registration, err error) {
	in.id, in.sent = rand.Text(), time.Now()
	if in.rev, err = j.put(ctx, nodeKey(in.id), struct{}{}, 0); err != nil {
		return in, err
	}
	if in.newest, err = j.last(ctx, j.names.bucket, j.names.keys+">"); err != nil {
		return in, err
	}
	in.nodes, err = j.users(ctx, nodeKey("*"))
	return in, err
}

func (j *JetStream) registered(in registration) {
	now := time.Now()
	j.lease = lease{
		id: in.id, rev: in.rev, held: true, renewed: in.sent, others: make(map[string]*node), died: make(map[string]time.Time),
		cleanAt: now.Add(j.opts.Lease + j.opts.Grace), // what was left when all ended
	}
	j.feed.begin(j, in.newest)
	for _, m := range in.nodes {
		if m.deleted() {
			continue // who knows how long ago
		}
		j.lease.heard(j, strings.TrimPrefix(m.Subject, j.names.keys+"node."), m)
	}
	j.ready.Store(nil)
}

// heard takes the feed's word on a node.
func (l *lease) heard(j *JetStream, id string, m *rawMessage) {
	n := l.others[id]
	switch {
	case n != nil && m.Seq <= n.rev:
	case m.deleted():
		delete(l.others, id)
		l.died[id] = time.Now()
		l.cleanIn(j.opts.Grace + lastMoment)
		if id == l.id && l.held {
			l.lose(j)
		}
	case n == nil:
		l.others[id] = &node{rev: m.Seq, heard: time.Now()}
	default:
		n.rev, n.heard = m.Seq, time.Now()
	}
}

// alive reports whether the node is one still.
func (l *lease) alive(id string) bool { return l.others[id] != nil }

// reconnected: what was not heard meanwhile says nothing.
func (l *lease) reconnected(j *JetStream) {
	for _, n := range l.others {
		n.heard = time.Now()
	}
	if l.held {
		j.ready.Store(nil)
	}
	l.back, l.renewAt = time.Now(), time.Time{}
}

func (l *lease) tick(j *JetStream, now time.Time) {
	if l.held && now.Sub(l.renewed) > j.opts.Lease {
		l.lose(j)
	}
	if !j.nc.IsConnected() {
		return
	}
	if !l.busy && !now.Before(l.renewAt) {
		l.busy, l.renewAt = true, now.Add(j.opts.Lease/10)
		if l.held {
			l.renew(j, now)
		} else {
			work(j, openTimeout, j.register, func(in registration, err error) {
				l.busy = false
				if err == nil {
					j.registered(in)
				}
			})
		}
	}
	if !l.held {
		return
	}
	for id, n := range l.others {
		if id != l.id && !n.declaring && now.Sub(n.heard) > j.opts.Lease*4/3 {
			l.declareDead(j, id, n)
		}
	}
	if !l.cleanAt.IsZero() && now.After(l.cleanAt) {
		l.cleanAt = time.Time{}
		l.clean(j)
	}
}

func (l *lease) renew(j *JetStream, sent time.Time) {
	id, rev := l.id, l.rev
	work(j, serverTimeout, func(ctx context.Context) (int64, error) {
		next, err := j.put(ctx, nodeKey(id), struct{}{}, rev)
		if !conflict(err) {
			return next, err
		}
		next, found, err := j.load(ctx, nodeKey(id), &struct{}{}) // the answer to the last may have been lost
		if err == nil && !found {
			err = ErrLost
		}
		return next, err
	}, func(next int64, err error) {
		l.busy = false
		switch {
		case l.id != id || !l.held:
		case err == nil:
			l.rev, l.renewed = next, sent
			if j.nc.IsConnected() { // still
				j.ready.Store(nil)
			}
		case errors.Is(err, ErrLost):
			l.lose(j)
		case sent.After(l.back): // else its answer went with the connection of before
			j.away()
		}
	})
}

// lose ends this node: everything is answered, nothing is held.
func (l *lease) lose(j *JetStream) {
	j.opts.Logger.Warn("this node was out of reach for too long: its clients are sent away")
	l.held, l.renewAt = false, time.Time{}
	j.ready.Store(&ErrLost)
	j.failPublishes(ErrLost)
	for key, q := range j.waiting {
		for _, c := range q {
			j.refuse(c, ErrLost)
			c.over = true
		}
		delete(j.waiting, key)
	}
	for _, r := range j.rooms {
		for _, ref := range r.claims {
			j.report.Claimed = append(j.report.Claimed, Claimed{Ref: ref, Err: ErrLost})
		}
		j.drop(r, ErrLost)
	}
	for ref, room := range j.removals {
		j.report.Removed = append(j.report.Removed, Removed{Ref: ref, Room: room, Err: ErrLost})
		delete(j.removals, ref)
	}
	j.feed.waiting = nil
	j.report.Lost = true
}

// giveUp tells the others that this node ends. Its users have the grace period to come to another.
func (l *lease) giveUp(j *JetStream) {
	if !l.held || !j.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	rev, found, err := j.load(ctx, nodeKey(l.id), &struct{}{})
	if err == nil && found {
		_, _ = j.remove(ctx, nodeKey(l.id), "", rev) // else the lease runs out
	}
}

// declareDead deletes the key of a node that has been silent for too long.
func (l *lease) declareDead(j *JetStream, id string, n *node) {
	n.declaring = true
	work(j, serverTimeout, func(ctx context.Context) (int64, error) {
		return j.remove(ctx, nodeKey(id), "", n.rev)
	}, func(_ int64, err error) {
		n.declaring = false
		if err != nil {
			j.feed.check(j) // it may be alive, and not heard
		}
	})
}

// clean takes out the users of nodes that are no more.
func (l *lease) clean(j *JetStream) {
	for id := range l.others {
		if id < l.id {
			return // that one does
		}
	}
	work(j, time.Minute, func(ctx context.Context) ([]*rawMessage, error) { return j.users(ctx, userKey("*", "*")) },
		func(users []*rawMessage, err error) {
			if err != nil || !l.held {
				l.cleanIn(j.opts.Lease)
				return
			}
			var newest int64
			for _, m := range users {
				newest = max(newest, m.Seq)
			}
			j.feed.after(newest, func() { l.takeOut(j, users) }) // until it knows their nodes, if these are new
		})
}

func (l *lease) takeOut(j *JetStream, users []*rawMessage) {
	orphans := slices.DeleteFunc(users, func(m *rawMessage) bool {
		var u userRecord
		if m.deleted() || json.Unmarshal(m.Data, &u) != nil || l.alive(u.Node) {
			return true
		}
		left := j.opts.Grace - time.Since(l.died[u.Node])
		if left > 0 {
			l.cleanIn(left + lastMoment)
		}
		return left > 0
	})
	maps.DeleteFunc(l.died, func(_ string, at time.Time) bool { return time.Since(at) > tombstoneTTL })
	work(j, time.Minute, func(ctx context.Context) (failed struct{}, err error) {
		for _, m := range orphans {
			switch _, e := j.remove(ctx, strings.TrimPrefix(m.Subject, j.names.keys), "", m.Seq); {
			case conflict(e):
				err = e // it may have come back, which the next look tells
			case e != nil:
				return failed, e
			}
		}
		return failed, err
	}, func(_ struct{}, err error) {
		if err != nil {
			l.cleanIn(j.opts.Lease)
		}
	})
}

// lastMoment is for those who come back at the end of the grace period.
const lastMoment = time.Second

// cleanIn looks for users of nodes that are no more after that time at the latest.
func (l *lease) cleanIn(d time.Duration) {
	if at := time.Now().Add(d); l.cleanAt.IsZero() || at.Before(l.cleanAt) {
		l.cleanAt = at
	}
}
