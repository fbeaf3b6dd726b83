package hub

import (
	"time"

	"parley/protocol"
	"parley/store"
)

// pendingAppend is a message at the log: whom to answer.
type pendingAppend struct {
	c     *client
	ackID int64
	room  *room
	given time.Time // when the log was given the message
	came  time.Time // when it was received
}

// answer is an acknowledgement that stands behind the runs of its step.
type answer struct {
	c     *client
	frame []byte
}

func (h *Hub) handleConnected(c *client) {
	if h.draining.on {
		c.out.closeWith(protocol.CloseRestart, protocol.CloseRestart.Reason())
		c.ended = true
	}
	h.clients[c] = struct{}{}
	c.loginBy = h.now.Add(h.cfg.LoginTimeout)
	c.lookAt = h.now.Add(h.cfg.PingInterval / looksPerPing)
	h.send(c, h.frame(protocol.AppendWelcome(h.scratch[:0], protocol.Welcome{
		ID: c.id, Now: h.now, PingInterval: h.cfg.PingInterval,
		MessageLimit: h.cfg.MessageLimit, History: h.cfg.History, Rate: h.cfg.Rate, Tokens: h.cfg.Tokens != nil,
	})))
}

// handleReceived does what a client asks, or puts it behind what its connection
// still waits for: the order of a connection is the order of its requests.
func (h *Hub) handleReceived(ev received) {
	c := ev.c
	if c.ended || c.leaving || h.draining.last {
		return
	}
	if c.blocked() || ev.isLogout() && c.inFlight > 0 {
		h.wait(c, ev)
		return
	}
	h.request(ev)
}

// blocked reports whether what the client sends next has to wait.
func (c *client) blocked() bool { return len(c.waiting) > 0 || c.entering || c.reading }

// wait puts a request behind those of its connection that are not through. What
// does not fit is refused: nothing that a client sends grows without bound.
func (h *Hub) wait(c *client, ev received) {
	if len(c.waiting) >= maxWaiting || c.waitBytes+ev.size() > maxWaitingBytes {
		h.fail(ev, protocol.NewError(protocol.CodeUnavailable))
		return
	}
	c.waitBytes += ev.size()
	c.waiting = append(c.waiting, ev)
}

// proceed goes on with what waited, until something has to wait again.
func (h *Hub) proceed(c *client) {
	for len(c.waiting) > 0 && !c.entering && !c.reading {
		ev := c.waiting[0]
		if ev.isLogout() && c.inFlight > 0 {
			return
		}
		c.waiting[0] = received{}
		c.waiting = c.waiting[1:]
		c.waitBytes -= ev.size()
		h.request(ev)
	}
	if len(c.waiting) == 0 {
		c.waiting = nil
	}
	if c.lost && !c.ended && !c.blocked() {
		h.gone(c)
	}
}

// size is the text that a waiting request holds, in bytes, but for what is short
// by the rules of section 3.
func (ev received) size() int {
	switch req := ev.req.(type) {
	case *protocol.RoomMessage:
		return len(req.Literal)
	case *protocol.Login:
		return len(req.Token) + len(req.Epoch)
	}
	return 0
}

func (ev received) isLogout() bool {
	_, ok := ev.req.(*protocol.Logout)
	return ok
}

// request is the table of contents of what a client may ask (section 3).
func (h *Hub) request(ev received) {
	c := ev.c
	if ev.err != nil {
		h.refuseRequest(ev)
		return
	}
	c.badFrames = 0
	if c.member == nil {
		switch ev.req.(type) {
		case *protocol.Login, *protocol.Ping:
		default:
			h.fail(ev, protocol.NewError(protocol.CodeNotLoggedIn))
			return
		}
	}
	switch req := ev.req.(type) {
	case *protocol.Login:
		h.handleLogin(ev, req)
	case *protocol.Logout:
		h.handleLogout(ev)
	case *protocol.RoomMessage:
		h.handleRoomMessage(ev, req)
	case *protocol.Typing:
		h.handleTyping(ev, req)
	case *protocol.History:
		h.handleHistory(ev, req)
	case *protocol.Users:
		h.handleUsers(ev, req)
	case *protocol.Ping:
		h.handlePing(ev)
	case *protocol.Kick:
		h.handleKick(ev, req)
	}
}

// maxBadFrames is how many bad envelopes in a row a person at wscat may send.
const maxBadFrames = 10

// refuseRequest answers a request that failed before it came here.
func (h *Hub) refuseRequest(ev received) {
	c := ev.c
	h.fail(ev, ev.err)
	switch ev.err.Code {
	case protocol.CodeBadEnvelope:
		if c.badFrames++; c.badFrames >= maxBadFrames {
			h.end(c, protocol.ClosePolicy)
		}
	case protocol.CodeRateLimited: // neither adds to a row of bad envelopes nor ends it
	default:
		c.badFrames = 0
	}
}

// fail answers a request with an error (section 2).
func (h *Hub) fail(ev received, err *protocol.Error) {
	h.metrics.failed(err.Code)
	h.send(ev.c, h.frame(protocol.AppendError(h.scratch[:0], ev.ackID, ev.event, err)))
}

// handleRoomMessage gives the message to the log. It is sent to the room, and
// acknowledged, once the log has it: nobody sees what a crash could lose.
func (h *Hub) handleRoomMessage(ev received, req *protocol.RoomMessage) {
	c, m := ev.c, ev.c.member
	ref := h.ref()
	msg := store.Message{
		At: h.now, Room: m.room.name, From: m.Name, Nick: m.Nick, UserID: m.ID,
		Key: req.Key, Body: req.Literal,
	}
	out, done, err := h.log.Append(ref, msg)
	if err != nil {
		h.fail(ev, protocol.NewError(protocol.CodeUnavailable))
		return
	}
	h.metrics.messages.Inc()
	p := pendingAppend{c, ev.ackID, m.room, h.now, ev.at}
	c.inFlight++
	m.room.pending++
	if !done {
		h.pending[ref] = p
		return
	}
	if out.Err == nil && !out.Duplicate {
		msg.Seq, msg.At = out.Seq, out.At
		h.stored(msg)
	}
	h.appended(p, ev.event, out)
}

// handleReport takes what a log that works on its own has done meanwhile.
func (h *Hub) handleReport(r store.Report) {
	for _, m := range r.Stored {
		h.stored(m)
	}
	for _, out := range r.Appended {
		p := h.pending[out.Ref]
		delete(h.pending, out.Ref)
		h.appended(p, protocol.EventRoomMessage, out)
		h.proceed(p.c)
	}
	for _, t := range r.Trimmed {
		h.trim(t)
	}
	for _, out := range r.Removed {
		h.removed(out)
	}
	for _, cl := range r.Claimed {
		h.claimed(cl)
	}
	if h.shared != nil {
		h.handleShared(r)
	}
}

// appended answers the sender of a message. Its acknowledgement waits for the
// end of the step, so that the message itself comes first.
func (h *Hub) appended(p pendingAppend, event string, out store.Appended) {
	p.c.inFlight--
	p.room.pending--
	h.metrics.appendTime.Observe(h.now.Sub(p.given).Seconds())
	h.metrics.ackTime.Observe(h.now.Sub(p.came).Seconds())
	if frame := h.appendedFrame(p, event, out); frame != nil && !p.c.ended {
		h.answers = append(h.answers, answer{p.c, frame})
	}
	h.leaveIdle(p.room)
}

func (h *Hub) appendedFrame(p pendingAppend, event string, out store.Appended) []byte {
	if out.Err != nil {
		h.metrics.failed(protocol.CodeUnavailable)
		return h.frame(protocol.AppendError(h.scratch[:0], p.ackID, event, protocol.NewError(protocol.CodeUnavailable)))
	}
	if p.ackID == protocol.NoAck {
		return nil
	}
	return h.frame(protocol.AppendStored(h.scratch[:0], p.ackID, out.Seq, out.At, h.log.Durability(), out.Duplicate))
}

// handleTyping passes it on to the others, and keeps it nowhere. In a client's
// queue a newer one takes the place of an older one of the same user.
func (h *Hub) handleTyping(ev received, req *protocol.Typing) {
	m := ev.c.member
	if r := m.room; !h.large(r) {
		h.flushRoom(r)
		frame := h.frame(protocol.AppendTyping(h.scratch[:0], m.Name, m.ID, req.Typing))
		for _, c := range r.clients {
			if c != ev.c && !c.out.replace(slotTyping, m.ID, frame) {
				h.slow = append(h.slow, c)
			}
		}
		if h.shared != nil {
			h.shared.Typing(store.Typing{Room: r.name, From: m.Name, ID: m.ID, Typing: req.Typing})
		}
	}
	if ev.ackID != protocol.NoAck {
		h.send(ev.c, h.frame(protocol.AppendEmptyAck(h.scratch[:0], ev.ackID)))
	}
}

func (h *Hub) handleUsers(ev received, req *protocol.Users) {
	r := ev.c.member.room
	people := appendPeople(nil, h.users.InRoom(r.name, req.Offset, req.Limit))
	h.send(ev.c, h.frame(protocol.AppendUsersAck(h.scratch[:0], ev.ackID, people, r.count)))
}

// handlePing tells the user's id, or the connection's before a login.
func (h *Hub) handlePing(ev received) {
	id := ev.c.id
	if ev.c.member != nil {
		id = ev.c.member.ID
	}
	h.send(ev.c, h.frame(protocol.AppendPong(h.scratch[:0], ev.ackID, id, h.now)))
}

// handleHistory asks a log reader for the page: older messages are on disk, and
// the hub waits for no disk. What comes after it on the same connection waits.
func (h *Hub) handleHistory(ev received, req *protocol.History) {
	r := ev.c.member.room
	q := store.Query{Before: r.window.seq + 1, Limit: req.Limit, Bytes: answerBytes}
	switch {
	case req.Before >= 0:
		q.Before = min(q.Before, req.Before)
	case req.After >= 0:
		q.After, q.Oldest = req.After, true
	}
	if q.Before <= 1 || q.After >= r.window.seq {
		h.send(ev.c, h.frame(protocol.AppendHistoryAck(h.scratch[:0], ev.ackID, nil, false)))
		return
	}
	if !h.readers.ask(page{c: ev.c, ackID: ev.ackID, room: r.name, query: q}) {
		h.fail(ev, protocol.NewError(protocol.CodeUnavailable))
		return
	}
	ev.c.reading = true
	ev.c.inFlight++
}

// handlePage answers with what a log reader has read.
func (h *Hub) handlePage(p page) {
	c := p.c
	if p.login != nil {
		h.loginRead(p)
		return
	}
	c.inFlight--
	c.reading = false
	if p.err != nil {
		h.metrics.failed(protocol.CodeUnavailable)
	}
	h.send(c, p.answer())
	h.proceed(c)
}
