package hub

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"parley/protocol"
)

// talk is what the hub says in a stress test: numbered frames, whose content
// follows from the number.
func talk(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	size := r.IntN(300)
	if r.IntN(50) == 0 {
		size = r.IntN(80_000)
	}
	return text(fmt.Sprintf("%06d", n) + strings.Repeat(string(rune('a'+n%26)), size))
}

// listener reads one connection to its end and checks that what it gets is the
// talk, from its start, in order, without a gap.
type listener struct {
	*link
	talk [][]byte
	next int // number of the frame that comes next
	pong int // the newest pong's number
	end  protocol.CloseCode
}

// listen reads until the close frame, or the end of the connection.
func (l *listener) listen(stop func() bool) error {
	for !stop() {
		op, payload, err := l.link.next()
		switch {
		case err != nil:
			return err
		case op == opText:
			if l.next >= len(l.talk) || string(text(payload)) != string(l.talk[l.next]) {
				return fmt.Errorf("%.10q (%d bytes) in the place of frame %d", payload, len(payload), l.next)
			}
			l.next++
		case op == opPong:
			var n int
			if _, err := fmt.Sscan(payload, &n); err != nil || n <= l.pong {
				return fmt.Errorf("pong %q after %d", payload, l.pong)
			}
			l.pong = n
		case op == opClose:
			l.end = protocol.CloseCode(binary.BigEndian.Uint16([]byte(payload)))
			return nil
		case op != opPing:
			return fmt.Errorf("frame %x", op)
		}
	}
	return nil
}

// sips makes every read of the client's small, so that the server's socket is
// full most of the time.
type sips struct {
	net.Conn
	r *rand.Rand
}

func (s sips) Read(b []byte) (int, error) {
	runtime.Gosched()
	return s.Conn.Read(b[:min(len(b), 1+s.r.IntN(3000))])
}

// smallBuffers makes the kernel hold little between the two ends.
func smallBuffers(t *testing.T, l *link) {
	t.Helper()
	under := func(c net.Conn) net.Conn {
		if c, ok := c.(*tls.Conn); ok {
			return c.NetConn()
		}
		return c
	}
	if server, ok := under(l.out.conn).(*net.TCPConn); ok {
		client := under(l.conn).(*net.TCPConn)
		if err := errors.Join(server.SetWriteBuffer(32<<10), client.SetReadBuffer(32<<10)); err != nil {
			t.Error(err)
		}
	}
}

// Many connections, of readers that are fast, slow, absent, or about to leave,
// some with pings: every frame is whole and in order, none is lost, none comes
// twice.
func TestStress(t *testing.T) {
	eachWay(t, func(t *testing.T, tr *transport) {
		const frames, copies = 400, 2
		all := make([][]byte, frames)
		for i := range all {
			all[i] = talk(i)
		}
		told := make(chan struct{}) // closed when everything has been queued
		always := func() bool { return false }
		finish := func(l *listener) error {
			if err := l.listen(always); err != nil {
				return err
			}
			if l.next != frames || l.end != protocol.CloseRestart {
				return fmt.Errorf("%d frames, then closed with %d", l.next, l.end)
			}
			_, err := l.conn.Write(clientClose(l.end))
			return err
		}
		kinds := map[string]func(*listener) error{
			"fast": finish,
			"slow": func(l *listener) error {
				l.br.Reset(sips{l.conn, rand.New(rand.NewPCG(2, 2))})
				return finish(l)
			},
			"absent": func(l *listener) error {
				<-told
				return finish(l)
			},
			"pinging": func(l *listener) error {
				var pings sync.WaitGroup
				pings.Go(func() {
					for n := range 300 {
						if _, err := l.conn.Write(clientFrame(opPing, fmt.Sprint(n+1))); err != nil {
							return // the talk was over first
						}
					}
				})
				defer pings.Wait()
				return finish(l)
			},
			"leaving": func(l *listener) error {
				if err := l.listen(func() bool { return l.next == frames/3 }); err != nil {
					return err
				}
				if _, err := l.conn.Write(clientClose(protocol.CloseGoingAway)); err != nil {
					return err
				}
				// Unless the hub's was under way first, behind all of the talk.
				err := l.listen(always)
				crossed := l.end == protocol.CloseRestart && l.next == frames
				if err != nil || l.end != protocol.CloseGoingAway && !crossed {
					return fmt.Errorf("closed with %d after %d frames, %v", l.end, l.next, err)
				}
				if _, _, err := l.link.next(); err != io.EOF {
					return fmt.Errorf("after the close frame: %v", err)
				}
				return nil
			},
			"gone": func(l *listener) error {
				err := l.listen(func() bool { return l.next == frames/3 })
				_ = l.conn.Close()
				return err
			},
		}
		var outlets []*outlet
		var clients sync.WaitGroup
		for kind, run := range kinds {
			for range copies {
				l := &listener{link: tr.dial(), talk: all}
				smallBuffers(t, l.link)
				outlets = append(outlets, l.out)
				clients.Go(func() {
					if err := run(l); err != nil {
						t.Errorf("%s: %v", kind, err)
					}
				})
			}
		}
		r := rand.New(rand.NewPCG(3, 3))
		for i := 0; i < frames; {
			n := min(1+r.IntN(5), frames-i)
			var run []byte
			for _, f := range all[i : i+n] {
				run = append(run, f...)
			}
			for _, o := range outlets {
				o.push(run)
				if r.IntN(20) == 0 {
					o.push(pingFrame)
				}
			}
			tr.pool.flush()
			i += n
			if r.IntN(4) == 0 {
				runtime.Gosched()
			}
		}
		close(told)
		for _, o := range outlets {
			o.closeWith(protocol.CloseRestart, "")
		}
		clients.Wait()
	})
}

// Outlets are taken in the order in which they came, however that falls on the
// slice that holds them.
func TestReadyKeepsItsOrder(t *testing.T) {
	p := &writers{}
	p.work.L, p.quiet.L = &p.mu, &p.mu
	r := rand.New(rand.NewPCG(4, 4))
	var waiting []*outlet
	for range 2000 {
		for range r.IntN(6) {
			o := &outlet{pool: p}
			waiting = append(waiting, o)
			p.mark(o)
		}
		p.flush()
		again := []*outlet{{pool: p}}
		waiting = append(waiting, again...)
		batch := make([]*outlet, 1+r.IntN(6))
		n := p.next(again, batch)
		if !slices.Equal(batch[:n], waiting[:n]) {
			t.Fatal("out of order")
		}
		waiting = waiting[n:]
	}
	if got := p.ready[p.head:]; !slices.Equal(got, waiting) {
		t.Errorf("%d left, want %d", len(got), len(waiting))
	}
}

// A delivery allocates nothing: not in the queue, not on the way to the socket.
func TestDeliveryDoesNotAllocate(t *testing.T) {
	tr := newTransport(t, newWriters(2)).overNetwork(false)
	links := make([]*link, 20)
	for i := range links {
		links[i] = tr.dial()
	}
	frame := text(strings.Repeat("x", 200))
	got := make([]byte, len(frame))
	round := func() {
		for _, l := range links {
			l.out.push(frame)
		}
		tr.pool.flush()
		for _, l := range links {
			if _, err := io.ReadFull(l.conn, got); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 20 {
		round() // until the queues have the room that they keep
	}
	if n := testing.AllocsPerRun(200, round); n >= 1 {
		t.Errorf("%v allocations for %d deliveries", n, len(links))
	}
	for _, l := range links {
		l.out.abort()
	}
}
