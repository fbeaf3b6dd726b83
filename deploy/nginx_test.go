package deploy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/deploy/deploytest"
	"parley/hub/hubtest"
)

// site is nginx with nginx.conf before a server.
type site struct{ *deploytest.Site }

func start(t *testing.T, server *hubtest.Server, change ...string) site {
	t.Helper()
	return site{deploytest.StartSite(t, "nginx.conf", deploytest.SiteOptions{Server: server.Addr(), Change: change})}
}

// from is the option to connect to nginx from a local address.
func (s site) from(t *testing.T, addr string) hubtest.Option {
	return func(o *websocket.DialOptions) { o.HTTPClient = deploytest.Client(t, addr, s.CA.Pool()) }
}

func origin(origin string) hubtest.Option {
	return func(o *websocket.DialOptions) { o.HTTPHeader = http.Header{"Origin": {origin}} }
}

// socket is the address of the socket under a path that ends with a slash.
func (s site) socket(path string) string { return "wss://" + s.Host + path + "ws" }

func get(t *testing.T, client *http.Client, url string) (*http.Response, string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestPageAndSocket(t *testing.T) {
	t.Parallel()
	s := start(t, hubtest.Start(t, "--db", ""))
	client := deploytest.Client(t, "127.0.0.1", s.CA.Pool())

	for _, path := range []string{"/", "/chat/"} {
		page, body := get(t, client, "https://"+s.Host+path)
		if page.StatusCode != http.StatusOK || page.Proto != "HTTP/2.0" || !strings.Contains(body, "<title>Parley") {
			t.Errorf("the page at %s: %s %s\n%.200s", path, page.Proto, page.Status, body)
		}
		if hsts := page.Header.Get("Strict-Transport-Security"); !strings.HasPrefix(hsts, "max-age=") {
			t.Errorf("the page at %s: Strict-Transport-Security is %q", path, hsts)
		}
		shim, body := get(t, client, "https://"+s.Host+path+"parley.js")
		if shim.StatusCode != http.StatusOK || !shim.Uncompressed || !strings.Contains(body, "export const connect") {
			t.Errorf("the shim at %s: %s, gzip %v\n%.200s", path, shim.Status, shim.Uncompressed, body)
		}

		ann := hubtest.Dial(t, s.socket(path), s.from(t, "127.0.0.1"), origin("https://"+s.Host))
		bob := hubtest.Dial(t, s.socket(path), s.from(t, "127.0.0.1"))
		ann.Login(hubtest.Login{Name: "Ann", Room: path})
		bob.Login(hubtest.Login{Name: "Bob", Room: path})
		text := strings.Repeat("\x01", 16384) // six bytes each on the wire
		stored := ann.RoomMessage(text, "")
		var got hubtest.Message
		if bob.Expect("roomMessage", &got); got.Message != text || got.Seq != stored.Seq {
			t.Errorf("%s: Bob got %.50q, %d, want what Ann sent at %d", path, got.Message, got.Seq, stored.Seq)
		}
	}

	if resp, _ := get(t, client, "https://"+s.Host+"/chat"); resp.StatusCode != http.StatusMovedPermanently ||
		!strings.HasSuffix(resp.Header.Get("Location"), "/chat/") {
		t.Errorf("/chat: %s to %s, want /chat/", resp.Status, resp.Header.Get("Location"))
	}
	if resp, _ := get(t, client, "http://"+deploytest.Name+":"+s.Plain+"/x?y"); resp.StatusCode != http.StatusMovedPermanently ||
		resp.Header.Get("Location") != "https://"+deploytest.Name+"/x?y" {
		t.Errorf("http://: %s to %s, want https://", resp.Status, resp.Header.Get("Location"))
	}
	if _, err := hubtest.Connect(t.Context(), s.socket("/"), s.from(t, "127.0.0.1"), origin("https://"+deploytest.Name)); err == nil {
		t.Errorf("a page of https://%s may connect to https://%s", deploytest.Name, s.Host)
	}
}

// TestSilence shortens all times to 16 %: pings each 4 s, and nginx ends what has been silent for 9.6 s. It does that to
// the connection of a server that does not ping so soon, while another's lives on.
func TestSilence(t *testing.T) {
	t.Parallel()
	short := []string{"_timeout    60s;", "_timeout 9600ms;"}
	const silence = 11200 * time.Millisecond // of 70 s
	pinging := start(t, hubtest.Start(t, "--db", "", "--ping-interval", "4s"), short...)
	mute := start(t, hubtest.Start(t, "--db", ""), short...)

	begin := time.Now()
	pinged := make(chan struct{}, 1)
	alive := hubtest.Dial(t, pinging.socket("/"), pinging.from(t, "127.0.0.1"), func(o *websocket.DialOptions) {
		o.OnPingReceived = func(context.Context, []byte) bool {
			select {
			case pinged <- struct{}{}:
			default:
			}
			return true
		}
	})
	alive.Login(hubtest.Login{Name: "Ann", Room: "lobby"})
	silent := hubtest.Dial(t, mute.socket("/"), mute.from(t, "127.0.0.1"))
	if code, _ := silent.Ended(); code != -1 {
		t.Errorf("a silent connection ended with the code %d, not by nginx", code)
	}
	for time.Since(begin) < silence {
		select {
		case <-pinged:
		case <-time.After(time.Minute):
			t.Fatal("no ping comes through")
		}
	}
	alive.RoomMessage("still here", "")
}

func TestClientAddresses(t *testing.T) {
	t.Parallel()
	server := hubtest.Start(t, "--db", "", "--conns-per-ip", "2", "--trusted-proxy", "127.0.0.1/32")
	s := start(t, server)
	forged := 0
	forge := func(o *websocket.DialOptions) {
		forged++
		o.HTTPHeader = http.Header{"X-Forwarded-For": {fmt.Sprintf("203.0.113.%d", forged)}}
	}
	connect := func(from string) error {
		conn, err := hubtest.Connect(t.Context(), s.socket("/"), s.from(t, from), forge)
		if err == nil {
			t.Cleanup(conn.Drop)
		}
		return err
	}
	for _, from := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.3", "127.0.0.2"} {
		if err := connect(from); err != nil {
			t.Fatalf("from %s: %v", from, err)
		}
	}
	for _, from := range []string{"127.0.0.2", "127.0.0.3"} {
		if code := hubtest.CloseCode(connect(from)); code != websocket.StatusTryAgainLater {
			t.Errorf("a third connection from %s: code %d, want 1013", from, code)
		}
	}
	if err := connect("127.0.0.4"); err != nil {
		t.Errorf("from 127.0.0.4: %v", err)
	}
}
