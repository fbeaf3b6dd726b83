package hub

import "parley/protocol"

// handleKick removes somebody from the room (section 3, kick): the one concerned
// is closed with 4503, which ends the session for good.
func (h *Hub) handleKick(ev received, req *protocol.Kick) {
	m := ev.c.member
	if !m.moderator {
		h.fail(ev, protocol.NewError(protocol.CodeForbidden))
		return
	}
	other := h.members[req.ID]
	if other == nil || other.room != m.room {
		h.fail(ev, protocol.NewError(protocol.CodeNoSuchUser))
		return
	}
	if other != m {
		h.kick(other, req.Reason)
		h.send(ev.c, appendText(nil, protocol.AppendEmptyAck(nil, ev.ackID)))
		return
	}
	h.send(ev.c, appendText(nil, protocol.AppendEmptyAck(nil, ev.ackID)))
	h.kick(other, req.Reason)
}

// kick ends a member's stay and its connection.
func (h *Hub) kick(m *member, reason string) {
	c := m.client
	h.leave(m)
	if c != nil {
		if reason == "" {
			reason = protocol.CloseRemoved.Reason()
		}
		c.out.closeWith(protocol.CloseRemoved, reason)
		h.drop(c)
	}
}
