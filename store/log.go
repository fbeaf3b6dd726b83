// Package store keeps what a chat server must not lose, and who is in which room.
//
// [Users] is the people of all rooms: plain maps, owned by the hub's goroutine.
//
// A [Log] keeps each room's messages in one order, gives them their sequence numbers, and remembers
// idempotency keys; a [Directory] says which rooms are known and what locks them. A driver is both:
//
//   - [Memory] answers in place and is gone with the process;
//   - [SQLite] keeps one file; its writer goroutine commits in groups, so that many messages share one flush;
//   - [JetStream] is several servers', on NATS, with a [Shared] directory in the place of a Directory.
//
// What every driver promises is written at the interfaces and tested by one conformance suite. In short:
//
//   - Sequence numbers grow over the whole log, over restarts too; numbers may be skipped.
//   - Stored messages are reported in the order of their numbers, and only once they are kept as strongly as
//     [Log.Durability] says. What failed is never reported as stored.
//   - A second message with the same room, nick and key is not stored; it gets the first one's number and time.
//   - What is dropped is dropped oldest first within a room and leaves a mark, the highest number dropped; so
//     nobody is told that nothing is missing when something is.
//   - Times are kept to the millisecond, in UTC.
//
// Errors never hold the text of a message.
package store

import (
	"context"
	"errors"
	"time"
)

// Bounds of [RoomState.Recent].
const (
	RecentMessages = 1000
	RecentBytes    = 512 << 10 // of message bodies
)

var (
	// ErrBusy: the queue is full; the same call may be made again later.
	ErrBusy = errors.New("the message log is busy")
	// ErrClosed: the driver was closed.
	ErrClosed = errors.New("the message log is closed")
)

// Options is what every driver can be told.
type Options struct {
	History int              // messages kept a room; 0: no such bound
	Retain  time.Duration    // how long they are kept; 0: no such bound
	Bytes   int64            // [Memory] only: of all messages together; 0: 256 MiB
	Now     func() time.Time // the clock; nil: time.Now
}

// Ref ties an outcome to its Append or Claim; the caller's own numbering.
type Ref uint64

// Message is one message of a room's log. Body is opaque.
type Message struct {
	Seq    int64
	At     time.Time
	Room   string
	From   string // the sender's name
	Nick   string // its comparison key (RFC 8266): what makes Key unique
	UserID string
	Key    string // the sender's idempotency key; "" when none
	Body   string
}

// Appended is the outcome of one [Log.Append].
type Appended struct {
	Ref       Ref
	Seq       int64
	At        time.Time
	Duplicate bool  // stored before under the same (room, nick, key): Seq and At are the first one's
	Err       error // not stored, or not known to be: a retry under the same key decides
}

// Claimed is the outcome of one [Directory.Claim].
type Claimed struct {
	Ref   Ref
	Err   error // the state could not be read; the room counts as held all the same
	State RoomState
}

// RoomState is what the log knows of a room.
type RoomState struct {
	Known   bool      // the room was opened, by a Lock or a message, and not forgotten since
	Lock    []byte    // SHA-256 of access; nil: an open room
	Seq     int64     // newest number ever given in the room, or Dropped when that is larger; 0: none ever
	Dropped int64     // highest number ever dropped from the room; of an unknown room, from all forgotten rooms
	Recent  []Message // the newest, oldest first: at most RecentMessages, and RecentBytes unless it is one message
	From    int64     // every stored message with Seq > From is in Recent
	Members []Member  // of a [Shared] directory, in order of arrival
}

// Removed is the outcome of one [Directory.Remove].
type Removed struct {
	Ref     Ref
	Room    string
	Through int64 // everything of the room with Seq <= Through is gone
	Err     error // nothing was removed
}

// Trim: everything of the room with Seq <= Through has been dropped.
type Trim struct {
	Room    string
	Through int64
}

// Report is what a driver tells its owner. Within one report Stored comes first: it is to be broadcast before
// Appended is answered. A duplicate and a failure are in Appended only.
type Report struct {
	Stored   []Message // in the order of Seq in each room, over all reports
	Appended []Appended
	Claimed  []Claimed
	Trimmed  []Trim // held rooms only
	Removed  []Removed

	// Of a [Shared] directory.
	Changes []Change // held rooms only, in order
	Entered []Entered
	Typing  []Typing
	// Lost: this node was out of reach for so long that the others do without it. Everything that was asked has
	// been answered, no room is held any more, and whoever was a member here is to come again.
	Lost bool
}

// Sink takes reports, from goroutines of the driver. It may block until its owner has time, and is not called
// any more once Close has returned.
type Sink func(Report)

// Query selects a stretch of a room's log. Its zero bounds are no bounds.
type Query struct {
	After  int64 // messages with a larger Seq only
	Before int64 // messages with a smaller Seq only
	Oldest bool  // the oldest of the range; else the newest of it
	Limit  int   // messages at most
	Bytes  int   // of bodies at most, but for a first message that is larger alone; 0: no such bound
}

// Page is the answer to a [Query].
type Page struct {
	Messages []Message // oldest first
	More     bool      // the range has further ones: older than these, or with Oldest newer
	Dropped  int64     // as in RoomState
}

// Log keeps messages (PROTOCOL.md section 6). Append, Start and the [Directory]'s methods never block and are
// called by one goroutine, the hub's; the others by any.
type Log interface {
	// Epoch names the log that Seq counts in: random, made with the log.
	Epoch() string
	// First is the lowest number that this log may have given: what is below it is another log's.
	First() int64
	// Durability says how strong a reported message is: "memory", "disk" or "replicated".
	Durability() string
	// Append takes m, whose Seq is unset and whose At is the caller's clock. When done, out is the outcome and
	// nothing more is reported of it, not in Stored either; else it comes through the sink, once.
	// err: ErrBusy or ErrClosed, and nothing was taken.
	// A room that was never locked is opened by its first message.
	Append(ref Ref, m Message) (out Appended, done bool, err error)
	// Read blocks. An unknown room is an empty page.
	Read(ctx context.Context, room string, q Query) (Page, error)
	// Start sets the sink; once, before any Append or Claim.
	Start(sink Sink)
	// Ready is nil while messages can be stored, else says why not.
	Ready() error
	// Close finishes what was taken, reports it, and then closes. The sink's owner must go on taking reports
	// until it returns.
	Close() error
}

// instant is t as drivers keep it.
func instant(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }
