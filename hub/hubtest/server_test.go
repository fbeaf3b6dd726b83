package hubtest

import (
	"net/http"
	"testing"
	"time"
)

func TestServerLifeAndDeath(t *testing.T) {
	s := Start(t, "--db", "")
	first := s.PID()
	c := Dial(t, s.WS())
	c.Login(Login{Name: "Ann", Room: "lobby"})
	if rss := s.RSS(); rss < 1<<20 {
		t.Errorf("a running server with %d bytes of memory", rss)
	}

	s.Kill()
	if code, _ := c.Ended(); code != -1 {
		t.Errorf("a killed server sent the close code %d", code)
	}
	if _, err := http.Get(s.URL()); err == nil || s.Running() {
		t.Error("a killed server still answers")
	}

	s.Restart()
	if s.PID() == first {
		t.Error("the process after a restart is the one before")
	}
	Dial(t, s.WS()).Fence()
	code, took := s.Terminate()
	if code != 0 || took > 30*time.Second {
		t.Errorf("after SIGTERM: exit code %d after %v", code, took)
	}
}

func TestDefaultDatabaseIsTemporary(t *testing.T) {
	one, other := Start(t), Start(t)
	if one.Addr() == other.Addr() {
		t.Errorf("two servers on %s", one.Addr())
	}
	Dial(t, one.WS()).Login(Login{Name: "Ann", Room: "lobby"})
	if ack := Dial(t, other.WS()).Login(Login{Name: "Ann", Room: "lobby"}); ack.Count != 1 {
		t.Errorf("two servers share their people: %+v", ack)
	}
}
