package protocol

import (
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// golden is a case of testdata/requests.json, refused.json or events.json; each
// file's $comment says how to read it.
type golden struct {
	Name         string         `json:"name"`
	Frame        string         `json:"frame"`
	Event        string         `json:"event"`
	AckID        *int64         `json:"ackId"`
	Data         jsontext.Value `json:"data"`
	Tokens       bool           `json:"tokens"`
	MessageLimit int            `json:"messageLimit"`
	Request      jsontext.Value `json:"request"`
	Nick         string         `json:"nick"`
	Literal      string         `json:"literal"`
	Answer       string         `json:"answer"`
	Error        struct {
		Error  string            `json:"error"`
		Code   Code              `json:"code"`
		Fields map[string]string `json:"fields"`
	} `json:"error"`
}

func (g golden) ackID() int64 {
	if g.AckID == nil {
		return NoAck
	}
	return *g.AckID
}

func (g golden) parser() Parser {
	if g.MessageLimit == 0 {
		g.MessageLimit = 16384
	}
	return Parser{MessageLimit: g.MessageLimit, Tokens: g.Tokens}
}

func readGolden(t testing.TB, name string) []golden {
	t.Helper()
	src, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Comment string   `json:"$comment"`
		Cases   []golden `json:"cases"`
	}
	if err := json.Unmarshal(src, &file, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, g := range file.Cases {
		if seen[g.Name] {
			t.Errorf("%s: two cases are called %q", name, g.Name)
		}
		seen[g.Name] = true
	}
	return file.Cases
}

// sameJSON compares two JSON values but for white space and the order of members.
func sameJSON(t *testing.T, what string, got, want jsontext.Value) {
	t.Helper()
	if (got == nil) != (want == nil) {
		t.Errorf("%s: got %s, want %s", what, got, want)
		return
	}
	if got == nil {
		return
	}
	got, want = got.Clone(), want.Clone()
	if err := errors.Join(got.Canonicalize(), want.Canonicalize()); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if string(got) != string(want) {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func TestRequests(t *testing.T) {
	events := map[string]bool{}
	for _, g := range readGolden(t, "requests.json") {
		events[g.Event] = true
		t.Run(g.Name, func(t *testing.T) {
			e, err := Decode([]byte(g.Frame))
			if err != nil {
				t.Fatal(err)
			}
			if e.Event != g.Event || e.AckID != g.ackID() {
				t.Errorf("got %s with ackId %d, want %s with %d", e.Event, e.AckID, g.Event, g.ackID())
			}
			sameJSON(t, "data", e.Data, g.Data)
			req, bad := g.parser().Parse(e)
			if bad != nil {
				t.Fatal(bad)
			}
			got, err := json.Marshal(req)
			if err != nil {
				t.Fatal(err)
			}
			sameJSON(t, "request", got, g.Request)
			switch r := req.(type) {
			case *Login:
				if r.Nick != g.Nick {
					t.Errorf("nick is %q, want %q", r.Nick, g.Nick)
				}
			case *RoomMessage:
				if r.Literal != g.Literal {
					t.Errorf("literal is %s, want %s", r.Literal, g.Literal)
				}
			}
		})
	}
	for _, name := range []string{EventLogin, EventLogout, EventRoomMessage, EventTyping, EventHistory, EventUsers, EventPing, EventKick} {
		if !events[name] {
			t.Errorf("no case for %s", name)
		}
	}
}

func TestRefused(t *testing.T) {
	codes := map[Code]bool{}
	for _, g := range readGolden(t, "refused.json") {
		codes[g.Error.Code] = true
		t.Run(g.Name, func(t *testing.T) {
			e, err := Decode([]byte(g.Frame))
			if e.Event != g.Event || e.AckID != g.ackID() {
				t.Errorf("got %q with ackId %d, want %q with %d", e.Event, e.AckID, g.Event, g.ackID())
			}
			var bad *Error
			if err != nil && !errors.As(err, &bad) {
				t.Fatal(err)
			}
			if err == nil {
				_, bad = g.parser().Parse(e)
			}
			if bad == nil {
				t.Fatal("was taken")
			}
			if bad.Code != g.Error.Code || bad.Text != g.Error.Error || !reflect.DeepEqual(bad.Fields, g.Error.Fields) {
				t.Errorf("got  %+v\nwant %+v", *bad, g.Error)
			}
			if got := string(AppendError(nil, e.AckID, e.Event, bad)); got != g.Answer {
				t.Errorf("got  %s\nwant %s", got, g.Answer)
			}
		})
	}
	for _, code := range []Code{CodeBadEnvelope, CodeUnknownEvent, CodeAckRequired, CodeInvalid} {
		if !codes[code] {
			t.Errorf("no case for %s", code)
		}
	}
}

func TestDecodeNotUTF8(t *testing.T) {
	for _, frame := range []string{
		"{\"event\":\"roomMessage\",\"data\":\"\xff\"}",
		"{\"event\":\"ping\",\"ackId\":1,\"\xc0\xaf\":1}",
		"{\"event\":\"roomMessage\",\"data\":\"\xed\xa0\x80\"}", // a surrogate
		"not JSON \x80 either",
	} {
		if e, err := Decode([]byte(frame)); err != ErrNotUTF8 || e.AckID != NoAck {
			t.Errorf("%q: got %+v, %v", frame, e, err)
		}
	}
}

// Deep nesting is JSON like any other, and is read without recursion.
func TestDecodeDeep(t *testing.T) {
	const depth = 100_000
	frame := append([]byte(`{"event":"ping","ackId":1,"data":`), make([]byte, 2*depth)...)
	nest := frame[len(frame)-2*depth:]
	for i := range depth {
		nest[i], nest[2*depth-1-i] = '[', ']'
	}
	if _, err := Decode(append(frame, '}')); err != nil {
		t.Error(err)
	}
	if _, err := Decode(frame); err == nil {
		t.Error("a frame without its last brace was taken")
	}
}

func TestEvents(t *testing.T) {
	cases := map[string]golden{}
	for _, g := range readGolden(t, "events.json") {
		cases[g.Name] = g
	}
	for name, frame := range encoded() {
		g, ok := cases[name]
		if !ok {
			t.Errorf("no case is called %q", name)
			continue
		}
		delete(cases, name)
		t.Run(name, func(t *testing.T) {
			if string(frame) != g.Frame {
				t.Errorf("got  %s\nwant %s", frame, g.Frame)
			}
			e, err := Decode([]byte(g.Frame))
			if err != nil || e.Event != g.Event || e.AckID != g.ackID() {
				t.Errorf("reads as %q with ackId %d, %v", e.Event, e.AckID, err)
			}
			sameJSON(t, "data", e.Data, g.Data)
		})
	}
	for name := range cases {
		t.Errorf("nothing writes %q", name)
	}
}

// encoded returns what the cases of events.json are written by.
func encoded() map[string][]byte {
	const id = "c0vqyq3k5m2f4t6x"
	at := time.Date(2026, 11, 23, 20, 0, 0, 120_999_999, time.FixedZone("", 3600))
	ann, ben := User{id, "Ann", "lobby"}, User{"b1r8", `Ben "B" <b>`, "lobby"}
	list := func(users ...User) []byte {
		dst := []byte{'['}
		for i, u := range users {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendUser(dst, u)
		}
		return append(dst, ']')
	}
	first := AppendRoomMessage(nil, RoomMessageEvent{Literal: `"hello"`, From: "Ann", UserID: id, Seq: 1842, At: at})
	second := AppendRoomMessage(nil, RoomMessageEvent{
		Literal: `"<b> / 😀 \"\\\n\u0000` + "\u2028" + `"`, From: ben.Name, UserID: ben.ID, Seq: MaxAckID,
		At: time.Date(2026, 11, 23, 19, 0, 1, 0, time.UTC), Key: "6f1d2c7e-90ab-4cde-8f01-23456789abcd",
	})
	both := [][]byte{RoomMessageData(first), RoomMessageData(second)}
	yes, no := true, false
	frames := map[string][]byte{
		"welcome":                             AppendWelcome(nil, Welcome{ID: "w3lc", Now: at, PingInterval: 25 * time.Second, MessageLimit: 16384, History: 10000}),
		"welcome with a rate and tokens":      AppendWelcome(nil, Welcome{ID: "w3lc", Now: at, PingInterval: 100 * time.Millisecond, MessageLimit: 65536, History: 1, Rate: 0.5, Tokens: true}),
		"roomMessage":                         first,
		"roomMessage with a key":              second,
		"notification joined":                 AppendNotification(nil, true, ann),
		"notification left":                   AppendNotification(nil, false, ben),
		"users":                               AppendUsersEvent(nil, list(ann, ben)),
		"users, nobody":                       AppendUsersEvent(nil, nil),
		"presence":                            AppendPresence(nil, Presence{Joined: []User{ann, ben}, Left: []string{"x1", "x2"}, Count: 4711}),
		"presence, only a count":              AppendPresence(nil, Presence{}),
		"typing":                              AppendTyping(nil, "Ann", id, true),
		"typing, stopped":                     AppendTyping(nil, ben.Name, ben.ID, false),
		"goodbye":                             AppendGoodbye(nil, 1500*time.Millisecond, "The server restarts."),
		"ack, empty":                          AppendEmptyAck(nil, 3),
		"ack of roomMessage":                  AppendStored(nil, 2, 1842, at, "disk", false),
		"ack of roomMessage, duplicate":       AppendStored(nil, MaxAckID, 1842, at, "memory", true),
		"ack of ping":                         AppendPong(nil, 0, id, at),
		"ack of users":                        AppendUsersAck(nil, 5, list(ann), 2),
		"ack of users, past the end":          AppendUsersAck(nil, 5, nil, 2),
		"ack of history":                      AppendHistoryAck(nil, 6, both, true),
		"ack of history, none":                AppendHistoryAck(nil, 6, nil, false),
		"ack of login":                        AppendLoginAck(nil, 1, LoginAck{User: ann, Users: list(ben, ann), Count: 2, Epoch: "x7Kq", Seq: 1841}),
		"ack of login, resumed and recovered": AppendLoginAck(nil, 1, LoginAck{User: ann, Users: list(ann), Count: 1, Epoch: "x7Kq", Seq: MaxAckID, Messages: both, More: true, Locked: true, Resumed: true, Recovered: &yes}),
		"ack of login with a gap":             AppendLoginAck(nil, 1, LoginAck{User: ann, Users: list(ann), Count: 1, Epoch: "x7Kq", Seq: 1842, Messages: both[:1], More: true, Recovered: &no, Gap: &Gap{17, 1842, "too_many"}}),
		"ack of login with a gap and nothing after it": AppendLoginAck(nil, 1, LoginAck{User: ann, Users: list(ann), Count: 1, Epoch: "x7Kq", Recovered: &no, Gap: &Gap{17, -1, "expired"}}),
		"ack of login, renewal":                        AppendLoginAck(nil, 1, LoginAck{User: ann, Users: list(ann), Count: 1, Epoch: "x7Kq", Seq: 1842, Messages: both, More: true, Locked: true, Recovered: &yes, Renewal: true}),
		"error bad_envelope":                           AppendError(nil, NoAck, "", NewError(CodeBadEnvelope)),
		"error invalid":                                AppendError(nil, 1, EventLogin, Invalid(map[string]string{"room": "cannot be blank", "name": "cannot be blank"})),
		"error invalid without ackId":                  AppendError(nil, NoAck, EventRoomMessage, Invalid(map[string]string{"message": "cannot be blank"})),
	}
	for code := range sentences {
		if code == CodeBadEnvelope {
			continue // which has no ackId and no event
		}
		e := NewError(code)
		if code == CodeRateLimited {
			e = RateLimited(50*time.Millisecond + 1)
		}
		frames["error "+string(code)] = AppendError(nil, 4, EventRoomMessage, e)
		frames["error "+string(code)+" without ackId"] = AppendError(nil, NoAck, EventRoomMessage, e)
	}
	return frames
}
