package hub

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"parley/protocol"
)

func TestOrigins(t *testing.T) {
	origins, err := ParseOrigins([]string{
		"https://chat.example.org", "http://localhost:*", " https://*.example.net:8443", "https://own-port.example:443", "https://a*:443",
		"http://[2001:db8::1]:*"})
	if err != nil || origins.All() != "" {
		t.Fatal(err, origins.All())
	}
	v := newVenue(t, Config{}, ServeOptions{Origins: origins})
	own := strings.TrimSuffix(strings.TrimPrefix(v.url, "ws://"), "/ws")
	host, _, _ := strings.Cut(own, ":")
	for _, tt := range []struct {
		origin string
		want   bool
	}{
		{"http://" + own, true},
		{"https://" + own, true}, // behind a proxy that ends TLS
		{"http://" + host, false},
		{"http://" + host + ":1", false},
		{"https://chat.example.org", true},
		{"https://CHAT.example.org", true},
		{"http://chat.example.org", false},
		{"https://chat.example.org:444", false},
		{"https://chat.example.org.evil.example", false},
		{"http://localhost:5173", true},
		{"http://localhost", false},
		{"https://a.b.example.net:8443", true},
		{"https://a.example.net", false},
		{"https://own-port.example", true},
		{"https://own-port.example:444", false},
		{"https://a.evil.example:444", false},
		{"http://[2001:db8::1]:5173", true},
		{"http://[2001:db8::2]:5173", false},
		{"https://evil@chat.example.org", false},
		{"http://evil.example@" + own, false},
		{"http://" + own + "/page", false},
		{"https://evil.example/.example.net:8443", false},
		{`https://evil.example\.example.net:8443`, false},
		{"null", false},
		{"", false},
	} {
		ws, resp, err := v.dial(&websocket.DialOptions{HTTPHeader: http.Header{"Origin": {tt.origin}}})
		if (err == nil) != tt.want || err != nil && (resp == nil || resp.StatusCode != http.StatusForbidden) {
			t.Errorf("origin %q: %v, %v", tt.origin, resp, err)
		}
		if err == nil {
			_ = ws.CloseNow()
		}
	}
	v.connect() // without an origin
}

func TestEveryOrigin(t *testing.T) {
	origins, err := ParseOrigins([]string{"*"})
	if err != nil || origins.All() != "*" {
		t.Fatal(err, origins.All())
	}
	for _, wide := range []string{"https://*", "*://*:*"} {
		if origins, err := ParseOrigins([]string{"https://chat.example.org", wide}); err != nil || origins.All() != wide {
			t.Errorf("%s does not count as every origin: %q, %v", wide, origins.All(), err)
		}
	}
	v := newVenue(t, Config{}, ServeOptions{Origins: origins})
	ws, _, err := v.dial(&websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://anywhere.example"}}})
	if err != nil {
		t.Fatal(err)
	}
	_ = ws.CloseNow()
	for _, bad := range []string{"localhost", "https://", "://x", "https://a/path", "https://a b"} {
		if _, err := ParseOrigins([]string{bad}); err == nil {
			t.Errorf("%q is taken for an origin", bad)
		}
	}
}

// What the operator is told to paste works, and is no longer than a line.
func TestRefusal(t *testing.T) {
	for _, tt := range []struct{ origin, want string }{
		{"https://evil.example:8443", `refused origin https://evil.example:8443 for host chat.example.org; allow it with --allow-origin https://evil.example:8443`},
		{"null", `refused origin null for host chat.example.org`},
		{"https://" + strings.Repeat("x", 5000), `refused origin "https://` + strings.Repeat("x", 192) + `" for host chat.example.org`},
		{"https://$(reboot)", `refused origin "https://$(reboot)" for host chat.example.org`},
		{"\x1b[2Jhttps://x", `refused origin "\x1b[2Jhttps://x" for host chat.example.org`},
		{"*", `refused origin "*" for host chat.example.org`},
		{"", `refused origin "" for host chat.example.org`},
	} {
		r := &http.Request{Host: "chat.example.org", Header: http.Header{"Origin": {tt.origin}}}
		if got := refusal(r); got != tt.want {
			t.Errorf("%.20s: %s", tt.origin, got)
		}
	}
}

// Refused pages fill no log.
func TestRefusalsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log notes
		v := newPipeVenue(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, ServeOptions{})
		for range 100 {
			if _, _, err := v.dial(&websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://evil.example"}}}); err == nil {
				t.Fatal("not refused")
			}
		}
		<-time.After(time.Second) // on a clock that does not wait
		if _, _, err := v.dial(&websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://late.example"}}}); err == nil {
			t.Fatal("not refused")
		}
		synctest.Wait()
		text := log.take()
		told := func(host string) (lines int) {
			for line := range strings.Lines(text) {
				if strings.Contains(line, "refused origin") && strings.Contains(line, host) {
					lines++
				}
			}
			return lines
		}
		if early, late := told("evil.example"), told("late.example"); early != 10 || late != 1 {
			t.Errorf("told %d of 100 at once, and %d times of one later", early, late)
		}
	})
}

func TestSubprotocol(t *testing.T) {
	v := newVenue(t, Config{}, ServeOptions{})
	for _, tt := range []struct {
		offered []string
		want    string
	}{{nil, ""}, {[]string{"parley.v1"}, "parley.v1"}, {[]string{"chat", "parley.v1"}, "parley.v1"}, {[]string{"parley.v2"}, ""}} {
		ws, resp, err := v.dial(&websocket.DialOptions{Subprotocols: tt.offered, CompressionMode: websocket.CompressionContextTakeover})
		if err != nil {
			t.Fatal(err)
		}
		if ws.Subprotocol() != tt.want {
			t.Errorf("offered %q: selected %q, want %q", tt.offered, ws.Subprotocol(), tt.want)
		}
		if extensions := resp.Header.Get("Sec-WebSocket-Extensions"); extensions != "" {
			t.Errorf("negotiated %s", extensions)
		}
		_ = ws.CloseNow()
	}
}

func TestFull(t *testing.T) {
	for name, opts := range map[string]ServeOptions{"an address": {ConnsPerIP: 2}, "in all": {MaxConns: 2}} {
		t.Run(name, func(t *testing.T) {
			var log notes
			v := newVenue(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, opts)
			first, second := v.connect(), v.connect()
			for range 2 {
				v.knock().wantClosed(protocol.CloseTryLater)
			}
			if told := strings.Count(log.take(), "full: newcomers are sent away"); told != min(1, opts.MaxConns) {
				t.Errorf("told %d times", told)
			}
			_ = first.ws.Close(websocket.StatusNormalClosure, "")
			for {
				// The place is free when the server has seen the end of the first.
				ws, _, err := v.dial(&websocket.DialOptions{})
				if err != nil {
					t.Fatal(err)
				}
				_, _, err = ws.Read(t.Context())
				_ = ws.CloseNow()
				if err == nil {
					break
				}
				if code := websocket.CloseStatus(err); code != websocket.StatusTryAgainLater {
					t.Fatal(err)
				}
			}
			second.ask("ping", "null")
		})
	}
}

// What is no text message of an envelope's size ends the connection, by a code
// that says why.
func TestFrames(t *testing.T) {
	const limit = 1000
	v := newVenue(t, Config{MessageLimit: limit}, ServeOptions{})
	bob := v.login("Bob", "")
	largest := `{"event":"roomMessage","data":{"message":"` + strings.Repeat(`\u0001`, limit) + `","key":"` + strings.Repeat(`\u0041`, 64) + `"},"ackId":9007199254740991}`
	for _, tt := range []struct {
		name string
		kind websocket.MessageType
		data string
		want protocol.CloseCode
	}{
		{"binary", websocket.MessageBinary, `{"event":"ping","ackId":1}`, protocol.CloseUnsupported},
		{"not UTF-8", websocket.MessageText, "{\"event\":\"ping\xff\",\"ackId\":1}", protocol.CloseNotUTF8},
		{"a surrogate", websocket.MessageText, "{\"event\":\"ping\xed\xa0\x80\",\"ackId\":1}", protocol.CloseNotUTF8},
		{"too large", websocket.MessageText, largest + strings.Repeat(" ", 6*limit+4<<10-len(largest)+1), protocol.CloseTooBig},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := v.login("Ann", "")
			bob.wait("notification")
			if err := g.ws.Write(t.Context(), tt.kind, []byte(tt.data)); err != nil {
				t.Fatal(err)
			}
			g.t = t
			g.wantClosed(tt.want)
			if d := bob.wait("notification"); d.Kind != "left" {
				t.Errorf("Bob hears %s", d.Data)
			}
		})
	}
	g := v.login("Cy", "")
	for _, frame := range []string{largest, largest + strings.Repeat(" ", 6*limit+4<<10-len(largest))} {
		g.send(frame)
		if d := g.wait("ack"); d.Code != "" || d.AckID != protocol.MaxAckID {
			t.Errorf("the largest message that is allowed: %s", d.Data)
		}
	}
	for range maxBadFrames {
		g.send("no envelope")
	}
	g.wantClosed(protocol.ClosePolicy)
}
