package hub

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

const (
	// dirtyBatch is how many outlets the hub collects before it hands them over
	// in the middle of a step, so that the writers start while it goes on.
	dirtyBatch = 64
	// writerBatch is how many outlets a writer takes at a time; a second writer
	// is woken only for what it leaves.
	writerBatch = 16
	// writerBuffer is where a writer joins what waits for one connection. Up to
	// this size copying is cheaper than the list of pieces that writev(2) wants.
	writerBuffer = 64 << 10
)

// writers is the pool of goroutines that put the outlets' queues on the wire,
// a few for all connections. It buys two things against a goroutine each: 2 to
// 4 KiB of stack a connection, and the wake-up of each member for each message.
// A step of the hub wakes one writer or two, whatever the size of the room: 40 to
// 150 ns a member (BenchmarkEnqueueParked), and a broadcast to 1000 sockets costs
// 0.9 to 1.1 times what write(2) alone costs (BenchmarkBroadcast).
//
// It relies on sockets that do not block: a writer does one write(2), and leaves
// a connection that cannot take all of it to a goroutine of its own (slow.go).
type writers struct {
	library bool // frames go through the library's Write: for tests, set before the first upgrade

	unsent atomic.Int64 // bytes queued or being written, all outlets together

	// Owned by the hub's goroutine.
	dirty []*outlet // have work since the last flush
	grown int       // by how much unsent has grown since then
	hand  *writer   // the hub's goroutine as a writer

	mu      sync.Mutex
	work    sync.Cond // ready is not empty, or closed
	quiet   sync.Cond // running is 0
	ready   []*outlet // in order; those before head are taken
	head    int
	parked  int // writers that wait and have not been signalled
	running int // goroutines
	closed  bool
}

// newWriters starts n writers, or as many as the program has processors when n
// is 0.
func newWriters(n int) *writers {
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	p := &writers{}
	p.work.L, p.quiet.L = &p.mu, &p.mu
	p.hand = newWriter(p)
	for range n {
		p.spawn(newWriter(p).run)
	}
	return p
}

// mark notes that o has work. The hub's goroutine calls it, and flush after it.
func (p *writers) mark(o *outlet) {
	p.dirty = append(p.dirty, o)
	if len(p.dirty) == dirtyBatch {
		p.flush()
	}
}

// queued notes that the hub has queued n bytes more than it replaced.
func (p *writers) queued(n int) { p.grown += n }

// flush hands the outlets that have work to the writers. The hub's goroutine
// calls it at the end of each step.
func (p *writers) flush() {
	if p.grown != 0 {
		p.unsent.Add(int64(p.grown))
		p.grown = 0
	}
	if len(p.dirty) > 0 {
		p.submit(p.dirty...)
		clear(p.dirty)
		p.dirty = p.dirty[:0]
	}
}

// finish is flush for the end of a step. When few outlets have work, and as long as
// the hub has nothing else to do, it writes to them itself, as one of the writers:
// to wake one of those, which may be a thread that sleeps, costs more than ten
// writes. It buys a quarter of what a message in a room of 10 costs when they come
// one by one, and delays the next step by one write(2) at the most.
func (p *writers) finish(idle func() bool) {
	if n := len(p.dirty); n == 0 || n > writerBatch || p.grown > writerBuffer || !idle() {
		p.flush()
		return
	}
	p.unsent.Add(int64(p.grown))
	p.grown = 0
	written, done := 0, 0
	for done < len(p.dirty) && (done == 0 || idle()) {
		written += p.hand.serve(p.dirty[done])
		done++
	}
	p.unsent.Add(-int64(written))
	if left := append(p.hand.again, p.dirty[done:]...); len(left) > 0 {
		p.submit(left...)
		clear(left)
		p.hand.again = left[:0]
	}
	clear(p.dirty)
	p.dirty = p.dirty[:0]
}

// submit puts outlets into the writers' hands, from any goroutine. When there are
// no more writers it closes their connections.
func (p *writers) submit(outlets ...*outlet) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		for _, o := range outlets {
			go o.abort() // the caller may hold its lock
		}
		return
	}
	p.enqueue(outlets)
	wake := p.wake()
	p.mu.Unlock()
	if wake {
		p.work.Signal()
	}
}

// enqueue appends to ready, over the place of those that are taken when that
// saves growing. Called with mu held.
func (p *writers) enqueue(outlets []*outlet) {
	if p.head > 0 && len(p.ready)+len(outlets) > cap(p.ready) {
		n := copy(p.ready, p.ready[p.head:])
		clear(p.ready[n:])
		p.ready, p.head = p.ready[:n], 0
	}
	p.ready = append(p.ready, outlets...)
}

// wake reports whether a writer is to be signalled. Called with mu held.
func (p *writers) wake() bool {
	if p.parked == 0 || p.head == len(p.ready) {
		return false
	}
	p.parked--
	return true
}

// next puts back the outlets that have more to write, and waits for work. It
// returns how many outlets it put into batch; 0: the pool is closed and empty.
func (p *writers) next(again []*outlet, batch []*outlet) int {
	p.mu.Lock()
	p.enqueue(again)
	for p.head == len(p.ready) && !p.closed {
		p.parked++
		p.work.Wait()
	}
	n := copy(batch, p.ready[p.head:])
	clear(p.ready[p.head : p.head+n])
	if p.head += n; p.head == len(p.ready) {
		p.ready, p.head = p.ready[:0], 0
	}
	wake := p.wake()
	p.mu.Unlock()
	if wake {
		p.work.Signal()
	}
	return n
}

// spawn runs f in a goroutine that close waits for.
func (p *writers) spawn(f func()) {
	p.mu.Lock()
	p.running++
	p.mu.Unlock()
	go func() {
		f()
		p.mu.Lock()
		if p.running--; p.running == 0 {
			p.quiet.Broadcast()
		}
		p.mu.Unlock()
	}()
}

// total is how many bytes are queued or being written, over all connections, as
// of the last flush.
func (p *writers) total() int64 { return p.unsent.Load() }

// close ends the writers when they have written what they can, and waits for
// them and for the connections that are being written to slowly. Every outlet
// must have been aborted, else those take their time. Nothing is written after it.
func (p *writers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.parked = 0
	p.work.Broadcast()
	for p.running > 0 {
		p.quiet.Wait()
	}
}

// writer is one goroutine of the pool. All is its own.
type writer struct {
	pool   *writers
	batch  [writerBatch]*outlet
	again  []*outlet // have more to write already
	spare  []entry   // an empty queue, to be given for a full one
	buf    []byte
	socket rawWriter
}

func newWriter(p *writers) *writer {
	w := &writer{pool: p, buf: make([]byte, writerBuffer)}
	w.socket.init()
	return w
}

func (w *writer) run() {
	for {
		n := w.pool.next(w.again, w.batch[:])
		clear(w.again)
		w.again = w.again[:0]
		if n == 0 {
			return
		}
		written := 0
		for _, o := range w.batch[:n] {
			written += w.serve(o)
		}
		clear(w.batch[:n])
		w.pool.unsent.Add(-int64(written))
	}
}

// serve writes what is queued for o, in one system call if it fits into the
// buffer, and returns by how many bytes less is unsent then. A connection that
// cannot take it at once goes on by itself.
func (w *writer) serve(o *outlet) (less int) {
	if o.raw == nil {
		w.goSlow(o, remainder{})
		return 0
	}
	rest := o.take(w.spare)
	list, taken := rest.list, rest.bytes
	w.spare = nil
	for len(rest.list) > 0 {
		chunk := rest.peek(w.buf)
		sent, err := w.socket.write(o.raw, chunk)
		if err != nil {
			o.abort()
			break
		}
		rest.skip(sent)
		if sent < len(chunk) {
			o.account(taken - rest.bytes)
			w.goSlow(o, rest)
			return 0
		}
	}
	w.spare = recycle(list)
	if o.release(taken) {
		w.again = append(w.again, o)
	}
	return taken
}

// goSlow is a function of its own so that serve's remainder stays on the stack.
func (w *writer) goSlow(o *outlet, rest remainder) {
	w.pool.spawn(func() { o.writeSlowly(rest) })
}

// rawWriter does one write(2) at a time without an allocation: a closure a
// write, which syscall.RawConn invites to, would be one.
type rawWriter struct {
	attempt func(fd uintptr) bool
	buf     []byte
	n       int
	err     error
}

func (r *rawWriter) init() {
	r.attempt = func(fd uintptr) bool {
		r.n, r.err = tryWrite(fd, r.buf)
		return true
	}
}

// write writes as much of b as the socket takes now.
func (r *rawWriter) write(c syscall.RawConn, b []byte) (int, error) {
	r.buf, r.n, r.err = b, 0, nil
	err := c.Write(r.attempt)
	r.buf = nil
	if err != nil {
		return 0, err
	}
	return r.n, r.err
}
