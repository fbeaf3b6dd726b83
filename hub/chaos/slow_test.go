package chaos

import (
	"context"
	"errors"
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

const slowTimeout = time.Minute // for each wait on a loaded machine

// The slow do not hurt the fast (section 6): a member that stops reading is closed with 1013 and made whole when it
// comes back; meanwhile the others miss nothing, wait no longer, and the server holds no more than its queue for it.
func TestSlowConsumer(t *testing.T) {
	const (
		warmUp   = 100
		messages = 1500 // of 16 KB: 24 MB for each member, far above its queue and both sockets' buffers
		fast     = 5
		size     = 16000
		window   = 16 // in flight
	)
	s := hubtest.Start(t, "--db", filepath.Join(t.TempDir(), "slow.db"), "--grace", "1m")
	ctx, cancel := context.WithTimeout(t.Context(), 3*slowTimeout)
	defer cancel()

	var readers sync.WaitGroup
	seen := make([][]int64, fast)
	failures := make([]error, fast)
	for i := range fast {
		conn, _ := enter(t, ctx, s.WS(), hubtest.Login{Name: fmt.Sprint("fast ", i), Room: "hall"})
		readers.Go(func() {
			defer conn.Drop()
			seen[i], failures[i] = readMessages(ctx, conn, warmUp+messages)
		})
	}
	me := hubtest.Login{Name: "Slow", Room: "hall", Session: "the session of the slow one"}
	slow, first := enter(t, ctx, s.WS(), me, smallBuffer)
	defer slow.Drop()

	sender := hubtest.Dial(t, s.WS())
	sender.Timeout = slowTimeout
	sender.Login(hubtest.Login{Name: "Sender", Room: "hall"})
	text := strings.Repeat("x", size)
	say := func(n int) (longest time.Duration) {
		var sent []int64
		begun := make([]time.Time, n)
		for i := range n + window {
			if i < n {
				begun[i] = time.Now()
				sent = append(sent, sender.Begin("roomMessage", hubtest.Post{Message: text, Key: fmt.Sprintf("key number %8d", i)}))
			}
			if i >= window {
				if f := sender.Answer(sent[i-window]); f.Refusal() != nil {
					t.Fatalf("message %d: %v", i-window, f)
				}
				longest = max(longest, time.Since(begun[i-window]))
			}
			sender.Unread()
		}
		return longest
	}
	sayKeyless := func(n int) (longest time.Duration) { // the warm-up has other keys than what follows
		for range n {
			begin := time.Now()
			sender.RoomMessage(text, "")
			longest = max(longest, time.Since(begin))
		}
		return longest
	}
	warm, before := sayKeyless(warmUp), s.RSS()
	stalled := say(messages)
	readers.Wait()
	after := s.RSS()
	t.Logf("longest acknowledgement: %v before, %v while one did not read; server memory %d MiB before, %d MiB after", warm, stalled, before>>20, after>>20)
	if grown := after - before; grown > memoryLimit {
		t.Errorf("the server grew by %d MiB, want at most %d MiB", grown>>20, memoryLimit>>20)
	}
	for i := range fast {
		if failures[i] != nil || !slices.Equal(seen[i], seen[0]) || !slices.IsSorted(seen[i]) {
			t.Fatalf("fast reader %d has %d messages, reader 0 has %d: %v", i, len(seen[i]), len(seen[0]), failures[i])
		}
	}

	got, err := readMessages(ctx, slow, warmUp+messages)
	if hubtest.CloseCode(err) != websocket.StatusTryAgainLater || len(got) == 0 {
		t.Fatalf("the slow one read %d messages and then: %v", len(got), err)
	}
	t.Logf("the slow one read %d messages before it was closed", len(got))
	me.Since, me.Epoch = &got[len(got)-1], first.Epoch
	back := hubtest.Dial(t, s.WS())
	back.Timeout = slowTimeout
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
	if !slices.Equal(got, seen[0]) {
		t.Errorf("the slow one was made whole with %d messages, the others have %d", len(got), len(seen[0]))
	}
}

// memoryLimit is what the server may grow by: a queue, the sockets' buffers are not its own, and what the collector
// lets lie meanwhile. A queue without a bound would hold all that was sent.
var memoryLimit = func() int64 {
	if hubtest.RaceDetector {
		return 200 << 20
	}
	return 20 << 20
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

// enter connects and logs in without a goroutine that reads.
func enter(t testing.TB, ctx context.Context, url string, l hubtest.Login, opts ...hubtest.Option) (*hubtest.Conn, hubtest.LoginAck) {
	t.Helper()
	conn, ack, err := join(ctx, url, l, opts...)
	if err != nil {
		t.Fatalf("%s could not log in: %v", l.Name, err)
	}
	return conn, ack
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

// readMessages reads n messages, or as many as come before the connection ends.
func readMessages(ctx context.Context, conn *hubtest.Conn, n int) (seqs []int64, err error) {
	for len(seqs) < n {
		f, err := conn.Read(ctx)
		if err != nil {
			return seqs, err
		}
		if f.Event != "roomMessage" {
			continue
		}
		var msg hubtest.Message
		if err := f.Decode(&msg); err != nil {
			return seqs, err
		}
		if len(seqs) > 0 && msg.Seq <= seqs[len(seqs)-1] {
			return seqs, errors.New("out of order")
		}
		seqs = append(seqs, msg.Seq)
	}
	return seqs, nil
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
