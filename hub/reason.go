package hub

import (
	"errors"
	"io"
	"net"

	"parley/protocol"
)

// reason tells the operator why a connection has ended: by a close frame with that
// code, or without one, when reading failed with err.
func reason(code protocol.CloseCode, err error) string {
	switch {
	case code == protocol.CloseNoStatus:
		return protocol.CloseNormal.Reason()
	case code != 0:
		return code.Reason()
	case errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe):
		return "given up: no sign of life, or nothing taken of what it was sent"
	}
	return "the connection broke"
}
