package hub

import (
	"context"
	"math/rand/v2"
	"time"

	"parley/protocol"
)

// drain is the end of a server in order (section 7). Owned by Run.
type drain struct {
	on      bool
	last    bool // nothing more is accepted: what was is being finished
	closing bool // 1012 is going out
	done    bool // nothing is left to do: Run returns
}

const (
	drainAfter   = time.Second      // from the goodbye to the closing of the connections
	drainAtMost  = 24 * time.Second // the same, when the log does not answer
	drainLinger  = 5 * time.Second  // for the peers to take their close frames
	restartGrace = time.Second      // what a successor needs before it listens
)

// Drain tells the hub to end: everybody gets goodbye, what was accepted is
// finished, and each connection is closed with 1012. Run returns when that is
// done, within 30 seconds; Drain waits for it, or for ctx.
func (h *Hub) Drain(ctx context.Context) {
	h.gate.shut()
	h.post(drainRequested{})
	select {
	case <-h.stopped:
	case <-ctx.Done():
	}
}

// startDrain says goodbye, and sends everybody away: soon after, or each at its turn
// where other servers take over.
func (h *Hub) startDrain() {
	if h.draining.on {
		return
	}
	h.draining.on = true
	h.timers.set(h.now.Add(drainAtMost), h.sendAway)
	if len(h.clients) == 0 {
		h.closeAll()
		return
	}
	if h.shared != nil {
		h.sendOver()
		return
	}
	h.sayGoodbye(drainAfter+restartGrace, func(*client, time.Duration) {})
	h.timers.set(h.now.Add(drainAfter), h.closeAll)
}

// sayGoodbye tells each connection when to come back, and calls then with it. They
// shall not do so all at once: from first on each has a time of its own, spread at the
// configured rate.
func (h *Hub) sayGoodbye(first time.Duration, then func(*client, time.Duration)) {
	places := rand.Perm(len(h.clients))
	i := 0
	for c := range h.clients {
		wait := first + time.Duration(float64(places[i])/h.cfg.DrainRate*float64(time.Second))
		i++
		h.send(c, h.frame(protocol.AppendGoodbye(h.scratch[:0], wait, "The server restarts.")))
		then(c, wait)
	}
}

// closeAll accepts nothing more, or those who go on talking would keep the server
// from ending, and sends everybody away once what was accepted is answered.
func (h *Hub) closeAll() {
	h.draining.last = true
	if len(h.pending) > 0 || len(h.opening) > 0 || len(h.entering) > 0 {
		h.timers.set(h.now.Add(10*time.Millisecond), h.closeAll)
		return
	}
	h.sendAway()
}

// sendAway closes every connection.
func (h *Hub) sendAway() {
	if h.draining.closing {
		return
	}
	h.flushAnswers()
	for c := range h.clients {
		h.end(c, protocol.CloseRestart)
	}
	h.draining.closing = true
	h.timers.set(h.now.Add(drainLinger), func() { h.draining.done = true })
	h.drained()
}

// drained ends the hub when the last connection is gone.
func (h *Hub) drained() {
	if h.draining.closing && len(h.clients) == 0 {
		h.draining.done = true
	}
}

// sendOver is a drain that others take over from: each connection is closed at its turn, and comes back at once.
func (h *Hub) sendOver() {
	last := time.Duration(0)
	h.sayGoodbye(drainAfter, func(c *client, wait time.Duration) {
		wait = min(wait, drainAtMost-drainAfter)
		last = max(last, wait)
		h.timers.set(h.now.Add(wait), func() { h.sendOn(c) })
	})
	h.timers.set(h.now.Add(last+drainAfter), h.closeAll)
}

// sendOn closes a connection when what it was promised is done.
func (h *Hub) sendOn(c *client) {
	c.leaving = true
	if !c.ended && (c.inFlight > 0 || c.blocked()) {
		h.timers.set(h.now.Add(10*time.Millisecond), func() { h.sendOn(c) })
		return
	}
	h.flushAnswers()
	h.end(c, protocol.CloseRestart)
}
