package hubtest

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const dialTimeout = 5 * time.Second

// Proxy passes TCP connections on to servers, and breaks them when told to. All methods may be called from any goroutine.
type Proxy struct {
	ln      net.Listener
	targets []string
	next    atomic.Uint64 // whose turn it is among the targets
	refuse  atomic.Bool
	wg      sync.WaitGroup

	mu     sync.Mutex
	links  []*Link // open ones, in order of arrival
	closed bool
}

// NewProxy listens on a free loopback port for connections to the targets (host:port), which take turns; one that does
// not answer is passed over. The proxy ends with the test.
func NewProxy(t testing.TB, targets ...string) *Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{ln: ln, targets: targets}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr is where the proxy listens, host:port.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// URL is the page's address through the proxy, without a slash at the end.
func (p *Proxy) URL() string { return "http://" + p.Addr() }

// WS is the address of the WebSocket endpoint through the proxy.
func (p *Proxy) WS() string { return "ws://" + p.Addr() + "/ws" }

// Refuse makes new connections end with a reset at once, as those to a dead host do, or lets them in again. Those that
// are there stay.
func (p *Proxy) Refuse(refuse bool) { p.refuse.Store(refuse) }

// Links are the connections that are open now, in order of arrival.
func (p *Proxy) Links() []*Link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.links)
}

// Each calls do for every connection that is open now.
func (p *Proxy) Each(do func(*Link)) {
	for _, l := range p.Links() {
		do(l)
	}
}

func (p *Proxy) accept() {
	for {
		conn, err := p.ln.Accept()
		if err != nil {
			return // closed
		}
		p.wg.Go(func() { p.serve(conn.(*net.TCPConn)) })
	}
}

func (p *Proxy) serve(client *net.TCPConn) {
	var server *net.TCPConn
	if !p.refuse.Load() {
		server = p.dial()
	}
	if server == nil {
		client.SetLinger(0)
		client.Close()
		return
	}
	l := newLink(client, server)
	if !p.add(l) {
		l.Cut(true)
		return
	}
	defer p.remove(l)
	l.run()
}

func (p *Proxy) dial() *net.TCPConn {
	first := p.next.Add(1)
	for i := range uint64(len(p.targets)) {
		target := p.targets[(first+i)%uint64(len(p.targets))]
		if conn, err := net.DialTimeout("tcp", target, dialTimeout); err == nil {
			return conn.(*net.TCPConn)
		}
	}
	return nil
}

func (p *Proxy) add(l *Link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.links = append(p.links, l)
	return true
}

func (p *Proxy) remove(l *Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links = slices.DeleteFunc(p.links, func(other *Link) bool { return other == l })
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.ln.Close()
	p.Each(func(l *Link) { l.Cut(true) })
	p.wg.Wait()
}
