package hub

import (
	"parley/protocol"
	"parley/store"
)

// With a shared directory this hub is one of several that are one chat. What differs stands here, and in shared_enter.go
// for those who come in: the hub asks the directory to let somebody in, or out, and its members change by what the
// directory reports, never before. So a room's members are the same on all nodes, in the same order (one that was away
// may hear late of who came). One whose connection is elsewhere is a member without a client: it is listed, named and
// counted like one in its grace period, which its own node runs.

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

// askToLeave parts a member from its connection and asks that it be taken out of the room.
func (h *Hub) askToLeave(m *member) {
	if m.client != nil {
		h.depart(m)
	}
	m.absence++
	m.parted = h.ref()
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
		m.parted = h.ref()
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

// typedElsewhere passes on who types at another node, or did: it may be here by now, and is not told of itself.
func (h *Hub) typedElsewhere(t store.Typing) {
	r := h.rooms[t.Room]
	if r == nil || h.large(r) {
		return
	}
	h.flushRoom(r)
	frame := appendText(nil, protocol.AppendTyping(nil, t.From, t.ID, t.Typing))
	for _, c := range r.clients {
		if c.member.ID != t.ID && !c.out.replace(slotTyping, t.ID, frame) {
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
