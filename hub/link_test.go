package hub

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"parley/protocol"
)

// transport is a server that upgrades whoever comes, reads what they send, and
// leaves the rest to the test, which plays the hub.
type transport struct {
	t       *testing.T
	pool    *writers
	handler http.Handler
	server  *httptest.Server // nil over pipes
	links   chan *link
	readers sync.WaitGroup
}

// link is one connection: the server's end and the client's.
type link struct {
	ws    *websocket.Conn
	out   *outlet
	texts chan string // what the server has read
	ended chan error  // why it reads no more

	conn net.Conn // the client's
	br   *bufio.Reader
}

// limit is more than any test queues, unless it is about the limit.
const noLimit = 1 << 30

func newTransport(t *testing.T, pool *writers) *transport {
	tr := &transport{t: t, pool: pool, links: make(chan *link, 1)}
	tr.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The options ask for what upgrade must not grant.
		ws, s, err := upgrade(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover}, pool, noLimit)
		if err != nil {
			t.Error(err)
			return
		}
		l := &link{ws: ws, out: s.o, texts: make(chan string, 100), ended: make(chan error, 1)}
		tr.readers.Go(func() { l.ended <- l.read() })
		tr.links <- l
	})
	t.Cleanup(func() {
		if tr.server != nil {
			tr.server.Close()
		}
		tr.readers.Wait()
		pool.flush()
		pool.close()
		if n := pool.total(); n != 0 {
			t.Errorf("%d bytes still on the books", n)
		}
	})
	return tr
}

func (l *link) read() error {
	defer l.out.finish()
	for {
		_, r, err := l.ws.Reader(context.Background())
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		l.texts <- string(b)
	}
}

// overNetwork makes the clients come over loopback, with TLS or without.
func (tr *transport) overNetwork(secure bool) *transport {
	if tr.server = httptest.NewUnstartedServer(tr.handler); secure {
		tr.server.StartTLS()
	} else {
		tr.server.Start()
	}
	return tr
}

const handshakeText = "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n\r\n"

// dial connects a client that sends early together with its handshake.
func (tr *transport) dial(early ...byte) *link {
	tr.t.Helper()
	if tr.server == nil {
		return tr.pipe()
	}
	conn, err := net.Dial("tcp", tr.server.Listener.Addr().String())
	if err != nil {
		tr.t.Fatal(err)
	}
	if tr.server.TLS != nil {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	tr.t.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.Write(append([]byte(handshakeText), early...)); err != nil {
		tr.t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		tr.t.Fatal(resp, err)
	}
	if ext := resp.Header.Get("Sec-WebSocket-Extensions"); ext != "" {
		tr.t.Fatalf("negotiated %s", ext)
	}
	l := <-tr.links
	l.conn, l.br = conn, br
	return l
}

// pipe connects a client over a pipe without any buffer: a write that nobody
// reads blocks, as on a socket that is full. It works in a bubble of synctest.
func (tr *transport) pipe() *link {
	tr.t.Helper()
	server, client := net.Pipe()
	tr.t.Cleanup(func() { _ = client.Close() })
	go tr.handler.ServeHTTP(hijackable{httptest.NewRecorder(), server}, handshake())
	br := bufio.NewReaderSize(client, 16)
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		tr.t.Fatal(resp, err)
	}
	l := <-tr.links
	l.conn, l.br = client, br
	return l
}

// eachWay runs a test over TCP, TLS and a pipe, with frames of our own and with
// the library's.
func eachWay(t *testing.T, test func(t *testing.T, tr *transport)) {
	for _, way := range []string{"tcp", "tls", "pipe"} {
		for _, library := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, library %v", way, library), func(t *testing.T) {
				t.Cleanup(func() { goleak.VerifyNone(t) })
				pool := newWriters(2)
				pool.library = library
				tr := newTransport(t, pool)
				if way != "pipe" {
					tr.overNetwork(way == "tls")
				}
				test(t, tr)
			})
		}
	}
}

// clientFrame is a frame as a client sends it, masked (with zeros).
func clientFrame(op byte, payload string) []byte {
	b := appendHeader(nil, op, len(payload))
	b[1] |= 0x80
	return append(append(b, 0, 0, 0, 0), payload...)
}

func clientClose(code protocol.CloseCode) []byte {
	return clientFrame(opClose, string(binary.BigEndian.AppendUint16(nil, uint16(code))))
}

func (l *link) send(t *testing.T, frame []byte) {
	t.Helper()
	if _, err := l.conn.Write(frame); err != nil {
		t.Error(err)
	}
}

// next reads a frame of the server's.
func (l *link) next() (op byte, payload string, err error) {
	head := make([]byte, 10)
	if _, err := io.ReadFull(l.br, head[:2]); err != nil {
		return 0, "", err
	}
	if head[0]&0x70 != 0 || head[1]&0x80 != 0 || head[0]&finBit == 0 {
		return 0, "", fmt.Errorf("header % x", head[:2])
	}
	more := map[byte]int{126: 2, 127: 8}[head[1]]
	if _, err := io.ReadFull(l.br, head[2:2+more]); err != nil {
		return 0, "", err
	}
	header, size := frameSize(head)
	b := make([]byte, size-header)
	_, err = io.ReadFull(l.br, b)
	return head[0] & 0xf, string(b), err
}

// expect reads the next frame and compares it.
func (l *link) expect(t *testing.T, op byte, payload string) {
	t.Helper()
	gotOp, got, err := l.next()
	if err != nil || gotOp != op || got != payload {
		t.Fatalf("got frame %x %.40q (%d bytes), %v; want %x %.40q", gotOp, got, len(got), err, op, payload)
	}
}

func (l *link) expectClose(t *testing.T, code protocol.CloseCode, reason string) {
	t.Helper()
	l.expect(t, opClose, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}

func (l *link) expectEOF(t *testing.T) {
	t.Helper()
	if op, payload, err := l.next(); err != io.EOF {
		t.Fatalf("got frame %x %.40q, %v; want the end", op, payload, err)
	}
}

func text(s string) []byte { return appendText(nil, []byte(s)) }
