package store

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// JetStream is the log and the directory that several nodes share, on NATS JetStream (PROTOCOL.md section 6:
// "replicated" with three replicas, "disk" with one).
//
// # What is where
//
// The log is one stream, a subject a room; its sequence is Seq. The stream republishes what it has stored, with
// the sequence and the one before on the same subject, and each node subscribes to the rooms that it holds: a
// skipped sequence is read from the stream before anything later is reported. Republished messages come at most
// once, so a lost last one leaves no skip: see check.
//
// Users, rooms' locks and nodes are keys of one bucket, which is a stream too: its sequence puts all that happens
// to them into one order, the feed, which every node follows and none steps beside. A write names the revision
// that it replaces, so of two that race one is refused, looks again, and decides anew. A write counts for its own
// node when the feed has come to it, no sooner.
//
// # Who does what
//
// One goroutine, loop, owns everything that is not marked otherwise. The hub's calls are put into its queue; what
// has to wait for the servers runs in goroutines of its own (see work) and puts what it found into the same queue.
// What the hub should know is collected in a report and handed to the sink.
//
// # Where it is
//
// This file has what the hub calls, and _loop what all of it runs in. Messages: _publish and _read, with the rooms
// that they come into in _rooms. Users: _change and _enter write them, _feed tells what was written, _people what
// that means for a room's members, _stray looks after those whom nobody else does. Rooms come in _claim and go in
// _forget. The nodes: _lease. JetStream itself: _open connects, _streams is what there has to be, _api its requests,
// _codec what is kept.
type JetStream struct {
	// Set once.
	opts       JetStreamOptions
	names      names
	nc         *nats.Conn
	epoch      string
	durability string
	sink       Sink
	live       chan *nats.Msg // of the rooms and of the feed
	acks       chan *nats.Msg
	ackInbox   string
	notices    chan notice
	ctx        context.Context // ends with the loop: for what waits for the servers
	cancel     context.CancelCauseFunc
	working    sync.WaitGroup
	slots      chan struct{}
	done       chan struct{} // closed when the loop has ended
	startedAt  time.Time

	ready atomic.Pointer[error] // why not; nil: it is

	mu       sync.Mutex // the queue
	queue    []func()
	wake     chan struct{}
	appends  int // given and not answered
	closed   bool
	finished bool // the loop takes nothing more

	// Owned by loop.
	report   Report
	rooms    map[string]*sharedRoom // by token
	pending  map[uint64]*publish
	lastPub  uint64
	feed     feed
	lease    lease
	waiting  map[string][]*change // calls that change a user, by key, in order
	rotation []string             // rooms yet to be checked in this round
	rotateAt time.Time
	late     map[*sharedRoom]struct{} // lack something
	removals map[Ref]string           // not answered

	forgetting map[string]chan struct{} // rooms, by token, that were released and are being looked at; closed then
}

// JetStreamOptions is what the driver needs to know.
type JetStreamOptions struct {
	Options
	URL    string        // nats://a,b,c
	Prefix string        // of the names of streams and subjects; "parley"
	Creds  string        // a credentials file; "": none
	TLS    TLSFiles      // what the servers are to be trusted by, and this node
	Lease  time.Duration // how long a node may be silent before the others do without it; 0: 15 s
	Grace  time.Duration // how long the users of such a node stay after that
	Logger *slog.Logger
}

// TLSFiles are PEM files; each may be "".
type TLSFiles struct{ CA, Cert, Key string }

const (
	defaultLease  = 15 * time.Second // an election among the servers takes up to 9 s, and 2 s to be back
	liveQueue     = 1 << 16          // messages; when more come the servers' are lost, and read again
	tickEvery     = 100 * time.Millisecond
	workers       = 64               // goroutines that wait for the servers
	serverTimeout = 5 * time.Second  // for an answer of the servers
	readTimeout   = 10 * time.Second // for a page
)

// Epoch implements [Log]. It is stored with the stream.
func (j *JetStream) Epoch() string { return j.epoch }

// First implements [Log].
func (j *JetStream) First() int64 { return 1 }

// Durability implements [Log].
func (j *JetStream) Durability() string { return j.durability }

// Ready implements [Log].
func (j *JetStream) Ready() error {
	j.mu.Lock()
	closed := j.closed
	j.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if err := j.ready.Load(); err != nil {
		return *err
	}
	return nil
}

// Start implements [Log].
func (j *JetStream) Start(sink Sink) {
	j.sink = sink
	go j.loop()
}

// Close implements [Log]. This node's users stay where they are for the grace period: they may come back on
// another node.
func (j *JetStream) Close() error {
	j.mu.Lock()
	first := !j.closed
	j.closed = true
	j.mu.Unlock()
	if first && j.sink == nil {
		close(j.done) // there is no loop to wait for
	}
	j.poke()
	<-j.done
	if first {
		j.cancel(ErrClosed)
		j.working.Wait()
		j.lease.giveUp(j)
		j.nc.Close()
	}
	return nil
}

// Read implements [Log].
func (j *JetStream) Read(ctx context.Context, room string, q Query) (Page, error) {
	if err := j.Ready(); err != nil {
		return Page{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	page, _, err := j.pageOf(ctx, room, q)
	return page, err
}

// Append implements [Log]; never done in place.
func (j *JetStream) Append(ref Ref, m Message) (Appended, bool, error) {
	m.At = instant(m.At)
	j.mu.Lock()
	defer j.mu.Unlock()
	switch err := j.ready.Load(); {
	case j.closed:
		return Appended{}, false, ErrClosed
	case err != nil:
		return Appended{}, false, *err
	case j.appends >= queuedMessages:
		return Appended{}, false, ErrBusy
	}
	j.appends++
	j.post(func() { j.publish(&publish{ref: ref, msg: m}) })
	return Appended{}, false, nil
}

// Claim implements [Shared]; never done in place.
func (j *JetStream) Claim(ref Ref, room string) (Claimed, bool, error) {
	return Claimed{}, false, j.ask(func() { j.claim(ref, room) })
}

// Remove implements [Shared]; never done in place.
func (j *JetStream) Remove(ref Ref, room string) (Removed, bool, error) {
	return Removed{}, false, j.ask(func() { j.removeRoom(ref, room) })
}

// Release implements [Shared].
func (j *JetStream) Release(room string) {
	j.tell(func() { j.release(room) })
}

// Enter implements [Shared].
func (j *JetStream) Enter(ref Ref, e Entry) error {
	return j.ask(func() { j.enter(ref, e) })
}

// Cancel implements [Shared].
func (j *JetStream) Cancel(ref Ref) {
	j.tell(func() { j.cancelEnter(ref) })
}

// Away implements [Shared].
func (j *JetStream) Away(room, nick, id string) {
	j.tell(func() { j.alter(&change{kind: goesAway, room: token(room), nick: nick, id: id}) })
}

// Expire implements [Shared].
func (j *JetStream) Expire(room, nick, id string) {
	j.tell(func() { j.alter(&change{kind: expires, room: token(room), nick: nick, id: id}) })
}

// Leave implements [Shared].
func (j *JetStream) Leave(room, nick, id string) {
	j.tell(func() { j.alter(&change{kind: leaves, room: token(room), nick: nick, id: id}) })
}

// Kick implements [Shared].
func (j *JetStream) Kick(room, nick, id, reason string) {
	j.tell(func() { j.alter(&change{kind: isKicked, room: token(room), nick: nick, id: id, reason: reason}) })
}

// Typing implements [Shared].
func (j *JetStream) Typing(t Typing) {
	j.tell(func() { j.sendTyping(t) })
}

// ask queues what needs the servers.
func (j *JetStream) ask(do func()) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	if err := j.ready.Load(); err != nil {
		return *err
	}
	j.post(do)
	return nil
}

// tell queues what is taken always.
func (j *JetStream) tell(do func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.post(do)
}

// post puts do into the queue, whose lock is held.
func (j *JetStream) post(do func()) {
	if !j.finished {
		j.queue = append(j.queue, do)
		j.poke()
	}
}

func (j *JetStream) poke() {
	select {
	case j.wake <- struct{}{}:
	default: // it has been told
	}
}
