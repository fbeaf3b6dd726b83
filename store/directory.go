package store

// Directory says who may enter a room (PROTOCOL.md section 9). Calls take effect in the order made, together
// with those of [Log.Append]: a Lock made before an Append is stored no later than it.
//
// A room is known from its first Lock or Append until it is forgotten: when it has no stored messages and is not
// held, which its Release or the retention of its last message may bring about. In the first 10 minutes of a
// driver that outlives restarts only the Release of a room that was opened since does: nobody is back yet, and who
// is refused does not count. What the forgotten room's dropped mark said is from then on said of every unknown room.
type Directory interface {
	// Claim marks the room as held and loads its state. When done, out is the outcome; else it comes through
	// the sink, once. Between Claim and its outcome nothing is appended to the room.
	// err: ErrBusy or ErrClosed, and nothing was done.
	Claim(ref Ref, room string) (out Claimed, done bool, err error)
	// Lock opens the room, which is held: access nil for everybody, else the SHA-256 of the access key. A room
	// that is known and has no messages is opened again, with the lock that it has, by the first who is let in.
	// err: ErrBusy or ErrClosed, and nothing was done. Once taken it is kept: what a failing disk refuses is
	// written as soon as the disk takes it, before any message of the room.
	Lock(room string, access []byte) error
	// Remove takes the room's messages, their keys and its lock away, for good. It counts as held if it did
	// before; the next Lock opens it anew. When done, out is the outcome; else it comes through the sink, once,
	// in its order between the messages.
	// err: ErrBusy or ErrClosed, and nothing was done.
	Remove(ref Ref, room string) (out Removed, done bool, err error)
	// Release: the room is held no longer; no members, nothing pending.
	Release(room string)
}
