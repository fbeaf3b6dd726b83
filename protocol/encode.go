package protocol

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// RoomMessageEvent is a stored message as everybody in the room gets it.
type RoomMessageEvent struct {
	Literal string // the message as a JSON string, see RoomMessage
	From    string
	UserID  string
	Key     string // "" when it has none
	Seq     int64
	At      time.Time
}

const (
	eventPrefix       = `{"event":"`
	dataInfix         = `","data":`
	roomMessagePrefix = eventPrefix + EventRoomMessage + dataInfix
)

// AppendRoomMessage appends the event roomMessage (section 4), an envelope.
func AppendRoomMessage(dst []byte, m RoomMessageEvent) []byte {
	dst = append(dst, roomMessagePrefix+`{"message":`...)
	dst = append(dst, m.Literal...)
	dst = append(dst, `,"from":`...)
	dst = appendText(dst, m.From)
	dst = append(dst, `,"userId":`...)
	dst = appendText(dst, m.UserID)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendInt(dst, m.Seq, 10)
	dst = append(dst, `,"at":`...)
	dst = appendQuotedTime(dst, m.At)
	if m.Key != "" {
		dst = append(dst, `,"key":`...)
		dst = appendText(dst, m.Key)
	}
	return append(dst, "}}"...)
}

// RoomMessageData returns the data object within what AppendRoomMessage appended
// to an empty buffer: a part of the same memory, which LoginAck and
// AppendHistoryAck take.
func RoomMessageData(frame []byte) []byte {
	return frame[len(roomMessagePrefix) : len(frame)-1]
}

// AppendTime appends a time as the wire has it, without quotes: RFC 3339, UTC, in
// milliseconds, always with three digits.
func AppendTime(dst []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z07:00")
}

func appendQuotedTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = AppendTime(dst, t)
	return append(dst, '"')
}

// appendText appends a JSON string in its shortest form (RFC 8785 section
// 3.2.2.2), which escapes nothing for HTML's sake. What is not UTF-8 becomes
// U+FFFD; nothing that Parse let through is.
func appendText(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}

// appendAck begins an acknowledgement; its data and a brace are to follow.
func appendAck(dst []byte, ackID int64) []byte {
	dst = append(dst, eventPrefix+`ack","ackId":`...)
	dst = strconv.AppendInt(dst, ackID, 10)
	return append(dst, `,"data":`...)
}

// appendArray appends an encoded array, of which nil is the empty one.
func appendArray(dst, array []byte) []byte {
	if array == nil {
		return append(dst, "[]"...)
	}
	return append(dst, array...)
}

// appendObjects appends encoded objects as an array.
func appendObjects(dst []byte, objects [][]byte) []byte {
	dst = append(dst, '[')
	for i, o := range objects {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, o...)
	}
	return append(dst, ']')
}

// appendMillis appends a duration in whole milliseconds, rounded up, so that who
// waits for it does not come too early. A negative one is 0.
func appendMillis(dst []byte, d time.Duration) []byte {
	ms := int64(max(d, 0) / time.Millisecond)
	if d > 0 && d%time.Millisecond > 0 {
		ms++
	}
	return strconv.AppendInt(dst, ms, 10)
}
