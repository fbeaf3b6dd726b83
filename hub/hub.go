// Package hub is the heart of Parley: one goroutine that owns the rooms, the
// users in them and everything that is said about both.
//
// # The walk of one message
//
// A connection's reader (reader.go) takes a frame off the socket, decodes and
// validates it (package protocol) and puts a typed request into the hub's one
// inbox. [Hub.Run] takes it out, and the handle files do what it asks to the
// rooms. Messages go to the log (package store), and come back through the same
// inbox once they are kept; then room.go encodes each once and puts the same
// bytes into every member's outbound queue, which the writers drain (writers.go).
//
// # Who owns what
//
// The goroutine of Run owns the Hub's state, every room, every member and the
// fields of a client that say so: there is no lock in it, and but for Run, which reads
// the clock before each step, nothing in hub.go, handle*.go, login.go, leave.go, room.go,
// presence.go, session.go, shared*.go, sweep.go and drain.go starts a goroutine, reads a
// clock or does I/O. Clients may block on the hub; the hub blocks on nobody: queues and
// the log are try-send.
//
// Because of that the state machine can be run without any goroutine: tests call
// step and advance by themselves, and search its schedules.
package hub

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"parley/protocol"
	"parley/store"
)

// Hub owns the rooms. Make one with [New], then call Run once.
type Hub struct {
	// Set once.
	cfg      Config
	log      store.Log
	dir      directory
	shared   store.Shared // nil: this hub is the only one
	logger   *slog.Logger
	inbox    chan event
	decoders decoders
	readers  *logReaders
	writers  *writers
	metrics  *Metrics
	parser   protocol.Parser
	stopped  chan struct{} // closed when Run has ended: nobody reads the inbox any more
	newID    func() string // makes public identifiers: of connections, of users
	gate     gate          // what the handshake asks before it lets anybody in; has a lock of its own

	// Owned by Run.
	now      time.Time // the time of the step in progress
	clients  map[*client]struct{}
	rooms    map[string]*room
	members  map[string]*member // by user id
	users    *store.Users
	pending  map[store.Ref]pendingAppend
	opening  map[store.Ref]*room
	entering map[store.Ref]*loginPage // with shared
	leaving  map[string]received      // with shared: logouts, by user id
	removals map[store.Ref]chan<- error
	lastRef  store.Ref
	timers   timers
	alarm    alarm
	sweepAt  time.Time
	dirty    []*room  // rooms with a run to hand out
	handout  int      // bytes of those runs
	answers  []answer // acknowledgements that stand behind those runs
	slow     []*client
	scratch  []byte // one payload in the making
	windows  windows
	guesses  guesses // wrong access keys, by address
	draining drain
}

// directory is what the hub asks of one of its own and of a shared one alike.
type directory interface {
	Claim(ref store.Ref, room string) (out store.Claimed, done bool, err error)
	Remove(ref store.Ref, room string) (out store.Removed, done bool, err error)
	Release(room string)
}

// An event is what the inbox holds: a closed set, one type for each thing that
// can happen to the hub.
type event interface{ hubEvent() }

type (
	// connected: the handshake is done, nothing has been read yet.
	connected struct{ c *client }
	// received: a request of a client, decoded and valid, or the error that it gets.
	received struct {
		c     *client
		req   protocol.Request // nil with err
		err   *protocol.Error
		grant *grant // of a login with a good token
		event string
		ackID int64
		at    time.Time // when it came in
	}
	// disconnected: the connection is no more, and nothing else comes from it.
	disconnected struct {
		c       *client
		code    protocol.CloseCode // that ended it; 0: it broke
		goodbye bool               // the client ended it itself: no grace (section 3, Resume)
	}
	// reported: the log has something to say.
	reported struct{ store.Report }
	// paged: a log reader has read what was asked.
	paged struct{ page }
	// tick: a deadline has passed, perhaps.
	tick struct{}
	// drainRequested: the server is about to end (section 7).
	drainRequested struct{}
	// removalRequested: an operator wants a room gone.
	removalRequested struct {
		room string
		done chan<- error // takes one
	}
)

func (connected) hubEvent()        {}
func (received) hubEvent()         {}
func (disconnected) hubEvent()     {}
func (reported) hubEvent()         {}
func (paged) hubEvent()            {}
func (removalRequested) hubEvent() {}
func (tick) hubEvent()             {}
func (drainRequested) hubEvent()   {}

// The bounds of one step: so much is taken out of the inbox before what came of
// it is handed to the writers.
const (
	inboxSize  = 1024
	stepEvents = 256
	stepBytes  = 64 << 10
)

// New makes a hub over a log and a directory that have not been started.
func New(cfg Config) *Hub {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.setDefaults()
	h := &Hub{
		cfg:      cfg,
		log:      cfg.Log,
		dir:      cfg.Directory,
		shared:   cfg.Shared,
		logger:   cfg.Logger,
		inbox:    make(chan event, inboxSize),
		writers:  newWriters(0),
		parser:   protocol.Parser{MessageLimit: cfg.MessageLimit, Tokens: cfg.Tokens != nil},
		stopped:  make(chan struct{}),
		newID:    func() string { return rand.Text()[:16] }, // 80 random bits
		clients:  make(map[*client]struct{}),
		rooms:    make(map[string]*room),
		members:  make(map[string]*member),
		users:    store.NewUsers(),
		pending:  make(map[store.Ref]pendingAppend),
		opening:  make(map[store.Ref]*room),
		entering: make(map[store.Ref]*loginPage),
		leaving:  make(map[string]received),
		guesses:  make(guesses),
		removals: make(map[store.Ref]chan<- error),
	}
	if h.shared != nil {
		h.dir = h.shared
	}
	h.decoders = decoders{work: make(chan *reader), stopped: h.stopped}
	h.readers = newLogReaders(h.log, h.post)
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	h.metrics = newMetrics(cfg.Metrics, h.log, func() float64 { return float64(h.writers.total()) })
	return h
}

// post puts an event into the inbox. It blocks while the hub is busy, and drops
// the event when the hub has ended.
func (h *Hub) post(ev event) {
	select {
	case h.inbox <- ev:
	case <-h.stopped:
	}
}

// Run owns the hub's state until ctx ends, or until a drain (see Drain) is
// complete. It returns when every connection has been closed and the log has
// answered for all that it was given.
func (h *Hub) Run(ctx context.Context) error {
	h.now = time.Now()
	h.log.Start(func(r store.Report) { h.post(reported{r}) })
	h.readers.start()
	defer h.stop()

	h.alarm.start(h.now, func() { h.post(tick{}) })
	defer h.alarm.stop()
	for !h.draining.done {
		select {
		case ev := <-h.inbox:
			h.now = time.Now()
			h.takeStep(ev)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		h.advance()
		h.flush()
		h.countStep(time.Since(h.now))
		h.alarm.set(h.now, h.nextDeadline())
	}
	return nil
}

// takeStep handles ev and what waits behind it, within the bounds of one step.
func (h *Hub) takeStep(ev event) {
	h.step(ev)
	for n := 1; n < stepEvents && h.handout < stepBytes; n++ {
		select {
		case ev := <-h.inbox:
			h.step(ev)
		default:
			return
		}
	}
}

// step does what one event asks. It is the table of contents of this package.
func (h *Hub) step(ev event) {
	switch ev := ev.(type) {
	case connected:
		h.handleConnected(ev.c)
	case received:
		h.handleReceived(ev)
	case disconnected:
		h.handleDisconnected(ev)
	case reported:
		h.handleReport(ev.Report)
	case paged:
		h.handlePage(ev.page)
	case tick:
		h.alarm.rang()
	case drainRequested:
		h.startDrain()
	case removalRequested:
		h.removeRoom(ev)
	default:
		panic(fmt.Sprintf("hub: unknown event %T", ev))
	}
}

// advance does what is due at h.now: grace periods, coalesced lists, sweeps.
func (h *Hub) advance() {
	if !h.now.Before(h.sweepAt) {
		h.sweep()
		h.sweepAt = h.now.Add(min(h.cfg.PingInterval/looksPerPing, h.cfg.LoginTimeout/4, time.Second))
	}
	for {
		t, ok := h.timers.due(h.now)
		if !ok {
			return
		}
		t.fire()
	}
}

func (h *Hub) nextDeadline() time.Time {
	at := h.sweepAt
	if t, ok := h.timers.next(); ok && t.Before(at) {
		at = t
	}
	return at
}

// flush hands out everything that the step made: the rooms' runs first, then
// the answers that stand behind them, then the word to the writers.
func (h *Hub) flush() {
	for {
		for _, r := range h.dirty {
			h.flushRoom(r)
		}
		h.dirty = h.dirty[:0]
		h.flushAnswers()
		h.shed()
		if len(h.slow) == 0 {
			break
		}
		h.dropSlow()
	}
	h.handout = 0
	h.writers.finish(h.idle)
}

// idle reports whether nothing has come in.
func (h *Hub) idle() bool { return len(h.inbox) == 0 }

// flushAnswers sends the acknowledgements that stand behind the runs.
func (h *Hub) flushAnswers() {
	for _, a := range h.answers {
		h.send(a.c, a.frame)
	}
	clear(h.answers)
	h.answers = h.answers[:0]
}

// stop ends what Run started, whatever the reason.
func (h *Hub) stop() {
	h.gate.shut()
	close(h.stopped)
	for c := range h.clients {
		c.out.abort()
	}
	h.readers.stop()
	h.writers.close()
}

// ref numbers an Append or a Claim.
func (h *Hub) ref() store.Ref {
	h.lastRef++
	return h.lastRef
}
