package hub

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"parley/protocol"
)

// inBubble runs a test over a pipe, with time that passes only when everybody
// waits.
func inBubble(t *testing.T, test func(t *testing.T, tr *transport, l *link)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, newWriters(2))
		test(t, tr, tr.dial())
	})
}

// after tells how long the server takes to close the TCP connection.
func (l *link) after(t *testing.T) time.Duration {
	t.Helper()
	start := time.Now()
	<-l.ended
	return time.Since(start)
}

func TestCloseUnanswered(t *testing.T) {
	inBubble(t, func(t *testing.T, tr *transport, l *link) {
		l.out.closeWith(protocol.CloseRestart, "")
		l.expectClose(t, protocol.CloseRestart, "")
		if d := l.after(t); d != closeTimeout {
			t.Errorf("closed after %v", d)
		}
		l.expectEOF(t)
	})
}

func TestCloseNowDropsWhatWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, tr *transport, l *link) {
		frame := text(strings.Repeat("x", 1000))
		for range 100 {
			l.out.push(frame)
			tr.pool.flush()
		}
		synctest.Wait() // the writer is stuck in its first chunk
		l.out.push(frame)
		l.out.closeNow(protocol.CloseTryLater, "too slow")
		tr.pool.flush()
		n := 0
		for {
			op, payload, err := l.next()
			if err != nil {
				t.Fatal(err)
			}
			if op == opClose {
				break
			}
			if n += len(payload) + 4; op != opText || len(payload) != 1000 {
				t.Fatalf("frame %x of %d bytes", op, len(payload))
			}
		}
		if n == 0 || n > slowChunk {
			t.Errorf("%d bytes of frames went before the close frame", n)
		}
		l.send(t, clientClose(protocol.CloseTryLater))
		l.expectEOF(t)
	})
}

func TestCloseNowOfAStuckPeer(t *testing.T) {
	for _, first := range []string{"closeNow", "closeWith, then closeNow"} {
		inBubble(t, func(t *testing.T, tr *transport, l *link) {
			l.out.push(text("nobody reads this"))
			tr.pool.flush()
			synctest.Wait()
			if first != "closeNow" {
				l.out.closeWith(protocol.CloseRestart, "")
			}
			l.out.closeNow(protocol.CloseTryLater, "")
			if d := l.after(t); d != closeTimeout {
				t.Errorf("%s: closed after %v", first, d)
			}
		})
	}
}

func TestStall(t *testing.T) {
	inBubble(t, func(t *testing.T, tr *transport, l *link) {
		l.out.push(text(strings.Repeat("x", 100)))
		tr.pool.flush()
		if d := l.after(t); d != stallTimeout {
			t.Errorf("given up after %v", d)
		}
	})
}

// A peer that reads a little now and then is slow, not gone.
func TestSlowIsNotStalled(t *testing.T) {
	inBubble(t, func(t *testing.T, tr *transport, l *link) {
		l.out.push(text(strings.Repeat("x", 98)))
		l.out.push(text("end"))
		tr.pool.flush()
		var got []byte
		for range 20 {
			<-time.After(stallTimeout - time.Second)
			b := make([]byte, 5)
			if _, err := io.ReadFull(l.conn, b); err != nil {
				t.Fatal(err)
			}
			got = append(got, b...)
		}
		l.expect(t, opText, "end")
		if len(got) != 100 || got[99] != 'x' {
			t.Errorf("got %q", got)
		}
		<-time.After(10 * stallTimeout)
		l.out.push(text("the deadline is gone"))
		tr.pool.flush()
		l.expect(t, opText, "the deadline is gone")
		l.out.abort()
	})
}

// Pings are answered at a frame's end, the newest only, and a peer that does not
// read its pongs is still read from.
func TestPongsBehindABlockedFrame(t *testing.T) {
	inBubble(t, func(t *testing.T, tr *transport, l *link) {
		l.out.push(text("blocked"))
		tr.pool.flush()
		synctest.Wait()
		for _, n := range []string{"1", "2", "3"} {
			l.send(t, clientFrame(opPing, n))
		}
		l.send(t, clientFrame(opText, "fence"))
		<-l.texts
		l.out.push(text("next"))
		l.expect(t, opText, "blocked")
		l.expect(t, opPong, "3")
		l.expect(t, opText, "next")
		l.out.abort()
	})
}

// The peer's close frame comes while ours waits behind what the peer does not
// read: it is no answer to ours, which the peer has not seen.
func TestClosesCross(t *testing.T) {
	inBubble(t, func(t *testing.T, tr *transport, l *link) {
		l.out.push(text("blocked"))
		tr.pool.flush()
		synctest.Wait()
		l.out.push(text("never sent"))
		l.out.closeWith(protocol.CloseTakenOver, "")
		if l.out.closeCode() == 0 {
			t.Error("nobody else has begun")
		}
		l.send(t, clientClose(protocol.CloseNormal))
		synctest.Wait()
		l.expect(t, opText, "blocked")
		l.expectClose(t, protocol.CloseNormal, "")
		l.expectEOF(t)
		if err := <-l.ended; websocket.CloseStatus(err) != 1000 || l.out.closeCode() != 0 {
			t.Errorf("%v, closing with %d", err, l.out.closeCode())
		}
	})
}

// The peer closes and reads no more: the reader must not wait for ever.
func TestCloseByAStuckPeer(t *testing.T) {
	inBubble(t, func(t *testing.T, tr *transport, l *link) {
		l.out.push(text("blocked"))
		tr.pool.flush()
		synctest.Wait()
		l.send(t, clientClose(protocol.CloseNormal))
		if d := l.after(t); d != closeTimeout {
			t.Errorf("ended after %v", d)
		}
	})
}

func TestWritersClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, newWriters(2))
		l, late := tr.dial(), tr.dial()
		l.out.push(text("before"))
		tr.pool.flush()
		l.expect(t, opText, "before")
		tr.pool.close()
		l.out.push(text("after"))
		tr.pool.flush()
		late.out.closeWith(protocol.CloseRestart, "")
		for _, l := range []*link{l, late} {
			if op, payload, err := l.next(); !errors.Is(err, io.EOF) {
				t.Errorf("frame %x %q, %v", op, payload, err)
			}
			<-l.ended
		}
	})
}
