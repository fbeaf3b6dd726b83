package hub

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"parley/protocol"
)

// Nothing is left of clients that have come and gone, however they went.
func TestComeAndGo(t *testing.T) {
	v := newVenue(t, Config{History: 100}, ServeOptions{ConnsPerIP: 100})
	watcher := v.login("Watcher", "")
	batch := func(n int) {
		var guests sync.WaitGroup
		for i := range n {
			guests.Go(func() {
				g := v.login(fmt.Sprint("Guest ", i), "")
				defer g.vanish()
				g.ask("roomMessage", `"hello"`)
				switch i % 4 {
				case 0:
					_ = g.ws.Close(websocket.StatusNormalClosure, "")
				case 1:
				case 2:
					g.ask("logout", "null")
				default:
					for range maxBadFrames {
						g.send("no envelope")
					}
					g.wantClosed(protocol.ClosePolicy)
				}
			})
		}
		for left := 0; left < n; {
			if d := watcher.wait("notification"); d.Kind == "left" {
				left++
			}
		}
		guests.Wait()
	}
	heap := func() int64 {
		for range 3 { // the library's connections have finalizers, and pools give up what they hold at the second
			swept := make(chan struct{})
			runtime.SetFinalizer(&guest{}, func(*guest) { close(swept) })
			runtime.GC()
			<-swept
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for range 3 {
		batch(50)
	}
	before := heap()
	for range 20 {
		batch(50)
	}
	// The test itself remembers what to clean up.
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("%d KiB more after 1,000 clients", grown>>10)
	}
	watcher.ask("logout", "null")
	watcher.vanish()
	v.h.Drain(t.Context())
	if err := <-v.ended; err != nil {
		t.Error(err)
	}
	if n := len(v.h.clients) + len(v.h.members) + len(v.h.pending) + v.h.gate.count; n > 0 {
		t.Errorf("left over: %d clients, %d members, %d messages, %d at the gate", len(v.h.clients), len(v.h.members), len(v.h.pending), v.h.gate.count)
	}
}

// Who does not read what it is sent is closed with 1013, and hurts nobody else; it
// comes back with since and is made whole.
func TestSlowConsumer(t *testing.T) {
	const size = 60000
	registry := prometheus.NewRegistry()
	v := newVenue(t, Config{MessageLimit: MaxMessageLimit, Grace: DefaultGrace, Metrics: registry}, ServeOptions{})
	fast := v.login("Fast", "")
	const session = `,"session":"slow-session-0001"`
	slow := v.login("Slow", session)
	text := strings.Repeat("x", size)
	sent, began := 0, time.Now()
	for ; sent < 1000 && readings(t, registry)["parley_slow_consumers_total"] == 0; sent++ { // what its kernel takes varies
		fast.ask("roomMessage", `"`+text+`"`)
	}
	if sent == 1000 {
		t.Fatal("60 MB fit somewhere")
	}
	var last int64
	heard := 0
	for {
		_, frame, err := slow.ws.Read(t.Context())
		if err != nil {
			// On a machine so busy that it has not come to the close frame in time, it is cut off without one.
			if code := websocket.CloseStatus(err); code != websocket.StatusTryAgainLater && (code != -1 || time.Since(began) < closeTimeout) {
				t.Fatalf("closed with %v", err)
			}
			break
		}
		if d, err := decodeSaid(frame); err != nil {
			t.Fatal(err)
		} else if d.Event == "roomMessage" {
			heard, last = heard+1, d.Seq
		}
	}
	if heard == sent {
		t.Fatal("the slow one was not slow")
	}
	back := v.connect()
	d := back.ask("login", fmt.Sprintf(`{"name":"Slow","room":"lobby","since":%d%s}`, last, session))
	if !d.Resumed || d.Recovered == nil {
		t.Fatalf("back as %s", d.Data)
	}
	if missed := sent - heard; !*d.Recovered {
		for after := d.Gap.After; ; {
			page := back.ask("history", fmt.Sprintf(`{"after":%d,"limit":200}`, after))
			heard += len(page.Messages)
			if !page.More {
				break
			}
			after = page.Messages[len(page.Messages)-1].Seq
		}
	} else if heard += len(d.Messages); missed == 0 {
		t.Error("nothing was missed")
	}
	if heard != sent {
		t.Errorf("%d messages of %d", heard, sent)
	}
}

// A take-over closes the old connection with 4501, and what it still sends is not
// acted on; an answer to the server's close frame is no goodbye.
func TestTakeOver(t *testing.T) {
	v := newVenue(t, Config{Grace: DefaultGrace}, ServeOptions{})
	bob := v.login("Bob", "")
	const session = `,"session":"ann-session-0001"`
	old := v.login("Ann", session)
	bob.wait("notification")
	back := v.login("Ann", session)
	for i := range 20 {
		_ = old.ws.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, `{"event":"roomMessage","data":"late %d"}`, i))
	}
	old.wantClosed(protocol.CloseTakenOver)
	back.ask("roomMessage", `"I am here"`)
	for {
		switch d := bob.next(); d.Event {
		case "notification":
			t.Fatalf("Bob hears %s", d.Data)
		case "roomMessage":
			if text := string(d.Message); text != `"I am here"` {
				t.Fatalf("Bob hears %s", text)
			}
			return
		}
	}
}

// Who ends the connection with 1000 or without a code has left; after all else the
// user stays for the grace period (section 3, Resume).
func TestGoodbye(t *testing.T) {
	v := newVenue(t, Config{Grace: time.Hour}, ServeOptions{})
	bob := v.login("Bob", "")
	for _, tt := range []struct {
		name string
		end  func(g *guest)
		left bool
	}{
		{"1000", func(g *guest) { _ = g.ws.Close(websocket.StatusNormalClosure, "") }, true},
		{"no code", func(g *guest) { _ = g.ws.Close(websocket.StatusNoStatusRcvd, "") }, true},
		{"1001", func(g *guest) { _ = g.ws.Close(websocket.StatusGoingAway, "") }, false},
		{"a code of its own", func(g *guest) { _ = g.ws.Close(4000, "") }, false},
		{"without a word", (*guest).vanish, false},
		{"1003", func(g *guest) {
			_ = g.ws.Write(t.Context(), websocket.MessageBinary, nil)
			g.wantClosed(protocol.CloseUnsupported)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := "Ann " + tt.name
			session := fmt.Sprintf(`,"session":"session of %s"`, name)
			ann := v.login(name, session)
			bob.wait("notification")
			tt.end(ann)
			if tt.left {
				if d := bob.wait("notification"); d.Kind != "left" {
					t.Errorf("Bob hears %s", d.Data)
				}
				return
			}
			back := v.connect()
			if d := back.ask("login", fmt.Sprintf(`{"name":%q,"room":"lobby"%s}`, name, session)); !d.Resumed {
				t.Errorf("back as %s", d.Data)
			}
		})
	}
}
