package protocol

// The events that a client sends (PROTOCOL.md section 3).
const (
	EventLogin       = "login"
	EventLogout      = "logout"
	EventRoomMessage = "roomMessage"
	EventTyping      = "typing"
	EventHistory     = "history"
	EventUsers       = "users"
	EventPing        = "ping"
	EventKick        = "kick"
)

// The limits of section 3. Lengths are in characters, which are Unicode code
// points.
const (
	MaxName              = 32
	MaxRoom              = 64
	MinSecret            = 16 // session, access and key
	MaxSecret            = 64 // session and key
	MaxAccess            = 128
	MaxHistory           = 200 // messages an answer to history
	MaxUsers             = 200 // users an answer to users
	MaxReason            = 123 // bytes of a kick's reason: what a close frame holds (RFC 6455 section 5.5)
	defaultHistory       = 50
	defaultUsers         = 100
	absent         int64 = -1
)

// Request is a typed and valid request: one of *Login, *Logout, *RoomMessage,
// *Typing, *History, *Users, *Ping and *Kick, and nothing else.
type Request interface{ request() }

// Login asks to enter a room, or to resume or renew a stay in it.
type Login struct {
	Name    string `json:"name"`    // prepared by PrepareName; "" when absent, which needs Parser.Tokens
	Nick    string `json:"-"`       // the comparison key of Name, see Nickname; "" when Name is
	Room    string `json:"room"`    // prepared by PrepareName
	Access  string `json:"access"`  // "" when absent
	Token   string `json:"token"`   // "" when absent
	Session string `json:"session"` // "" when absent
	Epoch   string `json:"epoch"`   // "" when absent
	Since   int64  `json:"since"`   // -1 when absent
}

// Logout asks to leave the room.
type Logout struct{}

// RoomMessage asks to store a message and to send it to the room.
type RoomMessage struct {
	Message string `json:"message"` // the message as text; may share Literal's memory
	Literal string `json:"-"`       // the same as a JSON string, quotes included, ready to be copied into a frame
	Key     string `json:"key"`     // "" when absent
}

// Typing tells the others that its sender types, or has stopped.
type Typing struct {
	Typing bool `json:"typing"`
}

// History asks for a page of the room's messages: the newest below Before, or the
// oldest above After, or with neither the newest.
type History struct {
	Before int64 `json:"before"` // -1 when absent
	After  int64 `json:"after"`  // -1 when absent; never given together with Before
	Limit  int   `json:"limit"`  // 1 to MaxHistory
}

// Users asks for a page of the room's users.
type Users struct {
	Offset int `json:"offset"` // users to pass over, in order of arrival
	Limit  int `json:"limit"`  // 1 to MaxUsers
}

// Ping asks who the connection is, and the time.
type Ping struct{}

// Kick asks to remove somebody from the room; only a moderator may.
type Kick struct {
	ID     string `json:"id"`     // the user's id
	Reason string `json:"reason"` // told to who is removed; "" when absent
}

func (*Login) request()       {}
func (*Logout) request()      {}
func (*RoomMessage) request() {}
func (*Typing) request()      {}
func (*History) request()     {}
func (*Users) request()       {}
func (*Ping) request()        {}
func (*Kick) request()        {}

// known returns the constant for the name of a client's event, "" for another.
func known(name []byte) string {
	switch string(name) {
	case EventLogin:
		return EventLogin
	case EventLogout:
		return EventLogout
	case EventRoomMessage:
		return EventRoomMessage
	case EventTyping:
		return EventTyping
	case EventHistory:
		return EventHistory
	case EventUsers:
		return EventUsers
	case EventPing:
		return EventPing
	case EventKick:
		return EventKick
	}
	return ""
}

// Parser turns envelopes into requests. It holds the settings that decide what is
// valid, is never changed, and serves any number of goroutines.
type Parser struct {
	MessageLimit int  // bytes of UTF-8 a message at most
	Tokens       bool // tokens are used: a login's name may be absent, the token's counts
}

// Parse checks an envelope that Decode made, in the order of section 2:
// unknown_event, ack_required, invalid. An invalid request is told about all its
// bad fields. The request holds copies only: the frame's buffer may be reused when
// Parse returns.
func (p Parser) Parse(e Envelope) (Request, *Error) {
	switch e.Event {
	case EventLogin, EventLogout, EventHistory, EventUsers, EventPing, EventKick:
		if e.AckID == NoAck {
			return nil, NewError(CodeAckRequired)
		}
	}
	switch e.Event {
	case EventLogin:
		return result(p.login(e.Data))
	case EventLogout:
		return &Logout{}, nil // has no fields: whatever data there is, is ignored
	case EventRoomMessage:
		return result(p.roomMessage(e.Data))
	case EventTyping:
		return result(parseTyping(e.Data))
	case EventHistory:
		return result(parseHistory(e.Data))
	case EventUsers:
		return result(parseUsers(e.Data))
	case EventPing:
		return &Ping{}, nil // as logout
	case EventKick:
		return result(parseKick(e.Data))
	}
	return nil, NewError(CodeUnknownEvent)
}

// result keeps a typed nil out of the interface.
func result[R Request](r R, err *Error) (Request, *Error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}
