package hub

import (
	"fmt"
	"strings"
	"time"

	"parley/protocol"
	"parley/store"
)

// act does one step of a schedule. One that makes no sense now is nothing.
func (p *playing) act(st step) {
	m := p.m
	switch t := p.slots[st.a%len(p.slots)]; {
	case st.kind == connects:
		p.connect(st.a % len(p.slots))
	case st.kind <= falls && t != nil && !t.lost:
		p.talk(t, st)
	case st.kind > falls:
		p.work(st)
	}
	m.settle(nil)
	if st.flush {
		p.flush()
		m.settle(nil)
		p.check()
	}
}

func (p *playing) connect(slot int) {
	m := p.m
	if t := p.slots[slot]; t != nil && !t.lost {
		return
	}
	t := &talker{m: m, label: fmt.Sprintf("c%d", len(m.talkers)), asked: make(map[int64]*request)}
	t.loginBy = m.h.now.Add(m.h.cfg.LoginTimeout)
	t.c = &client{id: m.h.newID(), out: t}
	m.talkers = append(m.talkers, t)
	p.slots[slot] = t
	p.note("%s connects", t.label)
	m.h.step(connected{t.c})
}

// talk is a step of a talker.
func (p *playing) talk(t *talker, st step) {
	m := p.m
	p.note("%s %s %s", t.label, kindNames[st.kind], p.detail(t, st))
	switch st.kind {
	case logsIn:
		req := p.login(st)
		t.ask("login", loginData(req), &request{login: req})
	case sends:
		p.message(t, st)
	case types:
		t.ask("typing", fmt.Sprintf(`{"typing":%v}`, st.b%2 == 0), nil)
	case listsUsers:
		r := &request{offset: st.b % 4, limit: 1 + st.c%3}
		t.ask("users", fmt.Sprintf(`{"offset":%d,"limit":%d}`, r.offset, r.limit), r)
	case pages:
		p.history(t, st)
	case pings:
		t.ask("ping", "null", &request{})
	case logsOut:
		t.ask("logout", "null", &request{})
	case errs:
		if st.b%3 == 0 {
			t.bad++
			t.send("no envelope")
			return
		}
		t.bad = 0
		e := errorFrames[st.c%len(errorFrames)]
		t.ask(e.event, e.data, &request{want: e.want})
	case ends:
		t.lost, t.goodbye = true, st.b%3 == 0 && !t.over
		m.h.step(disconnected{c: t.c, goodbye: t.goodbye})
	case clogs:
		t.full = true
	case falls:
		t.mute = true
	}
}

// detail is what the script says of a step, beside its kind.
func (p *playing) detail(t *talker, st step) string {
	switch st.kind {
	case logsIn:
		return loginData(p.login(st))
	case ends:
		return map[bool]string{true: "with a goodbye", false: "by itself"}[st.b%3 == 0 && !t.over]
	case sends:
		return fmt.Sprintf("%d, key %d", t.given+1, keyOf(st))
	}
	return ""
}

func (p *playing) login(st step) *protocol.Login {
	m := p.m
	r := &protocol.Login{Name: modelNames[st.b%p.setting.Names], Room: modelRooms[0], Since: -1}
	r.Nick = strings.ToLower(r.Name)
	if st.b%7 == 6 {
		r.Room = modelRooms[1]
	}
	if s := modelSessions[st.c%len(modelSessions)]; s != "" {
		r.Session = r.Nick + s
	}
	r.Access = modelAccess[st.c/5%len(modelAccess)]
	room := m.log.room(r.Room)
	switch {
	case st.d%5 == 1 || st.d%5 == 2:
		if cursor, ok := m.cursors[r.Room+"/"+r.Nick]; ok {
			r.Since = cursor
		}
	case st.d%5 == 3:
		r.Since = 0
	case st.d%20 == 4:
		r.Since = m.log.seq + 100
	case st.d%20 == 9:
		r.Since = slowFirst - 1
	case st.d%5 == 4 && len(room.all) > 0:
		r.Since = room.all[st.d%len(room.all)].Seq
	}
	if r.Since >= 0 && st.d/5%3 > 0 {
		r.Epoch = m.log.Epoch()
	}
	if r.Since >= 0 && st.d/5%8 == 0 {
		r.Epoch = "of another log"
	}
	return r
}

func loginData(r *protocol.Login) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"name":%q,"room":%q`, r.Name, r.Room)
	for _, f := range []struct{ name, value string }{{"session", r.Session}, {"access", r.Access}, {"epoch", r.Epoch}} {
		if f.value != "" {
			fmt.Fprintf(&b, `,%q:%q`, f.name, f.value)
		}
	}
	if r.Since >= 0 {
		fmt.Fprintf(&b, `,"since":%d`, r.Since)
	}
	return b.String() + "}"
}

// keyOf is the key that a message is sent with; 0: none.
func keyOf(st step) int {
	if st.b%3 == 0 {
		return 0
	}
	return 1 + st.d%12
}

func (p *playing) message(t *talker, st step) {
	text := fmt.Sprintf(`"%d of %s%s"`, t.given+1, t.label, strings.Repeat(padding, p.setting.Padding))
	p.m.texts[text] = t
	r := &request{text: text}
	data := text
	if n := keyOf(st); n > 0 {
		r.key = fmt.Sprintf("key-of-message-%d", n)
		data = fmt.Sprintf(`{"message":%s,"key":%q}`, text, r.key)
	}
	if st.c%4 == 0 {
		t.given++
		r = nil
	}
	t.ask("roomMessage", data, r)
}

func (p *playing) history(t *talker, st step) {
	r := &request{page: protocol.History{Before: -1, After: -1, Limit: 1 + st.b%4}}
	if st.b%5 == 0 {
		r.page.Limit = 50
	}
	var seq int64
	if s := t.seat; s != nil {
		room := p.m.log.room(s.room)
		if room.told > 0 {
			r.top = room.all[room.told-1].Seq
		}
		if len(room.all) > 0 {
			seq = room.all[st.d%len(room.all)].Seq + int64(st.d%3) - 1
		}
	}
	data := fmt.Sprintf(`{"limit":%d}`, r.page.Limit)
	switch st.c % 3 {
	case 1:
		r.page.Before = seq
		data = fmt.Sprintf(`{"before":%d,"limit":%d}`, seq, r.page.Limit)
	case 2:
		r.page.After = seq
		data = fmt.Sprintf(`{"after":%d,"limit":%d}`, seq, r.page.Limit)
	}
	t.ask("history", data, r)
}

// work is a step of the log, of its readers, or of time.
func (p *playing) work(st step) {
	m, log := p.m, p.m.log
	nothing := false
	switch st.kind {
	case commits:
		nothing = len(log.calls) == 0
	case loads:
		nothing = len(log.loading) == 0
	case reports:
		nothing = len(log.reports) == 0
	case reads, delivers:
		nothing = len(m.pages) == 0
	}
	if nothing {
		return
	}
	p.note("%s %d %d", kindNames[st.kind], st.b, st.c)
	switch st.kind {
	case commits:
		fate := groupStored
		if st.c%p.setting.Fault == 1 {
			fate = groupLost + st.d%2
		}
		log.group(1+st.b%5, fate)
	case loads:
		p.load()
	case reports:
		m.h.step(reported{log.report()})
	case reads:
		p.read(st.b)
	case delivers:
		p.deliver(st.b)
	case trims:
		room := modelRooms[0]
		if st.b%7 == 6 {
			room = modelRooms[1]
		}
		log.trim(room, 1+st.c%8)
	case breaks:
		switch st.b % 3 {
		case 0:
			log.busy += 1 + st.c%2
		case 1:
			log.badReads++
		default:
			log.badLoads++
		}
	case evicts:
		m.evict()
	case passes:
		p.pass([]time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second}[st.b%6])
	case drains:
		m.drain()
	}
}

// evict takes the window of the room away that has been quiet for longest, as when
// all windows together have become too large.
func (m *model) evict() {
	ws := &m.h.windows
	if r := ws.head; r != nil {
		ws.bytes -= r.window.bytes
		r.window.drop(len(r.window.entries))
		ws.unlink(r)
		m.log.failures++ // a login may be refused because the log was read too often for it
	}
}

func (m *model) drain() {
	if !m.drains {
		m.drained = m.h.now
		for _, r := range m.rooms {
			for _, s := range r.seats {
				if s.until.After(m.h.now) {
					s.until = forever
				}
			}
		}
	}
	m.drains = true
	m.h.step(drainRequested{})
}

func (m *model) claim() store.Report { return store.Report{Claimed: []store.Claimed{m.log.load()}} }
