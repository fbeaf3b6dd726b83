package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/coder/websocket"
)

// After a restart the lock of a room without messages waits for its people: who
// is refused does not end it, and who comes back and leaves does (section 9).
func TestLockAfterRestart(t *testing.T) {
	db := filepath.Join(t.TempDir(), "parley.db")
	first := start(t, "--db", db)
	const right, wrong = `,"access":"the right key 0001"`, `,"access":"the wrong key 0001"`
	ann := dial(t, first)
	if got := ask(t, ann, "login", `{"name":"Ann","room":"lobby","session":"a session 000001"`+right+`}`); !bytes.Contains(got, []byte(`"locked":true`)) {
		t.Fatalf("%s", got)
	}
	_ = ann.CloseNow() // her grace period has not ended when the server does
	first.stop()
	if err := <-first.done; err != nil {
		t.Fatal(err)
	}

	second := start(t, "--db", db)
	for _, visit := range []struct{ access, want string }{
		{wrong, "wrong_key"},
		{"", "wrong_key"},
		{right, `"locked":true`},
		{"", `"locked":false`},
	} {
		ws := dial(t, second)
		if got := ask(t, ws, "login", `{"name":"Ann","room":"lobby"`+visit.access+`}`); !bytes.Contains(got, []byte(visit.want)) {
			t.Fatalf("no %s in %s", visit.want, got)
		}
		ask(t, ws, "logout", "{}")
		_ = ws.CloseNow()
	}
}

func dial(t *testing.T, s *server) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), "ws://"+s.addr+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

// ask sends a request and returns its acknowledgement.
func ask(t *testing.T, ws *websocket.Conn, event, data string) []byte {
	t.Helper()
	request := fmt.Sprintf(`{"event":%q,"data":%s,"ackId":1}`, event, data)
	if err := ws.Write(within(t), websocket.MessageText, []byte(request)); err != nil {
		t.Fatal(err)
	}
	for {
		_, frame, err := ws.Read(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(frame, []byte(`"event":"ack"`)) {
			return frame
		}
	}
}
