package protocol

import (
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// FuzzRequest holds Decode and Parse to what they promise of any frame, and Decode
// to what jsontext reads in it.
func FuzzRequest(f *testing.F) {
	for _, file := range []string{"requests.json", "refused.json", "events.json"} {
		for _, g := range readGolden(f, file) {
			f.Add([]byte(g.Frame), uint16(16384), g.Tokens)
		}
	}
	f.Add([]byte("{\"event\":\"roomMessage\",\"data\":\"\xff\"}"), uint16(1), false)
	f.Add([]byte(`{"event":"roomMessage","data":"a"}`), uint16(0), false)
	f.Fuzz(func(t *testing.T, frame []byte, limit uint16, tokens bool) {
		original := bytes.Clone(frame)
		e, err := Decode(frame)
		if !bytes.Equal(frame, original) {
			t.Fatal("Decode changed the frame")
		}
		if strings.Count(string(frame), "{")+strings.Count(string(frame), "[") < 10_000 { // what jsontext bears
			want, wantErr := reference(frame)
			if !reflect.DeepEqual(e, want) || !reflect.DeepEqual(err, wantErr) {
				t.Fatalf("got %+v, %v\nwant %+v, %v", e, err, want, wantErr)
			}
		}
		if err != nil {
			return
		}
		p := Parser{MessageLimit: int(limit), Tokens: tokens}
		req, bad := p.Parse(e)
		if (req == nil) == (bad == nil) {
			t.Fatalf("got %+v and %+v", req, bad)
		}
		if bad != nil {
			checkAnswer(t, e, bad)
			return
		}
		checkRequest(t, p, e, req)
		again, _ := p.Parse(e)
		clear(frame)
		if !reflect.DeepEqual(req, again) {
			t.Fatal("the request changed with the frame")
		}
	})
}

// reference is Decode written with jsontext.
func reference(frame []byte) (Envelope, error) {
	none := Envelope{AckID: NoAck}
	if !utf8.Valid(frame) {
		return none, ErrNotUTF8
	}
	bad := NewError(CodeBadEnvelope)
	d := jsontext.NewDecoder(bytes.NewReader(frame), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return none, bad
	}
	members := map[string]jsontext.Value{}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return none, bad
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return none, bad
		}
		if _, twice := members[key]; twice && (key == "event" || key == "data" || key == "ackId") {
			return none, bad
		}
		members[key] = value.Clone()
	}
	if token, err := d.ReadToken(); err != nil || token.Kind() != '}' {
		return none, bad
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return none, bad
	}
	e := none
	text, err := jsontext.AppendUnquote(nil, members["event"])
	if e.Event = string(text); err != nil || len(e.Event) == 0 || len([]rune(e.Event)) > 64 {
		return none, bad
	}
	if data := members["data"]; data.Kind() != 'n' {
		e.Data = data
	}
	if id := members["ackId"]; id != nil && id.Kind() != 'n' {
		if id.Kind() != '0' || bytes.ContainsAny(id, ".eE") || len(id) > 16 {
			return none, bad
		}
		e.AckID = 0
		for _, c := range bytes.TrimPrefix(id, []byte("-")) {
			e.AckID = e.AckID*10 + int64(c-'0')
		}
		if id[0] == '-' && e.AckID != 0 || e.AckID > 9007199254740991 {
			return none, bad
		}
	}
	return e, nil
}

// checkAnswer checks that an error can be told, and to whom.
func checkAnswer(t *testing.T, e Envelope, bad *Error) {
	t.Helper()
	if bad.Text == "" || (bad.Code == CodeInvalid) != (len(bad.Fields) > 0) {
		t.Fatalf("got %+v", bad)
	}
	answer := AppendError(nil, e.AckID, e.Event, bad)
	if !jsontext.Value(answer).IsValid() {
		t.Fatalf("the answer is no JSON: %s", answer)
	}
	back, err := Decode(answer)
	if err != nil || back.AckID != e.AckID {
		t.Fatalf("the answer reads as %+v, %v", back, err)
	}
}

// checkRequest checks a request against section 3.
func checkRequest(t *testing.T, p Parser, e Envelope, req Request) {
	t.Helper()
	within := func(what string, n, least, most int64) {
		t.Helper()
		if n < least || most < n {
			t.Fatalf("%s is %d in %+v", what, n, req)
		}
	}
	length := func(what, s string, least, most int64) {
		t.Helper()
		if s != "" {
			within(what, int64(utf8.RuneCountInString(s)), least, most)
		}
	}
	switch r := req.(type) {
	case *Login:
		within("ackId", e.AckID, 0, MaxAckID)
		length("name", r.Name, 1, 32)
		length("room", r.Room, 1, 64)
		length("access", r.Access, 16, 128)
		length("session", r.Session, 16, 64)
		within("since", r.Since, -1, MaxAckID)
		if r.Room == "" || (r.Name == "") != (r.Nick == "") || r.Name == "" && !p.Tokens {
			t.Fatalf("something is missing in %+v", r)
		}
		if PrepareName(r.Name) != r.Name || PrepareName(r.Room) != r.Room || strings.ContainsAny(r.Name+r.Room, "\n\x00\x7f") {
			t.Fatalf("not prepared: %+v", r)
		}
	case *RoomMessage:
		within("message", int64(len(r.Message)), 1, int64(p.MessageLimit))
		length("key", r.Key, 16, 64)
		if text, err := jsontext.AppendUnquote(nil, r.Literal); err != nil || string(text) != r.Message {
			t.Fatalf("%s is not %q", r.Literal, r.Message)
		}
		if literal, err := jsontext.AppendQuote(nil, r.Message); err != nil || string(literal) != r.Literal {
			t.Fatalf("%s is not the shortest form of %q", r.Literal, r.Message)
		}
	case *History:
		within("before", r.Before, -1, MaxAckID)
		within("after", r.After, -1, MaxAckID)
		within("limit", int64(r.Limit), 1, 200)
		if r.Before >= 0 && r.After >= 0 {
			t.Fatalf("both ways: %+v", r)
		}
	case *Users:
		within("limit", int64(r.Limit), 1, 200)
		within("offset", int64(r.Offset), 0, math.MaxInt64)
	}
}
