package hub

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"parley/protocol"
)

func TestGate(t *testing.T) {
	ann, bob := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	six, sibling := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff")
	now := start
	enter := func(g *gate, addr netip.Addr, want protocol.CloseCode) {
		t.Helper()
		if code, why := g.enter(addr, now); code != want {
			t.Errorf("%v: %d %s, want %d", addr, code, why, want)
		}
	}
	g := &gate{perIP: 2}
	enter(g, ann, 0)
	enter(g, ann, 0)
	enter(g, ann, protocol.CloseTryLater)
	enter(g, bob, 0)
	enter(g, six, 0)
	enter(g, sibling, 0)
	enter(g, six, protocol.CloseTryLater)
	g.leave(sibling)
	enter(g, six, 0)

	g = &gate{newPerIP: 60}
	for range 60 {
		enter(g, ann, 0)
		g.leave(ann)
	}
	enter(g, ann, protocol.CloseTryLater)
	enter(g, bob, 0)
	now = now.Add(time.Second)
	enter(g, ann, 0)
	enter(g, ann, protocol.CloseTryLater)
	g.leave(ann)
	g.leave(bob)
	now = now.Add(2 * time.Minute)
	enter(g, six, 0)
	if len(g.byIP) != 1 {
		t.Error("addresses that may be forgotten are kept:", len(g.byIP))
	}

	g = &gate{most: 2}
	enter(g, ann, 0)
	enter(g, bob, 0)
	enter(g, six, protocol.CloseTryLater)
	g.leave(ann)
	enter(g, six, 0)
	g.shut()
	g.leave(bob)
	enter(g, ann, protocol.CloseRestart)
}

// An address may try 100 wrong keys at once, then one a second; the right key is
// no better off meanwhile.
func TestWrongKeysAreBounded(t *testing.T) {
	s := newStage(Config{})
	defer s.h.writers.close()
	s.connect("ann")
	const right = "aaaaaaaaaaaaaaaaaaaaaaaa"
	try := func(name, access string) string {
		return s.say(t, name, fmt.Sprintf(`{"event":"login","data":{"name":%q,"room":"vault","access":%q},"ackId":1}`, name, access))
	}
	try("ann", right)
	s.connect("eve")
	s.clients["eve"].addr = netip.MustParseAddr("192.0.2.66")
	s.connect("bob")
	for i := range 100 {
		if got := try("eve", fmt.Sprintf("wrong-key-%014d", i)); !strings.Contains(got, `"code":"wrong_key"`) {
			t.Fatalf("try %d: %s", i, got)
		}
	}
	if got := try("eve", right); !strings.Contains(got, `"code":"rate_limited","retryAfter":1000`) {
		t.Error("try 101:", got)
	}
	if got := try("bob", right); !strings.Contains(got, `"locked":true`) {
		t.Error("another address:", got)
	}
	s.pass(time.Second)
	if got := try("eve", right); !strings.Contains(got, `"locked":true`) {
		t.Error("after a second:", got)
	}
	s.pass(2 * time.Minute)
	if len(s.h.guesses) != 0 {
		t.Error("addresses that may be forgotten are kept")
	}
}

func TestRemoveRoom(t *testing.T) {
	var log strings.Builder
	s := newStage(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	defer s.h.writers.close()
	s.connect("ann")
	s.say(t, "ann", `{"event":"login","data":{"name":"Ann","room":"vault","access":"aaaaaaaaaaaaaaaaaaaaaaaa","session":"ann-session-0001"},"ackId":1}`)
	s.say(t, "ann", `{"event":"roomMessage","data":"to be forgotten","ackId":2}`)
	out := s.clients["ann"].out.(*paper)
	out.lines = nil
	done := make(chan error, 1)
	s.do(removalRequested{"vault", done})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(out.lines, "\n"); !strings.HasPrefix(got, "x 4503") {
		t.Error("the member:", got)
	}
	if !strings.Contains(log.String(), `msg="a room was removed" room=vault`) {
		t.Error("the operator is not told:", log.String())
	}
	s.connect("bob")
	got := s.say(t, "bob", `{"event":"login","data":{"name":"Bob","room":"vault","since":0},"ackId":1}`)
	for _, want := range []string{`"count":1`, `"messages":[]`, `"more":false`, `"locked":false`, `"recovered":false`, `"reason":"expired"`} {
		if !strings.Contains(got, want) {
			t.Errorf("the next one in: no %s in %s", want, got)
		}
	}
	s.do(removalRequested{"nowhere", done})
	if err := <-done; err != nil {
		t.Error("a room that is not there:", err)
	}
}

// When all queues together are over their limit, the slowest go first.
func TestShed(t *testing.T) {
	s := newStage(Config{QueuesLimit: 1000})
	defer s.h.writers.close()
	for i, name := range []string{"small", "large", "larger"} {
		s.connect(name)
		p := s.clients[name].out.(*paper)
		p.waiting = 300 * i
		p.dropped = func() { s.h.writers.unsent.Add(-int64(p.waiting)) }
	}
	s.h.writers.unsent.Store(1001 + 550)
	s.do(nil)
	for name, closed := range map[string]bool{"small": false, "large": false, "larger": true} {
		if got := s.clients[name].out.(*paper).closed; got != closed {
			t.Errorf("%s: closed %v", name, got)
		}
	}
}
