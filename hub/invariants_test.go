package hub

import (
	"fmt"
	"slices"

	"parley/store"
)

// invariants tells what is wrong between the parts of a hub's state, if anything
// is: every member is in exactly one room, and rooms, users and connections agree.
func (h *Hub) invariants() error {
	count, bytes := 0, 0
	for name, r := range h.rooms {
		count += r.count
		bytes += r.window.bytes
		size := 0
		for _, e := range r.window.entries {
			size += len(e.data)
		}
		switch {
		case r.name != name:
			return fmt.Errorf("room %q is kept as %q", r.name, name)
		case r.count != h.users.Count(name):
			return fmt.Errorf("room %q counts %d members, there are %d users", name, r.count, h.users.Count(name))
		case size != r.window.bytes:
			return fmt.Errorf("room %q has %d bytes in its window, not %d", name, size, r.window.bytes)
		case r.pending < 0:
			return fmt.Errorf("room %q has %d messages at the log", name, r.pending)
		}
		for i, c := range r.clients {
			if c.roomIndex != i || c.member == nil || c.member.room != r || c.ended {
				return fmt.Errorf("connection %s has no business in room %q", c.id, name)
			}
		}
		connected, here := 0, 0
		for _, u := range h.users.InRoom(name, 0, r.count) {
			m := h.members[u.ID]
			if m == nil || &m.User != u || m.room != r {
				return fmt.Errorf("user %s of room %q is no member", u.ID, name)
			}
			if !m.remote {
				here++
			}
			if m.client != nil {
				connected++
				if m.client.member != m || m.remote {
					return fmt.Errorf("the connection of %s has another user", u.ID)
				}
			}
		}
		if here != r.here {
			return fmt.Errorf("room %q counts %d who are here, there are %d", name, r.here, here)
		}
		if connected != len(r.clients) {
			return fmt.Errorf("%d members of room %q are connected, %d connections are in it", connected, name, len(r.clients))
		}
	}
	switch {
	case count != len(h.members):
		return fmt.Errorf("%d members, %d in rooms", len(h.members), count)
	case bytes != h.windows.bytes:
		return fmt.Errorf("windows count %d bytes, rooms %d", h.windows.bytes, bytes)
	case len(h.dirty)+len(h.answers)+len(h.slow) > 0:
		return fmt.Errorf("flush has left something behind")
	}
	for c := range h.clients {
		if c.inFlight < 0 || c.ended && c.member != nil || c.lost && c.ended {
			return fmt.Errorf("connection %s is not as it should be", c.id)
		}
	}
	return nil
}

// check compares the hub with itself and with the model.
func (p *playing) check() {
	m := p.m
	if err := m.h.invariants(); err != nil {
		m.fail(nil, "%v", err)
	}
	for name, r := range m.rooms {
		m.room(name)
		users := m.h.users.InRoom(name, 0, 100)
		if !slices.EqualFunc(users, r.seats, func(u *store.User, s *seat) bool { return u.ID == s.id && u.Name == s.name && u.Nick == s.nick }) {
			m.fail(nil, "room %q has %d users, want %v", name, len(users), r.people())
		}
		for _, s := range r.seats {
			if s.takenOver {
				m.fail(nil, "%s was closed with 4501, but nobody took it over", s.id)
			}
		}
	}
}

// announcing reports whether a room is yet to be told of who came or went.
func (m *model) announcing() bool {
	for _, r := range m.h.rooms {
		if r.news.waiting {
			return true
		}
	}
	return false
}

// checkRest is what must hold when nothing is under way.
func (m *model) checkRest() {
	for _, t := range m.talkers {
		if m.drains && !t.over && !t.lost {
			m.fail(t, "is still there after the drain")
		}
		if t.over || t.lost {
			continue
		}
		for _, r := range t.asked {
			m.fail(t, "%s %d is never answered", r.event, r.number)
		}
		if t.seat == nil {
			continue
		}
		t.upToDate()
		people := m.room(t.seat.room).people()
		if t.count != len(people) || len(people) <= m.h.cfg.UsersLimit && !slices.Equal(t.list, people) {
			m.fail(t, "believes in %v, %d in all; there are %v", t.list, t.count, people)
		}
	}
}

// checkEmpty is what must hold when everybody has gone, and some time has passed.
func (m *model) checkEmpty() {
	h := m.h
	if m.drains {
		if !h.draining.done {
			m.fail(nil, "the drain does not end")
		}
		return
	}
	if n := len(h.clients) + len(h.rooms) + len(h.members) + len(h.pending) + len(h.opening) + len(h.timers.heap) + h.windows.bytes; n > 0 || h.windows.head != nil {
		m.fail(nil, "left over: %d clients, %d rooms, %d members, %d messages, %d claims, %d timers, %d bytes",
			len(h.clients), len(h.rooms), len(h.members), len(h.pending), len(h.opening), len(h.timers.heap), h.windows.bytes)
	}
	for name, r := range m.log.rooms {
		if r.held {
			m.fail(nil, "room %q is held for nobody", name)
		}
	}
}
