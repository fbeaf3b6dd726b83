package hubtest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"parley/store/proctest"
)

// backend is a TCP server that hands its connections to the test.
func backend(t *testing.T) (addr string, accepted <-chan *net.TCPConn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan *net.TCPConn, 8)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns <- conn.(*net.TCPConn)
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String(), conns
}

// linked is a connection through a proxy: both ends of it, and the link.
func linked(t *testing.T) (client, server *net.TCPConn, link *Link) {
	addr, accepted := backend(t)
	p := NewProxy(t, addr)
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	client, server = conn.(*net.TCPConn), <-accepted
	t.Cleanup(func() { client.Close(); server.Close() })
	pass(t, client, server, "one way") // the link is in the list before it pumps
	pass(t, server, client, "and the other")
	links := p.Links()
	if len(links) != 1 {
		t.Fatalf("%d links, want 1", len(links))
	}
	return client, server, links[0]
}

func pass(t *testing.T, from, to net.Conn, text string) {
	t.Helper()
	send(t, from, text)
	to.SetReadDeadline(time.Now().Add(time.Minute))
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Fatalf("sent %q, got %q, %v", text, got, err)
	}
}

func send(t *testing.T, to net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(to, text); err != nil {
		t.Fatal(err)
	}
}

// silent checks that nothing, not even an end, comes within a moment.
func silent(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 16)); !errors.Is(err, net.ErrClosed) && !isTimeout(err) {
		t.Fatalf("want silence, got %d bytes, %v", n, err)
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func readEnd(t *testing.T, conn net.Conn) ([]byte, error) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	var b bytes.Buffer
	_, err := io.Copy(&b, conn)
	if isTimeout(err) {
		t.Fatal("the connection did not end")
	}
	return b.Bytes(), err
}

func TestCut(t *testing.T) {
	client, server, link := linked(t)
	link.Cut(true)
	for _, end := range []net.Conn{client, server} {
		if _, err := readEnd(t, end); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after a reset: %v", err)
		}
	}
	client, server, link = linked(t)
	link.Cut(false)
	for _, end := range []net.Conn{client, server} {
		if _, err := readEnd(t, end); err != nil {
			t.Errorf("after an end in order: %v", err)
		}
	}
}

func TestCutAfterPassesThatMany(t *testing.T) {
	client, server, link := linked(t)
	link.CutAfter(ToClient, 7)
	send(t, server, "four")
	pass(t, client, server, "the other way is as it was")
	send(t, server, " and more")
	if got, err := readEnd(t, client); string(got) != "four an" || err != nil {
		t.Errorf("the client got %q, %v", got, err)
	}
	readEnd(t, server)
}

func TestFreezeHoldsBytesAndEnds(t *testing.T) {
	client, server, link := linked(t)
	link.Freeze(Both)
	link.Freeze(Both) // once is enough
	send(t, client, "held")
	send(t, server, "held as well")
	server.Close()
	silent(t, client)
	link.Thaw(Both)
	link.Thaw(Both)
	if got, _ := readEnd(t, client); string(got) != "held as well" {
		t.Errorf("the client got %q", got)
	}
}

func TestHalfOpen(t *testing.T) {
	client, server, link := linked(t)
	link.Freeze(ToClient)
	send(t, server, "into the void")
	silent(t, client)
	pass(t, client, server, "still heard")
}

func TestAbandonLeavesTheServerAlone(t *testing.T) {
	client, server, link := linked(t)
	link.Abandon()
	if _, err := readEnd(t, client); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v", err)
	}
	silent(t, server)
	send(t, server, "anybody there?")
}

func TestDelay(t *testing.T) {
	client, server, link := linked(t)
	const d = 30 * time.Millisecond
	link.Delay(ToServer, d)
	begin := time.Now()
	pass(t, client, server, "late")
	if took := time.Since(begin); took < d {
		t.Errorf("it took %v, want at least %v", took, d)
	}
}

func TestTargetsTakeTurnsAndTheDeadArePassedOver(t *testing.T) {
	first, atFirst := backend(t)
	second, atSecond := backend(t)
	p := NewProxy(t, first, proctest.FreeAddr(t), second)
	for range 3 {
		conn, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	for _, accepted := range []<-chan *net.TCPConn{atFirst, atSecond} {
		select {
		case conn := <-accepted:
			conn.Close()
		case <-time.After(time.Minute):
			t.Fatal("a target got no connection")
		}
	}
}

func TestRefuse(t *testing.T) {
	addr, accepted := backend(t)
	p := NewProxy(t, addr)
	p.Refuse(true)
	conn, err := net.Dial("tcp", p.Addr())
	if err == nil {
		_, err = readEnd(t, conn)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a refused connection: %v", err)
	}
	p.Refuse(false)
	conn, err = net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	server := <-accepted
	defer server.Close()
	pass(t, conn, server, "let in again")
}

func TestHarmIsTheSeeds(t *testing.T) {
	draw := func(seed uint64) (all []Harm) {
		rng := rand.New(rand.NewPCG(seed, 0))
		for range 200 {
			all = append(all, ChooseHarm(rng, time.Second))
		}
		return all
	}
	one, again, other := draw(1), draw(1), draw(2)
	met := make(map[Kind]bool)
	differ := false
	for i, h := range one {
		if h != again[i] {
			t.Fatalf("number %d of the same seed: %v, then %v", i, h, again[i])
		}
		differ = differ || h != other[i]
		met[h.Kind] = true
		if h.For > time.Second || strings.Contains(h.String(), "%!") {
			t.Errorf("drawn: %v", h)
		}
	}
	if len(met) != int(kinds) || !differ {
		t.Errorf("kinds met: %v; another seed differs: %v", met, differ)
	}
}

func TestHarmDoesWhatItSays(t *testing.T) {
	for kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) {
			client, server, link := linked(t)
			link.Harm(Harm{Kind: kind, Way: ToClient, Bytes: 3, For: 100 * time.Millisecond})
			switch kind {
			case Reset, Finish:
				readEnd(t, client)
				readEnd(t, server)
			case Torn:
				send(t, server, "torn")
				if got, _ := readEnd(t, client); string(got) != "tor" {
					t.Errorf("the client got %q", got)
				}
			case Frozen, HalfOpen, Slow:
				pass(t, server, client, "late")
			case Left:
				readEnd(t, client)
				silent(t, server)
			}
		})
	}
}
