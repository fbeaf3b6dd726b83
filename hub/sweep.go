package hub

import (
	"slices"

	"parley/protocol"
)

// sweep looks after every connection: pings, the silent, those that never log in.
func (h *Hub) sweep() {
	h.guesses.prune(h.now)
	for c := range h.clients {
		if c.ended {
			continue
		}
		if c.member != nil && !c.expires.IsZero() && !c.expires.After(h.now) {
			h.end(c, protocol.CloseTokenExpired)
			continue
		}
		if c.member == nil && !c.entering && !c.loginBy.After(h.now) {
			h.end(c, protocol.CloseLoginTimeout)
			continue
		}
		if !c.lookAt.After(h.now) {
			h.look(c)
		}
	}
}

// looksPerPing is how often in a ping interval each connection is looked at for
// signs of life: a silence is known as exactly as that.
const looksPerPing = 4

// look drops a peer that has been silent for two ping intervals, and pings the
// others. Looks are counted and not the time between them: what came while the
// process stood still is found by the next one.
func (h *Hub) look(c *client) {
	every := h.cfg.PingInterval / looksPerPing
	if c.lookAt = c.lookAt.Add(every); !c.lookAt.After(h.now) {
		c.lookAt = h.now.Add(every)
	}
	c.looks++
	if c.out.heard() {
		c.silent = 0
	} else if c.silent++; c.silent >= 2*looksPerPing {
		c.out.abort()
		h.drop(c)
		return
	}
	if c.looks%looksPerPing == 0 && !c.out.push(pingFrame) {
		h.slow = append(h.slow, c)
	}
}

// end closes a connection by a close frame, and is through with it.
func (h *Hub) end(c *client, code protocol.CloseCode) {
	if c.ended {
		return
	}
	h.flushIfMember(c)
	c.out.closeWith(code, code.Reason())
	h.drop(c)
}

// shed makes room when all queues together are over their limit: the slowest go
// first.
func (h *Hub) shed() {
	over := h.writers.total() - h.cfg.QueuesLimit
	if over <= 0 {
		return
	}
	type waiting struct {
		c    *client
		size int
	}
	var all []waiting
	for c := range h.clients {
		if c.ended {
			over -= int64(c.out.size()) // on its way out: nobody else need go for it
			continue
		}
		all = append(all, waiting{c, c.out.size()})
	}
	slices.SortFunc(all, func(a, b waiting) int { return b.size - a.size })
	for _, w := range all {
		if over <= 0 {
			return
		}
		h.slow = append(h.slow, w.c)
		over -= int64(w.size)
	}
}

// dropSlow ends the connections whose queues have overflowed in this step.
func (h *Hub) dropSlow() {
	slow := slices.Clone(h.slow)
	h.slow = h.slow[:0]
	for _, c := range slow {
		if !c.ended {
			h.metrics.slow.Inc()
			c.out.closeNow(protocol.CloseTryLater, protocol.CloseTryLater.Reason())
			h.drop(c)
		}
	}
}
