package chaos

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"parley/hub/hubtest"
)

var loadDuration = flag.Duration("load.duration", 3*time.Second, "how long the load test talks")

// talker is one of the load test's connections.
type talker struct {
	conn  *hubtest.Conn
	rng   *rand.Rand
	acks  chan hubtest.Frame
	seqs  []int64 // of the messages that came; the reader's until it has ended
	acked int     // messages of its own
	sent  time.Duration
}

// A thousand connections in a hundred rooms talk: nobody misses a message or sees one out of order.
func TestLoad(t *testing.T) {
	const (
		rooms   = 100
		members = 10
		think   = time.Second // on average, between an acknowledgement and the next message
	)
	s := hubtest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), *loadDuration+3*time.Minute)
	defer cancel()

	talkers := make([]*talker, rooms*members)
	each := func(what string, do func(i int) error) {
		t.Helper()
		var wg sync.WaitGroup
		errs := make([]error, len(talkers))
		for i := range talkers {
			wg.Go(func() { errs[i] = do(i) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("%s: %.2000s", what, err)
		}
	}
	begin := time.Now()
	each("entering", func(i int) error {
		conn, _, err := join(ctx, s.WS(), hubtest.Login{Name: fmt.Sprint("talker ", i), Room: fmt.Sprint("room ", i%rooms)})
		talkers[i] = &talker{conn: conn, rng: rand.New(rand.NewPCG(1, uint64(i))), acks: make(chan hubtest.Frame, 1)}
		return err
	})
	entered := time.Since(begin)

	var readers sync.WaitGroup
	ends := make([]error, len(talkers))
	for i, m := range talkers {
		readers.Go(func() {
			defer close(m.acks)
			ends[i] = m.read(ctx)
		})
	}
	end := time.Now().Add(*loadDuration)
	each("talking", func(i int) error { return talkers[i].talk(ctx, end, think) })
	each("the fence", func(i int) error { // behind everybody's last acknowledgement
		if err := talkers[i].conn.Write(ctx, "ping", nil, 2); err != nil {
			return err
		}
		_, ok := <-talkers[i].acks
		talkers[i].conn.Drop()
		if !ok {
			return fmt.Errorf("talker %d was closed", i)
		}
		return nil
	})
	readers.Wait()

	total, delivered, longest := 0, 0, time.Duration(0)
	for room := range rooms {
		said := 0
		for i := room; i < len(talkers); i += rooms {
			said += talkers[i].acked
			longest = max(longest, talkers[i].sent)
		}
		for i := room; i < len(talkers); i += rooms {
			if got := talkers[i].seqs; len(got) != said || !slices.Equal(got, talkers[room].seqs) {
				t.Errorf("talker %d has %d messages, room %d had %d acknowledged: %v", i, len(got), room, said, ends[i])
			}
			delivered += len(talkers[i].seqs)
		}
		total += said
	}
	if total < len(talkers)/2 {
		t.Errorf("only %d messages were said", total)
	}
	t.Logf("%d connections entered in %v; %d messages, %d deliveries, none lost or out of order; longest acknowledgement %v; server memory %d MiB",
		len(talkers), entered.Round(time.Millisecond), total, delivered, longest.Round(time.Millisecond), s.RSS()>>20)
}

// read takes what comes until the connection ends.
func (m *talker) read(ctx context.Context) error {
	for {
		f, err := m.conn.Read(ctx)
		if err != nil {
			return err
		}
		switch f.Event {
		case "ack":
			m.acks <- f
		case "roomMessage":
			var msg hubtest.Message
			if err := f.Decode(&msg); err != nil {
				return err
			}
			if n := len(m.seqs); n > 0 && msg.Seq <= m.seqs[n-1] {
				return fmt.Errorf("seq %d came after %d", msg.Seq, m.seqs[n-1])
			}
			m.seqs = append(m.seqs, msg.Seq)
		}
	}
}

// talk says something now and then, one message at a time, until end, and at least once.
func (m *talker) talk(ctx context.Context, end time.Time, think time.Duration) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(min(time.Duration(m.rng.ExpFloat64()*float64(think)), time.Until(end)))
		<-timer.C
		if m.acked > 0 && !time.Now().Before(end) {
			return nil
		}
		begin := time.Now()
		if err := m.conn.Write(ctx, "roomMessage", hubtest.Post{Message: "two hundred bytes or so of ciphertext"}, 1); err != nil {
			return err
		}
		f, ok := <-m.acks
		if r := f.Refusal(); !ok || r != nil {
			return fmt.Errorf("not acknowledged: %v", r)
		}
		m.sent = max(m.sent, time.Since(begin))
		m.acked++
	}
}
