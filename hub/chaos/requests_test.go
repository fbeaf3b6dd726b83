package chaos

import (
	"maps"
	"time"

	"parley/hub/hubtest"
)

// login asks to come in, or back.
func (a *attachment) login() error {
	m := a.m
	l := hubtest.Login{Name: m.name, Room: m.room, Session: m.session, Epoch: m.epoch}
	if m.since >= 0 {
		l.Since = new(m.since)
	}
	m.loginSent()
	return a.request("login", l, func(f hubtest.Frame) error {
		m.unanswered--
		return a.entered(f)
	})
}

// loginSent counts logins without an answer. One whose connection broke may have been carried out all the same, or may
// still arrive: it can have given this user another id, and it can take the user over from a later login. The servers
// of a later generation know nothing of it.
func (m *member) loginSent() {
	now := m.w.generation.Load()
	old := now-m.unansweredIn >= 2
	if m.w.cluster { // they outlive a server, but not for long: as long as a freeze, and what a server waits for NATS
		old = time.Since(m.unansweredAt) > longFreeze+loginWait
	}
	if old {
		m.unanswered = 0
	}
	m.unanswered++
	m.unansweredIn, m.unansweredAt = now, time.Now()
}

// entered takes the login's answer and holds it against section 3.
func (a *attachment) entered(f hubtest.Frame) error {
	m := a.m
	if r := f.Refusal(); r != nil {
		if r.Code != "unavailable" {
			m.w.violation("%s: the login was refused: %v", m.name, r)
		}
		return r
	}
	var ack hubtest.LoginAck
	if err := f.Decode(&ack); err != nil {
		return err
	}
	a.checkIdentity(ack)
	a.checkUsers(ack)
	m.id, m.epoch = ack.User.ID, ack.Epoch
	m.users, m.people = ack.Users, make(map[string]bool)
	for _, u := range ack.Users {
		m.people[u.ID] = true
	}
	a.checkSize(ack, len(f.Data))
	a.catchUp(ack)
	a.loggedIn = true
	if err := a.fill(); err != nil {
		return err
	}
	return a.send()
}

func (a *attachment) checkIdentity(ack hubtest.LoginAck) {
	m := a.m
	if ack.User.Name != m.name || ack.User.Room != m.room {
		m.w.violation("%s: logged in as %+v", m.name, ack.User)
	}
	if m.epoch != "" && ack.Epoch != m.epoch {
		m.w.violation("%s: the log's epoch changed from %s to %s", m.name, m.epoch, ack.Epoch)
	}
	if ack.Resumed {
		m.w.stats.resumes.Add(1)
	} else {
		m.w.stats.fresh.Add(1)
	}
	if m.id == "" {
		return
	}
	if same := ack.User.ID == m.id; same && !ack.Resumed || !same && ack.Resumed && m.unanswered == 0 {
		m.w.violation("%s: resumed is %v, but the id was %s and is %s", m.name, ack.Resumed, m.id, ack.User.ID)
	}
	away := time.Since(m.aliveAt)
	if !ack.Resumed && away < m.w.grace && m.aliveIn%2 == 0 && m.aliveIn == m.w.generation.Load() {
		m.w.violation("%s: came back %v after it was surely there, within the grace of %v, and was not resumed", m.name, away, m.w.grace)
	}
}

func (a *attachment) checkUsers(ack hubtest.LoginAck) {
	m := a.m
	names, ids := make(map[string]bool), make(map[string]bool)
	for _, u := range ack.Users {
		names[u.Name], ids[u.ID] = true, true
	}
	if n := len(ack.Users); len(names) != n || len(ids) != n || ack.Count != n || !ids[ack.User.ID] {
		m.w.violation("%s: a login's users are not each once, with itself among them, as many as count says: %d %+v", m.name, ack.Count, ack.Users)
	}
}

// checkSize holds the login's messages against their limits: it brings no more than they allow, and leaves nothing out
// before they are reached.
func (a *attachment) checkSize(ack hubtest.LoginAck, size int) {
	const (
		most  = 512 << 10 // bytes
		slack = 16 << 10  // the next message, and what else is in the answer
	)
	limit := 50
	if a.m.since >= 0 {
		limit = 1000
	}
	n, short := len(ack.Messages), ack.Gap != nil || a.m.since < 0 && ack.More
	if n > limit || size > most+slack || short && n < limit && size < most-slack {
		a.m.w.violation("%s: since %d, a login's answer of %d bytes has %d messages; more is %v and gap %+v", a.m.name, a.m.since, size, n, ack.More, ack.Gap)
	}
}

// catchUp takes the login's messages, and its word on what is missing.
func (a *attachment) catchUp(ack hubtest.LoginAck) {
	m := a.m
	asked := m.since
	switch {
	case asked < 0 && (ack.Recovered != nil || ack.Gap != nil), asked >= 0 && ack.Recovered == nil:
		m.w.violation("%s: with since %d, recovered is %v and gap %v", m.name, asked, ack.Recovered, ack.Gap)
	case ack.Recovered != nil && *ack.Recovered != (ack.Gap == nil):
		m.w.violation("%s: recovered is %v and gap %+v", m.name, *ack.Recovered, ack.Gap)
	}
	if ack.Seq < asked {
		m.w.violation("%s: the room's newest seq %d is below %d, which was seen", m.name, ack.Seq, asked)
	}
	first := ack.Seq + 1
	if len(ack.Messages) > 0 {
		first = ack.Messages[0].Seq
	}
	if asked < 0 {
		m.life.start = first - 1
		if !ack.More {
			m.life.start = 0
		}
	}
	for _, msg := range ack.Messages {
		m.deliver(msg)
		if msg.Seq > ack.Seq {
			m.w.violation("%s: a login's answer has seq %d, and says that %d is the newest", m.name, msg.Seq, ack.Seq)
		}
	}
	if g := ack.Gap; g != nil {
		m.w.stats.gaps.Add(1)
		before := first
		if g.Before != nil && *g.Before != first || g.Before == nil && len(ack.Messages) > 0 || g.After != asked {
			m.w.violation("%s: asked from %d and brought from %d on, the gap is said to be %+v", m.name, asked, first, g)
		}
		if g.Reason == "too_many" {
			m.holes = append(m.holes, hole{after: asked, before: before})
		} else {
			m.w.violation("%s: the gap is said to be %s, and nothing was ever dropped", m.name, g.Reason)
		}
	}
	m.since = ack.Seq
}

// fill asks for a page of the oldest hole.
func (a *attachment) fill() error {
	m := a.m
	if a.filling || len(m.holes) == 0 {
		return nil
	}
	a.filling = true
	h := &m.holes[0]
	return a.request("history", hubtest.HistoryRequest{After: &h.after, Limit: 200}, func(f hubtest.Frame) error {
		a.filling = false
		if r := f.Refusal(); r != nil {
			if r.Code != "unavailable" {
				m.w.violation("%s: history was refused: %v", m.name, r)
			}
			return nil // again at the next tick
		}
		var page hubtest.HistoryPage
		if err := f.Decode(&page); err != nil {
			return err
		}
		done := !page.More
		for _, msg := range page.Messages {
			if msg.Seq >= h.before {
				done = true
				break
			}
			if msg.Seq <= h.after {
				m.w.violation("%s: history after %d brought %d", m.name, h.after, msg.Seq)
			}
			h.after = msg.Seq
			m.life.filled = append(m.life.filled, digested(msg))
			m.w.stats.filled.Add(1)
		}
		if done {
			m.holes = m.holes[1:]
		} else if len(page.Messages) == 0 {
			m.w.violation("%s: an empty page of history says that there is more", m.name)
		}
		return a.fill()
	})
}

// sent takes the answer to a message.
func (a *attachment) sent(p *post, f hubtest.Frame) error {
	m := a.m
	if a.sending == p {
		a.sending = nil
	}
	if r := f.Refusal(); r != nil {
		if r.Code != "unavailable" {
			m.w.violation("%s: a message was refused: %v", m.name, r)
		}
		a.resume = time.Now().Add(m.backoff(2)) // then the same again
		return nil
	}
	var s hubtest.Stored
	if err := f.Decode(&s); err != nil {
		return err
	}
	if s.Durability != m.w.durability {
		m.w.violation("%s: durability %q, want %q", m.name, s.Durability, m.w.durability)
	}
	if s.Duplicate {
		m.w.stats.acksDuplicate.Add(1)
	} else if a.own[p.key] != s.Seq {
		m.w.violation("%s: acknowledged as %d before its event came (%d)", m.name, s.Seq, a.own[p.key])
	}
	p.acked, p.at = s.Seq, s.At
	m.w.stats.acked.Add(1)
	if len(m.outbox) > 0 && m.outbox[0] == p {
		m.outbox = m.outbox[1:]
	}
	return nil
}

// report answers who asked, when there is nothing left to do: everything acknowledged, every hole filled.
func (a *attachment) report() error {
	m := a.m
	if m.ask == nil || a.reporting || a.sending != nil || len(m.outbox) > 0 || len(m.holes) > 0 {
		return nil
	}
	a.reporting = true
	return a.request("users", nil, func(f hubtest.Frame) error {
		a.reporting = false
		var page hubtest.UsersPage
		if err := f.Decode(&page); err != nil || f.Refusal() != nil {
			return err
		}
		if page.Count != len(page.Users) {
			m.w.violation("%s: %d users, and a count of %d", m.name, len(page.Users), page.Count)
		}
		m.ask <- report{room: m.room, name: m.name, id: m.id, asked: page.Users, told: m.users, people: maps.Clone(m.people)}
		m.ask = nil
		return nil
	})
}
