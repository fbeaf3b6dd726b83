package deploy_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"parley/hub/hubtest"
)

// guest is somebody who comes back whenever a connection ends, with what the shim would send.
type guest struct {
	name, session string
	connect       func(context.Context) (*hubtest.Conn, error)

	conn  *hubtest.Conn
	epoch string
	since *int64   // newest message seen
	seen  []string // texts, in order
	comes int      // connections so far
}

// come connects and logs in, and takes what was missed.
func (g *guest) come(ctx context.Context) error {
	for {
		conn, err := g.connect(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			continue // an old worker may still have taken it, and ended before the handshake
		}
		g.conn, g.comes = conn, g.comes+1
		err = conn.Write(ctx, "login", hubtest.Login{
			Name: g.name, Room: "lobby", Session: g.session, Since: g.since, Epoch: g.epoch,
		}, 0)
		for err == nil {
			var f hubtest.Frame
			if f, err = conn.Read(ctx); err != nil || f.Event != "ack" {
				continue
			}
			var ack hubtest.LoginAck
			if r := f.Refusal(); r != nil {
				return r
			}
			if err := f.Decode(&ack); err != nil {
				return err
			}
			if ack.Gap != nil {
				return fmt.Errorf("%s was told of a gap: %+v", g.name, *ack.Gap)
			}
			g.epoch = ack.Epoch
			if g.since == nil {
				g.since = &ack.Seq
			}
			for _, m := range ack.Messages {
				g.take(m)
			}
			return nil
		}
		conn.Drop() // it has ended: once more
	}
}

func (g *guest) take(m hubtest.Message) {
	g.seen = append(g.seen, m.Message)
	g.since = &m.Seq
}

// until reads, and comes back, until done says so of a frame.
func (g *guest) until(ctx context.Context, again func(), done func(hubtest.Frame) bool) error {
	for {
		f, err := g.conn.Read(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			g.conn.Drop()
			if err := g.come(ctx); err != nil {
				return err
			}
			again()
			continue
		case f.Event == "roomMessage":
			var m hubtest.Message
			if err := f.Decode(&m); err != nil {
				return err
			}
			g.take(m)
		}
		if done(f) {
			return nil
		}
	}
}

// post sends a message until it is acknowledged.
func (g *guest) post(ctx context.Context, text string) error {
	key := rand.Text()
	send := func() {
		// An error shows in the read that follows too, and is dealt with there.
		_ = g.conn.Write(ctx, "roomMessage", hubtest.Post{Message: text, Key: key}, 1)
	}
	send()
	return g.until(ctx, send, func(f hubtest.Frame) bool { return f.Event == "ack" && f.AckID == 1 })
}

// TestReload chats through a reload of nginx, whose old workers end after a second.
func TestReload(t *testing.T) {
	t.Parallel()
	s := start(t, hubtest.Start(t, "--db", ""), "worker_shutdown_timeout 30s;", "worker_shutdown_timeout 1s;")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	connect := func(ctx context.Context) (*hubtest.Conn, error) {
		return hubtest.Connect(ctx, s.socket("/"), s.from(t, "127.0.0.1"))
	}
	ann := &guest{name: "Ann", session: rand.Text(), connect: connect}
	bob := &guest{name: "Bob", session: rand.Text(), connect: connect}
	for _, g := range []*guest{ann, bob} {
		if err := g.come(ctx); err != nil {
			t.Fatal(err)
		}
		defer func() { g.conn.Drop() }()
	}

	const last = "the last one"
	read, back := make(chan error, 1), make(chan struct{})
	go func() {
		read <- bob.until(ctx, sync.OnceFunc(func() { close(back) }), func(hubtest.Frame) bool {
			return slices.Contains(bob.seen, last)
		})
	}()

	var sent []string
	say := func(text string) {
		t.Helper()
		sent = append(sent, text)
		if err := ann.post(ctx, text); err != nil {
			t.Fatal(err)
		}
	}
	say("before the reload")
	s.Reload()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for bobs := back; ann.comes == 1 || bobs != nil; {
		say(fmt.Sprintf("message %d", len(sent)))
		select {
		case <-bobs: // his worker may end later than hers
			bobs = nil
		case <-tick.C:
		}
	}
	say("after the reload")
	say(last)
	if err := <-read; err != nil {
		t.Fatalf("Bob: %v; he saw %q", err, bob.seen)
	}
	for _, g := range []*guest{ann, bob} {
		if !slices.Equal(g.seen, sent) {
			t.Errorf("%s saw %q\nsent were %q", g.name, g.seen, sent)
		}
		if g.comes < 2 {
			t.Errorf("%s never had to come back: nginx was not reloaded", g.name)
		}
	}
	t.Logf("%d messages; Ann came %d times, Bob %d", len(sent), ann.comes, bob.comes)
}
