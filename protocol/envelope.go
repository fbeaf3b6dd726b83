package protocol

import (
	"errors"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Version is the WebSocket subprotocol (PROTOCOL.md section 1).
const Version = "parley.v1"

// MaxAckID is the largest integer that the wire knows, 2^53−1: the largest that
// JavaScript counts without gaps. It bounds ackId, seq, since, before and after.
const MaxAckID = 1<<53 - 1

// NoAck is the AckID of an envelope that has none.
const NoAck = -1

// maxEventLength is in characters (section 2).
const maxEventLength = 64

// Envelope is a decoded frame (section 2).
type Envelope struct {
	Event string
	Data  jsontext.Value // aliases the frame that was decoded; nil when absent or null
	AckID int64          // NoAck when absent or null
}

// ErrNotUTF8 says that a frame is not UTF-8; its connection ends with
// [CloseNotUTF8] (section 1).
var ErrNotUTF8 = errors.New("frame is not UTF-8")

// Decode reads a frame as an envelope. It fails with ErrNotUTF8, or with a *Error
// of the code CodeBadEnvelope, which is answered without an ackId whatever the
// frame held: a frame that is no envelope is no request.
//
// Data is checked to be JSON and no more: what is legal JSON but unfit for its
// event (a name twice, half of a surrogate pair) is left to [Parser.Parse], so
// that a request with an ackId gets its acknowledgement.
func Decode(frame []byte) (Envelope, error) {
	if !utf8.Valid(frame) {
		return Envelope{AckID: NoAck}, ErrNotUTF8
	}
	if e, ok := decode(frame); ok {
		return e, nil
	}
	return Envelope{AckID: NoAck}, NewError(CodeBadEnvelope)
}

// decode reads valid UTF-8.
func decode(frame []byte) (e Envelope, ok bool) {
	members := object{names: envelopeNames}
	if !members.read(frame) || members.twice != 0 {
		return e, false
	}
	if e.Event, ok = eventName(members.values[0]); !ok {
		return e, false
	}
	e.Data = members.values[1]
	e.AckID = NoAck
	if id := members.values[2]; id != nil {
		if e.AckID, ok = integer(id); !ok || e.AckID < 0 || e.AckID > MaxAckID {
			return e, false
		}
	}
	return e, true
}

var envelopeNames = []string{"event", "data", "ackId"}

// eventName reads the value of event. Known names cost no allocation.
func eventName(value []byte) (string, bool) {
	if len(value) == 0 || value[0] != '"' {
		return "", false
	}
	if name := known(value[1 : len(value)-1]); name != "" {
		return name, true
	}
	name, ok := unquote(value)
	n := utf8.RuneCountInString(name)
	return name, ok && 1 <= n && n <= maxEventLength
}
