package hub

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"parley/protocol"
)

// ServeOptions are what the handshake needs beside the hub's own configuration.
type ServeOptions struct {
	Origins    Origins // who may connect from a page (section 1)
	ConnsPerIP int     // connections an address at most; 0 is off
	// ClientIP tells the client's address; the connection's own when nil.
	ClientIP func(*http.Request) netip.Addr
}

// readLimit is the largest envelope: a message within the limit always fits,
// however JSON escapes it (section 1).
func readLimit(messageLimit int) int64 { return 6*int64(messageLimit) + 4<<10 }

// Handler serves /ws: it checks the origin, upgrades the connection and starts
// its reader. It returns as soon as that runs, so that the memory of the HTTP
// request is given back.
func (h *Hub) Handler(opts ServeOptions) http.Handler {
	limit := readLimit(h.cfg.MessageLimit)
	h.gate.perIP = opts.ConnsPerIP
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !opts.Origins.Allow(r) {
			origin := r.Header.Get("Origin")
			h.logger.Warn(fmt.Sprintf("refused origin %q for host %q; allow it with --allow-origin %q", origin, r.Host, origin))
			http.Error(w, "This origin is not allowed.", http.StatusForbidden)
			return
		}
		addr := remoteAddr(r)
		if opts.ClientIP != nil {
			addr = opts.ClientIP(r)
		}
		ws, out, err := upgrade(w, r, &websocket.AcceptOptions{
			Subprotocols:       []string{protocol.Version},
			InsecureSkipVerify: true, // the origin has been checked above, by the protocol's rule
			CompressionMode:    websocket.CompressionDisabled,
		}, h.writers, h.cfg.QueueLimit)
		if err != nil {
			h.logger.Debug("handshake failed", "error", err)
			return
		}
		ws.SetReadLimit(limit)
		c := &client{id: h.newID(), addr: addr, out: out}
		if h.cfg.Rate > 0 {
			c.limiter = rate.NewLimiter(rate.Limit(h.cfg.Rate), h.cfg.Burst)
		}
		if code := h.gate.enter(addr); code != 0 {
			go func() {
				h.refuse(out, ws, code)
				out.abort()
			}()
			return
		}
		h.post(connected{c})
		go h.readLoop(c, ws, out)
	})
}

func remoteAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// gate counts connections, an address and in all, and knows whether the server
// takes new ones. Handshakes and readers share it, so it has a lock of its own.
type gate struct {
	perIP int // set once

	mu     sync.Mutex
	code   protocol.CloseCode // with which newcomers are sent away; 0: they are not
	counts map[netip.Prefix]int
}

// enter counts a connection in, or tells the code to send it away with.
func (g *gate) enter(addr netip.Addr) protocol.CloseCode {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.code != 0 {
		return g.code
	}
	if g.perIP == 0 {
		return 0
	}
	if g.counts == nil {
		g.counts = make(map[netip.Prefix]int)
	}
	key := network(addr)
	if g.counts[key] >= g.perIP {
		return protocol.CloseTryLater
	}
	g.counts[key]++
	return 0
}

func (g *gate) leave(addr netip.Addr) {
	if g.perIP == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	key := network(addr)
	if g.counts[key]--; g.counts[key] <= 0 {
		delete(g.counts, key)
	}
}

// shut sends every newcomer away with 1012.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.code = protocol.CloseRestart
}

// network is what counts as one address: an IPv4 address, or the /64 of an IPv6
// one, which is what one subscriber is given.
func network(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p
}
