package chaos

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"parley/hub/hubtest"
)

// The client's clock: the shim's, about ten times faster.
const (
	dialTimeout  = 3 * time.Second
	writeTimeout = 2 * time.Second
	probeAfter   = 500 * time.Millisecond // silence after which a ping is sent
	verdictAfter = time.Second            // silence after that ping that means the connection is dead
	ackTimeout   = 20 * time.Second       // a request on a living connection that is not answered by then is a violation
	firstBackoff = 50 * time.Millisecond
	mostBackoff  = 2 * time.Second
	stableAfter  = time.Second // of connection, after which the backoff starts anew
	thinkTime    = 8 * time.Millisecond
	longAbsence  = 6 * time.Second // far beyond the grace
)

// post is a message that somebody wants to be in the room.
type post struct {
	name, room, key, text string
	number                int   // of its sender's, from 1
	acked                 int64 // its seq, 0 while it is not acknowledged
	at                    time.Time
}

// hole is a stretch of messages that a login told of but did not bring: those between the two, exclusive.
type hole struct{ after, before int64 }

// record is what one life saw, for the verdict at the end.
type record struct {
	name, room string
	start, end int64 // it has to have seen every message with start < seq <= end
	live       []hubtest.Message
	filled     []hubtest.Message // from history
	holes      []hole            // told of, and not filled before it died
}

// member is a client that follows the protocol as the shim does. All its fields are its own goroutine's; the test
// reads posts and records when that has ended.
type member struct {
	w     *world
	base  string // its first name; later lives add a number
	sends bool
	rng   *mathrand.Rand
	asks  chan chan<- report

	posts   []*post   // all that it ever wrote
	records []*record // one for each life, the newest last

	// This life's, gone when it dies.
	name, room, session string
	life                *record
	since               int64 // newest seq that was delivered, -1 before the first login
	epoch, id           string
	outbox              []*post // not acknowledged, in order
	written             int     // numbers used
	holes               []hole
	users               []hubtest.User  // as last told
	people              map[string]bool // ids, as told by notifications
	aliveAt             time.Time       // sending of the newest request that was answered while it was logged in, the login too
	aliveIn             int64           // the generation then
	unanswered          int             // logins sent to the servers of now that were not answered: see loginSent
	unansweredIn        int64           // the generation of the newest of them
	unansweredAt        time.Time       // when that was sent
	ask                 chan<- report   // who waits for a report
}

// report is what a member knows when it has nothing left to do.
type report struct {
	room, name, id string
	asked          []hubtest.User // the answer to a users request
	told           []hubtest.User // the newest users event, or the login's
	people         map[string]bool
}

func newMember(w *world, base, room string, sends bool, rng *mathrand.Rand) *member {
	m := &member{w: w, base: base, room: room, sends: sends, rng: rng, asks: make(chan chan<- report)}
	m.bear()
	return m
}

// bear begins a new life: another name, another session, nothing remembered.
func (m *member) bear() {
	m.name = fmt.Sprintf("%s.%d", m.base, len(m.records)+1)
	m.session, m.epoch, m.id = rand.Text(), "", ""
	m.since, m.written, m.unanswered = -1, 0, 0
	m.outbox, m.holes, m.users, m.people = nil, nil, nil, nil
	m.life = &record{name: m.name, room: m.room, start: -1}
	m.records = append(m.records, m.life)
}

// bury ends a life: what it had not seen by then is not asked of it.
func (m *member) bury() {
	m.life.end, m.life.holes = m.since, m.holes
}

// Why a member ends a connection itself.
var (
	errDied   = errors.New("died")                     // and begins a new life
	errReload = errors.New("reloaded")                 // and comes back at once
	errAway   = errors.New("went away")                // and comes back after a long time
	errDead   = errors.New("the connection is silent") // and comes back as after a cut
)

// run lives until ctx ends: it connects, and comes back as the close-code table says.
func (m *member) run(ctx context.Context) {
	defer m.bury()
	attempt := 0
	var delay time.Duration
	for m.wait(ctx, delay) {
		attempt++
		delay = m.backoff(attempt)
		dial, cancel := context.WithTimeout(ctx, dialTimeout)
		conn, err := hubtest.Connect(dial, m.w.url)
		cancel()
		if err != nil {
			delay = max(delay, m.verdict(err, false))
			continue
		}
		m.w.stats.connections.Add(1)
		begin := time.Now()
		a := newAttachment(m, conn)
		err = a.live(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begin) > stableAfter {
			attempt, delay = 0, m.backoff(0)
		}
		switch {
		case errors.Is(err, errDied):
			m.bury()
			m.w.stats.deaths.Add(1)
			m.bear()
		case errors.Is(err, errReload):
			delay = 0
		case errors.Is(err, errAway):
			m.w.stats.absences.Add(1)
			most := []time.Duration{m.w.grace, longAbsence}[m.rng.IntN(2)]
			delay = time.Duration(m.rng.Int64N(int64(most)))
		case !a.reconnectAt.IsZero():
			delay = max(0, time.Until(a.reconnectAt))
		default:
			delay = max(delay, m.verdict(err, a.loggedIn))
		}
	}
}

// verdict judges the end of a connection by section 8 and returns the least time to wait.
func (m *member) verdict(err error, loggedIn bool) time.Duration {
	switch code := hubtest.CloseCode(err); code {
	case -1: // cut, or given up
	case 1012:
		if loggedIn && !m.w.cluster { // there a server may be cut off from the others
			m.w.violation("%s: closed with 1012 without a goodbye", m.name)
		}
		return time.Duration(m.rng.Int64N(int64(firstBackoff)))
	case 1013:
		m.w.stats.slow.Add(1)
	case 4501:
		// A login that a dead connection still held may arrive after its successor's. The shim cannot tell this
		// from another page and stays closed; here the member comes back, to be of use.
		if m.unanswered == 0 {
			m.w.violation("%s: closed with 4501, and nobody else has its session", m.name)
		}
		m.w.stats.overtaken.Add(1)
	default:
		m.w.violation("%s: closed with %v", m.name, err)
	}
	return 0
}

// backoff is full jitter: anything from nothing to a limit that doubles with each attempt.
func (m *member) backoff(attempt int) time.Duration {
	limit := min(mostBackoff, firstBackoff<<min(attempt, 10))
	return time.Duration(m.rng.Int64N(int64(limit)))
}

func (m *member) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return ctx.Err() == nil
		case m.ask = <-m.asks: // answered by the next connection
		case <-ctx.Done():
			return false
		}
	}
}

// write makes up the next message.
func (m *member) write() *post {
	m.written++
	p := &post{name: m.name, room: m.room, key: rand.Text(), number: m.written}
	size := m.rng.IntN(200)
	if m.rng.IntN(4) == 0 { // enough of them that an absence misses more than a login brings
		size = m.rng.IntN(8000)
	}
	p.text = p.key + strings.Repeat(".", size)
	m.posts = append(m.posts, p)
	m.outbox = append(m.outbox, p)
	m.w.stats.messages.Add(1)
	return p
}

// deliver hands a live message to the page: each once, in the order of seq.
func (m *member) deliver(msg hubtest.Message) {
	if msg.Seq <= m.since {
		if m.has(msg.Seq) {
			m.w.stats.duplicated.Add(1)
			m.w.violation("%s: seq %d came again, after %d", m.name, msg.Seq, m.since)
		} else {
			m.w.stats.outOfOrder.Add(1)
			m.w.violation("%s: seq %d came after %d", m.name, msg.Seq, m.since)
		}
		return
	}
	if !strings.HasPrefix(msg.Message, msg.Key) {
		m.w.violation("%s: seq %d is not the text that was sent with its key", m.name, msg.Seq)
	}
	m.since = msg.Seq
	m.life.live = append(m.life.live, digested(msg))
}

func (m *member) has(seq int64) bool {
	for _, msg := range m.life.live {
		if msg.Seq == seq {
			return true
		}
	}
	return false
}

// digested is a message as it is remembered: with a digest in place of its text.
func digested(msg hubtest.Message) hubtest.Message {
	msg.Message = digest(msg.Message)
	return msg
}

func digest(text string) string {
	h := fnv.New64a()
	h.Write([]byte(text))
	return string(h.Sum(nil))
}
