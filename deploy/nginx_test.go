package deploy_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/deploy/deploytest"
	"parley/hub/hubtest"
)

const name = "chat.example.com" // as in nginx.conf

// front is nginx with nginx.conf, before a server.
type front struct {
	nginx *deploytest.Nginx
	ca    *deploytest.CA
	host  string // name and port, as a browser's address line has them
	addr  string // where that is
	plain string // the port of http://
}

// times are what a test shortens: those of nginx.conf, in the proportion in which it shortens the ping interval.
type times struct{ read, shutdown string }

// start runs nginx with nginx.conf as it is, except for the paths, ports and the user that a test must replace.
func start(t *testing.T, server *hubtest.Server, short times) *front {
	t.Helper()
	raw, err := os.ReadFile("nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{ca: deploytest.NewCA(t), plain: deploytest.FreePort(t)}
	port := deploytest.FreePort(t)
	f.host, f.addr = net.JoinHostPort(name, port), net.JoinHostPort("127.0.0.1", port)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	f.ca.Save(f.ca.Issue(time.Now().Add(time.Hour), name), cert, key)

	conf := string(raw)
	replace := func(old, new string) {
		if !strings.Contains(conf, old) {
			t.Fatalf("nginx.conf has no %q any more", old)
		}
		conf = strings.ReplaceAll(conf, old, new)
	}
	replace("user www-data;", "user {user};")
	replace("/run/nginx.pid", "{dir}/nginx.pid")
	replace("/var/log/nginx/error.log", "stderr")
	replace("/var/log/nginx/access.log", "{dir}/access.log")
	replace("http {\n", "http {\nclient_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; "+
		"fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;\n")
	replace("listen 80;", "listen "+f.plain+";")
	replace("listen [::]:80;", "listen [::]:"+f.plain+";")
	replace("listen 443 ", "listen "+port+" ")
	replace("listen [::]:443 ", "listen [::]:"+port+" ")
	replace("/etc/letsencrypt/live/chat.example.com/fullchain.pem", cert)
	replace("/etc/letsencrypt/live/chat.example.com/privkey.pem", key)
	replace("server 127.0.0.1:8080;", "server "+server.Addr()+";")
	if short.read != "" {
		replace("proxy_read_timeout    60s;", "proxy_read_timeout "+short.read+";")
		replace("proxy_send_timeout    60s;", "proxy_send_timeout "+short.read+";")
	}
	if short.shutdown != "" {
		replace("worker_shutdown_timeout 30s;", "worker_shutdown_timeout "+short.shutdown+";")
	}
	f.nginx = deploytest.StartNginx(t, f.addr, conf)
	return f
}

// client is an HTTP client that finds the name where nginx is, and comes from the local address from.
func (f *front) client(t *testing.T, from string) *http.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
		TLSClientConfig:   &tls.Config{RootCAs: f.ca.Pool()},
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// from is the option to connect to nginx from a local address.
func (f *front) from(t *testing.T, addr string) hubtest.Option {
	return func(o *websocket.DialOptions) { o.HTTPClient = f.client(t, addr) }
}

func origin(origin string) hubtest.Option {
	return func(o *websocket.DialOptions) { o.HTTPHeader = http.Header{"Origin": {origin}} }
}

// socket is the address of the socket under a path that ends with a slash.
func (f *front) socket(path string) string { return "wss://" + f.host + path + "ws" }

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
	f := start(t, hubtest.Start(t, "--db", ""), times{})
	client := f.client(t, "127.0.0.1")

	for _, path := range []string{"/", "/chat/"} {
		page, body := get(t, client, "https://"+f.host+path)
		if page.StatusCode != http.StatusOK || page.Proto != "HTTP/2.0" || !strings.Contains(body, "<title>Parley") {
			t.Errorf("the page at %s: %s %s\n%.200s", path, page.Proto, page.Status, body)
		}
		if hsts := page.Header.Get("Strict-Transport-Security"); !strings.HasPrefix(hsts, "max-age=") {
			t.Errorf("the page at %s: Strict-Transport-Security is %q", path, hsts)
		}
		shim, body := get(t, client, "https://"+f.host+path+"parley.js")
		if shim.StatusCode != http.StatusOK || !shim.Uncompressed || !strings.Contains(body, "export const connect") {
			t.Errorf("the shim at %s: %s, gzip %v\n%.200s", path, shim.Status, shim.Uncompressed, body)
		}

		ann := hubtest.Dial(t, f.socket(path), f.from(t, "127.0.0.1"), origin("https://"+f.host))
		bob := hubtest.Dial(t, f.socket(path), f.from(t, "127.0.0.1"))
		ann.Login(hubtest.Login{Name: "Ann", Room: path})
		bob.Login(hubtest.Login{Name: "Bob", Room: path})
		text := strings.Repeat("\x01", 16384) // six bytes each on the wire
		stored := ann.RoomMessage(text, "")
		var got hubtest.Message
		if bob.Expect("roomMessage", &got); got.Message != text || got.Seq != stored.Seq {
			t.Errorf("%s: Bob got %.50q, %d, want what Ann sent at %d", path, got.Message, got.Seq, stored.Seq)
		}
	}

	if resp, _ := get(t, client, "https://"+f.host+"/chat"); resp.StatusCode != http.StatusMovedPermanently ||
		!strings.HasSuffix(resp.Header.Get("Location"), "/chat/") {
		t.Errorf("/chat: %s to %s, want /chat/", resp.Status, resp.Header.Get("Location"))
	}
	if resp, _ := get(t, client, "http://"+name+":"+f.plain+"/x?y"); resp.StatusCode != http.StatusMovedPermanently ||
		resp.Header.Get("Location") != "https://"+name+"/x?y" {
		t.Errorf("http://: %s to %s, want https://", resp.Status, resp.Header.Get("Location"))
	}
	if _, err := hubtest.Connect(t.Context(), f.socket("/"), f.from(t, "127.0.0.1"), origin("https://"+name)); err == nil {
		t.Errorf("a page of https://%s may connect to https://%s", name, f.host)
	}
}

// TestSilence shortens all times to a 25th: a ping each second, and 2.4 s of silence are too long for nginx.
func TestSilence(t *testing.T) {
	t.Parallel()
	short := times{read: "2400ms"}
	const silence = 2800 * time.Millisecond

	t.Run("with pings", func(t *testing.T) {
		t.Parallel()
		f := start(t, hubtest.Start(t, "--db", "", "--ping-interval", "1s"), short)
		pinged := make(chan struct{}, 16)
		c := hubtest.Dial(t, f.socket("/"), f.from(t, "127.0.0.1"), func(o *websocket.DialOptions) {
			o.OnPingReceived = func(context.Context, []byte) bool { pinged <- struct{}{}; return true }
		})
		c.Login(hubtest.Login{Name: "Ann", Room: "lobby"})
		for begin := time.Now(); time.Since(begin) < silence; {
			select {
			case <-pinged:
			case <-time.After(10 * time.Second):
				t.Fatal("no ping comes through")
			}
		}
		c.RoomMessage("still here", "")
	})

	t.Run("without pings", func(t *testing.T) {
		t.Parallel()
		f := start(t, hubtest.Start(t, "--db", ""), short)
		c := hubtest.Dial(t, f.socket("/"), f.from(t, "127.0.0.1"))
		begin := time.Now()
		if code, _ := c.Ended(); code != -1 || time.Since(begin) > silence {
			t.Errorf("nginx ended a silent connection after %v, with the code %d", time.Since(begin), code)
		}
	})
}

func TestClientAddresses(t *testing.T) {
	t.Parallel()
	server := hubtest.Start(t, "--db", "", "--conns-per-ip", "2", "--trusted-proxy", "127.0.0.1/32")
	f := start(t, server, times{})
	forged := 0
	forge := func(o *websocket.DialOptions) {
		forged++
		o.HTTPHeader = http.Header{"X-Forwarded-For": {fmt.Sprintf("203.0.113.%d", forged)}}
	}
	connect := func(from string) error {
		conn, err := hubtest.Connect(t.Context(), f.socket("/"), f.from(t, from), forge)
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
