package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"parley/store/proctest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks")) // it has no end
}

func TestRunRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"an unknown flag", []string{"--nonsense"}, "unknown flag --nonsense (parley serve --help lists the flags)"},
		{"an unknown flag of a command", []string{"token", "--nonsense"}, "unknown flag --nonsense (parley token --help lists the flags)"},
		{"a bad value of a command", []string{"doctor", "x", "--wait", "y"}, "(parley doctor --help lists the flags)"},
		{"no address", []string{"--addr", "8080"}, `--addr "8080" is not HOST:PORT`},
		{"a port in use", []string{"--addr", taken.Addr().String(), "--db", ""}, "address already in use: choose another with --addr, or free this one"},
		{"no port", []string{"--addr", ":99999", "--db", ""}, "invalid port: choose another with --addr"},
		{"no duration", []string{"--grace", "10"}, "--grace"},
		{"a negative grace", []string{"--grace=-1s"}, "--grace must not be negative"},
		{"no history", []string{"--history", "0"}, "--history must be above 0"},
		{"a message limit beyond the answers", []string{"--message-limit", "65537"}, "--message-limit must be 1 to 65536 bytes"},
		{"a small queue", []string{"--queue-limit", "512KiB"}, "--queue-limit must be 1MiB at the least"},
		{"no size", []string{"--queue-limit", "much"}, `"much" is not a size`},
		{"a negative rate", []string{"--rate=-1"}, "--rate must be 0, which turns it off, or 0.01 at the least"},
		{"no number for a rate", []string{"--rate=NaN"}, "--rate must be"},
		{"an endless rate", []string{"--rate=Inf"}, "--rate must be"},
		{"a rate that is next to nothing", []string{"--rate=1e-12"}, "--rate must be"},
		{"no number for a drain", []string{"--drain-rate=NaN"}, "--drain-rate must be 1 at the least"},
		{"an endless drain", []string{"--drain-rate=Inf"}, "--drain-rate must be 1 at the least"},
		{"pings without a pause", []string{"--ping-interval", "1ms"}, "--ping-interval must be 100ms at the least"},
		{"lists beyond the protocol's", []string{"--users-limit", "1001"}, "--users-limit must be 1 to 1000"},
		{"two domains in one", []string{"--acme", "a.example, b.example"}, `--acme " b.example" is no domain`},
		{"a token for nobody", []string{"token", "--token-secret", strings.Repeat("s", 32), "--name", " "}, "--name must be 1 to 32 characters"},
		{"a token from nobody", []string{"token", "--token-secret", strings.Repeat("s", 32), "--name", "Ann", "--sub="}, "--sub must not be empty"},
		{"a token that has expired", []string{"token", "--token-secret", strings.Repeat("s", 32), "--name", "Ann", "--for=-1h"}, "--for must be above 0"},
		{"a token for nothing", []string{"token", "--token-secret", strings.Repeat("s", 32), "--name", "Ann", "--room="}, "--room must not be empty"},
		{"a bad origin", []string{"--allow-origin", "example.com"}, `origin "example.com" is not scheme://host[:port]`},
		{"a bad proxy", []string{"--trusted-proxy", "nginx"}, `--trusted-proxy "nginx" is no address`},
		{"two kinds of tokens", []string{"--token-secret", strings.Repeat("s", 32), "--token-jwks", "keys.json"}, "not both"},
		{"a short secret", []string{"--token-secret", "short"}, "--token-secret: the secret must be 32 bytes long at the least"},
		{"no key set", []string{"--token-jwks", "/nowhere/keys.json"}, "--token-jwks: the key set cannot be read"},
		{"no NATS server", []string{"--nats", "nats://parley:swordfish@[bad"}, "--nats is not one or several addresses, as in"},
		{"half a NATS server", []string{"--nats", "nats://parley:swordfish@a,"}, "--nats is not one or several addresses, as in"},
		{"a log format", []string{"--log-format", "xml"}, "--log-format"},
		{"a directory that is not there", []string{"--addr", "127.0.0.1:0", "--db", "/nowhere/parley.db"}, "/nowhere"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := run(t.Context(), tt.args, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			if line := oneLine(err); strings.Contains(line, "\n") {
				t.Errorf("more than one line: %q", line)
			} else if strings.Contains(line, "swordfish") {
				t.Errorf("it tells the password: %s", line)
			}
		})
	}
}

// The README's table has the flags that there are, and no others.
func TestFlagsInTheReadme(t *testing.T) {
	var help bytes.Buffer
	if err := run(t.Context(), []string{"serve", "--help"}, &help); err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "\n## All flags\n")
	table, _, _ = strings.Cut(table, "\n## ")
	flags := func(text, expr string) (names []string) {
		for _, m := range regexp.MustCompile(expr).FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	if has, are := flags(table, "`--([a-z-]+)`"), flags(help.String(), `(?m)^ +--([a-z-]+)=`); len(are) == 0 || !slices.Equal(has, are) {
		t.Errorf("the README has %v, there are %v", has, are)
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--version", "parley dev"},
		{"--help", "PARLEY_ADDR"},
		{"--help", "--login-timeout=TIME"}, // what runs without a command
		{"--help", "  doctor "},
		{"serve --help", "--login-timeout=TIME"},
		{"token --help", "--token-secret=SECRET"},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), strings.Fields(tt.args), &out); err != nil || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: %v, no %q in %s", tt.args, err, tt.want, &out)
		}
	}
}

// server is a run of main that tests talk to.
type server struct {
	addr string
	done chan error
	stop context.CancelFunc
	logs chan string
}

// start runs the server on a free port until the test ends it.
func start(t *testing.T, args ...string) *server {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r, w := io.Pipe()
	s := &server{done: make(chan error, 1), stop: stop, logs: make(chan string, 100)}
	go func() {
		s.done <- run(ctx, append([]string{"--addr", "127.0.0.1:0", "--db", "", "--log-format", "json"}, args...), w)
		w.Close()
	}()
	listening := make(chan string, 1)
	go func() {
		defer close(s.logs)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			var line struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
				listening <- line.Address
			}
			select {
			case s.logs <- lines.Text():
			default:
			}
		}
	}()
	t.Cleanup(func() {
		stop()
		for range s.logs {
		}
	})
	select {
	case s.addr = <-listening:
	case err := <-s.done:
		t.Fatal(err)
	case <-time.After(time.Minute):
		t.Fatal("the server does not listen")
	}
	return s
}

func get(t *testing.T, method, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
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

func TestServe(t *testing.T) {
	admin := proctest.FreeAddr(t)
	s := start(t, "--admin", admin, "--addr", proctest.FreeAddr(t), "--db", filepath.Join(t.TempDir(), "parley.db"))
	admin = "http://" + admin
	for _, tt := range []struct {
		url, kind, want string
	}{
		{"http://" + s.addr + "/", "text/html; charset=utf-8", "<html"},
		{"http://" + s.addr + "/parley.js", "text/javascript; charset=utf-8", "connect"},
		{"http://" + s.addr + "/healthz", "text/plain; charset=utf-8", "ok"},
		{admin + "/readyz", "text/plain; charset=utf-8", "ready"},
		{admin + "/metrics", "", "parley_connections 0"},
		{admin + "/debug/pprof/", "text/html; charset=utf-8", "goroutine"},
	} {
		resp, body := get(t, http.MethodGet, tt.url)
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %s, no %q in %.200s", tt.url, resp.Status, tt.want, body)
		}
		if tt.kind != "" && resp.Header.Get("Content-Type") != tt.kind {
			t.Errorf("%s: %s", tt.url, resp.Header.Get("Content-Type"))
		}
	}
	if resp, _ := get(t, http.MethodHead, "http://"+s.addr+"/healthz"); resp.StatusCode != http.StatusOK {
		t.Error("HEAD /healthz:", resp.Status)
	}
	if resp, _ := get(t, http.MethodGet, "http://"+s.addr+"/metrics"); resp.StatusCode != http.StatusNotFound {
		t.Error("the metrics are public:", resp.Status)
	}

	ws, _, err := websocket.Dial(t.Context(), "ws://"+s.addr+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	login := `{"event":"login","data":{"name":"Ann","room":"a room/with a slash"},"ackId":1}`
	if err := ws.Write(within(t), websocket.MessageText, []byte(login)); err != nil {
		t.Fatal(err)
	}
	for {
		_, frame, err := ws.Read(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(frame, []byte(`"event":"ack"`)) {
			break
		}
	}
	for _, name := range []string{"", "%20", "a%00b", strings.Repeat("x", 65)} {
		if resp, body := get(t, http.MethodDelete, admin+"/rooms/"+name); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("DELETE /rooms/%s: %s %s", name, resp.Status, body)
		}
	}
	if resp, body := get(t, http.MethodDelete, admin+"/rooms/a%20room%2Fwith%20a%20slash"); resp.StatusCode != http.StatusNoContent {
		t.Error("DELETE /rooms:", resp.Status, body)
	}
	for err == nil {
		_, _, err = ws.Read(within(t))
	}
	if websocket.CloseStatus(err) != 4503 {
		t.Error("a member of a removed room:", err)
	}

	s.stop()
	if err := <-s.done; err != nil {
		t.Error("the end:", err)
	}
	if _, err := net.DialTimeout("tcp", s.addr, time.Second); err == nil {
		t.Error("still listening")
	}
}

// within bounds what a test waits for.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestAnnouncements(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"memory", nil, "messages are kept in memory only"},
		{"every origin", []string{"--allow-origin", "*"}, "pages of every origin may connect"},
		{"more connections than files", []string{"--max-conns", "100000000"}, "--max-conns 100000000 is more than the limit of open files"},
		{"a public address for operators", []string{"--admin", "0.0.0.0:0"}, "--admin asks for no password"},
		{"public without limits", []string{"--addr", "0.0.0.0:0"}, "--rate 20 --burst 40 --conns-per-ip 200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, tt.args...)
			s.stop()
			if err := <-s.done; err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			for line := range s.logs {
				all.WriteString(line + "\n")
			}
			if !strings.Contains(all.String(), tt.want) {
				t.Errorf("no %q in\n%s", tt.want, &all)
			}
		})
	}
}

func TestTrustedProxies(t *testing.T) {
	nets, err := trustedProxies([]string{"10.0.0.5", " 192.168.0.0/16 ", "::ffff:172.17.0.1", "fe80::1%eth0"})
	if err != nil || fmt.Sprint(nets) != "[10.0.0.5/32 192.168.0.0/16 172.17.0.1/32 fe80::1/128]" {
		t.Error(nets, err)
	}
}

// A refused origin is logged with what to add; an unknown proxy's header with the
// flag that would trust it.
func TestHandshakeWarnings(t *testing.T) {
	for _, trusted := range []string{"192.0.2.1", ""} {
		t.Run("trusting "+trusted, func(t *testing.T) { handshakeWarnings(t, trusted) })
	}
}

func handshakeWarnings(t *testing.T, trusted string) {
	s := start(t, "--trusted-proxy="+trusted)
	dial := func(header http.Header) int {
		_, resp, err := websocket.Dial(t.Context(), "ws://"+s.addr+"/ws", &websocket.DialOptions{HTTPHeader: header})
		if err == nil {
			t.Fatal("the handshake succeeded")
		}
		return resp.StatusCode
	}
	header := http.Header{"Origin": {"https://evil.example"}, "X-Forwarded-For": {"198.51.100.7"}}
	if code := dial(header); code != http.StatusForbidden {
		t.Error("status", code)
	}
	s.stop()
	if err := <-s.done; err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for line := range s.logs {
		all.WriteString(line)
	}
	for _, want := range []string{"--allow-origin", "https://evil.example", "name it with --trusted-proxy 127.0.0.1"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no %q in %s", want, &all)
		}
	}
}

func TestTokenCommand(t *testing.T) {
	secret := strings.Repeat("s", 32)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"token", "--token-secret", secret, "--name", "Ann", "--room", "lobby"}, &out); err != nil {
		t.Fatal(err)
	}
	s := start(t, "--token-secret", secret)
	ws, _, err := websocket.Dial(t.Context(), "ws://"+s.addr+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	login := `{"event":"login","data":{"room":"lobby","token":"` + strings.TrimSpace(out.String()) + `"},"ackId":1}`
	if err := ws.Write(within(t), websocket.MessageText, []byte(login)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, frame, err := ws.Read(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(frame, []byte(`"welcome"`)) {
			continue
		}
		if !bytes.Contains(frame, []byte(`"name":"Ann"`)) {
			t.Errorf("%s", frame)
		}
	}
}

func TestOneLineOfEnvironment(t *testing.T) {
	t.Setenv("PARLEY_HISTORY", "0")
	if err := run(t.Context(), nil, io.Discard); err == nil || !strings.Contains(err.Error(), "--history must be above 0") {
		t.Error("PARLEY_HISTORY is not read:", err)
	}
	if _, err := os.Stat("parley.db"); err == nil {
		t.Error("a refused start left a database behind")
	}
}
