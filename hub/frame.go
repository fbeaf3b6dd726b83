package hub

import (
	"encoding/binary"
	"slices"
	"strings"

	"parley/protocol"
)

// Server frames as RFC 6455 section 5.2 has them: never masked, never in
// fragments, without extensions. Data frames are encoded here, once for all who
// get them, and bypass the library's Write. That relies on compression being
// off (section 1): with it each connection would need bytes of its own.
const (
	finBit  = 0x80
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xa

	// maxHeader is the header of a frame at most, in bytes.
	maxHeader = 10
	// maxControl is the payload of a control frame at most, in bytes.
	maxControl = 125
)

// pingFrame asks the peer for a sign of life. Whatever comes back counts, so it
// carries nothing that would tell one ping from another.
var pingFrame = []byte{finBit | opPing, 0}

// appendHeader appends the header of a frame with n bytes of payload.
func appendHeader(dst []byte, op byte, n int) []byte {
	dst = append(dst, finBit|op)
	switch {
	case n <= 125:
		return append(dst, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
}

// appendText appends payload as one text frame. The payload must be UTF-8.
func appendText(dst, payload []byte) []byte {
	dst = slices.Grow(dst, maxHeader+len(payload))
	return append(appendHeader(dst, opText, len(payload)), payload...)
}

// closeFrame is a close frame with a code that may be sent (RFC 6455 section
// 7.4); of the reason at most 123 bytes fit.
func closeFrame(code protocol.CloseCode, reason string) []byte {
	reason = strings.ToValidUTF8(reason[:min(len(reason), maxControl-2)], "")
	b := appendHeader(nil, opClose, 2+len(reason))
	return append(binary.BigEndian.AppendUint16(b, uint16(code)), reason...)
}

// frameSize tells the length of the header of the server frame at the start of
// b, and of all of it. b must hold the whole header.
func frameSize(b []byte) (header, size int) {
	switch n := int(b[1]); n {
	case 126:
		return 4, 4 + int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		return 10, 10 + int(binary.BigEndian.Uint64(b[2:]))
	default:
		return 2, 2 + n
	}
}

// frameEnd is the first end of a frame at or after offset n of a run of whole
// frames.
func frameEnd(run []byte, n int) int {
	end := 0
	for end < n {
		_, size := frameSize(run[end:])
		end += size
	}
	return end
}
