package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Bounds of what waits for the writer.
const (
	queuedMessages = 8192
	queuedBytes    = 32 << 20
	queuedClaims   = 8192 // claims not yet reported
	spareOps       = 1024 // place kept when the queue is empty
	// groupBytes bounds what is told at one moment: a quarter of what a connection's queue has at the least. A room
	// where many say much at once is given it in groups, with time between them to send it, and nobody is closed
	// as slow for what was too much in a moment.
	groupBytes = 256 << 10
)

// loaders is how many goroutines read the state of claimed rooms, and as many connections are left for Read.
const loaders = 4

// SQLite is the log in one file (PROTOCOL.md section 6: "disk").
//
// One writer goroutine owns the connection that writes, and all that it knows of the rooms. Append, Claim, Lock
// and Release put their work into its queue and return; it takes all that waits, of messages groupBytes at the most,
// into one transaction, so that what came while the last flush ran shares the next one, and a lone message waits for
// nobody. Once a group is committed its messages are reported, and the rooms claimed in it are handed to the loaders,
// which read from connections of their own. Read does the same in its caller's goroutine.
//
// A transaction that fails is rolled back: its messages are reported as failed, none is broadcast. When it is
// the commit that failed, they may come back after a crash; the error says so, and a retry by key decides. The
// next group tries again, and while none comes, a probe every second; so a full disk heals without a restart.
//
// Another process on the same file is refused by a lock on a file beside it, "<path>.lock", which ends with its
// process and is never removed.
type SQLite struct {
	// Set once.
	opts   Options
	epoch  string
	read   *sql.DB
	stmts  readStatements
	writer *writer
	claims chan claim // from the writer to the loaders; room for every claim there can be
	wake   chan struct{}
	sink   Sink
	done   sync.WaitGroup
	close  func() error
	// What to close, last first: the lock against other processes, the writer's connection, the readers'.
	closers []func() error

	failure atomic.Pointer[error] // why nothing can be stored now
	loading loadingRooms

	mu       sync.Mutex // the queue
	queue    []op
	messages int
	bytes    int
	claimed  int
	closed   bool
}

// op is one call, on its way to the writer.
type op struct {
	kind   opKind
	ref    Ref
	room   string
	access []byte
	msg    Message
}

type opKind int

const (
	opAppend opKind = iota
	opClaim
	opLock
	opRelease
	opRemove
)

// claim is a claimed room whose state is to be loaded.
type claim struct {
	ref  Ref
	room string
}

// Epoch implements [Log]. It is stored in the file.
func (s *SQLite) Epoch() string { return s.epoch }

// First implements [Log].
func (s *SQLite) First() int64 { return 1 }

// Durability implements [Log].
func (s *SQLite) Durability() string { return "disk" }

// Start implements [Log].
func (s *SQLite) Start(sink Sink) {
	s.sink = sink
	s.done.Go(s.writer.run)
	for range loaders {
		s.done.Go(s.load)
	}
}

// Ready implements [Log].
func (s *SQLite) Ready() error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if err := s.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Close implements [Log].
func (s *SQLite) Close() error { return s.close() }

func (s *SQLite) closeOnce() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.poke()
	s.done.Wait()
	return s.closeAll()
}

func (s *SQLite) closeAll() (err error) {
	for _, f := range slices.Backward(s.closers) {
		err = errors.Join(err, f())
	}
	return err
}

// Append implements [Log]; never done in place.
func (s *SQLite) Append(ref Ref, m Message) (Appended, bool, error) {
	m.At = instant(m.At)
	return Appended{}, false, s.put(op{kind: opAppend, ref: ref, room: m.Room, msg: m})
}

// Claim implements [Directory]; never done in place.
func (s *SQLite) Claim(ref Ref, room string) (Claimed, bool, error) {
	return Claimed{}, false, s.put(op{kind: opClaim, ref: ref, room: room})
}

// Lock implements [Directory].
func (s *SQLite) Lock(room string, access []byte) error {
	return s.put(op{kind: opLock, room: room, access: access})
}

// Remove implements [Directory]; never done in place. What was removed is overwritten in the file.
func (s *SQLite) Remove(ref Ref, room string) (Removed, bool, error) {
	return Removed{}, false, s.put(op{kind: opRemove, ref: ref, room: room})
}

// Release implements [Directory].
func (s *SQLite) Release(room string) {
	_ = s.put(op{kind: opRelease, room: room}) // refused only when closed, and then it is of no account
}

// put queues o. A Lock or a Release is taken always: there are at most as many as there are rooms, and losing
// one would cost more.
func (s *SQLite) put(o op) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case o.kind == opAppend:
		if s.messages >= queuedMessages || s.bytes >= queuedBytes {
			return ErrBusy
		}
		s.messages++
		s.bytes += len(o.msg.Body)
	case o.kind == opClaim:
		if s.claimed >= queuedClaims {
			return ErrBusy
		}
		s.claimed++
	}
	s.queue = append(s.queue, o)
	s.poke()
	return nil
}

func (s *SQLite) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // the writer has been told
	}
}

// take gives the writer all that waits, of messages groupBytes at the most (or one that is larger), and takes the array
// of what it had before; last says that no more will come.
func (s *SQLite) take(reuse []op) (ops []op, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, bytes, messages := 0, 0, 0
	for ; n < len(s.queue); n++ {
		if o := &s.queue[n]; o.kind == opAppend {
			if bytes += len(o.msg.Body); bytes > groupBytes && messages > 0 {
				bytes -= len(o.msg.Body)
				break
			}
			messages++
		}
	}
	rest := s.queue[n:]
	ops, s.queue = s.queue[:n], append(reuse, rest...)
	clear(rest) // let go of the texts
	s.messages -= messages
	s.bytes -= bytes
	if len(s.queue) > 0 {
		s.poke()
	}
	return ops, s.closed && len(s.queue) == 0
}

// Read implements [Log].
func (s *SQLite) Read(ctx context.Context, room string, q Query) (Page, error) {
	page, _, err := s.stmts.page(ctx, s.read, room, q)
	if err == nil {
		return page, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Page{}, ErrClosed
	}
	return Page{}, fmt.Errorf("cannot read the message log: %w", err)
}

// load is a loader: it answers claims until the writer ends.
func (s *SQLite) load() {
	for c := range s.claims {
		out := Claimed{Ref: c.ref}
		newest := Query{Limit: RecentMessages, Bytes: RecentBytes}
		page, row, err := s.stmts.page(context.Background(), s.read, c.room, newest)
		if err != nil {
			out.Err = fmt.Errorf("cannot read the room: %w", err)
		} else {
			out.State = roomState(row.known, row.lock, page)
		}
		s.sink(Report{Claimed: []Claimed{out}})
		s.loading.end(c.room)
		s.poke() // a removal may have waited
		s.mu.Lock()
		s.claimed--
		s.mu.Unlock()
	}
}

// loadingRooms are those whose state is being read for a claim. The writer drops nothing from them, so that
// what is reported of a drop is never older than the state that it is reported after.
type loadingRooms struct {
	mu    sync.Mutex
	rooms map[string]int
}

func (l *loadingRooms) begin(room string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rooms == nil {
		l.rooms = make(map[string]int)
	}
	l.rooms[room]++
}

func (l *loadingRooms) end(room string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rooms[room]--; l.rooms[room] == 0 {
		delete(l.rooms, room)
	}
}

func (l *loadingRooms) has(room string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rooms[room] > 0
}
