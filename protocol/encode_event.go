package protocol

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// User is somebody in a room, as everybody may see them.
type User struct{ ID, Name, Room string }

// AppendUser appends a user as a JSON object.
func AppendUser(dst []byte, u User) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendText(dst, u.ID)
	dst = append(dst, `,"name":`...)
	dst = appendText(dst, u.Name)
	dst = append(dst, `,"room":`...)
	dst = appendText(dst, u.Room)
	return append(dst, '}')
}

// AppendUsersEvent appends the event users with an encoded array of them, of which
// nil is the empty one.
func AppendUsersEvent(dst []byte, users []byte) []byte {
	dst = append(dst, eventPrefix+EventUsers+dataInfix...)
	dst = appendArray(dst, users)
	return append(dst, '}')
}

// AppendNotification appends the event notification: u joined or left. Its title
// and description are for people.
func AppendNotification(dst []byte, joined bool, u User) []byte {
	title, did, kind := "Somebody left", " left the room", "left"
	if joined {
		title, did, kind = "Somebody is here", " entered the room", "joined"
	}
	dst = append(dst, eventPrefix+`notification`+dataInfix+`{"title":`...)
	dst = appendText(dst, title)
	dst = append(dst, `,"description":`...)
	dst = appendText(dst, u.Name)
	dst = append(dst[:len(dst)-1], did...) // within the quotes of the name
	dst = append(dst, `","kind":`...)
	dst = appendText(dst, kind)
	dst = append(dst, `,"user":`...)
	dst = AppendUser(dst, u)
	return append(dst, "}}"...)
}

// Presence is who came and who went in a large room (section 5).
type Presence struct {
	Joined []User
	Left   []string // ids
	Count  int      // users in the room now
}

// AppendPresence appends the event presence.
func AppendPresence(dst []byte, p Presence) []byte {
	dst = append(dst, eventPrefix+`presence`+dataInfix+`{"joined":[`...)
	for i, u := range p.Joined {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendUser(dst, u)
	}
	dst = append(dst, `],"left":[`...)
	for i, id := range p.Left {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, id)
	}
	dst = append(dst, `],"count":`...)
	dst = strconv.AppendInt(dst, int64(p.Count), 10)
	return append(dst, "}}"...)
}

// AppendTyping appends the event typing.
func AppendTyping(dst []byte, from, userID string, typing bool) []byte {
	dst = append(dst, eventPrefix+EventTyping+dataInfix+`{"from":`...)
	dst = appendText(dst, from)
	dst = append(dst, `,"userId":`...)
	dst = appendText(dst, userID)
	dst = append(dst, `,"typing":`...)
	dst = strconv.AppendBool(dst, typing)
	return append(dst, "}}"...)
}

// Welcome is what a new connection is told first: who it is, and the settings in
// force.
type Welcome struct {
	ID           string
	Now          time.Time
	PingInterval time.Duration
	MessageLimit int     // bytes a message at most
	History      int     // messages kept a room
	Rate         float64 // events a second a connection, 0 for no limit
	Tokens       bool    // a login needs a token
}

// AppendWelcome appends the event welcome.
func AppendWelcome(dst []byte, w Welcome) []byte {
	dst = append(dst, eventPrefix+`welcome`+dataInfix+`{"id":`...)
	dst = appendText(dst, w.ID)
	dst = append(dst, `,"version":"`+Version+`","now":`...)
	dst = appendQuotedTime(dst, w.Now)
	dst = append(dst, `,"pingInterval":`...)
	dst = appendMillis(dst, w.PingInterval)
	dst = append(dst, `,"limits":{"message":`...)
	dst = strconv.AppendInt(dst, int64(w.MessageLimit), 10)
	dst = append(dst, `,"history":`...)
	dst = strconv.AppendInt(dst, int64(w.History), 10)
	dst = append(dst, `,"rate":`...)
	dst = jsontext.AppendFloat(dst, w.Rate, 64)
	if w.Tokens {
		return append(dst, `},"auth":"token"}}`...)
	}
	return append(dst, `},"auth":"none"}}`...)
}

// AppendGoodbye appends the event goodbye: the server is going, come back in
// reconnectIn.
func AppendGoodbye(dst []byte, reconnectIn time.Duration, reason string) []byte {
	dst = append(dst, eventPrefix+`goodbye`+dataInfix+`{"reconnectIn":`...)
	dst = appendMillis(dst, reconnectIn)
	dst = append(dst, `,"reason":`...)
	dst = appendText(dst, reason)
	return append(dst, "}}"...)
}
