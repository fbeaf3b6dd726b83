package hub

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"parley/protocol"
	"parley/store"
)

// sender is the way out to one client: in life an outlet (outlet.go), in tests of
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
	asked     store.Ref  // when it asked for that
	roomIndex int        // its place in the room's connections
	entering  bool       // its login waits for the log
	reading   bool       // a history request is at the log readers
	inFlight  int        // messages and pages whose answers are due
	waiting   []received // what came behind a login, a logout or a page that is not through
	waitBytes int
	badFrames int       // bad envelopes in a row
	loginBy   time.Time // when it must have logged in
	lookAt    time.Time // when it is looked whether it gives signs of life
	looks     int       // since it came
	silent    int       // looks in a row that found none
	leaving   bool      // a drain has come to it: what it sends from now on is not taken
	ended     bool      // the hub is through with it: nothing that it sends is acted on
	lost      bool      // the connection is no more; what it sent before may still wait
	goodbye   bool      // with lost: it said so itself (section 3, Resume)
	expires   time.Time // of its token; zero without tokens

	// Owned by the reader.
	limiter      *rate.Limiter // nil when there is no rate limit
	retryAt      time.Time     // as the last refusal told
	limitedSince time.Time     // start of a row of refusals that were ignored, without a pause of a second
	limitedLast  time.Time     // the last of them
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

// decode turns a frame into what the hub takes, in the order of section 2:
// rate_limited, bad_envelope, unknown_event, ack_required, invalid. Its error is
// protocol.ErrNotUTF8.
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
	default:
		ev = h.parse(ev, env)
	}
	return ev, nil
}

// parse makes a request of an envelope, and checks the token of a login.
func (h *Hub) parse(ev received, env protocol.Envelope) received {
	ev.req, ev.err = h.parser.Parse(env)
	if login, ok := ev.req.(*protocol.Login); ok && h.cfg.Tokens != nil {
		ev.grant, ev.err = h.cfg.Tokens.admit(login, h.logger)
	}
	return ev
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
// too long. One that has waited as long as it was told is no abuse.
func (c *client) abusive(now time.Time, wait time.Duration) bool {
	obedient := !now.Before(c.retryAt)
	c.retryAt = now.Add(wait)
	if obedient {
		return false
	}
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
	client    *client   // nil in grace, or when remote
	remote    bool      // its connection is, or was last, at another hub
	session   [32]byte  // SHA-256 of the session; zero when there is none
	absence   uint64    // counts its drops, so that a grace period knows its own
	moderator bool      // its token says so
	parted    store.Ref // when a shared directory was last told that it leaves, or is away
}
