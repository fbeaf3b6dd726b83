package hub

import (
	"fmt"
	"slices"
	"strings"

	"parley/protocol"
)

// caller is a connection to one of several hubs, at both its ends.
type caller struct {
	paper
	p     *sharedPlay
	n     *node
	c     *client
	label string

	asked  []*question // not answered yet
	given  int64
	in     *protocol.Login   // what it is logged in by; nil: it is not
	logins []*protocol.Login // all that it asked for
	user   person
	last   int64 // newest seq seen
	list   []person
	count  int
	told   bool // it was sent the list, or is no newcomer
	over   bool // closed by the hub
	lost   bool // its end has been told to the hub
	left   bool // with lost: its user is to go at once
}

type question struct {
	event  string
	number int64
	login  *protocol.Login
	text   string
}

func (c *caller) heard() bool { return true }

func nickOf(name string) string { return strings.ToLower(name) }

func (p *sharedPlay) connect(n *node) *caller {
	c := &caller{p: p, n: n, label: fmt.Sprintf("c%d", len(p.callers))}
	c.c = &client{id: n.h.newID(), out: c}
	p.callers = append(p.callers, c)
	p.note("%s connects to hub %d", c.label, n.number)
	n.h.step(connected{c.c})
	return c
}

func (c *caller) act(st step) {
	switch st.kind {
	case logsIn:
		c.logIn(st)
	case sends:
		text := fmt.Sprintf(`"%d of %s"`, c.given+1, c.label)
		data := text
		if st.b%3 == 0 {
			data = fmt.Sprintf(`{"message":%s,"key":"key-of-message-%d"}`, text, st.c%4)
		}
		c.ask("roomMessage", data, &question{text: text})
	case types:
		c.ask("typing", `{"typing":true}`, &question{})
	case listsUsers:
		c.ask("users", "{}", &question{})
	case pages:
		c.ask("history", "{}", &question{})
	case pings:
		c.ask("ping", "null", &question{})
	case logsOut:
		c.ask("logout", "null", &question{})
	case kicksOut:
		if o := c.p.callers[st.b%len(c.p.callers)]; o.user.ID != "" {
			c.ask("kick", fmt.Sprintf(`{"id":%q}`, o.user.ID), &question{})
		}
	case clogs:
		c.p.note("%s takes no more", c.label)
		c.full = true
	case ends:
		c.end(st.b%3 == 0)
	}
}

func (c *caller) logIn(st step) {
	r := &protocol.Login{Name: modelNames[st.b%c.p.setting.Names], Room: modelRooms[0], Since: -1}
	if st.b%7 == 6 {
		r.Room = modelRooms[1]
	}
	r.Nick = nickOf(r.Name)
	if s := modelSessions[st.c%len(modelSessions)]; s != "" {
		r.Session = r.Nick + s
	}
	if st.c/5%8 == 0 {
		r.Access = "access-key-number-one"
	}
	if st.d%2 == 0 {
		r.Since = int64(st.d / 2 % (len(c.p.s.log) + 1))
	}
	c.logins = append(c.logins, r)
	c.ask("login", loginData(r), &question{login: r})
}

// ask sends a request.
func (c *caller) ask(event, data string, q *question) {
	c.given++
	q.event, q.number = event, c.given
	if !c.over {
		c.asked = append(c.asked, q)
	}
	frame := fmt.Sprintf(`{"event":%q,"data":%s,"ackId":%d}`, event, data, c.given)
	c.p.note("%s > %s", c.label, frame)
	ev, err := c.n.h.decode(c.c, []byte(frame))
	if err != nil || ev.err != nil {
		c.p.fail(c, "%v %v: %s", err, ev.err, frame)
		return
	}
	if q.login != nil && c.given%2 == 0 {
		ev.grant = &grant{rooms: []string{"*"}, expires: forever, moderator: true}
	}
	c.n.h.step(ev)
	c.hear()
}

func (c *caller) end(goodbye bool) {
	c.p.note("%s ends, goodbye %v", c.label, goodbye && !c.over)
	c.lost, c.left = true, c.in != nil && (goodbye || c.in.Session == "" || c.p.setting.Grace == 0)
	c.n.h.step(disconnected{c: c.c, goodbye: goodbye && !c.over})
	c.lines = nil
}

// hear takes what the hub has sent.
func (c *caller) hear() {
	lines := c.lines
	c.lines = nil
	for _, line := range lines {
		what, rest, _ := strings.Cut(line, " ")
		if c.lost || rest == "ping" {
			continue
		}
		c.p.note("%s %s", c.label, line)
		switch {
		case c.over:
			c.p.fail(c, "is sent %s after its end", line)
		case what == "<":
			d, err := decodeSaid([]byte(rest))
			if err != nil {
				c.p.fail(c, "%v: %s", err, rest)
				return
			}
			c.happens(d)
		default:
			c.closed(line)
		}
	}
}

func (c *caller) closed(line string) {
	var code protocol.CloseCode
	_, _ = fmt.Sscanf(line, "x %d", &code)
	switch {
	case code == protocol.CloseTakenOver && c.takenOver():
	case code == protocol.CloseRemoved && c.p.s.removed[c.user.ID]:
	case code == protocol.CloseRestart && c.n.losses > 0:
	case code == protocol.CloseLoginTimeout && c.in == nil && len(c.asked) == 0:
	case c.full && (code == protocol.CloseTryLater || code == protocol.CloseTakenOver || code == protocol.CloseRemoved): // it does not know
	default:
		c.p.fail(c, "is closed: %s, and is %v", line, c.user)
	}
	c.over, c.in, c.asked = true, nil, nil
}

// takenOver reports whether another connection has its user, or that which it was about to have.
func (c *caller) takenOver() bool {
	if slices.ContainsFunc(c.p.s.resumed[c.user.ID], func(by *client) bool { return by != c.c }) {
		return true
	}
	for _, o := range c.p.callers {
		for _, l := range o.logins {
			same := func(q *question) bool {
				return q.login != nil && q.login.Room == l.Room && q.login.Session == l.Session
			}
			if o != c && (c.in == nil && slices.ContainsFunc(c.asked, same) ||
				c.in != nil && same(&question{login: c.in}) && o.n == c.n && o.c.asked > c.c.asked) { // which waited for the log
				return true
			}
		}
	}
	return false
}

func (c *caller) happens(d *said) {
	switch d.Event {
	case "welcome":
		return
	case "ack":
		c.acked(d)
		return
	}
	if c.in == nil {
		c.p.fail(c, "hears %s, but is in no room", d.Event)
		return
	}
	switch d.Event {
	case "roomMessage":
		for _, m := range c.p.s.messages(c.in.Room, c.last) {
			if m.Seq < d.Seq {
				c.p.fail(c, "hears %d, and not %d", d.Seq, m.Seq)
			}
		}
		if m := c.p.s.log[d.Seq-1]; d.Seq <= c.last || string(d.Message) != m.Body || d.UserID != m.UserID || m.Room != c.in.Room {
			c.p.fail(c, "hears %s after %d", d.Data, c.last)
		}
		c.last = d.Seq
	case "users":
		c.told = true
		c.list, c.count = d.Users, len(d.Users)
	case "presence":
		c.told = true
		c.list, c.count = nil, d.Count
	case "notification", "typing":
		if d.User.ID == c.user.ID || d.UserID == c.user.ID {
			c.p.fail(c, "hears %s of itself", d.Event)
		}
	default:
		c.p.fail(c, "hears %s", d.Event)
	}
}

// acked checks an acknowledgement: of each request one, and in order, but for messages, which wait for the log.
func (c *caller) acked(d *said) {
	i := slices.IndexFunc(c.asked, func(q *question) bool { return q.number == d.AckID })
	if i < 0 {
		c.p.fail(c, "%d is answered twice, or was never asked", d.AckID)
		return
	}
	q := take(&c.asked, i)
	for _, before := range c.asked[:i] {
		if q.event != "roomMessage" && (before.event != "roomMessage" || q.event == "logout") {
			c.p.fail(c, "%s %d is answered before %s %d", q.event, q.number, before.event, before.number)
		}
	}
	switch {
	case d.Code == "not_logged_in":
		if c.in != nil {
			c.p.fail(c, "%s is answered as if it were not logged in", q.event)
		}
	case d.Code != "":
		c.refused(q, d.Code)
	case q.event == "ping":
	case q.event != "login" && c.in == nil:
		c.p.fail(c, "%s is answered, but nobody is logged in", q.event)
	case q.event == "login":
		c.entered(q.login, d)
	case q.event == "roomMessage":
		m, late := c.p.s.log[d.Seq-1], c.last < d.Seq && d.Seq > c.p.s.purged[c.in.Room]
		if d.Duplicate == (m.Body == q.text) || m.Nick != c.in.Nick || m.Room != c.in.Room || !d.Duplicate && late {
			c.p.fail(c, "%s is answered with %s; it has heard %d", q.text, d.Data, c.last)
		}
	case q.event == "logout":
		c.in = nil
	}
}

func (c *caller) refused(q *question, code protocol.Code) {
	ok := code == protocol.CodeUnavailable && (q.event == "login" || q.event == "roomMessage" || q.event == "history")
	switch code {
	case protocol.CodeAlreadyLoggedIn:
		ok = q.event == "login" && c.in != nil
	case protocol.CodeNameTaken, protocol.CodeRoomFull, protocol.CodeWrongKey:
		ok = q.event == "login" && c.in == nil
	case protocol.CodeForbidden, protocol.CodeNoSuchUser:
		ok = q.event == "kick" && c.in != nil
	}
	if !ok {
		c.p.fail(c, "%s is refused with %s", q.event, code)
	}
}

// entered checks the answer to a login that succeeded, or was a renewal.
func (c *caller) entered(req *protocol.Login, d *said) {
	p := c.p
	session, known := p.sessions[d.User.ID]
	switch {
	case c.in != nil:
		if d.User != c.user || req.Session == "" || req.Session != c.in.Session {
			p.fail(c, "is renewed as %v", d.User)
		}
		return
	case nickOf(d.User.Name) != req.Nick || d.User.Room != req.Room:
		p.fail(c, "is %v now", d.User)
	case known && (session != req.Session || session == ""): // who took it over may hear sooner than who came in first
		p.fail(c, "has come in as %v, who is somebody else", d.User)
	case !slices.Contains(d.Users, d.User) && d.Count <= p.setting.UsersLimit || d.Count < 1:
		p.fail(c, "is not among %v", d.Users)
	}
	p.sessions[d.User.ID] = req.Session
	c.told = d.Resumed
	c.in, c.user, c.last, c.list, c.count = req, d.User, d.Seq, d.Users, d.Count
	after := int64(0)
	if len(d.Messages) > 0 {
		after = d.Messages[0].Seq - 1
	} else {
		after = d.Seq
	}
	if d.Recovered != nil && *d.Recovered {
		after = req.Since
	}
	for _, m := range p.s.messages(req.Room, after) {
		if m.Seq <= d.Seq && !slices.ContainsFunc(d.Messages, func(got message) bool { return got.Seq == m.Seq && string(got.Message) == m.Body }) {
			p.fail(c, "is not told %d: %s", m.Seq, d.Data)
		}
	}
}
