package hub

import (
	"parley/protocol"
	"parley/store"
)

// What a login is answered with of the room's past (section 3, the table of the
// answer): from the room's window, and from the log where that does not suffice.

const (
	firstMessages  = 50   // without `since`: the newest messages at most
	missedMessages = 1000 // with it
	maxLoginReads  = 3    // of the log, because the room's window has moved on meanwhile
)

// wanted is how many messages a login is answered with at most.
func wanted(req *protocol.Login) int {
	if req.Since < 0 {
		return firstMessages
	}
	return missedMessages
}

// readForLogin asks the log for the newest messages. It returns false when too
// much waits for the log readers already, or when it has been asked often enough.
func (h *Hub) readForLogin(l *loginPage, r *room) bool {
	if l.tries++; l.tries > maxLoginReads {
		return false
	}
	q := page{room: r.name, login: l}
	q.query.Before = r.window.seq + 1
	// One more than the answer can take tells whether anything is missing from it.
	q.query.Limit = wanted(l.req) + 1
	q.query.Bytes = answerBytes + 6*h.cfg.MessageLimit
	if !h.readers.ask(q) {
		return false
	}
	l.ev.c.entering = true
	r.pending++
	return true
}

// loginRead goes on with a login whose messages have been read.
func (h *Hub) loginRead(p page) {
	l := p.login
	c, r := l.ev.c, l.room
	h.trim(store.Trim{Room: r.name, Through: p.dropped}) // which may be on its way only
	c.entering = false
	r.pending--
	switch {
	case c.ended:
		h.abandon(l.member)
		h.leaveIdle(r)
	case p.err != nil || h.rooms[r.name] != r:
		h.fail(l.ev, protocol.NewError(protocol.CodeUnavailable))
		h.abandon(l.member)
		h.leaveIdle(r)
	default:
		h.login(l, &p)
	}
	h.proceed(c)
}

// past is the newest messages of a room without a hole in them.
type past struct {
	messages []kept
	from     int64 // everything with a larger seq is there
	older    bool  // the room has older ones
}

// recall collects what the login is answered with. It is not whole when the
// window does not reach far enough back, and the log must be read first.
func (h *Hub) recall(r *room, req *protocol.Login, read *page) (ack protocol.LoginAck, whole bool) {
	p, whole := r.past(wanted(req), req.Since, read)
	if !whole {
		return ack, false
	}
	first, total := len(p.messages), arrayBytes
	for first > 0 && p.messages[first-1].seq > req.Since && len(p.messages)-first < wanted(req) {
		total += len(p.messages[first-1].data) + 1
		if total > answerBytes {
			break
		}
		first--
	}
	for _, m := range p.messages[first:] {
		ack.Messages = append(ack.Messages, m.data)
	}
	ack.More = p.older || first > 0
	if req.Since < 0 {
		return ack, true
	}
	missing := first > 0 && p.messages[first-1].seq > req.Since || p.older && p.from > req.Since
	h.judge(r, req, &ack, missing, p.messages[first:])
	return ack, true
}

// judge tells a client that comes back whether it has missed anything for good.
func (h *Hub) judge(r *room, req *protocol.Login, ack *protocol.LoginAck, missing bool, given []kept) {
	reason := ""
	switch since := req.Since; {
	case req.Epoch != "" && req.Epoch != h.log.Epoch(),
		since > r.window.seq,
		since < r.trimmed,
		since > 0 && since < h.log.First():
		reason = "expired"
	case missing:
		reason = "too_many"
	}
	recovered := reason == ""
	h.metrics.resumed(reason)
	ack.Recovered = &recovered
	if recovered {
		return
	}
	ack.Gap = &protocol.Gap{After: req.Since, Before: -1, Reason: reason}
	if len(given) > 0 {
		ack.Gap.Before = given[0].seq
	}
}

// past takes the room's newest messages from its window, behind those that were
// read from the log. It is not whole when there is a hole between the two, or
// when the window alone is less than what is wanted. What was dropped since it was
// read, as when an operator removed the room, is told no more.
func (r *room) past(want int, since int64, read *page) (past, bool) {
	w := &r.window
	if read == nil {
		older := w.from > r.trimmed
		enough := !older || len(w.entries) > want || w.bytes > answerBytes || since >= w.from
		return past{w.entries, w.from, older}, enough
	}
	upTo := read.query.Before - 1
	if w.from > upTo {
		return past{}, false
	}
	p := past{}
	for i, data := range read.messages {
		if read.seqs[i] > r.trimmed {
			p.messages = append(p.messages, kept{read.seqs[i], data})
		}
	}
	if p.older = read.more && len(p.messages) == len(read.messages); p.older {
		p.from = p.messages[0].seq - 1
	}
	p.messages = append(p.messages, w.after(upTo)...)
	return p, true
}
