package hub

import (
	"bytes"
	"time"

	"parley/store"
)

// The part of a node (servers_test.go) that changes rooms and users: a store.Shared.

// sharedChange is a call that changes a user. Those of one user are carried out one after the other.
type sharedChange struct {
	kind                sharedKind
	room, nick, id, key string
	reason              string
	at                  time.Time // of goesAway and expiresThere
	busy, over          bool
	deleted, written    int64 // revisions
	ref                 store.Ref
	entry               store.Entry
	resumed             bool
	logAt               int64
}

type sharedKind int

const (
	entersRoom sharedKind = iota
	goesAway
	expiresThere
	leavesRoom
	isKicked
)

// Enter implements store.Shared.
func (n *node) Enter(ref store.Ref, e store.Entry) error {
	return n.ask(func() {
		c := &sharedChange{kind: entersRoom, room: e.User.Room, nick: e.User.Nick, id: e.User.ID, ref: ref, entry: e, logAt: -1}
		n.work(func() func() {
			last := n.s.last(c.room)
			return func() {
				c.logAt = last
				n.carryOn(c.key)
			}
		})
		n.alter(c)
	})
}

// Cancel implements store.Shared.
func (n *node) Cancel(ref store.Ref) {
	n.canceled[ref] = true
	n.call(func() { n.giveUp(ref) })
}

// giveUp ends the wait for an Enter; 0: for any.
func (n *node) giveUp(ref store.Ref) {
	for _, room := range modelRooms {
		for _, name := range modelNames {
			for _, c := range n.waiting[room+"/"+nickOf(name)] {
				if c.kind == entersRoom && !c.over && (c.ref == ref || ref == 0) {
					n.refuse(c, errServers)
					c.over = true
					n.carryOn(c.key)
					return
				}
			}
		}
	}
}

// Away and the others implement store.Shared.
func (n *node) Away(room, nick, id string) {
	at := n.s.now
	n.call(func() { n.alter(&sharedChange{kind: goesAway, room: room, nick: nick, id: id, at: at}) })
}

func (n *node) Expire(room, nick, id string) {
	at := n.s.now
	n.call(func() { n.alter(&sharedChange{kind: expiresThere, room: room, nick: nick, id: id, at: at}) })
}

func (n *node) Leave(room, nick, id string) {
	n.call(func() { n.alter(&sharedChange{kind: leavesRoom, room: room, nick: nick, id: id}) })
}

func (n *node) Kick(room, nick, id, reason string) {
	n.call(func() { n.alter(&sharedChange{kind: isKicked, room: room, nick: nick, id: id, reason: reason}) })
}

func (n *node) Typing(t store.Typing) {
	for _, o := range n.s.nodes {
		if o != n {
			o.call(func() {
				if o.rooms[t.Room] != nil {
					o.report.Typing = append(o.report.Typing, t)
				}
			})
		}
	}
}

func (n *node) alter(c *sharedChange) {
	c.key = c.room + "/" + c.nick
	n.waiting[c.key] = append(n.waiting[c.key], c)
	n.carryOn(c.key)
}

func (n *node) carryOn(key string) {
	for q := n.waiting[key]; len(q) > 0 && !q[0].busy; q = n.waiting[key] {
		if c := q[0]; !c.over && !n.step(c) {
			return
		}
		if q = q[1:]; len(q) == 0 {
			delete(n.waiting, key)
		} else {
			n.waiting[key] = q
		}
	}
}

func (n *node) step(c *sharedChange) (through bool) {
	r := n.rooms[c.room]
	if r == nil || r.loading {
		n.refuse(c, store.ErrAway)
		return true
	}
	p, there := r.people[c.nick]
	switch c.kind {
	case entersRoom:
		return n.stepIn(c, r, p, there)
	case goesAway:
		if !there || p.id != c.id || p.node != n.number || p.away {
			return true
		}
		p.away, p.since = true, c.at
		n.put(c, p, p.rev)
	default:
		if !there || p.id != c.id || c.kind != isKicked && p.node != n.number || c.kind == expiresThere && !p.away {
			return true
		}
		if c.kind == expiresThere && c.at.Before(p.since.Add(DefaultGrace)) {
			n.s.early = c.id
		}
		n.put(c, record{room: c.room, nick: c.nick, id: c.id, gone: true, reason: c.reason}, p.rev)
	}
	return false
}

func (n *node) stepIn(c *sharedChange, r *heldRoom, p record, there bool) (through bool) {
	e := &c.entry
	newcomer := record{room: c.room, nick: c.nick, id: e.User.ID, name: e.User.Name, session: e.Session, node: n.number}
	switch {
	case !r.record.opens(e.Access):
		n.refuse(c, store.ErrWrongKey)
		return true
	case !r.record.opened:
		rec := r.record
		rec.room, rec.gone, rec.opened, rec.lock = c.room, false, true, e.Access
		n.put(c, rec, r.record.rev)
	case c.written != 0 && there && p.rev == c.written:
		return n.stepBehind(c, r)
	case c.written != 0:
		n.refuse(c, store.ErrAway)
		return true
	case !there && len(r.people) >= e.Limit:
		n.refuse(c, store.ErrRoomFull)
		return true
	case !there:
		c.resumed, c.id = false, e.User.ID
		n.put(c, newcomer, c.deleted)
	case p.id == e.User.ID, e.Session != nil && bytes.Equal(p.session, e.Session):
		c.resumed, c.id = p.id != e.User.ID, p.id
		p.node, p.away = n.number, false
		n.put(c, p, p.rev)
	case p.away || n.s.leases[p.node] == nil:
		c.resumed, c.id = false, e.User.ID
		n.put(c, newcomer, p.rev)
	default:
		n.refuse(c, store.ErrNameTaken)
		return true
	}
	return false
}

func (n *node) stepBehind(c *sharedChange, r *heldRoom) (through bool) {
	if c.logAt < 0 {
		return false
	}
	if c.logAt > r.last {
		c.busy = true
		r.after(c.logAt, func() {
			c.busy = false
			n.carryOn(c.key)
		})
		return false
	}
	for _, behind := range n.waiting[c.key][1:] {
		if behind.kind == goesAway {
			behind.over = true
		}
	}
	n.report.Entered = append(n.report.Entered, store.Entered{Ref: c.ref, ID: c.id, Resumed: c.resumed, Lock: r.record.lock})
	return true
}

func (n *node) refuse(c *sharedChange, err error) {
	if c.kind == entersRoom && !c.over {
		n.report.Entered = append(n.report.Entered, store.Entered{Ref: c.ref, Err: err})
	}
}

// put writes a record, and goes on when the feed has come to it.
func (n *node) put(c *sharedChange, r record, expected int64) {
	c.busy = true
	n.work(func() func() {
		old := n.s.get(r.key())
		rev, ok := n.s.write(r, expected)
		if ok && c.kind == isKicked {
			n.s.removed[c.id] = true
		}
		if ok && c.kind == entersRoom && r.nick != "" && old.id == r.id {
			var by *client
			if l := n.h.entering[c.ref]; l != nil {
				by = l.ev.c
			}
			n.s.resumed[c.id] = append(n.s.resumed[c.id], by)
		}
		if ok && n.s.loses() {
			return func() { n.lookUp(c, r.key()) } // it is written, and this node does not know
		}
		return func() {
			if !ok {
				n.lookUp(c, r.key())
				return
			}
			if r.key() == c.key {
				c.written = rev
			}
			n.own[rev] = true
			n.seen(c, rev)
		}
	})
}

func (n *node) seen(c *sharedChange, rev int64) {
	n.after(rev, func() {
		c.busy = false
		n.carryOn(c.key)
	})
}

// lookUp reads a key of which this node does not know the newest.
func (n *node) lookUp(c *sharedChange, key string) {
	if c.over {
		c.busy = false
		n.carryOn(c.key)
		return
	}
	n.work(func() func() {
		r := n.s.get(key)
		return func() {
			if r.gone && key == c.key {
				c.deleted = r.rev
			}
			n.seen(c, r.rev)
		}
	})
}
