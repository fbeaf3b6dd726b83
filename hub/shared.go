package hub

import (
	"errors"
	"math/rand/v2"
	"time"

	"parley/protocol"
	"parley/store"
)

// With a shared directory this hub is one of several that are one chat. What differs stands here: the hub asks the
// directory to let somebody in, or out, and its members change by what the directory reports, never before. So a
// room's members are the same on all nodes, in the same order (one that was away may hear late of who came). One whose
// connection is elsewhere is a member without a client: it is listed, named and counted like one in its grace period,
// which its own node runs.

// handleShared takes what a shared directory reports.
func (h *Hub) handleShared(r store.Report) {
	for i, c := range r.Changes {
		h.changed(c, i+1 < len(r.Changes) && r.Changes[i+1].Replaces(c))
	}
	for _, out := range r.Entered {
		h.entered(out)
	}
	for _, t := range r.Typing {
		h.typedElsewhere(t)
	}
	if r.Lost {
		h.lost()
	}
}

// askToEnter is a login's second step; entered goes on with it.
func (h *Hub) askToEnter(l *loginPage) {
	c, r := l.ev.c, l.room
	if c.lost { // its user may be elsewhere by now, and stays there
		h.leaveIdle(r)
		return
	}
	if wait := h.guesses.wait(c.addr, h.now); wait > 0 {
		h.fail(l.ev, protocol.RateLimited(wait))
		h.leaveIdle(r)
		return
	}
	e := store.Entry{
		User:  store.User{ID: h.newID(), Name: l.req.Name, Nick: l.req.Nick, Room: r.name},
		Limit: h.cfg.RoomLimit,
	}
	if l.req.Session != "" {
		sum := sessionHash(l.req.Session)
		e.Session = sum[:]
	}
	if l.req.Access != "" {
		e.Access = accessHash(l.req.Access)
	}
	ref := h.ref()
	if err := h.shared.Enter(ref, e); err != nil {
		h.fail(l.ev, protocol.NewError(protocol.CodeUnavailable))
		h.leaveIdle(r)
		return
	}
	h.entering[ref] = l
	c.entering = true
	r.pending++
}

func (h *Hub) entered(out store.Entered) {
	l := h.entering[out.Ref]
	delete(h.entering, out.Ref)
	c, r := l.ev.c, l.room
	c.entering = false
	r.pending--
	if out.Err == nil {
		r.opened, r.lock = true, out.Lock
		if m := h.members[out.ID]; m != nil && !m.remote {
			l.member, l.resumed = m, out.Resumed
		} else { // it has gone on already, in the same report
			out.Err = store.ErrAway
		}
	}
	switch {
	case out.Err != nil:
		h.abandon(l.member)
		if errors.Is(out.Err, store.ErrWrongKey) {
			h.guesses.wrong(c.addr, h.now)
		}
		if !c.ended {
			h.fail(l.ev, protocol.NewError(entryCode(out.Err)))
		}
		h.leaveIdle(r)
	case c.ended:
		h.abandon(l.member)
	default:
		h.login(l, nil)
	}
	h.proceed(c)
}

// cancelEnter gives up on a login whose connection has ended: by the time that it is carried out its user may have
// come back elsewhere, and would be taken from there.
func (h *Hub) cancelEnter(c *client) {
	for ref, l := range h.entering {
		if l.ev.c == c {
			h.shared.Cancel(ref)
		}
	}
}

func entryCode(err error) protocol.Code {
	switch {
	case errors.Is(err, store.ErrWrongKey):
		return protocol.CodeWrongKey
	case errors.Is(err, store.ErrNameTaken):
		return protocol.CodeNameTaken
	case errors.Is(err, store.ErrRoomFull):
		return protocol.CodeRoomFull
	}
	return protocol.CodeUnavailable
}

// abandon is through with a member that came in for a login which could not be finished: it may come back like
// one whose connection broke.
func (h *Hub) abandon(m *member) {
	if m == nil || h.members[m.ID] != m {
		return
	}
	h.announce(m.room) // which was left to the login
	if m.client != nil || m.remote {
		return
	}
	if m.session == [32]byte{} || h.cfg.Grace <= 0 {
		h.leave(m)
		return
	}
	h.beginGrace(m)
}

// askToLeave parts a member from its connection and asks that it be taken out of the room.
func (h *Hub) askToLeave(m *member) {
	if m.client != nil {
		h.depart(m)
	}
	m.absence++
	h.shared.Leave(m.Room, m.Nick, m.ID)
}

// expire takes out a member that did not come back. With a shared directory it may just be coming back.
func (h *Hub) expire(m *member) {
	if h.shared != nil {
		h.shared.Expire(m.Room, m.Nick, m.ID)
		return
	}
	h.leave(m)
}

// askToLogOut parts a connection from its user; it is answered when that has left, and waits until then.
func (h *Hub) askToLogOut(ev received) {
	c, m := ev.c, ev.c.member
	h.askToLeave(m)
	h.leaving[m.ID] = ev
	c.entering = true
}

// loggedOut answers a logout, if there is one of that user.
func (h *Hub) loggedOut(id string) {
	ev, ok := h.leaving[id]
	if !ok {
		return
	}
	delete(h.leaving, id)
	ev.c.entering = false
	h.send(ev.c, appendText(nil, protocol.AppendEmptyAck(nil, ev.ackID)))
	h.proceed(ev.c)
}

// tellAway tells the other nodes that the member has no connection.
func (h *Hub) tellAway(m *member) {
	if h.shared != nil {
		h.shared.Away(m.Room, m.Nick, m.ID)
	}
}

// changed does with a room's members what the directory says. replaced: the next change is somebody new with the name
// of the one who left, and the list is announced with that.
func (h *Hub) changed(c store.Change, replaced bool) {
	r := h.rooms[c.Member.Room]
	if r == nil || !r.ready {
		return // released meanwhile
	}
	m := h.members[c.Member.ID]
	switch c.Kind {
	case store.Arrived:
		m = h.adopt(r, c.Member)
		h.tell(r, true, m)
		if !h.expected(m, c.Member.Ref) {
			h.announce(r)
		}
	case store.Moved:
		if m == nil {
			return
		}
		h.move(m, !c.Member.Here)
		if m.remote {
			h.loggedOut(m.ID)
		}
		h.expected(m, c.Member.Ref)
	case store.Left:
		if m == nil {
			return
		}
		old := m.client
		h.remove(m)
		if !replaced {
			h.announce(r)
		}
		if old != nil { // somebody else took it out
			reason := c.Reason
			if reason == "" {
				reason = protocol.CloseRemoved.Reason()
			}
			old.out.closeWith(protocol.CloseRemoved, reason)
			h.drop(old)
		}
		h.loggedOut(m.ID)
		h.leaveIdle(r)
	}
}

// expected reports whether a login waits for what became of a member; else one that is here without a connection
// has its grace period.
func (h *Hub) expected(m *member, ref store.Ref) bool {
	if l := h.entering[ref]; l != nil {
		l.member = m
		return true
	}
	if !m.remote && m.client == nil {
		h.abandon(m)
	}
	return false
}

// adopt adds a member that the directory reports.
func (h *Hub) adopt(r *room, in store.Member) *member {
	m := &member{User: in.User, room: r, remote: !in.Here}
	copy(m.session[:], in.Session)
	if err := h.users.Save(&m.User); err != nil {
		panic("hub: " + err.Error()) // the directory lets one of two in
	}
	h.members[m.ID] = m
	r.count++
	if !m.remote {
		r.here++
	}
	r.people = nil
	return m
}

// move notes where a member's connection is now. The one that it had here is closed: somebody took it over.
func (h *Hub) move(m *member, remote bool) {
	if m.remote == remote {
		return
	}
	m.remote = remote
	m.absence++ // a grace period of before is over
	if !remote {
		m.room.here++
		return
	}
	m.room.here--
	if old := m.client; old != nil {
		h.depart(m)
		old.out.closeWith(protocol.CloseTakenOver, protocol.CloseTakenOver.Reason())
		h.drop(old)
	}
	h.leaveIdle(m.room)
}

// typedElsewhere passes on who types at another node.
func (h *Hub) typedElsewhere(t store.Typing) {
	r := h.rooms[t.Room]
	if r == nil || h.large(r) {
		return
	}
	h.flushRoom(r)
	frame := appendText(nil, protocol.AppendTyping(nil, t.From, t.ID, t.Typing))
	for _, c := range r.clients {
		if !c.out.replace(slotTyping, t.ID, frame) {
			h.slow = append(h.slow, c)
		}
	}
}

// lost sends everybody away who is logged in: the other nodes do without this one, and their names may be taken
// by now. They come back, here or elsewhere, and nothing of before holds.
func (h *Hub) lost() {
	h.flushAnswers()
	for c := range h.clients {
		if c.member != nil {
			h.flushIfMember(c)
			h.depart(c.member)
			h.end(c, protocol.CloseRestart)
		}
	}
	for id := range h.leaving {
		h.loggedOut(id)
	}
	for name, r := range h.rooms {
		if r.ready { // else it is on its way, and what becomes of that is reported
			h.windows.remove(r)
			delete(h.rooms, name)
		}
	}
	clear(h.members)
	h.users = store.NewUsers()
}

// sendOver is a drain that others take over from: each connection is closed at its turn, and comes back at once.
func (h *Hub) sendOver() {
	places := rand.Perm(len(h.clients))
	last, i := time.Duration(0), 0
	for c := range h.clients {
		wait := drainAfter + time.Duration(float64(places[i])/h.cfg.DrainRate*float64(time.Second))
		i++
		h.send(c, appendText(nil, protocol.AppendGoodbye(nil, wait, "The server restarts.")))
		wait = min(wait, drainAtMost-drainAfter)
		last = max(last, wait)
		h.timers.set(h.now.Add(wait), func() { h.sendOn(c) })
	}
	h.timers.set(h.now.Add(last+drainAfter), h.closeAll)
}

// sendOn closes a connection when what it was promised is done.
func (h *Hub) sendOn(c *client) {
	c.leaving = true
	if !c.ended && (c.inFlight > 0 || c.blocked()) {
		h.timers.set(h.now.Add(10*time.Millisecond), func() { h.sendOn(c) })
		return
	}
	h.flushAnswers()
	h.end(c, protocol.CloseRestart)
}
