package hubtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// fake is a server that says welcome, answers every ackId, and does what an event's name asks for:
// "emit" sends the data as an event of that name, "close" closes with the code in data, "refuse" refuses.
func fake(t *testing.T) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"parley.v1"}})
		if err != nil {
			return
		}
		defer ws.CloseNow()
		send := func(format string, args ...any) {
			ws.Write(r.Context(), websocket.MessageText, fmt.Appendf(nil, format, args...))
		}
		send(`{"event":"welcome","data":{"id":"c1","version":%q,"pingInterval":25000}}`, ws.Subprotocol())
		for {
			kind, raw, err := ws.Read(r.Context())
			if err != nil {
				return
			}
			var e struct {
				Event string
				Data  json.RawMessage
				AckID *int64
			}
			if kind != websocket.MessageText || json.Unmarshal(raw, &e) != nil {
				send(`{"event":"error","data":{"error":"no envelope","code":"bad_envelope"}}`)
				continue
			}
			switch e.Event {
			case "emit":
				send(`{"event":%s}`, e.Data)
			case "close":
				var code websocket.StatusCode
				json.Unmarshal(e.Data, &code)
				ws.Close(code, "as asked")
				return
			case "refuse":
				send(`{"event":"ack","ackId":%d,"data":{"error":"name: cannot be blank.","code":"invalid","fields":{"name":"cannot be blank"}}}`, *e.AckID)
				continue
			}
			if e.AckID != nil {
				send(`{"event":"ack","ackId":%d,"data":{"id":"c1"}}`, *e.AckID)
			}
		}
	}))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

func TestClientConversation(t *testing.T) {
	c := Dial(t, fake(t))
	if c.Welcome.ID != "c1" || c.Welcome.Version != "parley.v1" || c.Welcome.PingInterval != 25000 {
		t.Errorf("welcome: %+v", c.Welcome)
	}
	for _, name := range []string{"one", "two", "three"} {
		c.Send("emit", name)
	}
	c.Fence()
	if second := c.Expect("two", nil); second.Index != 2 {
		t.Errorf("the second event is number %d, want 2: the welcome is 0", second.Index)
	}
	if rest := c.Unread(); len(rest) != 2 || rest[0].Event != "one" || rest[1].Event != "three" {
		t.Errorf("after the second of three events was taken: %v", rest)
	}

	later := c.Begin("ping", nil)
	var pong Pong
	if ack := c.Ask("ping", nil, &pong); pong.ID != "c1" || ack.Index < 6 {
		t.Errorf("ping: %+v from %+v", pong, ack)
	}
	if ack := c.Answer(later); ack.AckID != later {
		t.Errorf("answer to %d: %v", later, ack)
	}

	r := c.Refused("refuse", nil, "invalid")
	if r.Fields["name"] == "" || r.Error() != "invalid: name: cannot be blank. (name)" {
		t.Errorf("refusal: %v", &r)
	}
	c.WriteRaw(websocket.MessageText, []byte("hello"))
	if f := c.Next(); f.Refusal() == nil || f.Refusal().Code != "bad_envelope" {
		t.Errorf("after a frame that is no envelope: %v", f)
	}
	c.Begin("close", 4501)
	if code, reason := c.Ended(); code != 4501 || reason != "as asked" {
		t.Errorf("ended with %d %q", code, reason)
	}
}

func TestClientEndedWithoutCloseFrame(t *testing.T) {
	proxy := NewProxy(t, strings.TrimPrefix(fake(t), "ws://"))
	c := Dial(t, proxy.WS())
	proxy.Each(func(l *Link) { l.Cut(true) })
	if code, _ := c.Ended(); code != -1 {
		t.Errorf("close code of a connection that was cut: %d", code)
	}
}

// failing stands in for a test, to see one fail.
type failing struct {
	testing.TB
	message string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure runs do with a client whose failures are caught, and returns the message of the one that ended it.
func failure(t *testing.T, do func(*Client)) string {
	f := &failing{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(Dial(f, fake(t)))
	}()
	<-done
	return f.message
}

func TestClientFailuresSayWhatCameInstead(t *testing.T) {
	const short = 100 * time.Millisecond // for what does not come
	for _, tc := range []struct {
		name string
		do   func(*Client)
		want []string
	}{
		{"nothing came", func(c *Client) { c.Timeout = short; c.Next() }, []string{"waited 100ms for any event; nothing else had come"}},
		{"something else came", func(c *Client) { c.Send("emit", "typing"); c.Fence(); c.Timeout = short; c.Expect("users", nil) }, []string{"waited 100ms for the event users", "unread instead: 1 frames", "typing"}},
		{"no acknowledgement", func(c *Client) { c.Timeout = short; c.Answer(99) }, []string{"waited 100ms for ack 99"}},
		{"the connection ended", func(c *Client) { c.Begin("close", 4503); c.Expect("users", nil) }, []string{"waited for the event users, but the connection ended", "4503", "as asked"}},
		{"a refusal", func(c *Client) { c.Ask("refuse", nil, nil) }, []string{"refuse was refused: invalid: name: cannot be blank."}},
		{"no refusal", func(c *Client) { c.Refused("ping", nil, "invalid") }, []string{"ping: want it refused with invalid, got ack 1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := failure(t, tc.do)
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("the message %q does not say %q", got, want)
				}
			}
		})
	}
}

func TestConnectNeedsAWelcome(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := websocket.Accept(w, r, nil); err == nil {
			ws.Close(websocket.StatusTryAgainLater, "full")
		}
	}))
	defer srv.Close()
	conn, err := Connect(context.Background(), "ws"+strings.TrimPrefix(srv.URL, "http"))
	if conn != nil || CloseCode(err) != 1013 {
		t.Errorf("a server that is full: %v, %v", conn, err)
	}
}
