package hub

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"parley/protocol"
)

// Everything that has to do with time, with a whole hub over pipes and a clock
// that goes when nobody has anything to do.

func TestLoginTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newPipeVenue(t, Config{}, ServeOptions{})
		came := time.Now()
		g := v.connect()
		g.wantClosed(protocol.CloseLoginTimeout)
		if d := time.Since(came); d < 5*time.Minute || d > 5*time.Minute+2*time.Second {
			t.Errorf("closed after %v", d)
		}

		// Who has logged out has as long again.
		g = v.login("Ann", "")
		g.pass(7 * time.Minute)
		g.ask("logout", "null")
		came = time.Now()
		g.wantClosed(protocol.CloseLoginTimeout)
		if d := time.Since(came); d < 5*time.Minute || d > 5*time.Minute+2*time.Second {
			t.Errorf("closed %v after the logout", d)
		}
	})
}

// pass reads for some time, so that pings are answered.
func (g *guest) pass(d time.Duration) {
	g.t.Helper()
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		<-time.After(time.Second)
		g.ask("ping", "null")
	}
}

// A peer that gives no sign of life is dropped without a word, and its user stays
// for the grace period; one that only answers pings lives.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newPipeVenue(t, Config{Grace: DefaultGrace}, ServeOptions{})
		bob := v.login("Bob", "")
		ann := v.mute(`{"event":"login","data":{"name":"Ann","room":"lobby","session":"ann-session-0001"},"ackId":1}`)
		bob.wait("notification")
		fell := time.Now()
		d := bob.wait("notification") // and answers pings all the while
		if d.Kind != "left" || d.User.Name != "Ann" {
			t.Errorf("Bob hears %s", d.Data)
		}
		silence := DefaultGrace + 2*DefaultPingInterval
		if took := time.Since(fell); took < silence || took > silence+DefaultPingInterval/4+2*time.Second {
			t.Errorf("Ann left after %v", took)
		}
		<-ann
	})
}

// Who sends what is refused, and answers the close frame, is let go at once: a
// browser tells its page no earlier.
func TestRefusedAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name  string
		frame []byte
		code  protocol.CloseCode
	}{
		{"binary", clientFrame(0x2, "x"), protocol.CloseUnsupported},
		{"not UTF-8", clientFrame(opText, "\xff"), protocol.CloseNotUTF8},
		{"too large", clientFrame(opText, strings.Repeat("x", 1<<20)), protocol.CloseTooBig},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newPipeVenue(t, Config{}, ServeOptions{})
				began := time.Now()
				l := v.raw()
				if _, welcome, err := l.next(); err != nil || !strings.Contains(welcome, "welcome") {
					t.Fatal(welcome, err)
				}
				sent := make(chan struct{})
				go func() {
					l.send(t, tt.frame)
					close(sent)
				}()
				l.expectClose(t, tt.code, tt.code.Reason())
				<-sent
				l.send(t, clientClose(tt.code))
				l.expectEOF(t)
				if took := time.Since(began); took > 0 {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// Who sends too fast is told how long to wait, and loses nothing by waiting.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newPipeVenue(t, Config{Rate: 10, Burst: 5}, ServeOptions{})
		g := v.login("Ann", "")
		for i, refused := 0, 0; i < 300; {
			switch d := g.ask("roomMessage", fmt.Sprintf(`"%d"`, i)); d.Code {
			case "":
				i++
			case protocol.CodeRateLimited:
				refused++
				wait := d.millis(t, "retryAfter")
				if wait <= 0 || wait > 100*time.Millisecond {
					t.Fatalf("wait %v", wait)
				}
				<-time.After(wait)
			default:
				t.Fatalf("%s", d.Data)
			}
			if refused > 310 {
				t.Fatal("waiting does not help")
			}
		}

		// Refused before all else, with the ackId and the event; and no bad envelope counts.
		for g.ask("ping", "null").Code == "" {
		}
		for range 3 * maxBadFrames {
			g.send("no envelope")
			if e := g.wait("error"); e.Code != protocol.CodeRateLimited {
				t.Fatalf("%s", e.Data)
			}
		}
		for _, frame := range []string{`{"event":"login"}`, `{"event":"nonsense"}`, `{"event":"roomMessage","data":""}`} {
			g.send(frame)
			if e := g.wait("error"); e.Code != protocol.CodeRateLimited || !strings.Contains(string(e.Data), `"event":`) {
				t.Errorf("%s: %s", frame, e.Data)
			}
		}
	})
}

// Who ignores the rate for ten seconds without a pause of a second is closed; who
// makes a pause is not.
func TestAbuse(t *testing.T) {
	for _, pauses := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			v := newPipeVenue(t, Config{Rate: 1, Burst: 1}, ServeOptions{})
			g := v.connect()
			came := time.Now()
			ended := make(chan protocol.CloseCode, 1)
			go func() { ended <- g.closed() }()
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for i := 0; time.Since(came) < 30*time.Second; i++ {
				select {
				case code := <-ended:
					if d := time.Since(came); pauses || code != protocol.ClosePolicy || d < 10*time.Second || d > 11*time.Second {
						t.Errorf("closed with %d after %v", code, d)
					}
					return
				case <-tick.C:
				}
				if pauses && i%80 >= 65 {
					continue
				}
				if err := g.ws.Write(t.Context(), 1, []byte(`{"event":"ping","ackId":1}`)); err != nil {
					<-ended
					return
				}
			}
			if !pauses {
				t.Error("not closed in 30 s")
			}
		})
	}
}

// Changes of the room's people are told at once, and then every 100 ms at most.
func TestCoalescing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newPipeVenue(t, Config{}, ServeOptions{})
		watcher := v.login("Watcher", "")
		watcher.wait("users")
		<-time.After(time.Second)
		begin := time.Now()
		for i := range 50 {
			v.login(fmt.Sprintf("Guest %d", i), "")
		}
		lists := 0
		for n := 0; n < 51; lists++ {
			n = len(watcher.wait("users").Users)
		}
		if d := time.Since(begin); lists > 2 || d > 101*time.Millisecond {
			t.Errorf("%d lists in %v", lists, d)
		}
	})
}

// A drain in life: goodbye, then 1012, and nobody else comes in.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newPipeVenue(t, Config{DrainRate: 2}, ServeOptions{})
		guests := []*guest{v.login("Ann", ""), v.login("Bob", ""), v.connect()}
		begin := time.Now()
		go v.h.Drain(t.Context())
		synctest.Wait()
		v.knock().wantClosed(protocol.CloseRestart)
		waits := make(map[time.Duration]bool)
		for _, g := range guests {
			waits[g.wait("goodbye").millis(t, "reconnectIn")] = true
		}
		if len(waits) != len(guests) {
			t.Errorf("told to come back after %v: all shall differ", waits)
		}
		if d := guests[0].ask("roomMessage", `"still here"`); d.Code != "" {
			t.Errorf("a message while draining: %s", d.Data)
		}
		for _, g := range guests {
			g.wantClosed(protocol.CloseRestart)
		}
		if err := <-v.ended; err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d < time.Second || d > 2*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}
