//go:build linux

package bench

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// load is the generator: all clients of one server, one thread.
type load struct {
	t     *testing.T
	s     *process
	ep    int
	conns []*conn // by descriptor
	rooms []*room
	bytes int64 // read
	in    []byte
	out   []byte
	mark  []byte

	loggedIn  int
	closed    int
	delivered int
	late      []time.Duration // of every sampling-th delivery
	acks      []time.Duration
	sampling  int         // 0: none
	whole     func(*room) // the room's oldest message has reached everybody
	start     time.Time
}

type room struct {
	name    string
	members []*conn
	sent    int   // messages of its first member
	seen    []int // deliveries, by number of message; only when whole is set
	oldest  int   // number of the first that has not reached everybody
}

type conn struct {
	fd     int
	room   *room
	place  int // in the room
	open   bool
	silent bool // is not read from
	in     []byte
	next   []uint32 // number of the next message, by sender
	sent   uint32
}

func newLoad(t *testing.T, s *process) *load {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	l := &load{t: t, s: s, ep: ep, conns: make([]*conn, 1<<16), in: make([]byte, 4<<20), late: make([]time.Duration, 0, 1<<20), start: time.Now()}
	t.Cleanup(l.close)
	return l
}

func (l *load) close() {
	for _, c := range l.conns {
		if c != nil {
			_ = syscall.Close(c.fd)
		}
	}
	l.conns = nil
	_ = syscall.Close(l.ep)
}

func (l *load) now() time.Duration { return time.Since(l.start) }

// fill connects and logs in so many members a room, atOnce under way at any time,
// and waits until nothing more comes.
func (l *load) fill(rooms, members, atOnce int) {
	for i := range rooms {
		l.rooms = append(l.rooms, &room{name: fmt.Sprint("room ", len(l.rooms), " ", i)})
	}
	total, started, before := rooms*members, 0, l.loggedIn
	l.until(2*time.Minute, func() bool {
		for started < total && started-(l.loggedIn-before) < atOnce {
			l.dial(l.rooms[len(l.rooms)-rooms+started/members], 0)
			started++
		}
		return l.loggedIn-before == total
	})
	if n := l.loggedIn - before; n != total || l.closed > 0 {
		l.t.Fatalf("%d of %d logged in, %d closed", n, total, l.closed)
	}
	l.quiet()
}

// quiet waits until nothing has come for a quarter of a second.
func (l *load) quiet() {
	bytes, since := l.bytes, l.now()
	l.until(time.Minute, func() bool {
		if l.bytes != bytes {
			bytes, since = l.bytes, l.now()
		}
		return l.now()-since > 250*time.Millisecond
	})
}

// dial connects the next member of r; the login follows on the handshake.
func (l *load) dial(r *room, receiveBuffer int) *conn {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	c := &conn{fd: fd, room: r, place: len(r.members)}
	r.members = append(r.members, c)
	l.conns[fd] = c
	const bindAddressNoPort = 24
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, bindAddressNoPort, 1)
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if receiveBuffer > 0 {
		_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer)
	}
	// Several addresses, so that none runs out of ports.
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(2 + fd%8)}})
	if err == nil {
		err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: l.s.port, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		err = syscall.SetNonblock(fd, true)
	}
	if err == nil {
		err = syscall.EpollCtl(l.ep, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.write(c, fmt.Appendf(nil, "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Version: 13\r\n\r\n", l.s.port))
	return c
}

// until serves what comes until done says so; false: it took longer than limit.
func (l *load) until(limit time.Duration, done func() bool) bool {
	var events [512]syscall.EpollEvent
	for end := l.now() + limit; !done(); {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.ep), uintptr(unsafe.Pointer(&events)), uintptr(len(events)), 0, 0, 0)
		if errno != 0 {
			n = 0
		}
		for _, ev := range events[:n] {
			if c := l.conns[ev.Fd]; c != nil && !c.silent {
				l.read(c)
			}
		}
		if n == 0 {
			if l.now() > end {
				return false
			}
			nap(50 * time.Microsecond)
		}
	}
	return true
}

func (l *load) read(c *conn) {
	kept := copy(l.in, c.in)
	n := rawRead(c.fd, l.in[kept:])
	if n == -int(syscall.EAGAIN) {
		return
	}
	if n <= 0 {
		l.closed++
		_ = syscall.Close(c.fd)
		l.conns[c.fd] = nil
		return
	}
	l.bytes += int64(n)
	b := l.in[:kept+n]
	if !c.open {
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			c.in = append(c.in[:0], b...)
			return
		}
		c.open = true
		b = b[end+4:]
		l.send(c, fmt.Appendf(nil, `{"event":"login","data":{"name":"Member %d","room":"%s"},"ackId":%d}`, c.place, c.room.name, loginAck))
	}
	now := l.now()
	for len(b) >= 2 {
		head, size := frameLength(b)
		if len(b) < head+size {
			break
		}
		l.text(c, b[head:head+size], now)
		b = b[head+size:]
	}
	c.in = append(c.in[:0], b...)
}

func (l *load) send(c *conn, text []byte) {
	l.write(c, appendFrame(nil, true, text))
}

// write is whole or fails the test: a server takes in what it is sent.
func (l *load) write(c *conn, b []byte) {
	for end := l.now() + 10*time.Second; len(b) > 0; {
		n := rawWrite(c.fd, b)
		if n < 0 && n != -int(syscall.EAGAIN) || l.now() > end {
			l.t.Fatalf("%s: member %d cannot send: %v", c.room.name, c.place, syscall.Errno(max(0, -n)))
		}
		b = b[max(0, n):]
	}
}
