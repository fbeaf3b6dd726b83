package store

import "errors"

// ErrNameTaken: somebody else in the room has that name.
var ErrNameTaken = errors.New("the name is taken")

// User is one person in one room.
type User struct {
	ID   string // public; unique
	Name string
	Nick string // comparison key of Name (RFC 8266): unique in the room
	Room string

	Arrival int64 // who has a greater one came later; 0 in a directory that reports in order of arrival
}

// Users holds everybody in every room, in order of arrival. It belongs to one goroutine. A saved user is not
// changed but by another Save.
//
// Find, FindName, Save, Delete and Count take constant time, amortised over a room's arrivals and departures; a Save
// of somebody who came before others that are there already takes time for each of these.
type Users struct {
	byID  index[*entry]
	rooms index[*roster]
}

// entry is a user's place.
type entry struct {
	user  User // as it was saved: the keys under which it is found
	out   *User
	index int // in its room's roster
}

// roster is a room's users. A departure leaves a hole, so that the others keep their place; when more than
// half are holes the roster is closed up.
type roster struct {
	order []*entry // in order of arrival; nil: a hole
	names map[string]*entry
}

// NewUsers makes an empty Users.
func NewUsers() *Users {
	return new(Users)
}

// Find gives the user with that id, nil when there is none.
func (u *Users) Find(id string) *User {
	if e := u.byID.get(id); e != nil {
		return e.out
	}
	return nil
}

// FindName gives the user with that comparison key in the room, nil when there is none.
func (u *Users) FindName(room, nick string) *User {
	if r := u.rooms.get(room); r != nil {
		if e := r.names[nick]; e != nil {
			return e.out
		}
	}
	return nil
}

// Save adds the user behind those who did not come later. One whose id is there already takes the new values and keeps its
// place, or leaves its old room for the new one. Error: ErrNameTaken, and nothing has changed.
func (u *Users) Save(user *User) error {
	if other := u.FindName(user.Room, user.Nick); other != nil && other.ID != user.ID {
		return ErrNameTaken
	}
	if e := u.byID.get(user.ID); e != nil {
		if e.user.Room == user.Room {
			names := u.rooms.get(user.Room).names
			delete(names, e.user.Nick)
			names[user.Nick] = e
			e.user, e.out = *user, user
			return nil
		}
		u.Delete(user.ID)
	}
	r := u.rooms.get(user.Room)
	if r == nil {
		r = &roster{names: make(map[string]*entry, 1)}
		u.rooms.put(user.Room, r)
	}
	e := &entry{user: *user, out: user, index: len(r.order)}
	r.order = append(r.order, e)
	if user.Arrival != 0 {
		r.settleLast()
	}
	r.names[user.Nick] = e
	u.byID.put(user.ID, e)
	return nil
}

// Delete removes the user with that id and gives it, nil when there is none.
func (u *Users) Delete(id string) *User {
	e := u.byID.get(id)
	if e == nil {
		return nil
	}
	u.byID.remove(id)
	r := u.rooms.get(e.user.Room)
	delete(r.names, e.user.Nick)
	r.order[e.index] = nil
	switch n := len(r.names); {
	case n == 0:
		u.rooms.remove(e.user.Room)
	case n < len(r.order)/2:
		r.closeUp()
	}
	return e.out
}

// InRoom gives at most limit users of the room in order of arrival, from the offset-th (0: the first).
func (u *Users) InRoom(room string, offset, limit int) []*User {
	r := u.rooms.get(room)
	if r == nil || offset < 0 || limit <= 0 || offset >= len(r.names) {
		return nil
	}
	users := make([]*User, 0, min(limit, len(r.names)-offset))
	for _, e := range r.order {
		if e == nil {
			continue
		}
		if offset--; offset >= 0 {
			continue
		}
		if users = append(users, e.out); len(users) == cap(users) {
			break
		}
	}
	return users
}

// Count says how many are in the room.
func (u *Users) Count(room string) int {
	if r := u.rooms.get(room); r != nil {
		return len(r.names)
	}
	return 0
}

// settleLast moves the last entry before those who came later.
func (r *roster) settleLast() {
	to := len(r.order) - 1
	last := r.order[to]
	for i := to - 1; i >= 0; i-- {
		e := r.order[i]
		if e == nil {
			continue
		}
		if e.user.Arrival <= last.user.Arrival {
			break
		}
		r.order[to], r.order[i], e.index = e, nil, to
		to = i
	}
	r.order[to], last.index = last, to
}

// closeUp makes the roster anew without holes, so that a room which was large once gives its memory back.
func (r *roster) closeUp() {
	order := make([]*entry, 0, len(r.names))
	names := make(map[string]*entry, len(r.names))
	for _, e := range r.order {
		if e == nil {
			continue
		}
		e.index = len(order)
		order = append(order, e)
		names[e.user.Nick] = e
	}
	r.order, r.names = order, names
}
