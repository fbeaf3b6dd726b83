package hub

import (
	"slices"
	"time"

	"parley/protocol"
	"parley/store"
)

// news is what has not been announced yet of a room's people (section 5).
type news struct {
	changed     bool
	waiting     bool      // a timer is set for the next announcement
	due         time.Time // when the next list may be sent
	duePresence time.Time // when the next presence event may be
	joined      []protocol.User
	left        []string
}

const (
	usersEvery    = 100 * time.Millisecond // full lists a room
	presenceEvery = time.Second            // presence events a large room
	newsLimit     = 20                     // names a presence event, of each kind
	usersBytes    = 256 << 10              // of a list of users (section 3)
	usersCeiling  = MaxUsersLimit          // users in a list, whatever the large-room setting
)

// large reports whether the room has more members than get full lists.
func (h *Hub) large(r *room) bool { return r.count > h.cfg.UsersLimit }

// tell notes that somebody came or went, and notifies the others, unless the
// room is large.
func (h *Hub) tell(r *room, joined bool, m *member) {
	n := &r.news
	n.changed = true
	switch {
	case joined && len(n.joined) < newsLimit:
		n.joined = append(n.joined, m.wire())
	case !joined && len(n.left) < newsLimit:
		n.left = append(n.left, m.ID)
	}
	if !h.large(r) {
		h.toRoom(r, h.frame(protocol.AppendNotification(h.scratch[:0], joined, m.wire())))
	}
}

// announce tells the room of its people: at once, or when it is time again.
func (h *Hub) announce(r *room) {
	n := &r.news
	if !n.changed || n.waiting {
		return
	}
	large, due := h.large(r), n.due
	if large {
		due = n.duePresence
	}
	if h.now.Before(due) {
		n.waiting = true
		h.timers.set(due, func() {
			n.waiting = false
			h.announce(r)
		})
		return
	}
	p := &protocol.Presence{Joined: n.joined, Left: n.left, Count: r.count}
	n.changed, n.joined, n.left = false, nil, nil
	n.due = h.now.Add(usersEvery)
	h.flushRoom(r)
	if large {
		n.duePresence = h.now.Add(presenceEvery)
		frame := h.frame(protocol.AppendPresence(h.scratch[:0], *p))
		for _, c := range r.clients {
			if !c.out.mergePresence(p, frame) {
				h.slow = append(h.slow, c)
			}
		}
		return
	}
	if len(r.clients) == 0 {
		return
	}
	frame := h.frame(protocol.AppendUsersEvent(h.scratch[:0], h.people(r)))
	for _, c := range r.clients {
		if !c.out.replace(slotUsers, "", frame) {
			h.slow = append(h.slow, c)
		}
	}
}

// people is the list of the room's users as JSON: the first of them, in order of
// arrival, as far as it may reach. It is made once for all who are sent it.
func (h *Hub) people(r *room) []byte {
	if r.people == nil {
		h.scratch = appendPeople(h.scratch[:0], h.users.InRoom(r.name, 0, min(h.cfg.UsersLimit, usersCeiling)))
		r.people = slices.Clone(h.scratch)
	}
	return r.people
}

// appendPeople appends users as a JSON array, as many as it may hold.
func appendPeople(dst []byte, users []*store.User) []byte {
	start := len(dst)
	dst = append(dst, '[')
	for i, u := range users {
		before := len(dst)
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = protocol.AppendUser(dst, protocol.User{ID: u.ID, Name: u.Name, Room: u.Room})
		if len(dst)+len("]")-start > usersBytes {
			dst = dst[:before]
			break
		}
	}
	return append(dst, ']')
}
