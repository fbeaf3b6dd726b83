package hub

import (
	"net"
	"time"

	"parley/protocol"
)

// How a connection ends: the part of an outlet that is about its close frame and
// the TCP connection under it.

// closeTimeout is how long a peer has to answer a close frame, or to take it
// when its socket is stuck, before the TCP connection is closed.
const closeTimeout = 5 * time.Second

// closeStage is how far the closing of a connection is.
type closeStage uint8

const (
	stageOpen   closeStage = iota
	stageQueued            // a close frame stands behind the queue
	stageTaken             // a writer is writing it
	stageSent              // it is on the wire
	stageGone              // the TCP connection is closed, or about to be
)

// closeWith sends a close frame behind what is queued. Once it is written the
// peer has closeTimeout to answer. Nothing is queued after it.
func (o *outlet) closeWith(code protocol.CloseCode, reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage == stageOpen {
		o.ours = code
		o.queueClose(closeFrame(code, reason))
	}
}

// closeNow drops what is queued, finishes what is partly on the wire (one
// frame, or up to slowChunk bytes of them), and sends a close frame. The peer
// has closeTimeout to take and answer it.
func (o *outlet) closeNow(code protocol.CloseCode, reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch o.stage {
	case stageOpen, stageQueued:
		o.ours = code
		o.dropQueue()
		o.queueClose(closeFrame(code, reason))
		fallthrough
	case stageTaken:
		o.startTimer()
	}
}

// libraryClose queues the library's close frame: the answer to the peer's, or
// what it has to say to a peer that breaks the rules. It passes what waits, since
// the peer has no use for that any more. When one of ours is out already it is
// left at that.
func (o *outlet) libraryClose(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage < stageTaken {
		o.ours = 0
		o.dropQueue()
		o.queueClose(frame)
		o.startTimer()
	}
}

// awaitClose waits until a close frame that is queued is on the wire, or never
// will be, for closeTimeout at the most.
func (o *outlet) awaitClose() {
	o.mu.Lock()
	if o.stage != stageQueued && o.stage != stageTaken {
		o.mu.Unlock()
		return
	}
	o.startTimer()
	if o.settled == nil {
		o.settled = make(chan struct{})
	}
	settled := o.settled
	o.mu.Unlock()
	<-settled
}

// queueClose puts the last frame behind the queue. Called with mu held.
func (o *outlet) queueClose(frame []byte) {
	o.stage = stageQueued
	o.last = frame
	o.unsent += len(frame)
	o.pool.unsent.Add(int64(len(frame)))
	o.submit()
}

// dropQueue forgets what waits, and has the writer give up what it took. Called
// with mu held.
func (o *outlet) dropQueue() {
	n := o.queue.bytes + len(o.last)
	o.unsent -= n
	o.pool.unsent.Add(-int64(n))
	o.queue.take(nil)
	o.last = nil
	o.cut = true
}

// startTimer bounds what is left of the connection. Called with mu held.
func (o *outlet) startTimer() {
	if o.timer == nil {
		o.timer = time.AfterFunc(closeTimeout, o.abort)
	}
}

// settle ends the wait for the close frame. Called with mu held.
func (o *outlet) settle() {
	if o.settled != nil {
		close(o.settled)
		o.settled = nil
	}
}

// leave marks the connection as gone and drops what waits. It reports whether
// this call did it.
func (o *outlet) leave() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage == stageGone {
		return false
	}
	o.stage = stageGone
	o.dropQueue()
	if o.timer != nil {
		o.timer.Stop()
	}
	o.settle()
	return true
}

// abort closes the TCP connection. The reader, and a writer that is stuck, get
// an error.
func (o *outlet) abort() {
	if o.leave() {
		// Close waits until reader and writer have let go of the socket, and on
		// TLS tries to say goodbye: nothing for the hub to wait for.
		o.pool.spawn(func() {
			conn := o.conn
			if under, ok := conn.(interface{ NetConn() net.Conn }); ok {
				conn = under.NetConn()
			}
			_ = conn.Close()
		})
	}
}

// closeCode is the code of the hub's close frame, if this side began the
// closing: it is queued, and the peer's did not come before it could have seen
// ours. Otherwise it is 0.
func (o *outlet) closeCode() protocol.CloseCode {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ours
}
