package store

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/rand"
	"sync"
	"time"
)

const (
	defaultBytes = 256 << 20
	sweepStep    = 256 // rooms looked at, or messages dropped from one, while the lock is held
)

// Memory is the log that dies with its process. It answers Append and Claim in place.
//
// Sequence numbers start at the boot time in microseconds, so that they do not go back over a restart as long
// as the clock does not; the epoch changes all the same.
//
// A room has at most Options.History messages. When all rooms together pass Options.Bytes, the room that uses
// most loses its oldest message, until they fit: a flood in one room costs the others nothing. What is older
// than Options.Retain goes in a sweep from time to time, one minute late at most.
type Memory struct {
	opts  Options
	epoch string
	first int64

	wake chan struct{} // holds one: there are trims to report
	stop chan struct{}
	done sync.WaitGroup
	sink Sink

	mu      sync.Mutex // everything below; Read comes from other goroutines than the hub's
	closed  bool
	seq     int64
	bytes   int64
	dropped int64 // the highest mark of all forgotten rooms
	rooms   index[*memoryRoom]
	used    roomHeap // rooms with messages, that with the most bytes first
	trimmed map[string]int64
}

// NewMemory makes an empty log.
func NewMemory(opts Options) *Memory {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.Bytes = cmp.Or(opts.Bytes, defaultBytes)
	boot := opts.Now().UnixMicro()
	return &Memory{
		opts:    opts,
		epoch:   rand.Text(),
		first:   boot + 1,
		wake:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
		seq:     boot,
		trimmed: make(map[string]int64),
	}
}

// Epoch implements [Log].
func (m *Memory) Epoch() string { return m.epoch }

// First implements [Log].
func (m *Memory) First() int64 { return m.first }

// Durability implements [Log].
func (m *Memory) Durability() string { return "memory" }

// Start implements [Log].
func (m *Memory) Start(sink Sink) {
	m.sink = sink
	m.done.Go(m.sweep)
}

// Ready implements [Log].
func (m *Memory) Ready() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.check()
}

// Close implements [Log].
func (m *Memory) Close() error {
	m.mu.Lock()
	first := !m.closed
	m.closed = true
	m.mu.Unlock()
	if first {
		close(m.stop)
	}
	m.done.Wait()
	return nil
}

func (m *Memory) check() error {
	if m.closed {
		return ErrClosed
	}
	return nil
}

// Append implements [Log]; always done.
func (m *Memory) Append(ref Ref, msg Message) (Appended, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(); err != nil {
		return Appended{}, false, err
	}
	r := m.room(msg.Room)
	m.open(r)
	if first, ok := r.find(msg.Nick, msg.Key); ok {
		return Appended{Ref: ref, Seq: first.Seq, At: first.At, Duplicate: true}, true, nil
	}
	m.seq++
	msg.Seq, msg.At = m.seq, instant(msg.At)
	r.add(msg)
	m.bytes += size(&msg)
	if len(r.messages) == 1 {
		heap.Push(&m.used, r)
	} else {
		heap.Fix(&m.used, r.index)
	}
	if m.opts.History > 0 && len(r.messages) > m.opts.History {
		m.drop(r, len(r.messages)-m.opts.History)
	}
	for m.bytes > m.opts.Bytes {
		m.drop(m.used[0], 1)
	}
	return Appended{Ref: ref, Seq: msg.Seq, At: msg.At}, true, nil
}

// Read implements [Log].
func (m *Memory) Read(ctx context.Context, room string, q Query) (Page, error) {
	if err := ctx.Err(); err != nil {
		return Page{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(); err != nil {
		return Page{}, err
	}
	return m.page(m.rooms.get(room), q), nil
}

// Claim implements [Directory]; always done.
func (m *Memory) Claim(ref Ref, room string) (Claimed, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(); err != nil {
		return Claimed{}, false, err
	}
	r := m.room(room)
	r.held = true
	page := m.page(r, Query{Limit: RecentMessages, Bytes: RecentBytes})
	return Claimed{Ref: ref, State: roomState(r.opened, r.lock, page)}, true, nil
}

// Lock implements [Directory].
func (m *Memory) Lock(room string, access []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(); err != nil {
		return err
	}
	r := m.room(room)
	m.open(r)
	r.lock = access
	return nil
}

// Remove implements [Directory]; always done.
func (m *Memory) Remove(ref Ref, room string) (Removed, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(); err != nil {
		return Removed{}, false, err
	}
	out := Removed{Ref: ref, Room: room, Through: m.seq}
	r := m.rooms.get(room)
	if r == nil || !r.opened {
		return out, true, nil
	}
	if n := len(r.messages); n > 0 {
		m.drop(r, n)
	}
	r.opened, r.lock = false, nil
	m.dropped = m.seq // until it is opened anew, what is said of the unknown holds of it
	m.forget(r)
	return out, true, nil
}

// Release implements [Directory].
func (m *Memory) Release(room string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.rooms.get(room); r != nil {
		r.held = false
		m.forget(r)
	}
}

// room gives the room, made if need be.
func (m *Memory) room(name string) *memoryRoom {
	r := m.rooms.get(name)
	if r == nil {
		r = &memoryRoom{name: name}
		m.rooms.put(name, r)
	}
	return r
}

// open makes the room a known one; what is said of the unknown goes on to hold of it.
func (m *Memory) open(r *memoryRoom) {
	if !r.opened {
		r.opened, r.dropped = true, m.dropped
	}
}

func (m *Memory) page(r *memoryRoom, q Query) Page {
	if r == nil || !r.opened {
		return Page{Dropped: m.dropped}
	}
	return r.page(q)
}

// drop takes the n oldest messages out of the room.
func (m *Memory) drop(r *memoryRoom, n int) {
	m.bytes -= r.drop(n)
	if len(r.messages) == 0 {
		heap.Remove(&m.used, r.index)
	} else {
		heap.Fix(&m.used, r.index)
	}
	if !r.held {
		m.forget(r)
		return
	}
	m.trimmed[r.name] = r.dropped
	select {
	case m.wake <- struct{}{}:
	default: // it is awake already
	}
}

// forget lets go of a room that nobody holds and that has no messages.
func (m *Memory) forget(r *memoryRoom) {
	if r.held || len(r.messages) > 0 {
		return
	}
	m.rooms.remove(r.name)
	m.dropped = max(m.dropped, r.dropped)
}

// sweep is the goroutine that drops what is too old, and reports what was dropped.
func (m *Memory) sweep() {
	var tick <-chan time.Time
	if m.opts.Retain > 0 {
		t := time.NewTicker(min(max(m.opts.Retain/10, time.Second), time.Minute))
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-m.stop:
			m.report()
			return
		case <-tick:
			m.expire()
		case <-m.wake:
		}
		m.report()
	}
}

// expire looks at every room with messages once, in steps. What a drop moves in the heap may be missed until
// the next time.
func (m *Memory) expire() {
	now := m.opts.Now()
	cutoff := now.Add(-m.opts.Retain)
	for i, more := 0, true; more; {
		m.mu.Lock()
		for range sweepStep {
			if more = i < len(m.used); !more {
				break
			}
			if n := m.used[i].older(cutoff, now, sweepStep); n > 0 {
				m.drop(m.used[i], n) // another room may have come to i: look again
				break
			}
			i++
		}
		m.mu.Unlock()
	}
}

func (m *Memory) report() {
	m.mu.Lock()
	trimmed := m.trimmed
	if len(trimmed) == 0 {
		m.mu.Unlock()
		return
	}
	m.trimmed = make(map[string]int64)
	m.mu.Unlock()
	var rep Report
	for room, through := range trimmed {
		rep.Trimmed = append(rep.Trimmed, Trim{Room: room, Through: through})
	}
	m.sink(rep)
}
