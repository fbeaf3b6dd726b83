package hub

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"parley/protocol"
)

// An outlet is the way out to one connection: a queue bounded in bytes, and the
// socket that the pool of writers drains it into. It promises:
//
//  1. Frames reach the wire whole, in the order of the queue, each once.
//  2. At most one goroutine writes to the socket at a time: whoever set busy, or
//     was handed it. The frames that the library wants to send (pong, close)
//     go through the queue too, so nothing ever lands inside a frame.
//  3. After a close frame, of whichever side, nothing more is written.
//  4. What the hub calls neither blocks nor does a system call. push, replace and
//     mergePresence are for the hub's goroutine alone; the others are for all.
type outlet struct {
	// Set once.
	conn  net.Conn
	raw   syscall.RawConn // nil where only a blocking write is to be had (TLS, pipes)
	pool  *writers
	limit int     // bytes that may be unsent
	lib   *corked // nil unless frames go through the library's own Write

	alive atomic.Bool // something was read since heard was last asked

	mu      sync.Mutex
	queue   queue
	last    []byte             // the close frame, at stageQueued
	unsent  int                // bytes of both and in the writer's hands
	busy    bool               // a writer has it, or it is on its way to one
	cut     bool               // the writer is to give up what it took, at the next end of a frame
	ours    protocol.CloseCode // of the close frame, if it is the hub's
	stage   closeStage
	settled chan struct{} // closed at stageSent; made by who waits for it
	timer   *time.Timer   // closes the TCP connection in the end
}

// push queues frames, one or more whole ones, which must not change any more.
// False: they would take the connection over its limit, and were not queued.
// What does not fit into the limit by itself does not overflow an empty queue.
// On a connection that is closing they are dropped.
func (o *outlet) push(frames []byte) bool {
	return o.put(entry{frames: frames}, nil)
}

// replace is push for an event that makes a waiting one with the same slot and
// id pointless: that one leaves the queue, and the newer stands at the end.
func (o *outlet) replace(slot slotKind, id string, frame []byte) bool {
	return o.put(entry{frames: frame, slot: slot, id: id}, nil)
}

// mergePresence is push for a presence event, which is merged with one that
// still waits. frame is p, encoded once for all.
func (o *outlet) mergePresence(p *protocol.Presence, frame []byte) bool {
	return o.put(entry{frames: frame, slot: slotPresence}, p)
}

// put is the hub's way into the queue.
func (o *outlet) put(e entry, p *protocol.Presence) bool {
	o.mu.Lock()
	if o.stage != stageOpen {
		o.mu.Unlock()
		return true
	}
	before := o.unsent
	if !o.add(e, p) {
		o.mu.Unlock()
		return false
	}
	grown := o.unsent - before
	idle := !o.busy
	o.busy = true
	o.mu.Unlock()

	o.pool.queued(grown)
	if idle {
		o.pool.mark(o)
	}
	return true
}

// add puts e into the queue if it fits. Called with mu held.
func (o *outlet) add(e entry, p *protocol.Presence) bool {
	old, freed := o.queue.waiting(e.slot, e.id), 0
	if old >= 0 {
		freed = len(o.queue.entries[old].frames)
		if p != nil {
			p = mergePresence(o.queue.presence, p)
			e.frames = appendText(nil, protocol.AppendPresence(nil, *p))
		}
	}
	if left := o.unsent - freed; left > 0 && left+len(e.frames) > o.limit {
		return false
	}
	o.queue.add(e, old)
	if p != nil {
		o.queue.presence = p
	}
	o.unsent += len(e.frames) - freed
	return true
}

// pong queues the library's answer to a ping. Of several that wait the newest
// stays; when the queue is full it is dropped, as the peer does not read anyway.
func (o *outlet) pong(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage != stageOpen {
		return
	}
	before := o.unsent
	if o.add(entry{frames: frame, slot: slotPong}, nil) {
		o.pool.unsent.Add(int64(o.unsent - before))
		o.submit()
	}
}

// submit hands the outlet to the writers from any goroutine. Called with mu held.
func (o *outlet) submit() {
	if !o.busy {
		o.busy = true
		o.pool.submit(o)
	}
}

// heard reports whether the peer has sent anything since it was last asked.
func (o *outlet) heard() bool { return o.alive.Swap(false) }

// size is how many bytes are queued or being written.
func (o *outlet) size() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.unsent
}

// take gives the writer what is queued, and the close frame by itself when
// nothing else is: so it is known whether the peer can have seen it. The queue
// goes on with spare.
func (o *outlet) take(spare []entry) remainder {
	o.mu.Lock()
	o.cut = false
	bytes := o.queue.bytes
	r := remainder{list: o.queue.take(spare), bytes: bytes}
	if len(r.list) == 0 && o.stage == stageQueued {
		o.stage = stageTaken
		r = remainder{list: []entry{{frames: o.last}}, bytes: len(o.last)}
		o.last = nil
	}
	o.mu.Unlock()
	if o.lib != nil {
		r.list = o.lib.encode(r.list)
	}
	return r
}

// wantsCut reports whether the writer is to give up what it took.
func (o *outlet) wantsCut() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.cut
}

// account takes n bytes off the books, written or given up.
func (o *outlet) account(n int) {
	o.mu.Lock()
	o.unsent -= n
	o.mu.Unlock()
	o.pool.unsent.Add(-int64(n))
}

// release is account for a writer that is through with what it took. It reports
// whether there is more; if not, the writer has let go of the outlet. The pool's
// books are left to the writer, which has many to sum up.
func (o *outlet) release(n int) (more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unsent -= n
	if len(o.queue.entries) > 0 || o.stage == stageQueued {
		return true
	}
	o.busy = false
	if o.stage == stageTaken {
		o.stage = stageSent
		o.startTimer()
		o.settle()
	}
	return false
}
