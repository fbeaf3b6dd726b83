package hub

import (
	"errors"

	"parley/protocol"
	"parley/store"
)

// askToEnter is a login's second step; entered goes on with it.
func (h *Hub) askToEnter(l *loginPage) {
	c, r := l.ev.c, l.room
	if c.lost { // its user may be elsewhere by now, and stays there
		h.abandon(l.member)
		h.leaveIdle(r)
		return
	}
	if wait := h.guesses.wait(c.addr, h.now); wait > 0 {
		h.fail(l.ev, protocol.RateLimited(wait))
		h.abandon(l.member)
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
		h.abandon(l.member)
		h.leaveIdle(r)
		return
	}
	h.entering[ref], l.ref = l, ref
	c.entering = true
	r.pending++
}

// outdated reports whether what the directory answered does not hold any more: since it was asked the member has gone,
// or its earlier connection has ended, and what the directory was told of that comes behind the answer, and would fall
// on the newcomer. Asked again, it answers behind that.
func (h *Hub) outdated(l *loginPage) bool {
	m := l.member
	return h.members[m.ID] != m || !m.remote && m.parted > l.ref
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
