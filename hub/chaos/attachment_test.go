package chaos

import (
	"context"
	"time"

	"parley/hub/hubtest"
)

// attachment is one connection of a member, from its welcome to its end.
type attachment struct {
	m      *member
	conn   *hubtest.Conn
	ctx    context.Context
	frames chan hubtest.Frame
	err    error // of the reader, set before frames is closed

	loggedIn    bool
	nextAck     int64
	pending     map[int64]request
	own         map[string]int64 // messages of its own that came on this connection: key → seq
	sending     *post            // in flight
	resume      time.Time        // not to send before
	filling     bool             // a history request is out
	reporting   bool             // the request for a report is out
	heard       time.Time        // newest frame
	probed      bool             // a ping was sent since
	reconnectAt time.Time        // from a goodbye
}

// request waits for its acknowledgement.
type request struct {
	event  string
	sent   time.Time
	in     int64 // the generation then
	answer func(hubtest.Frame) error
}

func newAttachment(m *member, conn *hubtest.Conn) *attachment {
	return &attachment{
		m: m, conn: conn, frames: make(chan hubtest.Frame, 64),
		pending: make(map[int64]request), own: make(map[string]int64), heard: time.Now(),
	}
}

// live logs in and does what a page does until the connection ends, and says why it did.
func (a *attachment) live(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	a.ctx = ctx
	read := make(chan struct{})
	go func() {
		defer close(read)
		a.read()
	}()
	defer func() {
		cancel()
		a.conn.Drop()
		<-read
	}()
	if err := a.login(); err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	think := time.NewTimer(0)
	defer think.Stop()
	for {
		var err error
		select {
		case f, ok := <-a.frames:
			if !ok {
				return a.err
			}
			a.heard, a.probed = time.Now(), false
			err = a.receive(f)
			if f.Event == "ack" {
				think.Reset(time.Duration(a.m.rng.ExpFloat64() * float64(thinkTime)))
			}
		case <-tick.C:
			err = a.look()
		case <-think.C:
			err = a.send()
		case a.m.ask = <-a.m.asks:
		case <-ctx.Done():
			a.conn.Close(1000)
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

func (a *attachment) read() {
	defer close(a.frames)
	for {
		f, err := a.conn.Read(context.Background())
		if err != nil {
			a.err = err
			return
		}
		select {
		case a.frames <- f:
		case <-a.ctx.Done():
			a.err = a.ctx.Err()
			return
		}
	}
}

// request sends one, whose answer is handed to answer.
func (a *attachment) request(event string, data any, answer func(hubtest.Frame) error) error {
	a.nextAck++
	a.pending[a.nextAck] = request{event: event, sent: time.Now(), in: a.m.w.generation.Load(), answer: answer}
	return a.write(event, data, a.nextAck)
}

func (a *attachment) write(event string, data any, ackID int64) error {
	ctx, cancel := context.WithTimeout(a.ctx, writeTimeout)
	defer cancel()
	return a.conn.Write(ctx, event, data, ackID)
}

// look does what the clock asks for: liveness, requests without an answer, holes, reports, and the accidents of life.
func (a *attachment) look() error {
	silent := time.Since(a.heard)
	switch {
	case a.probed && silent > probeAfter+verdictAfter:
		return errDead
	case !a.probed && silent > probeAfter:
		a.probed = true
		if err := a.request("ping", nil, func(hubtest.Frame) error { return nil }); err != nil {
			return err
		}
	}
	for _, r := range a.pending {
		if waited := time.Since(r.sent); waited > ackTimeout {
			a.m.w.violation("%s: %s was not answered within %v, and the connection lives", a.m.name, r.event, waited)
			return errDead
		}
	}
	if !a.loggedIn {
		return nil
	}
	if err := a.fill(); err != nil {
		return err
	}
	if err := a.report(); err != nil {
		return err
	}
	if !a.m.w.over() {
		switch a.m.rng.IntN(600) {
		case 0, 1:
			a.conn.Close(1001)
			return errReload
		case 2, 3:
			return errAway
		}
	}
	return a.send()
}

// send puts the next message on its way: one in flight, the oldest that is not acknowledged, or a new one.
func (a *attachment) send() error {
	m := a.m
	if !a.loggedIn || a.sending != nil || !m.sends || time.Now().Before(a.resume) {
		return nil
	}
	if len(m.outbox) == 0 {
		if m.w.over() {
			return nil
		}
		m.write()
	}
	p := m.outbox[0]
	a.sending = p
	err := a.request("roomMessage", hubtest.Post{Message: p.text, Key: p.key}, func(f hubtest.Frame) error { return a.sent(p, f) })
	if err != nil || m.w.over() {
		return err
	}
	switch m.rng.IntN(1000) {
	case 0, 1, 2, 3, 4, 5, 6, 7, 8, 9: // the person gives this message up
		m.outbox, a.sending = m.outbox[1:], nil
		m.w.stats.discarded.Add(1)
	case 10: // the page dies, and with it what it had not sent
		if m.rng.IntN(2) == 0 {
			a.conn.Close(1000)
		}
		return errDied
	}
	return nil
}

// receive acts on one frame.
func (a *attachment) receive(f hubtest.Frame) error {
	m := a.m
	if !a.loggedIn && f.Event != "ack" && f.Event != "goodbye" {
		m.w.violation("%s: before the login was answered: %s", m.name, f)
		return nil
	}
	switch f.Event {
	case "ack":
		r, ok := a.pending[f.AckID]
		if !ok {
			m.w.violation("%s: an acknowledgement that nobody waits for: %s", m.name, f)
			return nil
		}
		delete(a.pending, f.AckID)
		err := r.answer(f) // a login's looks at when the member was there before
		if a.loggedIn {    // else the user may have left long ago: a login was refused, or a ping is answered before it
			m.aliveAt, m.aliveIn = r.sent, r.in
		}
		return err
	case "roomMessage":
		var msg hubtest.Message
		if err := f.Decode(&msg); err != nil {
			return err
		}
		m.deliver(msg)
		if msg.From == m.name {
			a.own[msg.Key] = msg.Seq
		}
	case "users":
		var users []hubtest.User // a fresh one: the last may be in a report
		err := f.Decode(&users)
		m.users = users
		return err
	case "notification":
		return a.notified(f)
	case "goodbye":
		var bye hubtest.Goodbye
		if err := f.Decode(&bye); err != nil {
			return err
		}
		a.reconnectAt = time.Now().Add(time.Duration(bye.ReconnectIn * float64(time.Millisecond)))
	default:
		m.w.violation("%s: unexpected: %s", m.name, f)
	}
	return nil
}

func (a *attachment) notified(f hubtest.Frame) error {
	var n hubtest.Notification
	if err := f.Decode(&n); err != nil {
		return err
	}
	m := a.m
	joined := n.Kind == "joined"
	if n.User.ID == m.id || m.people[n.User.ID] == joined {
		m.w.violation("%s: told that %s %s, which cannot be", m.name, n.User.Name, n.Kind)
	}
	if joined {
		m.people[n.User.ID] = true
	} else {
		delete(m.people, n.User.ID)
	}
	return nil
}
