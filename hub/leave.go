package hub

import "parley/protocol"

// leave takes a member out of its room and tells the others.
func (h *Hub) leave(m *member) {
	if h.shared != nil {
		h.askToLeave(m)
		return
	}
	h.remove(m)
	h.announce(m.room)
	h.leaveIdle(m.room)
}

func (h *Hub) remove(m *member) {
	r := m.room
	h.flushRoom(r)
	if c := m.client; c != nil {
		r.detach(c)
		c.member, m.client = nil, nil
	}
	h.users.Delete(m.ID)
	delete(h.members, m.ID)
	r.count--
	if !m.remote {
		r.here--
	}
	r.people = nil
	if !h.draining.on { // then no departure is announced (section 7)
		h.tell(r, false, m)
	}
}

// handleLogout is carried out when all that the connection sent before it has
// been answered; nothing of the room comes after its acknowledgement.
func (h *Hub) handleLogout(ev received) {
	c := ev.c
	h.flushAnswers()
	c.loginBy = h.now.Add(h.cfg.LoginTimeout)
	if h.shared != nil {
		h.askToLogOut(ev)
		return
	}
	h.leave(c.member)
	h.send(c, h.frame(protocol.AppendEmptyAck(h.scratch[:0], ev.ackID)))
}
