package hubtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Client is a connection for one test: it reads all the time, keeps what came in order, and fails the test when a wait
// takes longer than Timeout. Its methods are for the test's goroutine.
type Client struct {
	Welcome Welcome
	Timeout time.Duration // for each wait; a minute unless set: a loaded machine is slow, and a test that hangs is seen all the same

	t    testing.TB
	conn *Conn
	next int64 // the next ackId

	mu      sync.Mutex
	changed chan struct{}   // closed and replaced at each change of what follows
	events  []Frame         // not read yet, in order of arrival
	acks    map[int64]Frame // not read yet
	ended   error           // why the connection has ended, nil while it lives
}

// Dial opens a connection that ends with the test and waits for its welcome.
func Dial(t testing.TB, url string, opts ...Option) *Client {
	t.Helper()
	const timeout = time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := Connect(ctx, url, opts...)
	if err != nil {
		t.Fatalf("connecting to %s: %v", url, err)
	}
	c := &Client{
		Welcome: conn.Welcome, Timeout: timeout, t: t, conn: conn,
		changed: make(chan struct{}), acks: make(map[int64]Frame),
	}
	var pump sync.WaitGroup
	pump.Go(c.pump)
	t.Cleanup(func() {
		conn.Drop()
		pump.Wait()
	})
	return c
}

func (c *Client) pump() {
	for {
		f, err := c.conn.Read(context.Background())
		c.mu.Lock()
		switch {
		case err != nil:
			c.ended = err
		case f.Event == "ack":
			if _, twice := c.acks[f.AckID]; twice {
				c.t.Errorf("a second acknowledgement: %s", f)
			}
			c.acks[f.AckID] = f
		default:
			c.events = append(c.events, f)
		}
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// await returns when ready, called with the lock held, says so. It fails the test when that takes too long, or when
// the connection has ended before.
func (c *Client) await(what string, ready func() bool) {
	c.t.Helper()
	limit := time.NewTimer(c.Timeout)
	defer limit.Stop()
	for {
		c.mu.Lock()
		ok, changed, ended := ready(), c.changed, c.ended
		c.mu.Unlock()
		if ok {
			return
		}
		if ended != nil {
			c.t.Fatalf("waited for %s, but the connection ended: %v%s", what, ended, c.instead())
		}
		select {
		case <-changed:
		case <-limit.C:
			c.t.Fatalf("waited %v for %s%s", c.Timeout, what, c.instead())
		}
	}
}

// instead says what has come and was not read.
func (c *Client) instead() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	frames := slices.Clone(c.events)
	for _, f := range c.acks {
		frames = append(frames, f)
	}
	if len(frames) == 0 {
		return "; nothing else had come"
	}
	slices.SortFunc(frames, func(a, b Frame) int { return a.Index - b.Index })
	var b strings.Builder
	fmt.Fprintf(&b, "; unread instead: %d frames, the last of them:", len(frames))
	for _, f := range frames[max(0, len(frames)-10):] {
		b.WriteString("\n\t" + f.String())
	}
	return b.String()
}

// Send sends an event that asks for no acknowledgement.
func (c *Client) Send(event string, data any) {
	c.t.Helper()
	c.write(event, data, NoAck)
}

// Begin sends a request and returns its ackId for Answer, without waiting.
func (c *Client) Begin(event string, data any) (ackID int64) {
	c.t.Helper()
	c.next++
	c.write(event, data, c.next)
	return c.next
}

// Answer waits for the acknowledgement of a request, errors included.
func (c *Client) Answer(ackID int64) (ack Frame) {
	c.t.Helper()
	c.await(fmt.Sprintf("ack %d", ackID), func() bool {
		var ok bool
		if ack, ok = c.acks[ackID]; ok {
			delete(c.acks, ackID)
		}
		return ok
	})
	return ack
}

// Request sends a request and waits for its acknowledgement, errors included.
func (c *Client) Request(event string, data any) Frame {
	c.t.Helper()
	return c.Answer(c.Begin(event, data))
}

// Ask sends a request that must succeed and reads the answer into answer, unless that is nil.
func (c *Client) Ask(event string, data, answer any) Frame {
	c.t.Helper()
	ack := c.Request(event, data)
	if r := ack.Refusal(); r != nil {
		c.t.Fatalf("%s was refused: %v", event, r)
	}
	if answer != nil {
		if err := ack.Decode(answer); err != nil {
			c.t.Fatal(err)
		}
	}
	return ack
}

// Refused sends a request that must be refused with code, and returns the error.
func (c *Client) Refused(event string, data any, code string) Refusal {
	c.t.Helper()
	ack := c.Request(event, data)
	r := ack.Refusal()
	if r == nil || r.Code != code {
		c.t.Fatalf("%s: want it refused with %s, got %s", event, code, ack)
	}
	return *r
}

// Fence returns when everything that the server had put into this connection's queue before it read the fence has
// arrived: a ping is answered in its place.
func (c *Client) Fence() { c.t.Helper(); c.Ask("ping", nil, nil) }

// Login logs in, which must succeed.
func (c *Client) Login(l Login) (ack LoginAck) {
	c.t.Helper()
	c.Ask("login", l, &ack)
	return ack
}

// RoomMessage sends a message, without a key when key is "", and waits until it is stored.
func (c *Client) RoomMessage(text, key string) (stored Stored) {
	c.t.Helper()
	c.Ask("roomMessage", Post{Message: text, Key: key}, &stored)
	return stored
}

// Next takes the next event that was not read; acknowledgements go to those who asked.
func (c *Client) Next() (event Frame) {
	c.t.Helper()
	c.await("any event", func() bool {
		if len(c.events) == 0 {
			return false
		}
		event, c.events = c.events[0], c.events[1:]
		return true
	})
	return event
}

// Expect takes the next event of that name, reads its data into v unless that is nil, and leaves the others unread.
func (c *Client) Expect(name string, v any) (event Frame) {
	c.t.Helper()
	c.await("the event "+name, func() bool {
		i := slices.IndexFunc(c.events, func(f Frame) bool { return f.Event == name })
		if i < 0 {
			return false
		}
		event = c.events[i]
		c.events = slices.Delete(c.events, i, i+1)
		return true
	})
	if v != nil {
		if err := event.Decode(v); err != nil {
			c.t.Fatal(err)
		}
	}
	return event
}

// Unread takes all events that have come and were not read. After a Fence that is all there is.
func (c *Client) Unread() []Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	events := c.events
	c.events = nil
	return events
}

// Ended waits until the connection has ended and returns the server's close code and reason, -1 and "" when there
// was no close frame.
func (c *Client) Ended() (code websocket.StatusCode, reason string) {
	c.t.Helper()
	var err error
	c.await("the end of the connection", func() bool { err = c.ended; return err != nil })
	if e, ok := errors.AsType[websocket.CloseError](err); ok {
		return e.Code, e.Reason
	}
	return -1, ""
}

// WriteRaw sends bytes as they are in one message.
func (c *Client) WriteRaw(kind websocket.MessageType, raw []byte) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	if err := c.conn.WriteRaw(ctx, kind, raw); err != nil {
		c.t.Fatalf("sending %d bytes: %v%s", len(raw), err, c.instead())
	}
}

// Close ends the connection with a close frame, and Drop without one: see Conn.
func (c *Client) Close(code websocket.StatusCode) { c.conn.Close(code) }

// Drop ends the connection without a close frame.
func (c *Client) Drop() { c.conn.Drop() }

func (c *Client) write(event string, data any, ackID int64) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	if err := c.conn.Write(ctx, event, data, ackID); err != nil {
		c.t.Fatalf("sending %s: %v%s", event, err, c.instead())
	}
}
