package hub

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"parley/protocol"
)

// How several hubs come to rest, and what must hold of them then, and of those who are connected to them.

// pass lets time go by, deadline by deadline.
func (p *sharedPlay) pass(d time.Duration) {
	for end := p.s.now.Add(d); ; {
		next := end
		for _, n := range p.s.nodes {
			p.flush(n)
			if at := n.h.nextDeadline(); at.After(p.s.now) && at.Before(next) {
				next = at
			}
		}
		if p.s.now.Equal(end) {
			return
		}
		p.s.now = next
		for _, n := range p.s.nodes {
			n.h.now = next
		}
	}
}

// rest lets everything that is under way come to its end.
func (p *sharedPlay) rest() {
	p.s.refused, p.s.lost = 0, 0
	for busy := true; busy && p.wrong == ""; {
		for busy = p.answer(); len(p.pages) > 0; busy = true {
			p.deliver(0)
		}
	}
}

// answer lets the servers do all that they are asked, and the hubs hear of it, but not what the log readers read.
func (p *sharedPlay) answer() (busy bool) {
	for again := true; again; busy = busy || again {
		again = false
		for _, n := range p.s.nodes {
			for all := n.todo(); len(all) > 0; all = n.todo() {
				all[0]()
				n.tell()
				again = true
			}
			for n.tell(); len(n.reports) > 0; again = true {
				p.report(n)
				p.flush(n)
			}
			p.flush(n)
		}
	}
	return busy
}

// finish is the end of every schedule: all comes to rest, and then everybody goes.
func (p *sharedPlay) finish() {
	p.rest()
	p.checkLeft()
	for _, d := range []time.Duration{keepIdle, DefaultGrace, keepIdle} { // who went at the last moment is announced, or goes, later
		p.pass(d + time.Second)
		p.rest()
	}
	p.note("all is at rest")
	p.checkRest()
	p.probe()
	p.note("everybody goes")
	for i, c := range slices.Clone(p.callers) {
		if !c.lost {
			c.end(i%2 == 0)
		}
	}
	for range 3 {
		p.rest()
		p.pass(DefaultGrace + keepIdle + time.Second)
	}
	p.rest()
	p.checkEmpty()
}

// checkLeft looks whether those who said goodbye, or could not come back, have left, but whose user has gone elsewhere.
func (p *sharedPlay) checkLeft() {
	for _, c := range p.callers {
		if c.full && c.paper.closed && c.in != nil && c.in.Session != "" && p.setting.Grace > 0 {
			continue // closed for taking no more, before its goodbye came to be acted on: it has its grace period
		}
		for _, room := range modelRooms {
			for _, r := range p.s.people(room) {
				if c.left && r.id == c.user.ID && len(p.s.resumed[r.id]) == 0 && c.n.losses == 0 {
					p.fail(c, "has left, and %s is still there", r.id)
				}
			}
		}
	}
}

// checkRest is what must hold when nothing is under way: what the servers have, the hubs have, and their clients.
func (p *sharedPlay) checkRest() {
	if p.s.early != "" {
		p.fail(nil, "%s had no whole grace period", p.s.early)
	}
	for _, n := range p.s.nodes {
		for name, r := range n.h.rooms {
			want, got := p.s.people(name), n.h.users.InRoom(name, 0, 100)
			for i, u := range got {
				if i >= len(want) || u.ID != want[i].id || n.h.members[u.ID].remote == (want[i].node == n.number) {
					p.fail(nil, "hub %d has %v in %s; %d there are", n.number, u, name, len(want))
				}
			}
			if len(got) != len(want) || r.pending > 0 || r.idle() {
				p.fail(nil, "hub %d has %d members of %d, %d here, %d pending", n.number, len(got), len(want), r.here, r.pending)
			}
		}
		for c := range n.h.clients {
			if c.blocked() || c.inFlight > 0 || c.lost {
				p.fail(c.out.(*caller), "is blocked: %v, %d in flight, lost %v", c.blocked(), c.inFlight, c.lost)
			}
		}
	}
	for _, room := range modelRooms {
		for _, r := range p.s.people(room) {
			if n := p.s.leases[r.node]; n == nil {
				p.fail(nil, "%s is at node %d, which is no more", r.id, r.node)
			} else if m := n.h.members[r.id]; m == nil || m.client == nil || r.away {
				p.fail(nil, "%s is at node %d, away %v, and has no connection there", r.id, r.node, r.away)
			}
		}
	}
	for _, c := range p.callers {
		if !c.over && !c.lost {
			c.checkRest()
		}
	}
}

func (c *caller) checkRest() {
	p, m := c.p, c.c.member
	for _, q := range c.asked {
		p.fail(c, "%s %d is never answered", q.event, q.number)
	}
	if c.in == nil || m == nil {
		if m != nil || c.in != nil {
			p.fail(c, "is logged in: %v, is a member: %v", c.in, m)
		}
		return
	}
	r, all := p.s.get(c.in.Room+"/"+c.in.Nick), p.s.people(c.in.Room)
	if m.ID != c.user.ID || !r.present() || r.id != m.ID || r.away || r.node != c.n.number {
		p.fail(c, "is %s; the servers have %+v", m.ID, r)
	}
	if room := p.s.get(c.in.Room + "/"); p.s.lives == 0 && !room.opens(accessOf(c.in)) {
		p.fail(c, "is in a room that is locked for it")
	}
	if in := p.s.messages(c.in.Room, c.last); len(in) > 0 {
		p.fail(c, "never hears %v", in)
	}
	if !c.told {
		p.fail(c, "is never sent who is there")
	}
	same := slices.EqualFunc(c.list, all, func(u person, r record) bool { return u.ID == r.id && u.Name == r.name })
	if c.count != len(all) || len(all) <= p.setting.UsersLimit && !same {
		p.fail(c, "believes in %v, %d in all; there are %d", c.list, c.count, len(all))
	}
}

func accessOf(r *protocol.Login) []byte {
	if r.Access == "" {
		return nil
	}
	return accessHash(r.Access)
}

// probe looks whether anybody can take the name of somebody who is there, and whether somebody new can come in.
func (p *sharedPlay) probe() {
	for _, c := range slices.Clone(p.callers) {
		if c.over || c.lost || c.in == nil {
			continue
		}
		req := &protocol.Login{Name: c.user.Name, Nick: c.in.Nick, Room: c.in.Room, Access: c.in.Access, Since: -1}
		for i, n := range p.s.nodes {
			o := p.connect(n)
			if i == 0 { // somebody new
				req := *req
				req.Name, req.Nick = "Zoe", "zoe"
				o.ask("login", loginData(&req), &question{login: &req})
				p.rest()
				full := len(p.s.people(c.in.Room)) >= p.setting.RoomLimit
				if rec := p.s.get(c.in.Room + "/"); o.in == nil && !full && rec.opens(accessOf(&req)) {
					p.fail(o, "cannot come in")
				}
				o.end(true)
				p.rest()
				continue
			}
			o.ask("login", loginData(req), &question{login: req})
			p.rest()
			if o.in != nil || c.in == nil {
				p.fail(o, "has the name of %s", c.label)
			}
			o.end(true)
		}
	}
	p.pass(time.Second)
	p.rest()
}

// checkEmpty is what must hold when everybody has gone, and some time has passed.
func (p *sharedPlay) checkEmpty() {
	for _, n := range p.s.nodes {
		h := n.h
		left := fmt.Sprintf("%d clients, %d rooms, %d members, %d messages, %d claims, %d logins, %d logouts, %d removals, %d timers, %d bytes",
			len(h.clients), len(h.rooms), len(h.members), len(h.pending), len(h.opening), len(h.entering), len(h.leaving), len(h.removals), len(h.timers.heap), h.windows.bytes)
		if strings.ContainsAny(left, "123456789") {
			p.fail(nil, "hub %d has left: %s", n.number, left)
		}
		if len(n.rooms)+len(n.waiting)+len(n.requests)+len(n.later) > 0 {
			p.fail(nil, "node %d has left: %d rooms, %d changes", n.number, len(n.rooms), len(n.waiting))
		}
	}
	for _, room := range modelRooms {
		if in := p.s.people(room); len(in) > 0 {
			p.fail(nil, "%v are still in %s", in, room)
		}
	}
}
