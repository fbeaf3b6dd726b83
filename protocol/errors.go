package protocol

import (
	"time"

	validation "github.com/go-ozzo/ozzo-validation/v4"
)

// Code is what a program reads of an error (PROTOCOL.md section 2).
type Code string

const (
	CodeBadEnvelope     Code = "bad_envelope"
	CodeUnknownEvent    Code = "unknown_event"
	CodeAckRequired     Code = "ack_required"
	CodeInvalid         Code = "invalid"
	CodeNotLoggedIn     Code = "not_logged_in"
	CodeAlreadyLoggedIn Code = "already_logged_in"
	CodeNameTaken       Code = "name_taken"
	CodeRoomFull        Code = "room_full"
	CodeWrongKey        Code = "wrong_key"
	CodeUnauthorized    Code = "unauthorized"
	CodeRateLimited     Code = "rate_limited"
	CodeUnavailable     Code = "unavailable"
	CodeForbidden       Code = "forbidden"
	CodeNoSuchUser      Code = "no_such_user"
)

// sentences is the catalogue: what a person reads of each code. Invalid has
// none, because its sentence is made of its fields.
var sentences = map[Code]string{
	CodeBadEnvelope:     "This is no envelope: a JSON object with an event, and perhaps data and an ackId.",
	CodeUnknownEvent:    "There is no such event.",
	CodeAckRequired:     "This event needs an ackId. Nothing was done.",
	CodeNotLoggedIn:     "Log in first.",
	CodeAlreadyLoggedIn: "You are logged in already. Log out first.",
	CodeNameTaken:       "Somebody in the room has that name.",
	CodeRoomFull:        "The room is full.",
	CodeWrongKey:        "The room is locked with another key.",
	CodeUnauthorized:    "A valid token for this room is required.",
	CodeRateLimited:     "Too fast. Wait a moment.",
	CodeForbidden:       "Only a moderator may do this.",
	CodeNoSuchUser:      "Nobody in the room has that id.",
	CodeUnavailable:     "The message log cannot take this now. Try again, a message with the same key.",
}

// Error is a request's failure, told to who sent it (section 2). It never holds
// what the request said.
type Error struct {
	Code       Code
	Text       string            // a sentence for people
	Fields     map[string]string // a sentence for each bad field; only for CodeInvalid
	RetryAfter time.Duration     // only for CodeRateLimited; told in milliseconds, rounded up
}

// Error returns the code and the sentence.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Text }

// NewError returns an error with the catalogue's sentence for code. CodeInvalid
// and CodeRateLimited carry more: see [Invalid] and [RateLimited].
func NewError(code Code) *Error {
	return &Error{Code: code, Text: sentences[code]}
}

// Invalid returns the error for data that failed validation. Its text lists the
// fields in alphabetical order: "name: cannot be blank; room: cannot be blank."
func Invalid(fields map[string]string) *Error {
	errs := make(validation.Errors, len(fields))
	for name, sentence := range fields {
		errs[name] = validation.NewError(string(CodeInvalid), sentence)
	}
	return &Error{Code: CodeInvalid, Text: errs.Error(), Fields: fields}
}

// RateLimited returns the error for a request over the rate limit, which may be
// sent again after retryAfter.
func RateLimited(retryAfter time.Duration) *Error {
	e := NewError(CodeRateLimited)
	e.RetryAfter = retryAfter
	return e
}

// CloseCode is a WebSocket close code as section 8 uses it. After 1000 and
// 4500–4999 a client stays away until a person acts; after the others it may come
// back.
type CloseCode uint16

const (
	CloseNormal       CloseCode = 1000 // a normal end; the user leaves at once
	CloseGoingAway    CloseCode = 1001 // the page went away; grace applies
	CloseUnsupported  CloseCode = 1003 // a binary message
	CloseNoStatus     CloseCode = 1005 // a close frame without a code: as 1000. Never sent (RFC 6455 section 7.4.1)
	CloseNotUTF8      CloseCode = 1007 // a message that is not UTF-8
	ClosePolicy       CloseCode = 1008 // bad frames in a row, or the rate limit exceeded for too long
	CloseTooBig       CloseCode = 1009 // an envelope over the read limit
	CloseRestart      CloseCode = 1012 // the server restarts
	CloseTryLater     CloseCode = 1013 // this client was too slow, or the server is full
	CloseTokenExpired CloseCode = 4401 // the token expired
	CloseLoginTimeout CloseCode = 4408 // not logged in in time
	CloseTakenOver    CloseCode = 4501 // another connection took this user over
	CloseRemoved      CloseCode = 4503 // removed from the room
)

// Reason returns a short sentence for the close frame, "" for a code that is not
// one of section 8. It fits in the 123 bytes that RFC 6455 section 5.5 leaves.
func (c CloseCode) Reason() string {
	switch c {
	case CloseNormal:
		return "bye"
	case CloseGoingAway:
		return "going away"
	case CloseUnsupported:
		return "send text messages, not binary ones"
	case CloseNotUTF8:
		return "not UTF-8"
	case ClosePolicy:
		return "too many bad or too frequent messages"
	case CloseTooBig:
		return "message too large"
	case CloseRestart:
		return "the server restarts; come back"
	case CloseTryLater:
		return "too slow, or the server is full; come back later"
	case CloseTokenExpired:
		return "token expired"
	case CloseLoginTimeout:
		return "not logged in in time"
	case CloseTakenOver:
		return "another connection took this user over"
	case CloseRemoved:
		return "removed from the room"
	}
	return ""
}
