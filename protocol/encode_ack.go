package protocol

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// AppendEmptyAck acknowledges what has nothing to say: {}.
func AppendEmptyAck(dst []byte, ackID int64) []byte {
	dst = appendAck(dst, ackID)
	return append(dst, "{}}"...)
}

// AppendStored acknowledges a roomMessage that was stored as seq at that time.
// Durability is memory, disk or replicated; duplicate says that an earlier message
// with the same key is meant.
func AppendStored(dst []byte, ackID int64, seq int64, at time.Time, durability string, duplicate bool) []byte {
	dst = appendAck(dst, ackID)
	dst = append(dst, `{"seq":`...)
	dst = strconv.AppendInt(dst, seq, 10)
	dst = append(dst, `,"at":`...)
	dst = appendQuotedTime(dst, at)
	dst = append(dst, `,"durability":`...)
	dst = appendText(dst, durability)
	if duplicate {
		dst = append(dst, `,"duplicate":true`...)
	}
	return append(dst, "}}"...)
}

// LoginAck is what a login is acknowledged with (section 3).
type LoginAck struct {
	User      User
	Users     []byte // an encoded array of users; nil is the empty one
	Count     int    // users in the room
	Epoch     string
	Seq       int64    // the room's newest
	Messages  [][]byte // data objects as RoomMessageData returns them, oldest first
	More      bool     // there are messages older than these
	Locked    bool
	Resumed   bool
	Recovered *bool // nil without since
	Gap       *Gap  // nil unless Recovered is false
	Renewal   bool  // only User, Epoch, Seq and Locked are told
}

// Gap says what of a room a client cannot be given.
type Gap struct {
	After  int64  // the since that was asked with
	Before int64  // seq of the first message that is given; -1 when none is
	Reason string // too_many or expired
}

// AppendLoginAck acknowledges a login.
func AppendLoginAck(dst []byte, ackID int64, a LoginAck) []byte {
	if a.Renewal {
		a.Users, a.Messages, a.Resumed = nil, nil, true
	}
	dst = appendAck(dst, ackID)
	dst = append(dst, `{"user":`...)
	dst = AppendUser(dst, a.User)
	dst = append(dst, `,"users":`...)
	dst = appendArray(dst, a.Users)
	if !a.Renewal {
		dst = append(dst, `,"count":`...)
		dst = strconv.AppendInt(dst, int64(a.Count), 10)
	}
	dst = append(dst, `,"epoch":`...)
	dst = appendText(dst, a.Epoch)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendInt(dst, a.Seq, 10)
	dst = append(dst, `,"messages":`...)
	dst = appendObjects(dst, a.Messages)
	if !a.Renewal {
		dst = append(dst, `,"more":`...)
		dst = strconv.AppendBool(dst, a.More)
	}
	dst = append(dst, `,"locked":`...)
	dst = strconv.AppendBool(dst, a.Locked)
	dst = append(dst, `,"resumed":`...)
	dst = strconv.AppendBool(dst, a.Resumed)
	if !a.Renewal {
		dst = appendRecovery(dst, a.Recovered, a.Gap)
	}
	return append(dst, "}}"...)
}

func appendRecovery(dst []byte, recovered *bool, gap *Gap) []byte {
	if recovered != nil {
		dst = append(dst, `,"recovered":`...)
		dst = strconv.AppendBool(dst, *recovered)
	}
	if gap != nil {
		dst = append(dst, `,"gap":{"after":`...)
		dst = strconv.AppendInt(dst, gap.After, 10)
		dst = append(dst, `,"before":`...)
		if gap.Before < 0 {
			dst = append(dst, "null"...)
		} else {
			dst = strconv.AppendInt(dst, gap.Before, 10)
		}
		dst = append(dst, `,"reason":`...)
		dst = appendText(dst, gap.Reason)
		dst = append(dst, '}')
	}
	return dst
}

// AppendHistoryAck acknowledges history with messages as RoomMessageData returns
// them, oldest first.
func AppendHistoryAck(dst []byte, ackID int64, messages [][]byte, more bool) []byte {
	dst = appendAck(dst, ackID)
	dst = append(dst, `{"messages":`...)
	dst = appendObjects(dst, messages)
	dst = append(dst, `,"more":`...)
	dst = strconv.AppendBool(dst, more)
	return append(dst, "}}"...)
}

// AppendUsersAck acknowledges users with an encoded array of them, of which nil is
// the empty one, and the number of all in the room.
func AppendUsersAck(dst []byte, ackID int64, users []byte, count int) []byte {
	dst = appendAck(dst, ackID)
	dst = append(dst, `{"users":`...)
	dst = appendArray(dst, users)
	dst = append(dst, `,"count":`...)
	dst = strconv.AppendInt(dst, int64(count), 10)
	return append(dst, "}}"...)
}

// AppendPong acknowledges ping with the connection's id, or after a login the
// user's, and the server's time.
func AppendPong(dst []byte, ackID int64, id string, at time.Time) []byte {
	dst = appendAck(dst, ackID)
	dst = append(dst, `{"id":`...)
	dst = appendText(dst, id)
	dst = append(dst, `,"at":`...)
	dst = appendQuotedTime(dst, at)
	return append(dst, "}}"...)
}

// AppendError answers a request that failed: with an acknowledgement, or without
// an ackId with the event error, which names the request's event unless that is
// not known ("").
func AppendError(dst []byte, ackID int64, event string, e *Error) []byte {
	if ackID != NoAck {
		dst = appendAck(dst, ackID)
	} else {
		dst = append(dst, eventPrefix+`error`+dataInfix...)
	}
	dst = append(dst, `{"error":`...)
	dst = appendText(dst, e.Text)
	dst = append(dst, `,"code":`...)
	dst = appendText(dst, string(e.Code))
	switch e.Code {
	case CodeInvalid:
		dst = appendFields(dst, e.Fields)
	case CodeRateLimited:
		dst = append(dst, `,"retryAfter":`...)
		dst = appendMillis(dst, e.RetryAfter)
	}
	if ackID == NoAck && event != "" {
		dst = append(dst, `,"event":`...)
		dst = appendText(dst, event)
	}
	return append(dst, "}}"...)
}

func appendFields(dst []byte, fields map[string]string) []byte {
	dst = append(dst, `,"fields":{`...)
	for i, name := range slices.Sorted(maps.Keys(fields)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, name)
		dst = append(dst, ':')
		dst = appendText(dst, fields[name])
	}
	return append(dst, '}')
}
