package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const (
	subprotocol    = "parley.v1"
	upgradeChange  = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; with the map of deploy/nginx.conf"
	upstreamChange = "proxy_pass with the address that the server listens on (--addr), and start the server"
	http1Change    = "proxy_pass to a port that speaks HTTP/1.1: take http2 off the listen line there (or grpc_pass off here)"
	sizeChange     = "raise the largest WebSocket message that the firewall or proxy on the way takes (nginx has no such limit)"
	bufferChange   = "proxy_buffering off; and nothing on the way that collects or inspects what the server sends"
)

// welcome is what the doctor reads of the server's first message (PROTOCOL.md section 4).
type welcome struct {
	Version      string
	PingInterval int64 // milliseconds
	Limits       struct{ Message int }
}

// envelope is a frame from the server (PROTOCOL.md section 2).
type envelope struct {
	Event string
	Data  json.RawMessage
	AckID int
}

// origin is what a browser sends that has the page.
func (d *doctor) origin() string {
	host := d.base.Host
	if port := map[string]string{"http": ":80", "https": ":443"}[d.base.Scheme]; port != "" {
		host = strings.TrimSuffix(host, port)
	}
	return d.base.Scheme + "://" + host
}

// attempt is a handshake at /ws and what became of it.
type attempt struct {
	conn    *websocket.Conn
	answer  answer
	begins  []byte // of what came back, as it was
	err     error
	pinged  chan struct{} // has room for one ping of the server
	welcome welcome
}

// dial makes a WebSocket handshake as a browser does, except that it does not insist on the certificate.
func (d *doctor) dial(ctx context.Context, u *url.URL, origin string) *attempt {
	a := &attempt{pinged: make(chan struct{}, 1)}
	record := func(conn net.Conn, err error) (net.Conn, error) {
		if err != nil {
			return nil, err
		}
		return &recorder{Conn: conn, begins: &a.begins}, nil
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return record(d.opts.Dial(ctx, network, addr))
		},
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := d.handshake(ctx, nil, true)
			if err != nil {
				return nil, err
			}
			return record(conn, nil)
		},
	}
	header := http.Header{}
	if origin != "" {
		header.Set("Origin", origin)
	}
	limited, cancel := context.WithTimeout(ctx, d.opts.Patience)
	defer cancel()
	conn, resp, err := websocket.Dial(limited, u.String(), &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HTTPHeader:   header,
		Subprotocols: []string{subprotocol},
		OnPingReceived: func(context.Context, []byte) bool {
			select {
			case a.pinged <- struct{}{}:
			default:
			}
			return true
		},
	})
	a.conn, a.err = conn, err
	if resp != nil {
		a.answer.Response = resp
		if err != nil && resp.Body != nil {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
			a.answer.body = string(body)
			resp.Body.Close()
		}
	}
	return a
}

// recorder keeps the first bytes that come.
type recorder struct {
	net.Conn
	begins *[]byte
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	const enough = 9 // the header of an HTTP/2 frame
	if missing := enough - len(*r.begins); missing > 0 {
		*r.begins = append(*r.begins, b[:min(n, missing)]...)
	}
	return n, err
}

// http2 tells whether the bytes begin a SETTINGS frame, which is what an HTTP/2 server says first (RFC 9113 section
// 3.4), also to who speaks HTTP/1.1.
func http2(begins []byte) bool {
	return len(begins) >= 9 && begins[0] == 0 && begins[3] == 4 && string(begins[5:9]) == "\x00\x00\x00\x00"
}

// socket looks whether a browser gets a connection, and whether it carries what it must. It tells whether there is one.
func (d *doctor) socket(ctx context.Context) bool {
	a := d.dial(ctx, d.at("ws"), d.origin())
	if a.err != nil {
		d.refused(ctx, a)
		return false
	}
	defer a.conn.CloseNow()
	if got := a.conn.Subprotocol(); got != subprotocol {
		d.problem("socket", "no proxy_set_header or proxy_hide_header for Sec-WebSocket-Protocol",
			"the proxy drops the subprotocol %s: browsers close such a connection", subprotocol)
		return false
	}
	if err := d.greeted(ctx, a); err != nil {
		if websocket.CloseStatus(err) == -1 {
			d.problem("socket", bufferChange, "the connection is made, but nothing that the server sends comes through: %v", err)
		} else {
			d.problem("socket", "see the server's log", "the server closes the connection at once: %v", err)
		}
		return false
	}
	took, err := d.ping(ctx, a.conn, 1, "")
	if err != nil {
		d.problem("socket", bufferChange, "what is sent through the connection gets no answer: %v", err)
		return false
	}
	d.ok("socket", "%s opens and answers after %v", d.at("ws"), took.Round(time.Microsecond))

	// The longest that a message within the limit can become (PROTOCOL.md section 1).
	size := 6 * a.welcome.Limits.Message
	if _, err := d.ping(ctx, a.conn, 2, strings.Repeat("x", size)); err != nil {
		d.problem("size", sizeChange, "a frame of %d bytes does not come through: %v", size, err)
	} else {
		d.ok("size", "a frame of %d bytes comes through", size)
	}
	return true
}

// greeted waits for the server's welcome.
func (d *doctor) greeted(ctx context.Context, a *attempt) error {
	a.conn.SetReadLimit(1 << 20)
	e, err := d.read(ctx, a.conn)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(e.Data, &a.welcome); err != nil || e.Event != "welcome" {
		return fmt.Errorf("the first message is no welcome but %q", e.Event)
	}
	return nil
}

// ping asks for an answer, with an envelope made longer by pad in a field that the server ignores.
func (d *doctor) ping(ctx context.Context, conn *websocket.Conn, id int, pad string) (time.Duration, error) {
	begin := time.Now()
	limited, cancel := context.WithTimeout(ctx, d.opts.Patience)
	defer cancel()
	frame := fmt.Sprintf(`{"event":"ping","ackId":%d,"pad":%q}`, id, pad)
	if err := conn.Write(limited, websocket.MessageText, []byte(frame)); err != nil {
		return 0, plainly(ctx, limited, err)
	}
	for {
		switch e, err := d.read(ctx, conn); {
		case err != nil:
			return 0, err
		case e.Event == "ack" && e.AckID == id:
			return time.Since(begin), nil
		}
	}
}

func (d *doctor) read(ctx context.Context, conn *websocket.Conn) (e envelope, err error) {
	limited, cancel := context.WithTimeout(ctx, d.opts.Patience)
	defer cancel()
	_, raw, err := conn.Read(limited)
	if err != nil {
		return e, plainly(ctx, limited, err)
	}
	return e, json.Unmarshal(raw, &e)
}

// plainly is what an operator needs to know of a broken connection.
func plainly(whole, limited context.Context, err error) error {
	var closed websocket.CloseError
	switch {
	case errors.As(err, &closed):
		return closed
	case whole.Err() == nil && limited.Err() != nil:
		return errors.New("no answer in time")
	}
	return errors.New("the connection was cut")
}
