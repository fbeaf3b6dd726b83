package hub

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"parley/protocol"
	"parley/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// venue is a whole hub behind a listener, and guests are its clients: over
// loopback, or over pipes, in which nothing waits but for a clock of synctest.
type venue struct {
	t      *testing.T
	h      *Hub
	server *http.Server
	net    func(ctx context.Context, network, address string) (net.Conn, error)
	client *http.Client
	url    string
	ended  chan error // what Run returned
}

func newVenue(t *testing.T, cfg Config, opts ServeOptions) *venue {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return openVenue(t, cfg, opts, l, new(net.Dialer).DialContext)
}

func newPipeVenue(t *testing.T, cfg Config, opts ServeOptions) *venue {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	return openVenue(t, cfg, opts, l, l.dial)
}

func openVenue(t *testing.T, cfg Config, opts ServeOptions, l net.Listener, dial func(context.Context, string, string) (net.Conn, error)) *venue {
	memory := store.NewMemory(store.Options{History: cfg.History})
	cfg.Log, cfg.Directory = memory, memory
	v := &venue{
		t: t, h: New(cfg), net: dial, url: "ws://" + l.Addr().String() + "/ws", ended: make(chan error, 1),
		client: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}},
	}
	v.server = &http.Server{Handler: v.h.Handler(opts)}
	running, cancel := context.WithCancel(context.Background())
	go func() { v.ended <- v.h.Run(running) }()
	served := make(chan error, 1)
	go func() { served <- v.server.Serve(l) }()
	t.Cleanup(func() {
		_ = v.server.Close()
		<-served
		cancel()
		<-v.h.stopped
		_ = memory.Close()
	})
	return v
}

// pipeListener is a network without sockets.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe.test" }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	server, client := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// guest is a client. What the server sends it is read when the test asks for it.
type guest struct {
	t    *testing.T
	ws   *websocket.Conn
	acks int64
}

func (v *venue) dial(opts *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	opts.HTTPClient = v.client
	return websocket.Dial(v.t.Context(), v.url, opts)
}

// connect is a guest who has been welcomed.
func (v *venue) connect() *guest {
	v.t.Helper()
	g := v.knock()
	g.wait("welcome")
	return g
}

// knock is a guest who has not read anything yet.
func (v *venue) knock() *guest {
	v.t.Helper()
	ws, _, err := v.dial(&websocket.DialOptions{})
	if err != nil {
		v.t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	g := &guest{t: v.t, ws: ws}
	v.t.Cleanup(g.vanish)
	return g
}

// raw is a client that does its frames itself.
func (v *venue) raw() *link {
	v.t.Helper()
	conn, err := v.net(v.t.Context(), "tcp", strings.TrimSuffix(strings.TrimPrefix(v.url, "ws://"), "/ws"))
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { _ = conn.Close() })
	l := &link{conn: conn, br: bufio.NewReader(conn)}
	l.send(v.t, []byte(handshakeText))
	if _, err := http.ReadResponse(l.br, nil); err != nil {
		v.t.Fatal(err)
	}
	return l
}

// mute is a peer that logs in as a guest of the lobby, and from then on takes what
// it is sent and says nothing, not even to pings. It tells when the connection ends.
func (v *venue) mute(login string) (ended chan error) {
	v.t.Helper()
	l := v.raw()
	ended = make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, l.br)
		ended <- err
	}()
	l.send(v.t, clientFrame(opText, login))
	return ended
}

// login is a guest of the lobby. What else it is to send stands in more.
func (v *venue) login(name, more string) *guest {
	v.t.Helper()
	g := v.connect()
	if d := g.ask("login", fmt.Sprintf(`{"name":%q,"room":"lobby"%s}`, name, more)); d.Code != "" {
		v.t.Fatalf("%s may not log in: %s", name, d.Data)
	}
	return g
}

// vanish ends the connection without a word, and lets go of it.
func (g *guest) vanish() {
	if g.ws != nil {
		_ = g.ws.CloseNow()
		g.ws = nil
	}
}

func (g *guest) send(frame string) {
	g.t.Helper()
	if err := g.ws.Write(g.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		g.t.Fatal(err)
	}
}

// next is the next thing that the server says.
func (g *guest) next() *said {
	g.t.Helper()
	_, frame, err := g.ws.Read(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	d, err := decodeSaid(frame)
	if err != nil {
		g.t.Fatalf("%v: %s", err, frame)
	}
	return d
}

// wait reads until the event comes.
func (g *guest) wait(event string) *said {
	g.t.Helper()
	for {
		if d := g.next(); d.Event == event {
			return d
		}
	}
}

// ask sends a request and reads until it is answered.
func (g *guest) ask(event, data string) *said {
	g.t.Helper()
	g.acks++
	g.send(fmt.Sprintf(`{"event":%q,"data":%s,"ackId":%d}`, event, data, g.acks))
	for {
		if d := g.wait("ack"); d.AckID == g.acks {
			return d
		}
	}
}

// closed reads until the connection ends, and tells the code that the server gave.
func (g *guest) closed() protocol.CloseCode {
	for {
		if _, _, err := g.ws.Read(g.t.Context()); err != nil {
			return protocol.CloseCode(max(0, websocket.CloseStatus(err)))
		}
	}
}

func (g *guest) wantClosed(code protocol.CloseCode) {
	g.t.Helper()
	if got := g.closed(); got != code {
		g.t.Errorf("closed with %d, want %d", got, code)
	}
}

// millis is a field of what the server said that tells milliseconds.
func (d *said) millis(t *testing.T, field string) time.Duration {
	t.Helper()
	var data map[string]any
	if err := json.Unmarshal(d.Data, &data); err != nil {
		t.Fatal(err)
	}
	n, ok := data[field].(float64)
	if !ok {
		t.Fatalf("no %s in %s", field, d.Data)
	}
	return time.Duration(n) * time.Millisecond
}
