//go:build !unix

package hub

import (
	"errors"
	"net"
	"syscall"
)

// rawConn tells that there is no way to write without blocking here.
func rawConn(net.Conn) syscall.RawConn { return nil }

// tryWrite is never called, as there is no rawConn.
func tryWrite(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

// tryRead is never called either.
func tryRead(uintptr, []byte) (int, bool) { return 0, false }
