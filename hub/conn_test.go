package hub

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"parley/protocol"
)

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
