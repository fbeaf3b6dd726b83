package store

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"slices"
)

// person is a user of a room that this node holds.
type person struct {
	userRecord
	rev  int64
	born int64
}

// setUser takes the bucket's word on one user, by the token of its nick. While the room is read nothing of it is
// reported.
func (r *sharedRoom) setUser(j *JetStream, nick string, m *rawMessage, tell bool) {
	old := r.people[nick]
	if old != nil && m.Seq <= old.rev {
		return
	}
	tell = tell && !r.loading
	if m.deleted() {
		delete(r.people, nick)
		if r.loading {
			r.gone[nick] = m.Seq
		}
		if old != nil && tell {
			j.change(r, Left, old, m.reason)
		}
		return
	}
	p := &person{rev: m.Seq}
	if err := json.Unmarshal(m.Data, &p.userRecord); err != nil {
		j.opts.Logger.Error("cannot read a user's record", "error", err.Error())
		return
	}
	p.born = cmp.Or(p.Born, m.Seq)
	r.people[nick] = p
	switch {
	case !tell:
	case old == nil:
		j.change(r, Arrived, p, "")
	case old.ID != p.ID:
		j.change(r, Left, old, "")
		j.change(r, Arrived, p, "")
	case old.Node != p.Node || p.Node == j.lease.id && old.Away && !p.Away:
		j.change(r, Moved, p, "")
	}
}

// change reports what became of a member.
func (j *JetStream) change(r *sharedRoom, kind ChangeKind, p *person, reason string) {
	m := j.member(r, p)
	if kind != Left && m.Here {
		if q := j.waiting[userKey(r.token, token(p.Nick))]; len(q) > 0 && q[0].kind == enters && q[0].id == p.ID {
			m.Ref = q[0].ref
		}
	}
	j.report.Changes = append(j.report.Changes, Change{Kind: kind, Member: m, Reason: reason})
}

func (j *JetStream) member(r *sharedRoom, p *person) Member {
	return Member{
		User:    User{ID: p.ID, Name: p.Name, Nick: p.Nick, Room: r.name, Arrival: p.born},
		Session: p.Session, Here: p.Node == j.lease.id,
	}
}

// membersOf lists a room's members in order of arrival.
func (j *JetStream) membersOf(r *sharedRoom) []Member {
	people := make([]*person, 0, len(r.people))
	for _, p := range r.people {
		people = append(people, p)
	}
	slices.SortFunc(people, func(a, b *person) int { return cmp.Compare(a.born, b.born) })
	members := make([]Member, len(people))
	for i, p := range people {
		members[i] = j.member(r, p)
	}
	return members
}

// opens reports whether the access key opens the room.
func (rec *roomRecord) opens(access []byte) bool {
	return !rec.Opened || rec.Lock == nil || subtle.ConstantTimeCompare(rec.Lock, access) == 1
}
