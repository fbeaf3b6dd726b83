package hub

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"parley/protocol"
	"parley/store"
)

// What an answer holds at most is to the byte (section 3): with one more in the
// messages that would just fit, one of them stays behind.
func TestMessagesOfAnAnswer(t *testing.T) {
	for over := range 2 {
		s := newStage(Config{MessageLimit: MaxMessageLimit})
		defer s.h.writers.close()
		s.connect("ann")
		s.say(t, "ann", `{"event":"login","data":{"name":"Ann","room":"lobby"},"ackId":1}`)
		send := func(size int) (inAnswer int) {
			said := s.say(t, "ann", `{"event":"roomMessage","data":"`+strings.Repeat("x", size)+`"}`)
			return len(protocol.RoomMessageData([]byte(strings.TrimPrefix(said, "< ")))) + len(",")
		}
		const size = 60000
		total, sent := arrayBytes, 0
		for total < answerBytes-size {
			total += send(size)
			sent++
		}
		around := (total-arrayBytes)/sent - size
		send(answerBytes - total - around + over)
		sent++

		s.connect("bob")
		for what, said := range map[string]string{
			"history": s.say(t, "ann", `{"event":"history","data":{"limit":200},"ackId":2}`),
			"login":   s.say(t, "bob", `{"event":"login","data":{"name":"Bob","room":"lobby"},"ackId":3}`),
		} {
			said, _, _ = strings.Cut(strings.TrimPrefix(said, "< "), "\n")
			var ack struct {
				Data struct {
					Messages jsontext.Value `json:"messages"`
					More     bool           `json:"more"`
				} `json:"data"`
			}
			if err := json.Unmarshal([]byte(said), &ack); err != nil {
				t.Fatal(err)
			}
			var given []jsontext.Value
			if err := json.Unmarshal(ack.Data.Messages, &given); err != nil {
				t.Fatal(err)
			}
			if over == 0 && len(ack.Data.Messages) != answerBytes || len(given) != sent-over || ack.Data.More != (over == 1) {
				t.Errorf("%s: %d of %d messages in %d bytes, more %v", what, len(given), sent, len(ack.Data.Messages), ack.Data.More)
			}
		}
	}
}

func TestUsersOfAnAnswer(t *testing.T) {
	for over := range 2 {
		var users []*store.User
		for i := range 1000 {
			users = append(users, &store.User{ID: fmt.Sprintf("%04d", i), Name: strings.Repeat("n", 200)})
		}
		users = append(users, &store.User{})
		missing := usersBytes - len(appendPeople(nil, users))
		users[1000].Name = strings.Repeat("n", missing+over)
		list := appendPeople([]byte("before"), users)[len("before"):]
		var given []jsontext.Value
		if err := json.Unmarshal(list, &given); err != nil {
			t.Fatal(err)
		}
		if over == 0 && len(list) != usersBytes || len(given) != 1001-over {
			t.Errorf("%d users in %d bytes", len(given), len(list))
		}
	}
}
