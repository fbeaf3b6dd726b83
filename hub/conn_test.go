package hub

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

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

func TestUpgradeKeepsWhatCameEarly(t *testing.T) {
	for _, n := range []int{0, 1, 100, 3000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Cleanup(func() { goleak.VerifyNone(t) })
			tr := newTransport(t, newWriters(1)).overNetwork(false)
			first, second := strings.Repeat("a", n), strings.Repeat("b", n)
			early := append(clientFrame(opText, first), clientFrame(opText, second)...)
			l := tr.dial(early[:len(early)-1]...)
			l.send(t, early[len(early)-1:])
			if a, b := <-l.texts, <-l.texts; a != first || b != second {
				t.Errorf("got %q and %q", a, b)
			}
			l.send(t, clientClose(protocol.CloseNormal))
			<-l.ended
		})
	}
}

// wrapped is what a middleware makes of a ResponseWriter: no Hijacker itself.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestUpgradeThroughMiddleware(t *testing.T) {
	tr := newTransport(t, newWriters(1))
	next := tr.handler
	tr.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(wrapped{w}, r) })
	l := tr.overNetwork(false).dial()
	l.out.push(text("hello"))
	tr.pool.flush()
	l.expect(t, opText, "hello")
	l.send(t, clientClose(protocol.CloseNormal))
	<-l.ended
}

func TestUpgradeRefused(t *testing.T) {
	pool := newWriters(1)
	defer pool.close()
	w := httptest.NewRecorder()
	if _, _, err := upgrade(w, httptest.NewRequest(http.MethodGet, "/ws", nil), &websocket.AcceptOptions{}, pool, noLimit); err == nil || w.Code != http.StatusUpgradeRequired {
		t.Errorf("%v, status %d", err, w.Code)
	}
}

func TestFramesArriveInOrder(t *testing.T) {
	eachWay(t, func(t *testing.T, tr *transport) {
		l := tr.dial()
		l.out.push(text("one"))
		l.out.push(append(text("two"), text("three")...))
		l.out.push(pingFrame)
		l.out.push(text(strings.Repeat("x", 70000)))
		l.out.push(text("last"))
		tr.pool.flush()
		l.expect(t, opText, "one")
		l.expect(t, opText, "two")
		l.expect(t, opText, "three")
		l.expect(t, opPing, "")
		l.expect(t, opText, strings.Repeat("x", 70000))
		l.expect(t, opText, "last")

		l.send(t, clientFrame(opText, "hello"))
		if got := <-l.texts; got != "hello" || !l.out.heard() || l.out.heard() {
			t.Errorf("read %q, or no sign of life, or one too many", got)
		}
		l.send(t, clientFrame(opPing, "are you there"))
		l.expect(t, opPong, "are you there")
		l.out.abort()
		<-l.ended
	})
}

func TestBothWaysPutTheSameOnTheWire(t *testing.T) {
	var wire [2][]byte
	for i, library := range []bool{false, true} {
		pool := newWriters(1)
		pool.library = library
		l := newTransport(t, pool).overNetwork(false).dial()
		for _, n := range []int{0, 1, 125, 126, 127, 128, 65535, 65536, 300000} {
			l.out.push(text(strings.Repeat("x", n)))
			l.out.push(pingFrame)
			l.out.push(append(text("a"), text(strings.Repeat("y", n))...))
		}
		l.out.closeWith(protocol.CloseRestart, "restart")
		pool.flush()
		var all bytes.Buffer
		l.br = bufio.NewReader(io.TeeReader(l.conn, &all))
		for op := byte(0); op != opClose; {
			var err error
			if op, _, err = l.next(); err != nil {
				t.Fatal(err)
			}
		}
		l.send(t, clientClose(protocol.CloseRestart))
		l.expectEOF(t)
		wire[i] = all.Bytes()
		<-l.ended
	}
	if len(wire[0]) < 600000 || !bytes.Equal(wire[0], wire[1]) {
		t.Errorf("%d bytes, by the library %d", len(wire[0]), len(wire[1]))
	}
}

func TestCloseByUs(t *testing.T) {
	eachWay(t, func(t *testing.T, tr *transport) {
		l := tr.dial()
		l.out.push(text("before"))
		l.out.closeWith(protocol.CloseTakenOver, "taken over")
		if !l.out.push(text("after")) {
			t.Error("a closing connection has no limit to go over")
		}
		l.out.closeWith(protocol.CloseNormal, "again")
		tr.pool.flush()
		l.expect(t, opText, "before")
		l.expectClose(t, protocol.CloseTakenOver, "taken over")
		l.send(t, clientClose(protocol.CloseTakenOver))
		l.expectEOF(t)
		if err := <-l.ended; websocket.CloseStatus(err) != 4501 || l.out.closeCode() != protocol.CloseTakenOver {
			t.Errorf("%v, closing with %d", err, l.out.closeCode())
		}
	})
}

func TestCloseByThePeer(t *testing.T) {
	eachWay(t, func(t *testing.T, tr *transport) {
		l := tr.dial()
		l.send(t, clientClose(protocol.CloseNormal))
		l.expectClose(t, protocol.CloseNormal, "")
		l.expectEOF(t)
		if err := <-l.ended; websocket.CloseStatus(err) != 1000 || l.out.closeCode() != 0 {
			t.Errorf("%v, closing with %d", err, l.out.closeCode())
		}
		if !l.out.push(text("after")) || l.out.size() != 0 {
			t.Error("a closed connection takes nothing and overflows never")
		}
	})
}

func TestAbort(t *testing.T) {
	eachWay(t, func(t *testing.T, tr *transport) {
		l := tr.dial()
		l.out.push(text(strings.Repeat("x", 20<<20)))
		l.out.push(text("after it"))
		tr.pool.flush()
		l.out.abort()
		if err := <-l.ended; err == nil {
			t.Error("the reader must end")
		}
		if _, err := io.Copy(io.Discard, l.br); errors.Is(err, io.ErrNoProgress) {
			t.Error(err)
		}
	})
}

// A peer that breaks the rules while it goes on sending learns why.
func TestTooLargeAFrame(t *testing.T) {
	for _, way := range []bool{false, true} {
		tr := newTransport(t, newWriters(1)).overNetwork(way)
		l := tr.dial()
		l.ws.SetReadLimit(1000)
		go func() {
			_, _ = l.conn.Write(clientFrame(opText, strings.Repeat("x", 4<<20)))
		}()
		op, payload, err := l.next()
		if err != nil || op != opClose || binary.BigEndian.Uint16([]byte(payload)) != uint16(protocol.CloseTooBig) {
			t.Errorf("got frame %x %.40q, %v", op, payload, err)
		}
		_ = l.conn.Close()
		if err := <-l.ended; !errors.Is(err, websocket.ErrMessageTooBig) || l.out.closeCode() != 0 {
			t.Error(err)
		}
	}
}

// deaf is a recorder that can be asked for deadlines.
type deaf struct{ *recorder }

func (deaf) SetWriteDeadline(time.Time) error { return nil }

// What the library no longer writes, because it has closed the connection after
// the writer took it, is off the books, and the writer ends.
func TestLibraryRefusesAFrame(t *testing.T) {
	pool := newWriters(0)
	defer pool.close()
	pool.library = true
	ws, s, err := upgrade(hijackable{httptest.NewRecorder(), deaf{&recorder{}}}, handshake(), &websocket.AcceptOptions{}, pool, noLimit)
	if err != nil {
		t.Fatal(err)
	}
	o := s.o
	o.busy = true // the test is the writer
	o.push(text("refused"))
	pool.flush()
	taken := o.queue
	o.queue = queue{}
	_ = ws.CloseNow()
	list := o.lib.encode(taken.entries)
	if len(list) != 0 {
		t.Errorf("the library wrote %q after its end", list[0].frames)
	}
	o.writeSlowly(remainder{list: list, bytes: taken.bytes})
	if o.busy || o.size() != 0 || pool.total() != 0 {
		t.Errorf("busy %v, %d bytes unsent, %d in all", o.busy, o.size(), pool.total())
	}
}
