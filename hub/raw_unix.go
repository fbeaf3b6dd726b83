//go:build unix

package hub

import (
	"net"
	"syscall"
)

// rawConn is the way to write to conn without blocking; nil when there is none.
// Only the types whose Write adds nothing to the bytes have one: a wrapper that
// does (TLS) may well hand out the descriptor below it.
func rawConn(conn net.Conn) syscall.RawConn {
	var raw syscall.RawConn
	switch c := conn.(type) {
	case *net.TCPConn:
		raw, _ = c.SyscallConn()
	case *net.UnixConn:
		raw, _ = c.SyscallConn()
	}
	return raw
}

// tryWrite is one write(2). The descriptor does not block, as all of package
// net's; when it would have, n is 0.
func tryWrite(fd uintptr, b []byte) (n int, err error) {
	for {
		switch n, err = sysWrite(int(fd), b); err {
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, nil
		default:
			return max(n, 0), err
		}
	}
}

// tryRead is one read(2) of what has come in: nothing at the end of the stream,
// after an error, and when there is nothing yet; only the last is worth waiting.
func tryRead(fd uintptr, b []byte) (n int, wait bool) {
	for {
		n, err := sysRead(int(fd), b)
		if err != syscall.EINTR {
			return max(n, 0), err == syscall.EAGAIN
		}
	}
}
