package hubtest

import (
	"io"
	"net"
	"sync"
	"time"
)

// Direction is one of the two ways through a Link, or both.
type Direction uint8

const (
	ToServer Direction = 1 << iota
	ToClient
	Both = ToServer | ToClient
)

func (d Direction) String() string {
	return [...]string{"no way", "to the server", "to the client", "both ways"}[d&Both]
}

// Link is one connection through a Proxy: two TCP connections and a pump for each direction.
type Link struct {
	client, server     *net.TCPConn
	toServer, toClient pipe
	end                sync.Once
	done               chan struct{} // closed when the link is cut
}

// pipe is what one direction has been told.
type pipe struct {
	mu    sync.Mutex
	gate  chan struct{} // closed while bytes may pass; replaced when frozen
	delay time.Duration // before each chunk
	left  int64         // bytes that still pass before the link is cut, or unlimited
}

const unlimited = -1

func newLink(client, server *net.TCPConn) *Link {
	open := make(chan struct{})
	close(open)
	return &Link{
		client: client, server: server, done: make(chan struct{}),
		toServer: pipe{gate: open, left: unlimited}, toClient: pipe{gate: open, left: unlimited},
	}
}

// Cut ends the connection on both sides: with a reset, which is what is seen of a host that lost its state, or in
// order (FIN) but without a WebSocket close frame, which is what is seen of a process that died.
func (l *Link) Cut(reset bool) {
	l.end.Do(func() {
		close(l.done)
		for _, conn := range []*net.TCPConn{l.client, l.server} {
			if reset {
				conn.SetLinger(0)
			}
			conn.Close()
		}
	})
}

// CutAfter lets n more bytes pass in that direction and then ends the connection in order: with n smaller than a frame
// the receiver is left with a part of one.
func (l *Link) CutAfter(d Direction, n int64) {
	l.each(d, func(p *pipe) { p.left = n })
}

// Freeze stops the bytes in that direction and keeps the connection: what was sent waits, and so does its end. One
// direction only makes the connection half open.
func (l *Link) Freeze(d Direction) {
	l.each(d, func(p *pipe) {
		select {
		case <-p.gate:
			p.gate = make(chan struct{})
		default: // frozen already
		}
	})
}

// Thaw lets the bytes pass again, those that waited first.
func (l *Link) Thaw(d Direction) {
	l.each(d, func(p *pipe) {
		select {
		case <-p.gate: // not frozen
		default:
			close(p.gate)
		}
	})
}

// Abandon ends the client's side with a reset, while the server's stays open and silent: what a phone leaves behind
// that changed its network.
func (l *Link) Abandon() {
	l.Freeze(Both)
	l.client.SetLinger(0)
	l.client.Close()
}

// Delay makes each chunk of bytes in that direction wait for d before it passes.
func (l *Link) Delay(dir Direction, d time.Duration) {
	l.each(dir, func(p *pipe) { p.delay = d })
}

func (l *Link) each(d Direction, do func(*pipe)) {
	for _, way := range []struct {
		d Direction
		p *pipe
	}{{ToServer, &l.toServer}, {ToClient, &l.toClient}} {
		if d&way.d != 0 {
			way.p.mu.Lock()
			do(way.p)
			way.p.mu.Unlock()
		}
	}
}

// run pumps until both directions have ended.
func (l *Link) run() {
	var pumps sync.WaitGroup
	pumps.Go(func() { l.pump(l.server, l.client, &l.toServer) })
	pumps.Go(func() { l.pump(l.client, l.server, &l.toClient) })
	pumps.Wait()
	l.Cut(false)
}

func (l *Link) pump(dst, src *net.TCPConn, p *pipe) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if !p.wait(l.done) {
			return
		}
		n, last := p.take(n)
		if _, werr := dst.Write(buf[:n]); werr != nil {
			l.Cut(true)
			return
		}
		switch {
		case last:
			l.Cut(false)
			return
		case err == io.EOF:
			dst.CloseWrite()
			return
		case err != nil:
			l.Cut(true)
			return
		}
	}
}

// wait returns true when what was read may pass, false when the link was cut before.
func (p *pipe) wait(done <-chan struct{}) bool {
	p.mu.Lock()
	delay := p.delay
	p.mu.Unlock()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-done:
			return false
		}
	}
	p.mu.Lock()
	gate := p.gate
	p.mu.Unlock()
	select {
	case <-gate:
		return true
	case <-done:
		return false
	}
}

// take tells how many of n bytes may pass, and whether the link is to be cut after them.
func (p *pipe) take(n int) (pass int, last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == unlimited {
		return n, false
	}
	if int64(n) < p.left {
		p.left -= int64(n)
		return n, false
	}
	n = int(p.left)
	return n, true
}
