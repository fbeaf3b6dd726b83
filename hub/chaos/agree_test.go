package chaos

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"parley/hub/hubtest"
)

// disagree says in what the members of one room differ on who is there, "" when they agree: on the answer to users, on
// the newest users event, on what the notifications add up to, and on themselves.
func disagree(reports []report) string {
	first := reports[0]
	if len(first.asked) != len(reports) {
		return fmt.Sprintf("%s has %d members, and %s is told of %+v", first.room, len(reports), first.name, first.asked)
	}
	for _, r := range reports {
		self := hubtest.User{ID: r.id, Name: r.name, Room: r.room}
		switch {
		case !slices.Equal(r.asked, first.asked):
			return fmt.Sprintf("%s is told of %+v, and %s of %+v", first.name, first.asked, r.name, r.asked)
		case !slices.Equal(r.told, r.asked):
			return fmt.Sprintf("%s asked and got %+v, and was told of %+v", r.name, r.asked, r.told)
		case !slices.Contains(r.asked, self):
			return fmt.Sprintf("%+v is not among %+v", self, r.asked)
		case len(r.people) != len(r.asked):
			return fmt.Sprintf("by its notifications %s has %v in the room, which holds %+v", r.name, r.people, r.asked)
		}
		for _, u := range r.asked {
			if !r.people[u.ID] {
				return fmt.Sprintf("by its notifications %s has %v in the room, which holds %+v", r.name, r.people, r.asked)
			}
		}
	}
	return ""
}

func TestDisagree(t *testing.T) {
	ann, bob := hubtest.User{ID: "1", Name: "Ann", Room: "r"}, hubtest.User{ID: "2", Name: "Bob", Room: "r"}
	both := []hubtest.User{ann, bob}
	ids := map[string]bool{"1": true, "2": true}
	good := report{room: "r", name: "Ann", id: "1", asked: both, told: both, people: ids}
	for _, tc := range []struct {
		name  string
		other report
		agree bool
	}{
		{"agreed", report{room: "r", name: "Bob", id: "2", asked: both, told: both, people: ids}, true},
		{"another order", report{room: "r", name: "Bob", id: "2", asked: []hubtest.User{bob, ann}, told: both, people: ids}, false},
		{"an old event", report{room: "r", name: "Bob", id: "2", asked: both, told: both[:1], people: ids}, false},
		{"a missed notification", report{room: "r", name: "Bob", id: "2", asked: both, told: both, people: map[string]bool{"2": true}}, false},
		{"another id", report{room: "r", name: "Bob", id: "3", asked: both, told: both, people: ids}, false},
	} {
		if d := disagree([]report{good, tc.other}); (d == "") != tc.agree {
			t.Errorf("%s: %q", tc.name, d)
		}
	}
	if d := disagree([]report{good}); d == "" {
		t.Error("a room with a ghost in it: no disagreement")
	}
}

// An answer tells that a user is there when it has been let in: not when its login was refused, and not to what a
// connection asks before.
func TestSignOfLife(t *testing.T) {
	m := newMember(&world{t: t}, "ann", "r", false, nil)
	a := newAttachment(m, nil)
	answered := func(event, data string) {
		a.pending[1] = request{event: event, sent: time.Now(), answer: func(f hubtest.Frame) error {
			if event == "login" {
				return a.entered(f)
			}
			return nil
		}}
		_ = a.receive(hubtest.Frame{Event: "ack", AckID: 1, Data: []byte(data)}) // a refusal is one
	}
	answered("ping", `{"id":"x"}`)
	answered("login", `{"error":"Not now.","code":"unavailable"}`)
	if !m.aliveAt.IsZero() {
		t.Error("it is there without a login")
	}
	answered("login", `{"user":{"id":"1","name":"ann.1","room":"r"},"users":[{"id":"1","name":"ann.1","room":"r"}],"count":1,"messages":[]}`)
	if m.aliveAt.IsZero() {
		t.Error("it is not there after its login")
	}
}
