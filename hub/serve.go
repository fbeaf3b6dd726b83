package hub

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"parley/protocol"
)

// ServeOptions are what the handshake needs beside the hub's own configuration.
type ServeOptions struct {
	Origins    Origins // who may connect from a page (section 1)
	ConnsPerIP int     // connections an address at most; 0 is off
	NewPerIP   int     // new connections an address and minute at most; 0 is off
	MaxConns   int     // connections in all at most; 0 is off
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
	clientIP := opts.ClientIP
	if clientIP == nil {
		clientIP = remoteAddr
	}
	h.gate.perIP, h.gate.newPerIP, h.gate.most = opts.ConnsPerIP, opts.NewPerIP, opts.MaxConns
	tell := rate.Sometimes{First: 10, Interval: time.Second} // a page that is not allowed in tries again and again
	tellFull := rate.Sometimes{First: 1, Interval: time.Minute}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !opts.Origins.Allow(r) {
			h.metrics.refused.WithLabelValues("origin").Inc()
			tell.Do(func() { h.logger.Warn(refusal(r)) })
			http.Error(w, "This origin is not allowed.", http.StatusForbidden)
			return
		}
		addr := clientIP(r)
		ws, in, err := upgrade(w, r, &websocket.AcceptOptions{
			Subprotocols:       []string{protocol.Version},
			InsecureSkipVerify: true, // the origin has been checked above, by the protocol's rule
			CompressionMode:    websocket.CompressionDisabled,
		}, h.writers, h.cfg.QueueLimit)
		if err != nil {
			h.logger.Debug("handshake failed", "error", err)
			return
		}
		ws.SetReadLimit(-1) // the reader has a limit of its own, after which it can still read the peer's close frame
		c := &client{id: h.newID(), addr: addr, out: in.o}
		if h.cfg.Rate > 0 {
			c.limiter = rate.NewLimiter(rate.Limit(h.cfg.Rate), h.cfg.Burst)
		}
		if code, why := h.gate.enter(addr, time.Now()); code != 0 {
			h.metrics.refused.WithLabelValues(why).Inc()
			if why == "full" {
				tellFull.Do(func() { h.logger.Warn("full: newcomers are sent away", "connections", opts.MaxConns) })
			}
			go func() {
				_ = refuse(in.o, ws, code)
				in.o.finish()
				_ = ws.CloseNow() // as in reader.end
			}()
			return
		}
		h.post(connected{c})
		select {
		case <-h.stopped: // a latecomer that nobody knows
			in.o.abort()
		default:
		}
		(&reader{hub: h, client: c, ws: ws, socket: in, since: time.Now()}).start()
	})
}

func remoteAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
