package chaos

import (
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"parley/hub/hubtest"
)

// Draining, section 7: everybody is told when to come back, spread below the rate; what was accepted is answered;
// then 1012, an end in order, and a successor that has it all.
func TestDrain(t *testing.T) {
	const (
		people = 100
		rate   = 50 // arrivals a second
	)
	db := filepath.Join(t.TempDir(), "drain.db")
	s := hubtest.Start(t, "--db", db, "--drain-rate", strconv.Itoa(rate))
	session := func(i int) string { return "the session of client " + strconv.Itoa(i) }
	clients := make([]*hubtest.Client, people)
	for i := range clients {
		clients[i] = hubtest.Dial(t, s.WS())
		clients[i].Login(hubtest.Login{Name: "p" + strconv.Itoa(i), Room: "hall" + strconv.Itoa(i%5), Session: session(i)})
	}
	guest := hubtest.Dial(t, s.WS()) // not logged in
	accepted := make([]int64, people)
	for i, c := range clients {
		accepted[i] = c.Begin("roomMessage", hubtest.Post{Message: "last words", Key: "key-of-the-message-" + strconv.Itoa(i)})
	}
	for _, c := range clients {
		c.Begin("ping", nil) // the messages have been read before the signal
	}
	for i, c := range clients {
		c.Answer(accepted[i] + 1)
	}
	code, took := s.Terminate()
	t.Logf("%d connections drained in %v", people+1, took)
	if code != 0 || took > 30*time.Second {
		t.Errorf("exit code %d after %v", code, took)
	}

	stored := make(map[int64]bool)
	var delays []float64
	for i, c := range append(clients, guest) {
		var bye hubtest.Goodbye
		c.Expect("goodbye", &bye)
		delays = append(delays, bye.ReconnectIn)
		if code, reason := c.Ended(); code != 1012 || reason == "" {
			t.Errorf("client %d was closed with %d %q", i, code, reason)
		}
		if i < people {
			var ack hubtest.Stored
			f := c.Answer(accepted[i])
			if err := f.Decode(&ack); err != nil || f.Refusal() != nil || stored[ack.Seq] {
				t.Errorf("what client %d said before the drain: %v", i, f)
			}
			stored[ack.Seq] = true
		}
		for _, f := range c.Unread() {
			var n hubtest.Notification
			if f.Event == "notification" && (f.Decode(&n) != nil || n.Kind != "joined") {
				t.Errorf("client %d was told of a departure: %v", i, f)
			}
		}
	}
	slices.Sort(delays)
	const burst = rate + rate/2 // the rate in a second, and half as much for drawn delays
	for i := range delays[burst:] {
		if delays[i+burst]-delays[i] < 1000 {
			t.Errorf("%d arrivals within a second of %v ms, at a rate of %d/s: %v", burst+1, delays[i], rate, delays)
			break
		}
	}

	s.Restart()
	c := hubtest.Dial(t, s.WS())
	ack := c.Login(hubtest.Login{Name: "p0", Room: "hall0", Session: session(0), Since: new(int64(0))})
	if len(ack.Messages) != people/5 || ack.Resumed || !*ack.Recovered {
		t.Errorf("after the restart: %d messages, resumed %v, recovered %v", len(ack.Messages), ack.Resumed, *ack.Recovered)
	}
	for _, msg := range ack.Messages {
		if !stored[msg.Seq] {
			t.Errorf("a message at %d that nobody was told of", msg.Seq)
		}
	}
}
