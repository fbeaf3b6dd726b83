package hub

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"parley/store"
)

// servers is what the nodes of a chat keep together, in memory. All changes of rooms and users are in one order, the
// feed; a write names the revision that it replaces, so of two that race one is refused, looks again, and decides anew.
type servers struct {
	now     time.Time
	feed    []record // revisions count from 1
	newest  map[string]int64
	log     []store.Message // Seq counts from 1
	purged  map[string]int64
	keys    map[string]int64 // seqs, by the keys of messages
	lives   int64            // rooms that were removed
	nodes   []*node
	grace   time.Duration
	recent  int                  // messages in a claim's answer at most
	refused int                  // so many calls are refused
	lost    int                  // so many answers are lost
	removed map[string]bool      // users that were kicked, or went with their room, by id
	leases  map[int]*node        // who holds them, by number
	named   int                  // the last number given
	early   string               // a user whose grace period was too short
	resumed map[string][]*client // who has taken users over, by id; nil: nobody knows any more
}

// record is what is kept under a key: a user, or with no nick a room.
type record struct {
	room, nick string
	rev        int64
	gone       bool
	reason     string

	id, name string
	session  []byte
	node     int
	away     bool
	since    time.Time // with away: when the hub said so
	born     int64

	opened  bool
	lock    []byte
	dropped int64
	life    int64
}

func (r record) key() string { return r.room + "/" + r.nick }

func (r record) present() bool { return r.rev > 0 && !r.gone }

func newServers(nodes, recent int) *servers {
	s := &servers{
		now: start, newest: make(map[string]int64), purged: make(map[string]int64), keys: make(map[string]int64),
		recent: recent, removed: make(map[string]bool), resumed: make(map[string][]*client), leases: make(map[int]*node),
	}
	for range nodes {
		n := &node{s: s, rooms: make(map[string]*heldRoom), waiting: make(map[string][]*sharedChange), released: make(map[string]bool), own: make(map[int64]bool), canceled: make(map[store.Ref]bool), removals: make(map[store.Ref]string), pending: make(map[store.Ref]bool)}
		s.nodes = append(s.nodes, n)
		n.register()
	}
	return s
}

// get is a key as it is now.
func (s *servers) get(key string) record {
	if rev := s.newest[key]; rev > 0 {
		return s.feed[rev-1]
	}
	return record{}
}

func (s *servers) write(r record, expected int64) (rev int64, ok bool) {
	if s.newest[r.key()] != expected {
		return 0, false
	}
	r.rev = int64(len(s.feed) + 1)
	r.born = cmp.Or(r.born, r.rev)
	s.feed = append(s.feed, r)
	s.newest[r.key()] = r.rev
	return r.rev, true
}

// people are a room's users in order of arrival.
func (s *servers) people(room string) (in []record) {
	for _, rev := range s.newest {
		if r := s.feed[rev-1]; r.room == room && r.nick != "" && !r.gone {
			in = append(in, r)
		}
	}
	slices.SortFunc(in, func(a, b record) int { return cmp.Compare(a.born, b.born) })
	return in
}

// messages are those of a room with a seq above after that are still there.
func (s *servers) messages(room string, after int64) (in []store.Message) {
	for _, m := range s.log[min(max(after, s.purged[room]), int64(len(s.log))):] {
		if m.Room == room {
			in = append(in, m)
		}
	}
	return in
}

func (s *servers) last(room string) int64 {
	if in := s.messages(room, 0); len(in) > 0 {
		return in[len(in)-1].Seq
	}
	return 0
}

// forget deletes a room without users and messages.
func (s *servers) forget(room string) {
	r := s.get(room + "/")
	if !r.present() || !r.opened || len(s.people(room)) > 0 || s.last(room) > 0 {
		return
	}
	s.write(record{room: room, gone: r.life == 0, dropped: r.dropped, life: r.life}, r.rev)
}

var errServers = errors.New("as the schedule wants it")

func (s *servers) refuses() bool { return count(&s.refused) }

func (s *servers) loses() bool { return count(&s.lost) }

func count(n *int) bool {
	if *n == 0 {
		return false
	}
	*n--
	return true
}

func take[T any](list *[]T, i int) T {
	v := (*list)[i]
	*list = slices.Delete(slices.Clone(*list), i, i+1)
	return v
}

func (s *servers) store(m store.Message, life int64) store.Appended {
	key := fmt.Sprint(m.Room, life, m.Nick, m.Key)
	if seq := s.keys[key]; m.Key != "" && seq > 0 {
		return store.Appended{Seq: seq, At: s.log[seq-1].At, Duplicate: true}
	}
	m.Seq = int64(len(s.log) + 1)
	s.log = append(s.log, m)
	if m.Key != "" {
		s.keys[key] = m.Seq
	}
	return store.Appended{Seq: m.Seq, At: m.At}
}

// opens reports whether the access key opens the room.
func (r record) opens(access []byte) bool {
	return !r.opened || r.lock == nil || bytes.Equal(r.lock, access)
}

// inOrder lists users in order of arrival.
func inOrder(people map[string]record) []record {
	return slices.SortedFunc(maps.Values(people), func(a, b record) int { return cmp.Compare(a.born, b.born) })
}
