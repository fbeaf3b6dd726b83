package hub

import (
	"crypto/sha256"
	"crypto/subtle"

	"parley/protocol"
)

// A user outlives its connection: while the grace period runs, or an old
// connection still looks alive, a login with the same session is the same user
// again (section 3, Resume).

// sessionHash is what the hub keeps of a session.
func sessionHash(session string) [32]byte { return sha256.Sum256([]byte(session)) }

func (m *member) hasSession(session string) bool {
	sum := sessionHash(session)
	return m.session != [32]byte{} && subtle.ConstantTimeCompare(m.session[:], sum[:]) == 1
}

// handleDisconnected is the end of a connection, behind all that it asked.
func (h *Hub) handleDisconnected(ev disconnected) {
	c := ev.c
	c.lost, c.goodbye = true, ev.goodbye
	h.metrics.countClose(ev.code)
	if c.entering && h.shared != nil {
		h.cancelEnter(c)
	}
	if c.ended || !c.blocked() {
		h.gone(c)
	}
}

func (h *Hub) gone(c *client) {
	if m := c.member; m != nil && c.goodbye && !h.draining.on {
		h.leave(m)
	}
	h.drop(c)
}

// drop is through with a connection: its user stays for the grace period, if it
// can come back.
func (h *Hub) drop(c *client) {
	c.ended = true
	c.waiting, c.waitBytes = nil, 0
	if c.lost {
		delete(h.clients, c)
		h.drained()
	}
	m := c.member
	if m == nil {
		return
	}
	if h.draining.on {
		h.depart(m) // nobody is told, and no grace runs out (section 7)
		h.tellAway(m)
		return
	}
	if m.session == [32]byte{} || h.cfg.Grace <= 0 {
		h.leave(m)
		return
	}
	h.depart(m)
	h.beginGrace(m)
}

// beginGrace lets a member without a connection stay for a while.
func (h *Hub) beginGrace(m *member) {
	h.tellAway(m)
	m.absence++
	absence := m.absence
	h.timers.set(h.now.Add(h.cfg.Grace), func() {
		if h.members[m.ID] == m && m.client == nil && !m.remote && m.absence == absence && !h.draining.on {
			h.expire(m)
		}
	})
}

// depart parts a member from its connection.
func (h *Hub) depart(m *member) {
	h.flushRoom(m.room)
	m.room.detach(m.client)
	m.client.member, m.client = nil, nil
}

// resume gives a member another connection: nobody else sees a thing. The old
// one, if it still looks alive, is closed, and nothing more of it is acted on.
func (h *Hub) resume(m *member, c *client) {
	if old := m.client; old != nil {
		h.depart(m)
		old.out.closeWith(protocol.CloseTakenOver, protocol.CloseTakenOver.Reason())
		h.drop(old)
	}
	m.client, c.member = c, m
	m.room.attach(c)
}

// renew answers a login on a connection that is logged in (section 3, Renewal).
func (h *Hub) renew(ev received, req *protocol.Login) {
	m := ev.c.member
	if req.Room != m.Room || req.Nick != m.Nick && req.Nick != "" || req.Session == "" || !m.hasSession(req.Session) {
		h.fail(ev, protocol.NewError(protocol.CodeAlreadyLoggedIn))
		return
	}
	if !h.authorized(ev, req) {
		h.fail(ev, protocol.NewError(protocol.CodeUnauthorized))
		return
	}
	ev.c.accept(ev.grant)
	h.send(ev.c, h.frame(protocol.AppendLoginAck(h.scratch[:0], ev.ackID, protocol.LoginAck{
		Renewal: true, Resumed: true, User: m.wire(),
		Epoch: h.log.Epoch(), Seq: m.room.window.seq, Locked: m.room.lock != nil,
	})))
}

// flushIfMember hands out what the client's room has for it.
func (h *Hub) flushIfMember(c *client) {
	if c.member != nil {
		h.flushRoom(c.member.room)
	}
}
