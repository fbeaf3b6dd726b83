package hub

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"parley/protocol"
	"parley/store"
)

// model is what sections 3, 5, 6, 7 and 9 say, kept beside a hub that is run step
// by step. It is told what the clients do, hears what the hub sends them, and
// holds each answer against what it must be. The first thing that is wrong stays.
type model struct {
	h       *Hub
	log     *slowLog
	talkers []*talker // all there ever were
	rooms   map[string]*modelRoom
	ids     map[string]bool    // of users, ever given
	cursors map[string]int64   // the newest seq that a room's user has seen, by room and nick
	texts   map[string]*talker // who has sent which message, by its text, until the log is given it
	pages   []page             // at the log readers
	drains  bool
	drained time.Time // with drains: since when
	wrong   string
}

// quiet reports whether nothing is under way: the hub knows all that the log knows.
func (m *model) quiet() bool {
	return m.log.idle() && len(m.pages)+len(m.h.readers.asked)+len(m.h.pending) == 0
}

// modelRoom is who is in a room, in order of arrival, and what locks it.
type modelRoom struct {
	seats  []*seat
	opened bool
	access string // what the first login gave; "" is an open room
}

// seat is a user of a room.
type seat struct {
	id, name, nick, room, session string
	talker                        *talker   // nil in grace
	until                         time.Time // in grace: when it is over
	takenOver                     bool      // its connection was closed for another one, which is to follow
}

func (m *model) fail(t *talker, format string, args ...any) {
	if m.wrong == "" {
		m.wrong = strings.ReplaceAll(fmt.Sprintf(format, args...), padding, "")
		if t != nil {
			m.wrong = t.label + ": " + m.wrong
		}
	}
}

func (m *model) room(name string) *modelRoom {
	r := m.rooms[name]
	if r == nil {
		r = &modelRoom{}
		m.rooms[name] = r
	}
	r.seats = slices.DeleteFunc(r.seats, func(s *seat) bool { return s.talker == nil && !s.until.After(m.h.now) })
	return r
}

func (r *modelRoom) find(nick string) *seat {
	for _, s := range r.seats {
		if s.nick == nick {
			return s
		}
	}
	return nil
}

func (r *modelRoom) remove(s *seat) {
	r.seats = slices.DeleteFunc(r.seats, func(o *seat) bool { return o == s })
}

// forever is how long one stays whose connection ends in a drain.
var forever = start.Add(1000 * time.Hour)

// depart is the end of a talker's membership but for a logout.
func (m *model) depart(t *talker, goodbye bool) {
	s := t.seat
	if s == nil {
		return
	}
	m.cursors[s.room+"/"+s.nick] = t.last
	t.seat, s.talker = nil, nil
	switch {
	case m.drains:
		s.until = forever
	case goodbye || s.session == "":
		m.room(s.room).remove(s)
	default:
		s.until = m.h.now.Add(m.h.cfg.Grace)
	}
}

// settle notes that connections are through which have ended, and whose requests
// before that are answered. What waited behind those of busy may still be done.
func (m *model) settle(busy *talker) {
	for _, t := range m.talkers {
		if t != busy && t.lost && !t.settled && (t.over || t.blocking == 0) {
			t.settled = true
			m.depart(t, t.goodbye)
		}
	}
}

// lockOf tells what locks the room: nothing, an access key or "" for everybody;
// unsure when the hub may not have heard yet that nothing does any more.
func (m *model) lockOf(name string) (opened bool, access string, unsure bool) {
	r := m.room(name)
	if l := m.log.room(name); r.opened && len(r.seats) == 0 && l.kept == len(l.all) {
		if !m.quiet() {
			return true, r.access, true
		}
		r.opened = false
	}
	return r.opened, r.access, false
}

// admitted checks the first half of a login that succeeded: that it may.
func (m *model) admitted(t *talker, req *protocol.Login, d *said) {
	m.unlocked(t, req, d)
	r := m.room(req.Room)
	s := r.find(req.Nick)
	resumed := s != nil && s.session != "" && s.session == req.Session
	switch {
	case d.Resumed != resumed:
		m.fail(t, "resumed is %v", d.Resumed)
	case s != nil && s.talker != nil:
		m.fail(t, "has the name of %s, who is there", s.talker.label)
	case s == nil && len(r.seats) >= m.h.cfg.RoomLimit:
		m.fail(t, "is one too many in the room")
	case resumed && (d.User.ID != s.id || d.User.Name != s.name):
		m.fail(t, "resumed as %v, was %s %s", d.User, s.id, s.name)
	case !resumed && (m.ids[d.User.ID] || d.User.Name != req.Name):
		m.fail(t, "is %v now", d.User)
	}
	if resumed {
		s.talker, s.until, s.takenOver = t, time.Time{}, false
	} else {
		if s != nil {
			r.remove(s)
		}
		s = &seat{id: d.User.ID, name: req.Name, nick: req.Nick, room: req.Room, session: req.Session, talker: t}
		r.seats = append(r.seats, s)
		m.ids[s.id] = true
	}
	t.seat = s
}

// unlocked checks the lock of a room that somebody enters who is not in it yet.
func (m *model) unlocked(t *talker, req *protocol.Login, d *said) {
	r := m.room(req.Room)
	opened, access, unsure := m.lockOf(req.Room)
	switch {
	case !opened, unsure && d.Locked == (req.Access != ""):
		r.opened, r.access = true, req.Access
	case access != "" && access != req.Access:
		m.fail(t, "entered with the wrong key")
	}
	if d.Locked != (r.access != "") {
		m.fail(t, "locked is %v", d.Locked)
	}
}

// refused checks a login that failed.
func (m *model) refused(t *talker, req *protocol.Login, code protocol.Code) {
	r := m.room(req.Room)
	s := r.find(req.Nick)
	opened, access, _ := m.lockOf(req.Room)
	mayEnter := !opened || access == "" || access == req.Access
	same := t.seat != nil && t.seat == s && s.session != "" && s.session == req.Session
	ok := false
	switch code {
	case protocol.CodeAlreadyLoggedIn:
		ok = t.seat != nil && !same
	case protocol.CodeWrongKey:
		ok = !mayEnter
	case protocol.CodeNameTaken:
		ok = s != nil && s.talker != nil && (s.session == "" || s.session != req.Session)
	case protocol.CodeRoomFull:
		ok = s == nil && len(r.seats) >= m.h.cfg.RoomLimit
	case protocol.CodeUnavailable:
		ok = m.log.failures > 0
	}
	if !ok {
		m.fail(t, "may not be refused with %s", code)
	}
}

// past checks what a login was answered with of the room's messages.
func (m *model) past(t *talker, req *protocol.Login, d *said) {
	r := m.log.room(req.Room)
	top, _ := slices.BinarySearchFunc(r.all, d.Seq+1, bySeq)
	if r.told > top {
		m.fail(t, "seq %d, but %d has been told", d.Seq, r.all[r.told-1].Seq)
		return
	}
	if n := len(d.Messages); n > wanted(req) || n > top {
		m.fail(t, "%d messages", n)
		return
	}
	first := top - len(d.Messages)
	for i, got := range d.Messages {
		m.same(t, got, r.all[first+i])
	}
	if !d.More && first > r.kept || d.More && first == 0 {
		m.fail(t, "more is %v, %d messages are older, %d of them dropped", d.More, first, r.kept)
	}
	m.filled(t, d, wanted(req), r.all[min(first, max(r.kept, m.index(r, req.Since))):first])
	if req.Since < 0 {
		if d.Recovered != nil || d.Gap != nil {
			m.fail(t, "is told of a gap, but gave no since")
		}
		return
	}
	after, _ := slices.BinarySearchFunc(r.all, req.Since+1, bySeq)
	if first < after && len(d.Messages) > 0 {
		m.fail(t, "gets %d again", d.Messages[0].Seq)
	}
	other := req.Epoch != "" && req.Epoch != m.log.Epoch() || req.Since > d.Seq || req.Since > 0 && req.Since < slowFirst
	dropped := max(r.dropped, m.log.forgot)
	reason := ""
	switch {
	case other, req.Since < r.heard:
		reason = "expired"
	case first > after && req.Since < dropped:
		reason = "too_many or expired" // the hub may not have heard
	case first > after:
		reason = "too_many"
	case req.Since < dropped:
		reason = " or expired"
	}
	told := ""
	if d.Gap != nil {
		told = d.Gap.Reason
		var before int64
		if len(d.Messages) > 0 {
			before = d.Messages[0].Seq
		}
		if d.Gap.After != req.Since || d.Gap.Before != before {
			m.fail(t, "gap %v", *d.Gap)
		}
	}
	if d.Recovered == nil || *d.Recovered != (told == "") || told != reason && !slices.Contains(strings.Split(reason, " or "), told) {
		m.fail(t, "since %d: gap %q, want %q (%d messages are missing)", req.Since, told, reason, max(0, first-after))
	}
}

func bySeq(m store.Message, seq int64) int { return int(m.Seq - seq) }

// filled checks that an answer of messages is not larger than it may be, and not smaller than it need be: older are those
// that it might have had too.
func (m *model) filled(t *talker, d *said, limit int, older []store.Message) {
	const besides = 4 << 10 // the rest of the answer, or what a message is beside its text
	size, n := len(d.Data), len(d.Messages)
	if size > answerBytes+besides && n > 1 {
		m.fail(t, "an answer of %d bytes with %d messages", size, n)
	}
	if last := len(older) - 1; last >= 0 && n < limit && size+len(older[last].Body)+besides < answerBytes {
		m.fail(t, "only %d messages, %d bytes, and there are %d more", n, size, len(older))
	}
}

// index is where in the room's messages those after seq begin.
func (m *model) index(r *slowRoom, seq int64) int {
	i, _ := slices.BinarySearchFunc(r.all, seq+1, bySeq)
	return i
}

// same compares a message as it was sent with what is in the log.
func (m *model) same(t *talker, got message, want store.Message) {
	if got.Seq != want.Seq || string(got.Message) != want.Body || got.From != want.From || got.UserID != want.UserID ||
		got.Key != want.Key || got.At != string(protocol.AppendTime(nil, want.At)) {
		m.fail(t, "gets message %d as %v, the log has %v", want.Seq, got, want)
	}
}

// said is what the hub sends, all its kinds in one.
type said struct {
	Event string         `json:"event"`
	AckID int64          `json:"ackId"`
	Data  jsontext.Value `json:"data"`

	message
	Code       protocol.Code `json:"code"`
	User       person        `json:"user"`
	Users      []person      `json:"users"`
	Count      int           `json:"count"`
	Epoch      string        `json:"epoch"`
	Durability string        `json:"durability"`
	Duplicate  bool          `json:"duplicate"`
	Messages   []message     `json:"messages"`
	More       bool          `json:"more"`
	Locked     bool          `json:"locked"`
	Resumed    bool          `json:"resumed"`
	Recovered  *bool         `json:"recovered"`
	Gap        *hole         `json:"gap"`
	ID         string        `json:"id"`
	Kind       string        `json:"kind"`
}

type message struct {
	Message jsontext.Value `json:"message"`
	From    string         `json:"from"`
	UserID  string         `json:"userId"`
	Key     string         `json:"key"`
	Seq     int64          `json:"seq"`
	At      string         `json:"at"`
}

type person struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Room string `json:"room"`
}

type hole struct {
	After  int64  `json:"after"`
	Before int64  `json:"before"` // 0: null
	Reason string `json:"reason"`
}

// decodeSaid decodes a frame: the envelope, and its data into the same struct.
func decodeSaid(frame []byte) (*said, error) {
	d := &said{AckID: protocol.NoAck}
	if err := json.Unmarshal(frame, d); err != nil {
		return d, err
	}
	if d.Data.Kind() == '[' {
		return d, json.Unmarshal(d.Data, &d.Users)
	}
	event := d.Event // an error has another one in its data
	err := json.Unmarshal(d.Data, d)
	d.Event = event
	return d, err
}
