package hubtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// NoAck is the AckID of a frame that has none.
const NoAck = -1

// Frame is one envelope as it came from the server (section 2).
type Frame struct {
	Event string
	Data  json.RawMessage // nil when absent
	AckID int64           // NoAck when absent
	Index int             // its place in the order of arrival on its connection, from 0 (the welcome)
}

// Decode reads the frame's data into v. Unknown fields are ignored, as clients must (section 11).
func (f Frame) Decode(v any) error {
	if err := json.Unmarshal(f.Data, v); err != nil {
		return fmt.Errorf("%s: %w", f, err)
	}
	return nil
}

// Refusal is the error that an acknowledgement or an error event carries, nil for any other frame.
func (f Frame) Refusal() *Refusal {
	if f.Event != "ack" && f.Event != "error" {
		return nil
	}
	var r Refusal
	if json.Unmarshal(f.Data, &r) != nil || r.Code == "" {
		return nil
	}
	return &r
}

// String is the frame as it looked on the wire, shortened for a test's message.
func (f Frame) String() string {
	const most = 200
	s := f.Event
	if f.AckID != NoAck {
		s = fmt.Sprintf("%s %d", s, f.AckID)
	}
	if len(f.Data) > most {
		return fmt.Sprintf("%s %s… (%d bytes)", s, f.Data[:most], len(f.Data))
	}
	return fmt.Sprintf("%s %s", s, f.Data)
}

// Refusal is what an error looks like (section 2). It is an error itself.
type Refusal struct {
	Text       string            `json:"error"`
	Code       string            `json:"code"`
	Fields     map[string]string `json:"fields"`
	RetryAfter float64           `json:"retryAfter"` // milliseconds, only for rate_limited
	Event      string            `json:"event"`      // the offender, only in an error event
}

func (r *Refusal) Error() string {
	if len(r.Fields) == 0 {
		return r.Code + ": " + r.Text
	}
	return fmt.Sprintf("%s: %s (%s)", r.Code, r.Text, strings.Join(slices.Sorted(maps.Keys(r.Fields)), ", "))
}

// The payloads of sections 3 and 4, as a client sees them.
type (
	// Welcome is the first frame of a connection.
	Welcome struct {
		ID           string  `json:"id"`
		Version      string  `json:"version"`
		Now          string  `json:"now"`
		PingInterval float64 `json:"pingInterval"` // milliseconds
		Limits       struct {
			Message int     `json:"message"` // bytes
			History int     `json:"history"` // messages a room
			Rate    float64 `json:"rate"`    // events a second, 0 for no limit
		} `json:"limits"`
		Auth string `json:"auth"`
	}

	// User is somebody in a room.
	User struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		Room string `json:"room"`
	}

	// Login is the request. Since is a pointer because 0 asks for everything and absence for the newest messages.
	Login struct {
		Name    string `json:"name"`
		Room    string `json:"room"`
		Access  string `json:"access,omitempty"`
		Token   string `json:"token,omitempty"`
		Session string `json:"session,omitempty"`
		Since   *int64 `json:"since,omitempty"`
		Epoch   string `json:"epoch,omitempty"`
	}

	// LoginAck is the answer to a login.
	LoginAck struct {
		User      User      `json:"user"`
		Users     []User    `json:"users"`
		Count     int       `json:"count"`
		Epoch     string    `json:"epoch"`
		Seq       int64     `json:"seq"`
		Messages  []Message `json:"messages"`
		More      bool      `json:"more"`
		Locked    bool      `json:"locked"`
		Resumed   bool      `json:"resumed"`
		Recovered *bool     `json:"recovered"` // nil without since
		Gap       *Gap      `json:"gap"`
	}

	// Gap is what a login with since could not bring.
	Gap struct {
		After  int64  `json:"after"`
		Before *int64 `json:"before"` // nil when there were no messages
		Reason string `json:"reason"` // "too_many" or "expired"
	}

	// Message is a roomMessage event's data, in a login's answer and in history too.
	Message struct {
		Message string    `json:"message"`
		From    string    `json:"from"`
		UserID  string    `json:"userId"`
		Seq     int64     `json:"seq"`
		At      time.Time `json:"at"`
		Key     string    `json:"key"`
	}

	// Post is the roomMessage request with a key.
	Post struct {
		Message string `json:"message"`
		Key     string `json:"key,omitempty"`
	}

	// Stored is the answer to a roomMessage.
	Stored struct {
		Seq        int64     `json:"seq"`
		At         time.Time `json:"at"`
		Durability string    `json:"durability"`
		Duplicate  bool      `json:"duplicate"`
	}

	// HistoryRequest asks for a page; nil bounds are left out.
	HistoryRequest struct {
		Before *int64 `json:"before,omitempty"`
		After  *int64 `json:"after,omitempty"`
		Limit  int    `json:"limit,omitempty"`
	}

	// HistoryPage is the answer to a HistoryRequest.
	HistoryPage struct {
		Messages []Message `json:"messages"`
		More     bool      `json:"more"`
	}

	// UsersPage is the answer to a users request.
	UsersPage struct {
		Users []User `json:"users"`
		Count int    `json:"count"`
	}

	// Notification tells of an arrival or a departure.
	Notification struct {
		Title       string `json:"title"`
		Description string `json:"description"`
		Kind        string `json:"kind"` // "joined" or "left"
		User        User   `json:"user"`
	}

	// Presence stands in for notification and users in large rooms (section 5).
	Presence struct {
		Joined []User   `json:"joined"`
		Left   []string `json:"left"`
		Count  int      `json:"count"`
	}

	// Typing is the typing event's data.
	Typing struct {
		From   string `json:"from"`
		UserID string `json:"userId"`
		Typing bool   `json:"typing"`
	}

	// Goodbye comes before a drain's end (section 7).
	Goodbye struct {
		ReconnectIn float64 `json:"reconnectIn"` // milliseconds from this event on
		Reason      string  `json:"reason"`
	}

	// Pong is the answer to a ping request.
	Pong struct {
		ID string    `json:"id"`
		At time.Time `json:"at"`
	}
)
