package store

import "errors"

// Shared is a directory that several nodes keep together, so that they are one chat: a member of a room on one
// node is a member on all. Its calls never block and are called by one goroutine, the hub's; what comes of them,
// and what the other nodes do, comes through the sink.
//
// The cut between hub and driver: the driver owns the truth about who is in a room, its order included, and all
// traffic with the other nodes, in goroutines of its own. The hub does with its members what the sink reports, in
// the order reported, and never removes or adds one by itself. A member without a connection here is to the hub
// like one in its grace period, whoever has it.
//
// A user is here when its connection is, or was last, on this node: this node's hub runs its grace period.
type Shared interface {
	// Claim, Remove and Release are as in [Directory]. A Claim's state has the room's members; what becomes of
	// them is reported until Release.
	Claim(ref Ref, room string) (out Claimed, done bool, err error)
	Remove(ref Ref, room string) (out Removed, done bool, err error)
	Release(room string)
	// Enter lets a user into a room that is held, or makes the one here who was elsewhere, or here before. It
	// opens the room if nobody has. The outcome comes through the sink, once, as Entered, and behind everything
	// that was stored in the room before this call.
	// err: ErrBusy, ErrAway or ErrClosed, and nothing was done.
	Enter(ref Ref, e Entry) error
	// Cancel: nobody waits for an Enter any more. Its outcome is reported all the same, and is an error unless it
	// was on its way: an Enter that waits for servers out of reach must not take a user from where it is by then.
	Cancel(ref Ref)
	// Away: the connection of a user who is here ended, and its grace period runs: the name may be taken.
	Away(room, nick, id string)
	// Expire takes a user out whose grace period is over, unless it has come back meanwhile, here or elsewhere.
	Expire(room, nick, id string)
	// Leave takes the user out, unless it has gone elsewhere meanwhile. It is done as soon as it can be.
	Leave(room, nick, id string)
	// Kick takes the user out wherever it is; its node is told why.
	Kick(room, nick, id, reason string)
	// Typing is passed on to the other nodes that hold the room, at most once.
	Typing(t Typing)
}

// Entry is who wants to come into a room.
type Entry struct {
	User    User   // with the id that it gets when it is a new one
	Session []byte // SHA-256 of the session; nil: none, nobody can take it over
	Access  []byte // SHA-256 of the access key; nil: none
	Limit   int    // members the room takes
}

// Entered is the outcome of an Enter. Before it the change has been reported that made the user a member, or
// brought it here, if there was one.
type Entered struct {
	Ref     Ref
	Err     error  // nil, ErrWrongKey, ErrNameTaken, ErrRoomFull, or why it is not known
	ID      string // who it is now
	Resumed bool   // it was a member before
	Lock    []byte // the room's
}

// Member is a user in a shared room.
type Member struct {
	User
	Session []byte
	Here    bool
	Ref     Ref // of the Enter, not answered yet, that brought it here; 0: none
}

// Change is what became of a room's members. It is one of three: somebody new, somebody whose connection is on
// another node now, or somebody gone.
type Change struct {
	Kind   ChangeKind
	Member Member
	Reason string // of a kick
}

// Replaces reports whether the change is somebody new who has taken the name of the one who left with before.
func (c *Change) Replaces(before Change) bool {
	return before.Kind == Left && c.Kind == Arrived && c.Member.Room == before.Member.Room && c.Member.Nick == before.Member.Nick
}

// ChangeKind says which.
type ChangeKind int

// The kinds of [Change].
const (
	Arrived ChangeKind = iota
	Moved
	Left
)

// Typing is somebody who types, or no longer.
type Typing struct {
	Room, From, ID string
	Typing         bool
}

var (
	// ErrAway: the servers that keep the log cannot be reached.
	ErrAway = errors.New("the message log is out of reach")
	// ErrLost: they were out of reach for so long that the other nodes do without this one, until it is registered anew.
	ErrLost = errors.New("this node was out of reach for too long, and is to be registered anew")
	// ErrWrongKey: the room is locked with another access key.
	ErrWrongKey = errors.New("the room is locked with another access key")
	// ErrRoomFull: the room has as many members as it takes.
	ErrRoomFull = errors.New("the room is full")
)
