package chaos

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/hub/hubtest"
)

// The slow do not hurt the fast (section 6): a member that stops reading is closed with 1013 and made whole when it
// comes back; meanwhile the others miss nothing, wait no longer, and the server holds no more than its queue for it.
func TestSlowConsumer(t *testing.T) {
	const (
		awake  = 50 // rounds in which all read, until the server's memory is level
		rounds = 30 // further ones, 7.5 MB for each member
		asleep = 24 // of them, in which the slow one reads nothing: 6 MB, above its queue and both sockets' buffers
		fast   = 3
	)
	s := hubtest.Start(t, "--db", filepath.Join(t.TempDir(), "slow.db"), "--grace", "1m")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	readers := make([]*reader, fast)
	for i := range readers {
		readers[i], _ = enter(t, ctx, s.WS(), hubtest.Login{Name: fmt.Sprint("fast ", i), Room: "hall"})
	}
	me := hubtest.Login{Name: "Slow", Room: "hall", Session: "the session of the slow one"}
	slow, first := enter(t, ctx, s.WS(), me, smallBuffer)
	sender := hubtest.Dial(t, s.WS())
	sender.Login(hubtest.Login{Name: "Sender", Room: "hall"})

	var warm, stalled time.Duration
	for range awake {
		warm = max(warm, talkRound(t, ctx, sender, append(readers, slow)))
	}
	before := s.RSS()
	n := len(slow.seqs)
	ended := make(chan error, 1)
	begin, took := time.Now(), time.Duration(0) // until it knew that it was closed
	for round := range rounds {
		if round == asleep {
			go func() {
				err := slow.read(ctx, rounds*roundSize)
				took = time.Since(begin)
				ended <- err
			}()
		}
		stalled = max(stalled, talkRound(t, ctx, sender, readers))
	}
	after := s.RSS()
	t.Logf("longest round: %v before, %v while one did not read; server memory %d MiB before, %d MiB after", warm, stalled, before>>20, after>>20)
	if grown := after - before; grown > memoryLimit {
		t.Errorf("the server grew by %d MiB, want at most %d MiB", grown>>20, memoryLimit>>20)
	}
	if stalled > warm+latencyLimit {
		t.Errorf("a round took %v while one did not read, %v before", stalled, warm)
	}

	err := <-ended
	// A close frame needs a socket that takes it: on a machine so loaded that this took long, the server had to end the
	// connection without one.
	if code := hubtest.CloseCode(err); err == nil || code != websocket.StatusTryAgainLater && (code != -1 || took < closeTimeout) {
		t.Fatalf("the slow one read %d more messages and then: %v", len(slow.seqs)-n, err)
	}
	t.Logf("the slow one read %d more messages before it was closed", len(slow.seqs)-n)
	got := slow.seqs
	me.Since, me.Epoch = &got[len(got)-1], first.Epoch
	back := hubtest.Dial(t, s.WS())
	ack := back.Login(me)
	if !ack.Resumed || ack.User.ID != first.User.ID {
		t.Errorf("the slow one came back as %+v, resumed %v; it was %+v", ack.User, ack.Resumed, first.User)
	}
	if g := ack.Gap; g != nil {
		if g.Reason != "too_many" || g.Before == nil {
			t.Fatalf("the gap is said to be %+v", g)
		}
		got = append(got, fillGap(t, back, *g)...)
	}
	for _, msg := range ack.Messages {
		got = append(got, msg.Seq)
	}
	for i, other := range append(readers, &reader{seqs: got}) {
		if len(other.seqs) != (awake+rounds)*roundSize || !slices.Equal(other.seqs, readers[0].seqs) {
			t.Errorf("%d of %d messages for number %d (%d is the slow one), and not the same as for the first", len(other.seqs), (awake+rounds)*roundSize, i, fast)
		}
	}
}

const (
	closeTimeout = 5 * time.Second // for a close frame to be taken, after which a server gives a socket up
	roundSize    = 16              // messages of 16,000 bytes
	latencyLimit = 5 * time.Second // wide, for a loaded machine, but below what a server that waits for a peer would wait
)

// talkRound sends a round of messages and returns when they are acknowledged and all readers have them.
func talkRound(t *testing.T, ctx context.Context, sender *hubtest.Client, readers []*reader) time.Duration {
	t.Helper()
	begin := time.Now()
	text := strings.Repeat("x", 16000)
	ids := make([]int64, roundSize)
	for i := range ids {
		ids[i] = sender.Begin("roomMessage", hubtest.Post{Message: text})
	}
	var reading sync.WaitGroup
	for _, r := range readers {
		reading.Go(func() {
			if err := r.read(ctx, roundSize); err != nil {
				t.Errorf("a reader that keeps up: %v", err)
			}
		})
	}
	for _, id := range ids {
		if f := sender.Answer(id); f.Refusal() != nil {
			t.Errorf("refused: %v", f)
		}
	}
	reading.Wait()
	sender.Unread()
	if t.Failed() {
		t.FailNow()
	}
	return time.Since(begin)
}

// memoryLimit is what the server may grow by once its memory is level: a queue of 1 MiB, and what the collector happens
// to let lie.
var memoryLimit = func() int64 {
	if hubtest.RaceDetector {
		return 64 << 20
	}
	return 16 << 20
}()

// smallBuffer keeps the kernel from reading a lot ahead for a client that reads nothing.
func smallBuffer(o *websocket.DialOptions) {
	o.HTTPClient = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err == nil {
				err = conn.(*net.TCPConn).SetReadBuffer(32 << 10)
			}
			return conn, err
		},
	}}
}

// reader is a connection that reads only when told to.
type reader struct {
	conn *hubtest.Conn
	seqs []int64 // of the messages read
}

// enter connects a reader and logs it in.
func enter(t testing.TB, ctx context.Context, url string, l hubtest.Login, opts ...hubtest.Option) (*reader, hubtest.LoginAck) {
	t.Helper()
	conn, ack, err := join(ctx, url, l, opts...)
	if err != nil {
		t.Fatalf("%s could not log in: %v", l.Name, err)
	}
	t.Cleanup(conn.Drop)
	return &reader{conn: conn}, ack
}

func join(ctx context.Context, url string, l hubtest.Login, opts ...hubtest.Option) (_ *hubtest.Conn, ack hubtest.LoginAck, _ error) {
	conn, err := hubtest.Connect(ctx, url, opts...)
	if err != nil {
		return nil, ack, err
	}
	err = conn.Write(ctx, "login", l, 1)
	for err == nil {
		var f hubtest.Frame
		if f, err = conn.Read(ctx); f.Event != "ack" {
			continue
		}
		if r := f.Refusal(); r != nil {
			err = r
		} else if err = f.Decode(&ack); err == nil {
			return conn, ack, nil
		}
	}
	conn.Drop()
	return nil, ack, err
}

// read takes n more messages, or as many as come before the connection ends.
func (r *reader) read(ctx context.Context, n int) error {
	for want := len(r.seqs) + n; len(r.seqs) < want; {
		f, err := r.conn.Read(ctx)
		if err != nil {
			return err
		}
		if f.Event != "roomMessage" {
			continue
		}
		var msg hubtest.Message
		if err := f.Decode(&msg); err != nil {
			return err
		}
		if have := len(r.seqs); have > 0 && msg.Seq <= r.seqs[have-1] {
			return fmt.Errorf("seq %d came after %d", msg.Seq, r.seqs[have-1])
		}
		r.seqs = append(r.seqs, msg.Seq)
	}
	return nil
}

// fillGap reads with history what a login told of but did not bring.
func fillGap(t *testing.T, c *hubtest.Client, g hubtest.Gap) (seqs []int64) {
	t.Helper()
	for after := g.After; ; {
		var page hubtest.HistoryPage
		c.Ask("history", hubtest.HistoryRequest{After: &after, Limit: 200}, &page)
		for _, msg := range page.Messages {
			if msg.Seq >= *g.Before {
				return seqs
			}
			seqs, after = append(seqs, msg.Seq), msg.Seq
		}
		if !page.More {
			t.Fatalf("history ends before the gap's end, %d", *g.Before)
		}
	}
}
