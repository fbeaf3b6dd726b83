package hub

import (
	"fmt"
	"slices"
	"time"

	"parley/protocol"
	"parley/store"
)

// talker is one connection of a model's hub, at both its ends.
type talker struct {
	m     *model
	c     *client
	label string

	seat   *seat              // nil when it is not logged in
	last   int64              // newest seq seen
	list   []person           // the people, as told last; nil in a large room
	count  int                // how many they are, as told last
	asked  map[int64]*request // not answered yet
	given  int64              // ackIds, and numbers of messages, up to here
	stored int64              // number of the last message that came to the log

	blocking int                // requests behind which others wait
	code     protocol.CloseCode // with which the hub has closed it
	over     bool               // the hub has closed it
	lost     bool               // its end has been told to the hub
	goodbye  bool               // with lost
	settled  bool               // the model is through with it
	full     bool               // its queue takes no more
	missed   bool               // something did not fit
	mute     bool               // gives no sign of life
	greeted  bool
	bad      int       // frames that are no envelopes
	loginBy  time.Time // when it must have logged in
}

// request is what a talker has asked and how.
type request struct {
	event  string
	number int64
	login  *protocol.Login
	text   string // of a message, as JSON
	key    string
	page   protocol.History
	offset int
	limit  int
	top    int64 // newest seq of the room when it was asked
	want   protocol.Code
}

// blocks reports whether what comes after it on its connection waits.
func (r *request) blocks() bool {
	return r.event == "login" || r.event == "logout" || r.event == "history"
}

// ask sends a request with an ackId, or without one when r is nil.
func (t *talker) ask(event, data string, r *request) {
	frame := fmt.Sprintf(`{"event":%q,"data":%s}`, event, data)
	if r != nil {
		t.given++
		r.event, r.number = event, t.given
		t.asked[t.given] = r
		if r.blocks() && !t.m.h.draining.last { // after which nothing is accepted
			t.blocking++
		}
		frame = fmt.Sprintf(`{"event":%q,"data":%s,"ackId":%d}`, event, data, t.given)
	}
	t.send(frame)
}

func (t *talker) send(frame string) {
	ev, err := t.m.h.decode(t.c, []byte(frame))
	if err != nil {
		t.m.fail(t, "%v: %s", err, frame)
		return
	}
	t.m.h.step(ev)
}

// came is a message that the log is given.
func (m *model) came(msg store.Message) {
	t := m.texts[msg.Body]
	if t == nil {
		m.fail(nil, "the log is given %v once more", msg)
		return
	}
	delete(m.texts, msg.Body)
	var number int64
	_, _ = fmt.Sscanf(msg.Body, `"%d`, &number)
	s := t.seat
	switch {
	case t.over:
		m.fail(t, "is closed, but %s was acted on", msg.Body)
	case number <= t.stored:
		m.fail(t, "%s comes to the log after number %d", msg.Body, t.stored)
	case s == nil || s.room != msg.Room || s.id != msg.UserID || s.name != msg.From || s.nick != msg.Nick:
		m.fail(t, "%v comes to the log as from another", msg)
	}
	t.stored = number
}

// hear takes what the hub sends.
func (t *talker) hear(frame []byte) {
	m := t.m
	if t.over {
		return // it does not arrive
	}
	d, err := decodeSaid(frame)
	if err != nil {
		m.fail(t, "%v: %s", err, frame)
		return
	}
	if !t.greeted && d.Event != "welcome" {
		m.fail(t, "hears %s before welcome", d.Event)
	}
	switch d.Event {
	case "welcome":
		t.greeted = true
	case "ack":
		t.acked(d)
	case "error":
		switch d.Code {
		case "bad_envelope", "ack_required", "not_logged_in", "unavailable":
		default:
			m.fail(t, "error %s", d.Code)
		}
	case "goodbye":
		if !m.drains {
			m.fail(t, "hears goodbye")
		}
	default:
		if t.seat != nil {
			t.happens(d)
		} else if !t.lost {
			m.fail(t, "hears %s, but is in no room", d.Event)
		}
	}
}

// happens is an event of the talker's room.
func (t *talker) happens(d *said) {
	m := t.m
	switch d.Event {
	case "roomMessage":
		r := m.log.room(t.seat.room)
		next, _ := slices.BinarySearchFunc(r.all, t.last+1, bySeq)
		if next >= r.told {
			m.fail(t, "hears %d, which has not been told", d.Seq)
			return
		}
		m.same(t, d.message, r.all[next])
		t.last = d.Seq
	case "users":
		t.list, t.count = d.Users, len(d.Users)
	case "presence":
		t.list, t.count = nil, d.Count
	case "notification", "typing":
		if d.User.ID == t.seat.id || d.UserID == t.seat.id {
			m.fail(t, "hears %s of itself", d.Event)
		}
	default:
		m.fail(t, "hears %s", d.Event)
	}
}

// acked checks an acknowledgement.
func (t *talker) acked(d *said) {
	m := t.m
	r := t.asked[d.AckID]
	if r == nil {
		m.fail(t, "%d is answered twice, or was never asked", d.AckID)
		return
	}
	delete(t.asked, d.AckID)
	if r.blocks() {
		t.blocking--
	}
	switch {
	case r.want != "":
		if d.Code != r.want {
			m.fail(t, "%s is answered with %q, want %s", r.event, d.Code, r.want)
		}
	case r.event == "login" && d.Code != "":
		m.settle(t)
		m.refused(t, r.login, d.Code)
	case r.event == "login":
		m.settle(t)
		t.entered(r.login, d)
	case r.event == "ping":
		if id := d.ID; t.seat != nil && id != t.seat.id || t.seat == nil && id != t.c.id {
			m.fail(t, "ping is answered with %s", id)
		}
	case r.event == "roomMessage":
		t.kept(r, d)
	case d.Code == "not_logged_in":
		if t.seat != nil {
			m.fail(t, "%s: %s", r.event, d.Code)
		}
	case t.seat == nil:
		m.fail(t, "%s is answered, but nobody is logged in", r.event)
	case d.Code == "unavailable" && r.event == "history" && m.log.failures > 0:
	case d.Code != "":
		m.fail(t, "%s: %s", r.event, d.Code)
	case r.event == "history":
		t.paged(r, d)
	case r.event == "users":
		m.settle(t)
		people := m.room(t.seat.room).people()
		want := people[min(r.offset, len(people)):min(r.offset+r.limit, len(people))]
		if d.Count != len(people) || !slices.Equal(d.Users, want) {
			m.fail(t, "users is answered with %v of %d, want %v of %d", d.Users, d.Count, want, len(people))
		}
	case r.event == "logout":
		for _, o := range t.asked {
			if o.number < r.number {
				m.fail(t, "logout %d is answered before %s %d", r.number, o.event, o.number)
			}
		}
		t.upToDate()
		m.cursors[t.seat.room+"/"+t.seat.nick] = t.last
		m.room(t.seat.room).remove(t.seat)
		t.seat, t.loginBy = nil, m.h.now.Add(m.h.cfg.LoginTimeout)
	}
}

// upToDate checks that a member has heard all that has been told in its room.
func (t *talker) upToDate() {
	r := t.m.log.room(t.seat.room)
	if r.told > 0 && r.all[r.told-1].Seq > t.last {
		t.m.fail(t, "never hears %d", r.all[r.told-1].Seq)
	}
}

func (r *modelRoom) people() (list []person) {
	for _, s := range r.seats {
		list = append(list, person{s.id, s.name, s.room})
	}
	return list
}

// entered checks the answer to a login that succeeded, or was a renewal.
func (t *talker) entered(req *protocol.Login, d *said) {
	m := t.m
	if d.Epoch != m.log.Epoch() {
		m.fail(t, "epoch %s", d.Epoch)
	}
	if s := t.seat; s != nil {
		if s.room != req.Room || s.nick != req.Nick || s.session == "" || s.session != req.Session || !d.Resumed ||
			d.User != (person{s.id, s.name, s.room}) || len(d.Messages) > 0 || len(d.Users) > 0 || d.Seq != t.last && d.Seq < t.last {
			m.fail(t, "renewed as %s", d.Data)
		}
		return
	}
	m.admitted(t, req, d)
	m.past(t, req, d)
	t.last = d.Seq
	people := m.room(req.Room).people()
	if listed := people[:min(len(people), m.h.cfg.UsersLimit)]; d.Count != len(people) || !slices.Equal(d.Users, listed) {
		m.fail(t, "is told of %v, %d in all; want %v of %d", d.Users, d.Count, listed, len(people))
	}
	t.list, t.count = d.Users, d.Count
}

// kept checks the answer to a message.
func (t *talker) kept(r *request, d *said) {
	m := t.m
	outcome, came := m.log.outcomes[r.text]
	switch {
	case d.Code == "not_logged_in" && !came && t.seat == nil:
		return
	case d.Code == "unavailable" && (outcome != nil || !came && len(r.text) > maxWaitingBytes/16): // too much was waiting
		return
	case d.Code != "" || !came || outcome != nil || d.Durability != "disk":
		m.fail(t, "%s is answered with %s, its outcome is %v", r.text, d.Data, outcome)
		return
	}
	all := m.log.room(t.seat.room).all
	i, ok := slices.BinarySearchFunc(all, d.Seq, bySeq)
	if !ok || d.At != string(protocol.AppendTime(nil, all[i].At)) || all[i].Key != r.key ||
		d.Duplicate != (all[i].Body != r.text) || r.key == "" && d.Duplicate || all[i].Nick != t.seat.nick {
		m.fail(t, "%s is answered with %s, which is not what the log has", r.text, d.Data)
	}
	if !d.Duplicate && t.last < d.Seq {
		m.fail(t, "%s is acknowledged before it is heard", r.text)
	}
}

// paged checks the answer to history.
func (t *talker) paged(r *request, d *said) {
	m := t.m
	room := m.log.room(t.seat.room)
	all, low, high := room.all, 0, len(room.all) // what was asked for is all[low:high]
	if r.page.Before >= 0 {
		high, _ = slices.BinarySearchFunc(all, r.page.Before, bySeq)
	}
	if r.page.After >= 0 {
		low, _ = slices.BinarySearchFunc(all, r.page.After+1, bySeq)
	}
	known, _ := slices.BinarySearchFunc(all, r.top+1, bySeq) // of it, when it was asked
	known = min(known, high)
	from, n := low, len(d.Messages)
	if n > 0 {
		from, _ = slices.BinarySearchFunc(all, d.Messages[0].Seq, bySeq)
	}
	to := from + n // what was given is all[from:to]
	right := from >= low && to <= high && n <= r.page.Limit
	switch {
	case n == 0:
		right = !d.More && max(low, room.kept) >= known
	case r.page.After >= 0:
		right = right && from <= max(low, room.kept) && (d.More || to >= known) && !(d.More && to == len(all))
	default:
		right = right && to >= known && (d.More || from <= room.kept) && !(d.More && from == 0)
	}
	m.filled(t, d, r.page.Limit, nil)
	if !right {
		m.fail(t, "history %+v gives %d to %d of %d to %d, more is %v; %d are dropped", r.page, from, to, low, high, d.More, room.kept)
		return
	}
	for i, got := range d.Messages {
		m.same(t, got, all[from+i])
	}
}
