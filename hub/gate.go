package hub

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"parley/protocol"
)

// gate counts connections, an address and in all, and knows whether the server
// takes new ones. Handshakes and readers share it, so it has a lock of its own.
type gate struct {
	// Set once, before the first handshake. 0 is no limit.
	perIP    int // connections an address
	newPerIP int // new ones an address and minute
	most     int // connections in all

	mu     sync.Mutex
	closed bool // everybody is sent away
	count  int
	byIP   map[netip.Prefix]*visitor
	pruned time.Time
}

// visitor is what the gate knows of one address.
type visitor struct {
	open    int
	newOnes *rate.Limiter
}

// enter counts a connection in, or tells the code to send it away with, and why.
func (g *gate) enter(addr netip.Addr, now time.Time) (code protocol.CloseCode, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return protocol.CloseRestart, "draining"
	}
	if g.most > 0 && g.count >= g.most {
		return protocol.CloseTryLater, "full"
	}
	if g.perIP > 0 || g.newPerIP > 0 {
		v := g.visitor(addr, now)
		if g.perIP > 0 && v.open >= g.perIP {
			return protocol.CloseTryLater, "address"
		}
		if g.newPerIP > 0 && !v.newOnes.AllowN(now, 1) {
			return protocol.CloseTryLater, "rate"
		}
		v.open++
	}
	g.count++
	return 0, ""
}

func (g *gate) visitor(addr netip.Addr, now time.Time) *visitor {
	if now.Sub(g.pruned) >= time.Minute {
		g.prune(now)
	}
	key := network(addr)
	v := g.byIP[key]
	if v == nil {
		if g.byIP == nil {
			g.byIP = make(map[netip.Prefix]*visitor)
		}
		v = &visitor{newOnes: rate.NewLimiter(rate.Limit(float64(g.newPerIP)/60), g.newPerIP)}
		g.byIP[key] = v
	}
	return v
}

// prune forgets the addresses that a newcomer's could not be told from.
func (g *gate) prune(now time.Time) {
	g.pruned = now
	for key, v := range g.byIP {
		if v.open == 0 && v.newOnes.TokensAt(now) >= float64(g.newPerIP) {
			delete(g.byIP, key)
		}
	}
}

func (g *gate) leave(addr netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count--
	if v := g.byIP[network(addr)]; v != nil {
		v.open--
	}
}

// shut sends every newcomer away with 1012 from now on.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// Draining reports whether newcomers are sent away because the server ends.
func (h *Hub) Draining() bool {
	h.gate.mu.Lock()
	defer h.gate.mu.Unlock()
	return h.gate.closed
}

// network is what counts as one address: an IPv4 address, or the /64 of an IPv6
// one, which is what one subscriber is given.
func network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap()
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p
}

// guesses bounds how many wrong access keys an address may try (section 9): so
// many at once, then one a second. Owned by Run.
type guesses map[netip.Prefix]*rate.Limiter

const (
	guessesAtOnce    = 100
	guessesPerSecond = 1
)

// wait is how long the address has to wait before its next try; 0: it need not.
func (g guesses) wait(addr netip.Addr, now time.Time) time.Duration {
	l := g[network(addr)]
	if l == nil {
		return 0
	}
	if missing := 1 - l.TokensAt(now); missing > 0 {
		return max(time.Millisecond, time.Duration(missing/guessesPerSecond*float64(time.Second)))
	}
	return 0
}

// wrong notes a wrong key.
func (g guesses) wrong(addr netip.Addr, now time.Time) {
	key := network(addr)
	if g[key] == nil {
		g[key] = rate.NewLimiter(guessesPerSecond, guessesAtOnce)
	}
	g[key].AllowN(now, 1)
}

// prune forgets the addresses that have waited long enough.
func (g guesses) prune(now time.Time) {
	for key, l := range g {
		if l.TokensAt(now) >= guessesAtOnce {
			delete(g, key)
		}
	}
}
