//go:build linux

package bench

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"unsafe"
)

// The floor is what the kernel asks for and nothing else: one thread, no allocation
// while it relays, one write(2) of a prebuilt frame for each delivery. A member who
// does not take a frame at once is disconnected.
type floorServer struct {
	ep, listener int
	conns        []*floorConn // by descriptor
	rooms        map[string][]*floorConn
	frame        []byte
}

type floorConn struct {
	fd   int
	room string
	open bool // the handshake is done
	in   []byte
}

func runFloor(addr string) {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	tcp, err := net.ResolveTCPAddr("tcp4", addr)
	must(err)
	s := &floorServer{rooms: make(map[string][]*floorConn), conns: make([]*floorConn, 1<<16)}
	s.listener, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	must(err)
	must(syscall.SetsockoptInt(s.listener, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
	must(syscall.Bind(s.listener, &syscall.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())}))
	must(syscall.Listen(s.listener, 4096))
	s.ep, err = syscall.EpollCreate1(0)
	must(err)
	s.watch(s.listener)
	var events [256]syscall.EpollEvent
	for {
		n, _, _ := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(s.ep), uintptr(unsafe.Pointer(&events)), uintptr(len(events)), ^uintptr(0), 0, 0)
		if int(n) < 0 {
			continue
		}
		for _, ev := range events[:n] {
			if int(ev.Fd) == s.listener {
				s.accept()
			} else if c := s.conns[ev.Fd]; c != nil {
				s.read(c)
			}
		}
	}
}

func must(err error) {
	if err != nil {
		os.Stderr.WriteString("floor: " + err.Error() + "\n")
		os.Exit(1)
	}
}

func (s *floorServer) watch(fd int) {
	must(syscall.EpollCtl(s.ep, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}))
}

func (s *floorServer) accept() {
	for {
		fd, _, err := syscall.Accept4(s.listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		s.conns[fd] = &floorConn{fd: fd}
		s.watch(fd)
	}
}

func (s *floorServer) read(c *floorConn) {
	var chunk [64 << 10]byte
	n := rawRead(c.fd, chunk[:])
	if n == -int(syscall.EAGAIN) {
		return
	}
	if n <= 0 {
		s.drop(c)
		return
	}
	c.in = append(c.in, chunk[:n]...)
	if !c.open {
		end := bytes.Index(c.in, []byte("\r\n\r\n"))
		if end < 0 {
			return
		}
		s.handshake(c, c.in[:end+2])
		c.in = append(c.in[:0], c.in[end+4:]...)
	}
	at := 0
	for s.conns[c.fd] == c {
		text, size := maskedFrame(c.in[at:])
		if size == 0 {
			break
		}
		s.request(c, text)
		at += size
	}
	c.in = append(c.in[:0], c.in[at:]...)
}

func (s *floorServer) handshake(c *floorConn, head []byte) {
	const name = "Sec-WebSocket-Key: "
	key := head[bytes.Index(head, []byte(name))+len(name):]
	key = key[:bytes.IndexByte(key, '\r')]
	sum := sha1.Sum(append(key[:len(key):len(key)], "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	c.open = true
	s.write(c, []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
		base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n"))
}

// request knows the two requests that the generator makes, as it writes them.
func (s *floorServer) request(c *floorConn, text []byte) {
	if data, ok := bytes.CutPrefix(text, []byte(messageStart)); ok {
		end := bytes.IndexByte(data, '"')
		s.frame = appendFrame(s.frame[:0], false, []byte(messageEventStart), data[:end], []byte(`"}}`))
		for _, member := range s.rooms[c.room] {
			s.write(member, s.frame)
		}
		if ack, ok := bytes.CutPrefix(data[end:], []byte(`","ackId":`)); ok {
			s.frame = appendFrame(s.frame[:0], false, []byte(ackStart), ack[:len(ack)-1], []byte(`,"data":{}}`))
			s.write(c, s.frame)
		}
		return
	}
	_, room, _ := bytes.Cut(text, []byte(`"room":"`))
	c.room = string(room[:bytes.IndexByte(room, '"')])
	s.rooms[c.room] = append(s.rooms[c.room], c)
	s.write(c, appendFrame(nil, false, []byte(ackStart), []byte(`1,"data":{"user":{}}}`)))
}

func (s *floorServer) write(c *floorConn, b []byte) {
	if c.fd >= 0 && rawWrite(c.fd, b) != len(b) {
		s.drop(c)
	}
}

func (s *floorServer) drop(c *floorConn) {
	s.conns[c.fd] = nil
	_ = syscall.Close(c.fd)
	c.fd = -1
}

// maskedFrame is the text of the client's frame at the start of b, unmasked in
// place, and how long the frame is; 0: it is not whole.
func maskedFrame(b []byte) (text []byte, size int) {
	if len(b) < 6 {
		return nil, 0
	}
	n, head := int(b[1]&0x7f), 6
	if n == 126 && len(b) >= 8 {
		n, head = int(binary.BigEndian.Uint16(b[2:])), 8
	}
	if n > 126 && head == 6 || len(b) < head+n {
		return nil, 0
	}
	key := b[head-4 : head]
	text = b[head : head+n]
	if key[0]|key[1]|key[2]|key[3] != 0 {
		for i := range text {
			text[i] ^= key[i&3]
		}
	}
	return text, head + n
}

func rawRead(fd int, b []byte) int  { return rawCall(syscall.SYS_READ, fd, b) }
func rawWrite(fd int, b []byte) int { return rawCall(syscall.SYS_WRITE, fd, b) }

// rawCall returns what the system call does: a count, or an errno below 0.
func rawCall(trap uintptr, fd int, b []byte) int {
	n, _, errno := syscall.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return -int(errno)
	}
	return int(n)
}
