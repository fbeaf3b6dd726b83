package hub

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"parley/protocol"
	"parley/store"
)

// sender is the way out to one client: in life an outlet (conn.go), in tests of
// the hub's state something that keeps what it is given. The hub's goroutine
// calls it; nothing here blocks.
type sender interface {
	push(frames []byte) bool
	replace(slot slotKind, id string, frame []byte) bool
	mergePresence(p *protocol.Presence, frame []byte) bool
	closeWith(code protocol.CloseCode, reason string)
	closeNow(code protocol.CloseCode, reason string)
	abort()
	heard() bool
	size() int
}

// client is one connection.
type client struct {
	// Set once.
	id   string
	addr netip.Addr
	out  sender

	// Owned by Run.
	member    *member    // who it is; nil when it is not logged in
	roomIndex int        // its place in the room's connections
	entering  bool       // its login waits for the log
	reading   bool       // a history request is at the log readers
	inFlight  int        // messages and pages whose answers are due
	waiting   []received // what came behind a login, a logout or a page that is not through
	waitBytes int
	badFrames int       // bad envelopes in a row
	loginBy   time.Time // when it must have logged in
	pingAt    time.Time
	silent    int       // ping intervals without a sign of life
	ended     bool      // the hub is through with it: nothing that it sends is acted on
	lost      bool      // the connection is no more; what it sent before may still wait
	goodbye   bool      // with lost: it said so itself (section 3, Resume)
	expires   time.Time // of its token; zero without tokens

	// Owned by the reader.
	limiter      *rate.Limiter // nil when there is no rate limit
	limitedSince time.Time     // start of a row of refusals without a pause of a second
	limitedLast  time.Time
}

// maxWaiting bounds what a connection may have waiting behind its own login,
// logout or page of history, in requests and in bytes of text.
const (
	maxWaiting      = 1024
	maxWaitingBytes = 1 << 20
)

// A connection that goes on for abuseAfter beyond its rate, without a pause of
// abusePause, is closed (section 8, 1008).
const (
	abuseAfter = 10 * time.Second
	abusePause = time.Second
)

// frames are the buffers into which readers read: one for each reader that is
// between reading and decoding, none for one that waits.
var frames = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// keepFrame is the largest buffer that is worth keeping.
const keepFrame = 64 << 10

// readLoop reads until the connection ends, and then tells the hub why. It is
// the connection's only goroutine.
func (h *Hub) readLoop(c *client, ws *websocket.Conn, o *outlet) {
	since := time.Now()
	var err error
	for err == nil {
		err = h.readFrame(c, ws, o)
	}
	ev := disconnected{c: c, code: protocol.CloseCode(max(0, websocket.CloseStatus(err)))}
	by := "client"
	if code := o.closeCode(); code != 0 {
		ev.code, by = code, "server"
	} else if errors.Is(err, websocket.ErrMessageTooBig) {
		ev.code, by = protocol.CloseTooBig, "server"
	} else if ev.code == 0 {
		by = "nobody" // it broke
	} else {
		ev.goodbye = ev.code == protocol.CloseNormal || ev.code == protocol.CloseNoStatus
	}
	o.finish()
	h.gate.leave(c.addr)
	h.logger.Info("connection ended", "id", c.id, "address", c.addr.String(), "by", by, "code", int(ev.code),
		"reason", ev.code.Reason(), "after", time.Since(since).Round(time.Millisecond).String())
	h.post(ev)
}

// readFrame reads one frame and hands what it asks to the hub. An error ends the
// connection.
func (h *Hub) readFrame(c *client, ws *websocket.Conn, o *outlet) error {
	kind, r, err := ws.Reader(context.Background())
	if err != nil {
		return err
	}
	if kind != websocket.MessageText {
		o.closeWith(protocol.CloseUnsupported, protocol.CloseUnsupported.Reason())
		if _, err := io.Copy(io.Discard, r); err != nil { // or the library takes what is left for frames
			return err
		}
		return h.refuse(o, ws, protocol.CloseUnsupported)
	}
	buf := frames.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= keepFrame {
			buf.Reset()
			frames.Put(buf)
		}
	}()
	if _, err := buf.ReadFrom(r); err != nil {
		return err
	}
	ev, err := h.decode(c, buf.Bytes())
	if err != nil {
		return h.refuse(o, ws, protocol.CloseNotUTF8)
	}
	if ev.err != nil && ev.err.Code == protocol.CodeRateLimited && c.abusive(time.Now()) {
		return h.refuse(o, ws, protocol.ClosePolicy)
	}
	h.post(ev)
	return nil
}

// decode turns a frame into what the hub takes, in the order of section 2:
// rate_limited, bad_envelope, unknown_event, ack_required, invalid. Its error is
// protocol.ErrNotUTF8.
//
// All but the messages themselves are parsed on a goroutine of their own, for its
// stack: validation goes deep, and a reader whose stack once grew from 4 to 8 KiB
// keeps them for as long as the connection lasts.
func (h *Hub) decode(c *client, frame []byte) (received, error) {
	ev := received{c: c, ackID: protocol.NoAck, at: time.Now()}
	wait := c.overRate(ev.at)
	env, err := protocol.Decode(frame)
	if err == protocol.ErrNotUTF8 {
		return ev, err
	}
	if err == nil {
		ev.event, ev.ackID = env.Event, env.AckID
	}
	switch {
	case wait > 0:
		ev.err = protocol.RateLimited(wait)
	case err != nil:
		ev.err = err.(*protocol.Error)
	case env.Event == protocol.EventRoomMessage:
		ev.req, ev.err = h.parser.Parse(env)
	default:
		parsed := make(chan received, 1)
		go func() { parsed <- h.parse(ev, env) }()
		ev = <-parsed
	}
	return ev, nil
}

// parse makes a request of an envelope, and checks the token of a login.
func (h *Hub) parse(ev received, env protocol.Envelope) received {
	ev.req, ev.err = h.parser.Parse(env)
	if login, ok := ev.req.(*protocol.Login); ok && h.cfg.Tokens != nil {
		ev.grant, ev.err = h.cfg.Tokens.admit(login)
	}
	return ev
}

// refuse ends a connection from its reader, and waits until the peer has
// answered the close frame or the time for that is over.
func (h *Hub) refuse(o *outlet, ws *websocket.Conn, code protocol.CloseCode) error {
	o.closeWith(code, code.Reason())
	for {
		_, r, err := ws.Reader(context.Background())
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			return err
		}
	}
}

// overRate takes one event from the connection's allowance, and returns how long
// to wait when there is none.
func (c *client) overRate(now time.Time) time.Duration {
	if c.limiter == nil || c.limiter.AllowN(now, 1) {
		return 0
	}
	missing := 1 - c.limiter.TokensAt(now)
	return max(time.Millisecond, time.Duration(missing/float64(c.limiter.Limit())*float64(time.Second)))
}

// abusive notes a refusal, and reports whether the client has ignored them for
// too long.
func (c *client) abusive(now time.Time) bool {
	if now.Sub(c.limitedLast) >= abusePause {
		c.limitedSince = now
	}
	c.limitedLast = now
	return now.Sub(c.limitedSince) >= abuseAfter
}

// member is somebody in a room; see session.go for the time between two of its
// connections.
type member struct {
	store.User
	room      *room
	client    *client  // nil in grace
	session   [32]byte // SHA-256 of the session; zero when there is none
	absence   uint64   // counts its drops, so that a grace period knows its own
	moderator bool     // its token says so
}
