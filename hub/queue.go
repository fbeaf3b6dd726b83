package hub

import (
	"slices"

	"parley/protocol"
)

// slotKind tells apart the events of which a newer one makes a waiting older
// one pointless (section 6.5).
type slotKind uint8

const (
	slotNone     slotKind = iota // stays as it is
	slotTyping                   // one for each user id
	slotUsers                    // one
	slotPresence                 // one, in which all are merged
	slotPong                     // one: RFC 6455 section 5.5.3 asks for the newest only
)

// entry is one or more whole frames that stand together in a queue. The bytes
// are shared between connections and never change.
type entry struct {
	frames []byte
	slot   slotKind
	id     string
}

const (
	// firstEntries is the room of a queue's first slice: a message, its
	// acknowledgement, a list and a ping at once cost no second one.
	firstEntries = 4
	// keptEntries is the room that an emptied queue may keep.
	keptEntries = 16
)

// queue is what waits for one connection, in order. It has no lock: the
// outlet's guards it.
type queue struct {
	entries  []entry
	bytes    int
	presence *protocol.Presence // what the waiting entry of slotPresence says
}

// waiting finds the entry that a newer one with this slot and id replaces; -1:
// none. It looks at every entry, which a queue that is written at all keeps few.
func (q *queue) waiting(slot slotKind, id string) int {
	if slot == slotNone {
		return -1
	}
	return slices.IndexFunc(q.entries, func(e entry) bool { return e.slot == slot && e.id == id })
}

// add puts e at the end, in the place of the entry at index old unless that is -1.
func (q *queue) add(e entry, old int) {
	if old >= 0 {
		q.bytes -= len(q.entries[old].frames)
		q.entries = slices.Delete(q.entries, old, old+1)
	}
	if q.entries == nil {
		q.entries = make([]entry, 0, firstEntries)
	}
	q.entries = append(q.entries, e)
	q.bytes += len(e.frames)
}

// take empties the queue. It goes on with spare, a slice of length 0 that the
// caller got back from recycle.
func (q *queue) take(spare []entry) []entry {
	taken := q.entries
	*q = queue{entries: spare}
	return taken
}

// recycle makes a taken slice fit to be a queue's again, or drops it when it had
// become big.
func recycle(taken []entry) []entry {
	if cap(taken) > keptEntries {
		return nil
	}
	clear(taken)
	return taken[:0]
}

// maxPresence is how many users of each kind a presence event names at most
// (section 5).
const maxPresence = 20

// mergePresence folds a newer presence event into one that still waits: who
// came and went in between appears in neither list, and the newest of a longer
// list are kept. The count is exact because the newer one's is.
func mergePresence(old, newer *protocol.Presence) *protocol.Presence {
	joined := slices.DeleteFunc(slices.Clone(old.Joined), func(u protocol.User) bool { return slices.Contains(newer.Left, u.ID) })
	left := slices.DeleteFunc(slices.Clone(old.Left), func(id string) bool { return names(newer.Joined, id) })
	for _, u := range newer.Joined {
		if !slices.Contains(old.Left, u.ID) {
			joined = append(joined, u)
		}
	}
	for _, id := range newer.Left {
		if !names(old.Joined, id) {
			left = append(left, id)
		}
	}
	return &protocol.Presence{
		Joined: joined[max(0, len(joined)-maxPresence):],
		Left:   left[max(0, len(left)-maxPresence):],
		Count:  newer.Count,
	}
}

func names(users []protocol.User, id string) bool {
	return slices.ContainsFunc(users, func(u protocol.User) bool { return u.ID == id })
}
