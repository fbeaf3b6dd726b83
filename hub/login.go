package hub

import (
	"crypto/sha256"
	"crypto/subtle"
	"slices"

	"parley/protocol"
	"parley/store"
)

// A login is done in two steps (section 3). The first asks the directory for the
// room, unless the hub has it, and the log for what the newcomer missed, unless
// the room's window has it; events of the connection wait behind it. The second
// is one go: nothing can come between its checks, the membership and the answer.

// loginPage is a login on its way to the second step.
type loginPage struct {
	ev    received
	req   *protocol.Login
	asked store.Ref // when: who asks later comes in later
	tries int       // how often the log was read for it
	room  *room

	// Once a shared directory has let it in.
	member  *member
	resumed bool
	ref     store.Ref // of the Enter
}

func (h *Hub) handleLogin(ev received, req *protocol.Login) {
	c := ev.c
	if c.member != nil {
		h.renew(ev, req)
		return
	}
	if !h.authorized(ev, req) {
		h.fail(ev, protocol.NewError(protocol.CodeUnauthorized))
		return
	}
	l := &loginPage{ev: ev, req: req, asked: h.ref()}
	r := h.rooms[req.Room]
	if r == nil {
		var err error
		if r, err = h.openRoom(req.Room); err != nil {
			h.fail(ev, protocol.NewError(protocol.CodeUnavailable))
			return
		}
	}
	l.room = r
	if !r.ready {
		c.entering = true
		r.asking = append(r.asking, l)
		return
	}
	h.login(l, nil)
}

// openRoom asks the directory for a room that the hub does not hold.
func (h *Hub) openRoom(name string) (*room, error) {
	ref := h.ref()
	out, done, err := h.dir.Claim(ref, name)
	if err != nil {
		return nil, err
	}
	if done && out.Err != nil {
		h.dir.Release(name)
		return nil, out.Err
	}
	r := &room{name: name}
	h.rooms[name] = r
	if done {
		h.restore(r, out.State)
	} else {
		h.opening[ref] = r
	}
	return r, nil
}

// claimed goes on with the logins that waited for a room.
func (h *Hub) claimed(out store.Claimed) {
	r := h.opening[out.Ref]
	delete(h.opening, out.Ref)
	asking := r.asking
	r.asking = nil
	if out.Err != nil {
		h.release(r)
	} else {
		h.restore(r, out.State)
		r.pending += len(asking)
	}
	for _, l := range asking {
		c := l.ev.c
		c.entering = false
		if out.Err == nil {
			r.pending--
		}
		switch {
		case c.ended:
		case out.Err != nil:
			h.fail(l.ev, protocol.NewError(protocol.CodeUnavailable))
		default:
			h.login(l, nil)
		}
		h.proceed(c)
	}
	if out.Err == nil {
		h.leaveIdle(r)
	}
}

// restore takes over what the log knows of a room.
func (h *Hub) restore(r *room, s store.RoomState) {
	r.ready = true
	r.opened, r.lock = s.Known, s.Lock
	r.trimmed = s.Dropped
	r.window.seq, r.window.from = s.Seq, s.From
	for _, m := range s.Members {
		if in := h.adopt(r, m); !in.remote { // as none should be
			h.abandon(in)
		}
	}
	for _, m := range s.Recent {
		r.window.add(kept{m.Seq, slices.Clip(protocol.RoomMessageData(appendMessage(nil, m)))})
	}
	h.windows.touch(r, r.window.bytes)
}

// login is the second step, with what was read of the log for it, if it had to be.
func (h *Hub) login(l *loginPage, read *page) {
	c, r := l.ev.c, l.room
	if h.shared != nil && (l.member == nil || h.outdated(l)) {
		h.askToEnter(l)
		return
	}
	old, err := l.member, (*protocol.Error)(nil)
	if h.shared == nil {
		old, err = h.admit(r, l.req, c)
	}
	if err == nil && old.overtook(l) {
		h.abandon(l.member)
		h.leaveIdle(r)
		h.end(c, protocol.CloseTakenOver)
		return
	}
	if err == nil {
		h.flushRoom(r)
		ack, whole := h.recall(r, l.req, read)
		switch {
		case !whole && h.readForLogin(l, r):
			return
		case !whole || h.fixLock(r, l.req) != nil:
			err = protocol.NewError(protocol.CodeUnavailable)
		default:
			h.enter(l, old, &ack)
			c.accept(l.ev.grant)
			h.send(c, h.frame(protocol.AppendLoginAck(h.scratch[:0], l.ev.ackID, ack)))
			h.announce(r) // what was left to this login, which may have been a newcomer's when it began
			return
		}
	}
	h.fail(l.ev, err)
	h.abandon(l.member)
	h.leaveIdle(r)
}

// overtook reports whether the member has come back meanwhile, elsewhere or on a connection that asked later than l, which
// waited for the log: that one stays, as if the two had come in one after the other.
func (m *member) overtook(l *loginPage) bool {
	return m != nil && (m.remote || m.client != nil && m.client.asked > l.asked)
}

// enter makes the client a member, the one that is there already or a new one, and
// completes the answer.
func (h *Hub) enter(l *loginPage, old *member, ack *protocol.LoginAck) {
	c, r, req := l.ev.c, l.room, l.req
	ack.Resumed = l.resumed || l.member == nil && old != nil && old.hasSession(req.Session)
	if ack.Resumed || l.member != nil {
		h.resume(old, c)
		r.news.changed = r.news.changed || !ack.Resumed // the newcomer is to have the list too
	} else {
		if old != nil {
			h.remove(old) // in grace, and makes way
		}
		h.join(c, r, req)
	}
	c.asked = l.asked
	ack.User = c.member.wire()
	ack.Users, ack.Count = h.people(r), r.count
	ack.Epoch, ack.Seq = h.log.Epoch(), r.window.seq
	ack.Locked = r.lock != nil
}

// admit checks whether the room takes the user, in the order of section 2. It
// returns the member whose place the newcomer takes, if there is one.
func (h *Hub) admit(r *room, req *protocol.Login, c *client) (*member, *protocol.Error) {
	if r.opened && r.lock != nil {
		if wait := h.guesses.wait(c.addr, h.now); wait > 0 {
			return nil, protocol.RateLimited(wait)
		}
		if subtle.ConstantTimeCompare(r.lock, accessHash(req.Access)) != 1 {
			h.guesses.wrong(c.addr, h.now)
			return nil, protocol.NewError(protocol.CodeWrongKey)
		}
	}
	if u := h.users.FindName(r.name, req.Nick); u != nil {
		old := h.members[u.ID]
		if old.client == nil || old.hasSession(req.Session) {
			return old, nil
		}
		return nil, protocol.NewError(protocol.CodeNameTaken)
	}
	if r.count >= h.cfg.RoomLimit {
		return nil, protocol.NewError(protocol.CodeRoomFull)
	}
	return nil, nil
}

// authorized reports whether the login has the token that it needs, if tokens
// are used: the reader has checked it, but for the room and the time.
func (h *Hub) authorized(ev received, req *protocol.Login) bool {
	if h.cfg.Tokens == nil {
		return true
	}
	return ev.grant != nil && ev.grant.opens(req.Room) && ev.grant.expires.After(h.now)
}

// accept gives a client that is a member what its token allows.
func (c *client) accept(g *grant) {
	if g != nil {
		c.expires, c.member.moderator = g.expires, g.moderator
	}
}

// fixLock fixes whether the room is locked, by the first login that opens it
// (section 9). The directory keeps it no later than the room's first message. A
// room without messages that a restart has emptied is told of again: its lock
// goes with those who came back, and not with those who were refused.
func (h *Hub) fixLock(r *room, req *protocol.Login) error {
	if h.shared != nil || r.opened && (r.count > 0 || !r.empty()) {
		return nil
	}
	lock := r.lock
	if !r.opened && req.Access != "" {
		lock = accessHash(req.Access)
	}
	if err := h.cfg.Directory.Lock(r.name, lock); err != nil {
		return err
	}
	r.opened, r.lock = true, lock
	return nil
}

// join makes somebody new a member of the room.
func (h *Hub) join(c *client, r *room, req *protocol.Login) {
	m := &member{
		User: store.User{ID: h.newID(), Name: req.Name, Nick: req.Nick, Room: r.name},
		room: r, client: c,
	}
	if req.Session != "" {
		m.session = sessionHash(req.Session)
	}
	if err := h.users.Save(&m.User); err != nil {
		panic("hub: " + err.Error()) // admit has looked
	}
	h.members[m.ID] = m
	r.count++
	r.here++
	r.people = nil
	h.tell(r, true, m)
	c.member = m
	r.attach(c)
}

func (m *member) wire() protocol.User {
	return protocol.User{ID: m.ID, Name: m.Name, Room: m.Room}
}

// accessHash is what the server keeps of an access key (section 9).
func accessHash(access string) []byte {
	sum := sha256.Sum256([]byte(access))
	return sum[:]
}
