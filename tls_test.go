package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"

	"parley/deploy/deploytest"
	"parley/hub/hubtest"
	"parley/store/proctest"
)

const domain = deploytest.Name

// tlsServer is the server's binary that speaks HTTPS on port.
type tlsServer struct {
	port string
	logs chan string // its log's messages, one a line; closed when it has ended
	stop func()
}

// startTLS runs the server until the test ends.
func startTLS(t *testing.T, port string, env []string, args ...string) *tlsServer {
	t.Helper()
	cmd := exec.Command(hubtest.Build(t), append([]string{"--db", "", "--addr", "127.0.0.1:" + port}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &tlsServer{port: port, logs: make(chan string, 100)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var line struct{ Msg string }
			if json.Unmarshal(lines.Bytes(), &line) == nil {
				s.logs <- line.Msg
			}
		}
		close(s.logs)
		cmd.Wait()
	}()
	s.stop = func() {
		cmd.Process.Kill()
		<-ended
	}
	t.Cleanup(s.stop)
	s.expect(t, "listening")
	return s
}

// expect waits for a line of the log that begins so.
func (s *tlsServer) expect(t *testing.T, message string) {
	t.Helper()
	limit := time.After(60 * time.Second)
	for {
		select {
		case line, ok := <-s.logs:
			if !ok {
				t.Fatalf("the server ended before it logged %q", message)
			}
			if strings.HasPrefix(line, message) {
				return
			}
		case <-limit:
			t.Fatalf("the server never logged %q", message)
		}
	}
}

func (s *tlsServer) host() string { return net.JoinHostPort(domain, s.port) }

func (s *tlsServer) dial(t *testing.T, roots *x509.CertPool) *hubtest.Client {
	t.Helper()
	return hubtest.Dial(t, "wss://"+s.host()+"/ws", func(o *websocket.DialOptions) {
		o.HTTPClient = deploytest.Client(t, "127.0.0.1", roots)
		o.HTTPHeader = http.Header{"Origin": {"https://" + s.host()}}
	})
}

// presented is the certificate that a new connection is shown.
func (s *tlsServer) presented(t *testing.T, name string) (*x509.Certificate, error) {
	t.Helper()
	conn, err := tls.Dial("tcp", "127.0.0.1:"+s.port, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

func page(t *testing.T, client *http.Client, url string) *http.Response {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "<title>Parley") {
		t.Fatalf("%s: %s, %v\n%.200s", url, resp.Status, err, body)
	}
	return resp
}

func TestCertificateFiles(t *testing.T) {
	ca := deploytest.NewCA(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	first := ca.Issue(time.Now().Add(time.Hour), domain)
	ca.Save(first, cert, key)
	s := startTLS(t, proctest.FreePort(t), nil, "--tls-cert", cert, "--tls-key", key)

	client := deploytest.Client(t, "127.0.0.1", ca.Pool())
	if resp := page(t, client, "https://"+s.host()); resp.Proto != "HTTP/2.0" {
		t.Errorf("the page came over %s", resp.Proto)
	}
	ann, bob := s.dial(t, ca.Pool()), s.dial(t, ca.Pool())
	ann.Login(hubtest.Login{Name: "Ann", Room: "lobby"})
	bob.Login(hubtest.Login{Name: "Bob", Room: "lobby"})
	text := strings.Repeat("x", 16384)
	ann.RoomMessage(text, "")
	var got hubtest.Message
	if bob.Expect("roomMessage", &got); got.Message != text {
		t.Errorf("Bob got %d bytes, want what Ann sent", len(got.Message))
	}

	if err := run(t.Context(), []string{"healthcheck", "--addr", "127.0.0.1:" + s.port, "--tls-cert", cert}, io.Discard); err != nil {
		t.Errorf("the health check: %v", err)
	}

	// A new certificate whose key is still to come changes nothing.
	second := ca.Issue(time.Now().Add(2*time.Hour), domain)
	ca.Save(second, cert, filepath.Join(dir, "other.pem"))
	s.handshakesUntil(t, "the new certificate cannot be used")
	if shown, err := s.presented(t, domain); err != nil || !shown.Equal(first.Leaf) {
		t.Errorf("with the wrong key: %v, want the first certificate", err)
	}
	ca.Save(second, cert, key)
	s.handshakesUntil(t, "read the certificate again")
	if shown, err := s.presented(t, domain); err != nil || !shown.Equal(second.Leaf) {
		t.Errorf("after the change: %v, want the second certificate", err)
	}
	ann.RoomMessage("connections stay", "")
	bob.Expect("roomMessage", nil)
}

// handshakesUntil makes handshakes, at which the files are looked at, until the server logs that.
func (s *tlsServer) handshakesUntil(t *testing.T, message string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case line := <-s.logs:
			if strings.HasPrefix(line, message) {
				return
			}
		case <-tick.C:
			if _, err := s.presented(t, domain); err != nil {
				t.Fatal(err)
			}
		case <-limit:
			t.Fatalf("the server never logged %q", message)
		}
	}
}

// TestBrowserWithHTTP2 sees that a browser that has the page over HTTP/2 gets the socket, over HTTP/1.1.
func TestBrowserWithHTTP2(t *testing.T) {
	ca := deploytest.NewCA(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca.Save(ca.Issue(time.Now().Add(time.Hour), domain), cert, key)
	s := startTLS(t, proctest.FreePort(t), nil, "--tls-cert", cert, "--tls-key", key)

	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox,
		chromedp.Flag("ignore-certificate-errors", true),
		chromedp.Flag("no-proxy-server", true), // the machine's does not know the domain
		chromedp.Flag("host-resolver-rules", "MAP "+domain+" 127.0.0.1"),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(2*time.Minute), // a browser's first start on a busy machine
	)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate("https://"+s.host()+"/")); err != nil {
		t.Fatal(err)
	}
	protocol, err := chromedp.Run(ctx, chromedp.Evaluate[string](`performance.getEntriesByType("navigation")[0].nextHopProtocol`))
	if err != nil || protocol != "h2" {
		t.Errorf("the page came over %q, %v", protocol, err)
	}
	first, err := chromedp.Run(ctx, chromedp.Evaluate[string](`new Promise((resolve, reject) => {
		const socket = new WebSocket(new URL("ws", location.href.replace("http", "ws")), "parley.v1");
		socket.onmessage = (message) => resolve(message.data);
		socket.onclose = (close) => reject(new Error("closed with " + close.code));
	})`, chromedp.EvalAwaitPromise))
	if err != nil || !strings.Contains(first, `"event":"welcome"`) {
		t.Errorf("the socket's first message is %q, %v", first, err)
	}
}

func TestTLSFlagsAreChecked(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"--tls-cert c.pem", "--tls-cert and --tls-key belong together"},
		{"--tls-key k.pem", "--tls-cert and --tls-key belong together"},
		{"--tls-cert c.pem --tls-key k.pem --acme " + domain, "give --tls-cert or --acme, not both"},
		{"--acme 192.0.2.1", `--acme "192.0.2.1" is no domain`},
		{"--acme https://" + domain, "is no domain"},
		{"--acme " + domain + " --acme-url http://example.com/dir", "is not https://"},
		{"--addr 127.0.0.1:0 --db= --tls-cert c.pem --tls-key k.pem", "--tls-cert, --tls-key: "},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Chdir(t.TempDir())
			err := run(t.Context(), strings.Fields(test.args), io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
