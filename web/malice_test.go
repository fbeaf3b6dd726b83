package web_test

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"parley/hub/hubtest"
)

// The server is the adversary here: Ann talks through the honest server, Bob gets what a relay makes
// of it. Section 9 of PROTOCOL.md says what Bob must be shown; each time he goes on reading and writing.

// scene is a private room with Ann on the server and Bob behind the relay.
type scene struct {
	server   *hubtest.Server
	relay    *relay
	ann, bob *page
}

const room = "#harbour/" + secret

func newScene(t *testing.T) scene {
	t.Helper()
	server := memory(t)
	s := scene{server: server, relay: newRelay(t, server), ann: newPage(t), bob: newPage(t)}
	s.ann.join(server.URL()+"/"+room, "Ann")
	s.bob.join(s.relay.url+"/"+room, "Bob")
	return s
}

// forge makes the relay hand each of Ann's messages to change, which says what arrives in its place.
func (s scene) forge(change func(n int, m message) []message) {
	n := 0
	s.relay.tamper(func(f frame) []frame {
		m, _ := f.Data.(message)
		if f.Event != "roomMessage" || m["from"] != "Ann" {
			return []frame{f}
		}
		n++
		var passed []frame
		for _, m := range change(n, m) {
			passed = append(passed, frame{Event: f.Event, Data: m})
		}
		return passed
	})
}

// goesOn checks that the honest rest still works, and that nothing was given away.
func (s scene) goesOn(t *testing.T) {
	t.Helper()
	s.relay.tamper(nil)
	s.ann.say("Are you still there?")
	s.bob.sees("Are you still there?")
	s.bob.say("I am, and I can still write.")
	s.ann.sees("I am, and I can still write.")
	if state := eval[string](s.bob, `document.getElementById("connection-word").textContent`); state != "Connected" {
		t.Errorf("Bob is %s", state)
	}
}

// flip changes one bit of the ciphertext.
func flip(t *testing.T, m message) message {
	t.Helper()
	sealed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(m["message"].(string), "p1."))
	if err != nil {
		t.Errorf("%v is not sealed: %v", m["message"], err)
	}
	sealed[len(sealed)/2] ^= 1
	forged := maps.Clone(m)
	forged["message"] = "p1." + base64.RawURLEncoding.EncodeToString(sealed)
	return forged
}

func TestServerFlipsABit(t *testing.T) {
	s := newScene(t)
	s.forge(func(n int, m message) []message {
		if n == 2 {
			m = flip(t, m)
		}
		return []message{m}
	})
	for _, text := range []string{"one", "two", "three"} {
		s.ann.say(text)
		s.ann.sees(text)
	}
	s.bob.sees("three")
	if got, want := s.bob.lines(), []string{"Ann | one", "Ann | could not be verified", "Ann | three"}; !slices.Equal(skipMissing(got), want) {
		t.Errorf("Bob sees %q", got)
	}
	s.goesOn(t)
}

// skipMissing leaves out the lines that say that something is missing, and those of who came and went.
func skipMissing(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
		return strings.Contains(line, "missing") || strings.HasSuffix(line, "joined")
	})
}

func TestServerSwapsTwoMessages(t *testing.T) {
	s := newScene(t)
	var held message
	s.forge(func(n int, m message) []message {
		switch n {
		case 1:
			held = m
			return nil
		case 2:
			first, second := maps.Clone(m), maps.Clone(held)
			first["seq"], second["seq"] = held["seq"], m["seq"]
			return []message{first, second}
		}
		return []message{m}
	})
	s.ann.say("first")
	s.ann.sees("first")
	s.ann.say("second")
	s.bob.sees("first")
	s.bob.sees("out of order")
	if got := skipMissing(s.bob.lines()); len(got) != 2 || !strings.Contains(got[0], "second") ||
		!strings.Contains(got[1], "first") || !strings.Contains(got[1], "out of order") {
		t.Errorf("Bob sees %q", got)
	}
	s.goesOn(t)
}

func TestServerReplays(t *testing.T) {
	s := newScene(t)
	s.forge(func(n int, m message) []message {
		again := maps.Clone(m)
		again["seq"] = m["seq"].(float64) + 0.5e6 // later than all that follows
		if n == 1 {
			return []message{m, again}
		}
		return []message{m}
	})
	s.ann.say("pay him")
	s.bob.sees("pay him")
	s.bob.sees("repeated")
	if got := eval[int](s.bob, `document.getElementById("log").innerText.split("pay him").length - 1`); got != 1 {
		t.Errorf("Bob reads it %d times", got)
	}
	s.ann.sees("pay him")
}

// The same in what a login brings, after a reload, and in a page of history.
func TestServerReplaysWhatWasBefore(t *testing.T) {
	s := newScene(t)
	for _, text := range []string{"one", "two", "three"} {
		s.ann.say(text)
		s.bob.sees(text)
	}
	s.relay.tamper(func(f frame) []frame {
		if list := f.messages(); len(list) == 3 {
			again := maps.Clone(list[0].(message))
			again["seq"] = list[2].(message)["seq"].(float64) + 1
			answer := f.Data.(map[string]any)
			answer["messages"] = append(list, again)
			answer["seq"] = again["seq"]
		}
		return []frame{f}
	})
	s.bob.run(chromedp.Reload())
	s.bob.inside()
	s.bob.sees("repeated")
	if got, want := skipMissing(s.bob.lines()), []string{"Ann | one", "Ann | two", "Ann | three", "Ann | repeated: this message was here before"}; !slices.Equal(got, want) {
		t.Errorf("after the reload Bob sees %q", got)
	}
}

func TestServerReplaysInHistory(t *testing.T) {
	s := newScene(t)
	for i := range 60 {
		s.ann.say("number " + string(rune('A'+i%26)) + strings.Repeat("'", i/26))
	}
	s.bob.sees("number H''")
	first := true
	s.relay.tamper(func(f frame) []frame {
		list := f.messages()
		answer, _ := f.Data.(map[string]any)
		if _, isLogin := answer["user"]; list == nil || isLogin || !first {
			return []frame{f}
		}
		// The page of history: its newest one is replaced by a copy of its oldest.
		first = false
		again := maps.Clone(list[0].(message))
		again["seq"] = list[len(list)-1].(message)["seq"]
		list[len(list)-1] = again
		return []frame{f}
	})
	s.bob.run(chromedp.Reload())
	s.bob.inside()
	s.bob.sees("number H''")
	eval[bool](s.bob, `(document.getElementById("log").scrollTop = 0, true)`)
	s.bob.sees("repeated")
	s.bob.sees("a message of Ann is missing here")
	s.goesOn(t)
}

func TestServerRenamesTheSender(t *testing.T) {
	s := newScene(t)
	s.forge(func(n int, m message) []message {
		forged := maps.Clone(m)
		forged["from"] = "Cy"
		return []message{forged}
	})
	s.ann.say("I am Ann")
	s.bob.sees("could not be verified")
	if got := skipMissing(s.bob.lines()); !slices.Equal(got, []string{"Cy | could not be verified"}) {
		t.Errorf("Bob sees %q", got)
	}
	s.bob.without("I am Ann")
	s.goesOn(t)
}

func TestServerMovesAMessageToAnotherRoom(t *testing.T) {
	s := newScene(t)
	elsewhere := newPage(t)
	elsewhere.join(s.relay.url+"/#market/"+secret, "Bob")
	s.ann.say("meant for the harbour")
	s.bob.sees("meant for the harbour")
	_, got := s.relay.wire()
	var moved frame
	for _, raw := range got {
		if strings.Contains(raw, `"event":"roomMessage"`) {
			moved = decode(t, raw)
		}
	}
	once := true
	s.relay.tamper(func(f frame) []frame {
		if stored, ok := f.Data.(map[string]any); f.Event == "ack" && ok && stored["durability"] != nil && once {
			once = false
			moved.Data.(message)["seq"] = stored["seq"].(float64) + 1
			return []frame{f, moved}
		}
		return []frame{f}
	})
	elsewhere.say("hello?")
	elsewhere.sees("could not be verified")
	elsewhere.without("meant for the harbour")
}

func TestServerWithholdsAMessage(t *testing.T) {
	s := newScene(t)
	var withheld message
	s.forge(func(n int, m message) []message {
		if n == 2 {
			withheld = m
			return nil
		}
		return []message{m}
	})
	for _, text := range []string{"one", "two", "three"} {
		s.ann.say(text)
		s.ann.sees(text)
	}
	s.bob.sees("a message of Ann is missing here")
	if got := s.bob.lines(); !slices.Equal(got[len(got)-3:], []string{"Ann | one", "a message of Ann is missing here", "Ann | three"}) {
		t.Errorf("Bob sees %q", got)
	}
	if withheld == nil {
		t.Error("nothing was withheld")
	}
	s.goesOn(t)
	// It comes with the next load, and the mark goes.
	s.bob.run(chromedp.Reload())
	s.bob.inside()
	s.bob.sees("two")
	s.bob.without("missing")
}

func TestServerSlipsInPlainText(t *testing.T) {
	s := newScene(t)
	s.forge(func(n int, m message) []message {
		forged := maps.Clone(m)
		forged["message"] = "send the money"
		return []message{forged}
	})
	s.ann.say("nothing of the kind")
	s.bob.sees("could not be verified")
	s.bob.without("send the money")
	s.goesOn(t)
}

// An answer with another name would have Bob seal under it.
func TestServerAnswersALoginWithAnotherName(t *testing.T) {
	server := memory(t)
	relay := newRelay(t, server)
	relay.tamper(func(f frame) []frame {
		if answer, ok := f.Data.(map[string]any); ok && f.Event == "ack" {
			if user, ok := answer["user"].(map[string]any); ok {
				user["name"] = "Mallory"
			}
		}
		return []frame{f}
	})
	bob := newPage(t)
	bob.goTo(relay.url + "/" + room)
	bob.fill("Your name", "Bob")
	bob.press("Join")
	if said := bob.alert(); !strings.Contains(said, "another name") {
		t.Errorf("Bob is told %q", said)
	}
	bob.find("button", "Join")
}

func TestServerReportsTheRoomUnlocked(t *testing.T) {
	s := newScene(t)
	s.relay.tamper(func(f frame) []frame {
		if answer, ok := f.Data.(map[string]any); ok && f.Event == "ack" && answer["locked"] != nil {
			answer["locked"] = false
		}
		return []frame{f}
	})
	s.relay.drop()
	if said := s.bob.alert(); !strings.Contains(said, "no lock") {
		t.Errorf("Bob is told %q", said)
	}
	s.bob.inside()
	s.bob.say("still sealed")
	s.ann.sees("still sealed")
	s.bob.alert() // it stays
	sent, _ := s.relay.wire()
	for _, raw := range sent {
		if strings.Contains(raw, "still sealed") {
			t.Errorf("plain text on the wire: %s", raw)
		}
	}
}

// Where nobody cheats, there is no mark: not after lost connections, not after a restart of the server.
func TestHonestChaosShowsNoMark(t *testing.T) {
	s := newScene(t)
	for i, text := range []string{"one", "two", "three", "four", "five", "six"} {
		from, to := s.ann, s.bob
		if i%2 == 1 {
			from, to = s.bob, s.ann
		}
		if i%3 == 0 {
			s.relay.drop()
		}
		from.say(text)
		to.sees(text)
	}
	s.bob.run(chromedp.Reload())
	s.bob.inside()
	s.bob.sees("six")
	for _, p := range []*page{s.ann, s.bob} {
		if marks := eval[int](p, `document.querySelectorAll("#log .odd, #log .remark, #log .missing").length`); marks != 0 {
			t.Errorf("%d marks: %q", marks, p.lines())
		}
	}
}
