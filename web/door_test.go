package web_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"parley/hub/hubtest"
)

// Whatever goes wrong at the door is said in a sentence, at the field that it is about.
func TestRefusals(t *testing.T) {
	server := memory(t, "--room-limit", "2")
	ann := newPage(t)
	ann.join(server.URL()+"/"+room, "Ann")

	bob := newPage(t)
	refused := func(address, name, field, says string) {
		t.Helper()
		bob.goTo(server.URL() + "/" + address)
		bob.fill("Your name", name)
		bob.press("Join")
		if said := bob.alert(); !strings.Contains(said, says) {
			t.Errorf("%s: said %q, want %q", address, said, says)
		}
		if field == "" {
			return
		}
		at := bob.onNode(bob.find("textbox", field), `function () {
			return this.getAttribute("aria-invalid") + " " + (document.getElementById(this.getAttribute("aria-errormessage"))?.textContent ?? "");
		}`)
		if !strings.HasPrefix(at, "true ") || !strings.Contains(at, says) {
			t.Errorf("%s: at %s stands %q", address, field, at)
		}
	}
	refused(room[:len(room)-1]+"a", "Bob", "Secret", "does not open the room")
	refused("#harbour", "Bob", "Secret", "opens with its secret only")
	if said := eval[string](bob, `document.getElementById("privacy-text").textContent`); strings.Contains(said, "Open room") {
		t.Errorf("beside it stands %q", said)
	}
	refused(room, " ", "Your name", "name")
	refused(room, strings.Repeat("é", 33), "Your name", "32 at most")
	refused(room, "ann", "Your name", "called ann already")
	if proposed := bob.value("Your name"); proposed != "ann 2" {
		t.Errorf("proposed %q", proposed)
	}
	bob.press("Join")
	bob.inside()

	cy := newPage(t)
	cy.goTo(server.URL() + "/" + room)
	cy.fill("Your name", "Cy")
	cy.press("Join")
	if said := cy.alert(); !strings.Contains(said, "full") {
		t.Errorf("a full room: %q", said)
	}
}

// A link that lost its secret never opens an open room in its place.
func TestIncompleteLink(t *testing.T) {
	server := memory(t)
	for _, link := range []string{"#harbour/", "#harbour/%zz", "#harbour/%20"} {
		ann := newPage(t)
		ann.goTo(server.URL() + "/" + link)
		if said := ann.alert(); !strings.Contains(said, "incomplete") {
			t.Errorf("%s: said %q", link, said)
		}
		ann.fill("Your name", "Ann")
		ann.press("Join")
		if said := ann.alert(); !strings.Contains(said, "incomplete") {
			t.Errorf("%s, when joined: said %q", link, said)
		}
		ann.press("Start a room of your own")
		if made := ann.value("Secret"); len(made) != 26 {
			t.Errorf("%s: then proposed the secret %q", link, made)
		}
	}
}

func TestServerThatCannotBeReached(t *testing.T) {
	server := memory(t)
	proxy := newRelay(t, server)
	ann := newPage(t)
	ann.goTo(proxy.url + "/" + room)
	proxy.leave(true)
	ann.fill("Your name", "Ann")
	ann.press("Join")
	if said := ann.alert(); !strings.Contains(said, "cannot be reached") {
		t.Errorf("said %q", said)
	}
	proxy.leave(false)
	ann.inside() // it went on trying
}

// The room's part of the page did not come, at the door or when a room was loaded anew: said, and got when asked for again.
func TestPartOfThePageIsLost(t *testing.T) {
	server := memory(t)
	relay := newRelay(t, server)
	ann := newPage(t)
	relay.lose("/ui/talk.js")
	ann.goTo(relay.url + "/" + room)
	ann.fill("Your name", "Ann")
	ann.press("Join")
	if said := ann.alert(); !strings.Contains(said, "cannot be reached") {
		t.Errorf("said %q", said)
	}
	relay.lose("")
	ann.press("Join")
	ann.inside()
	relay.lose("/ui/talk.js")
	ann.run(chromedp.Reload())
	if said := ann.alert(); !strings.Contains(said, "cannot be reached") {
		t.Errorf("after a reload, said %q", said)
	}
	relay.lose("")
	ann.press("Join")
	ann.inside()
}

// Plain http on another name than localhost: no encryption there, and the page says so before anything is typed.
func TestInsecureContext(t *testing.T) {
	server := memory(t)
	address, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	insecure := "http://insecure.test:" + address.Port()
	ann := newPage(t)
	ann.goTo(insecure + "/")
	if said := ann.alert(); !strings.Contains(said, "plain http") || !strings.Contains(said, "https://") {
		t.Errorf("said %q", said)
	}
	ann.goTo(insecure + "/" + room)
	if said := ann.alert(); !strings.Contains(said, "plain http") {
		t.Errorf("invited, said %q", said)
	}
	ann.fill("Your name", "Ann")
	ann.press("Join")
	ann.alert()
	ann.without("Encrypted:")
	if !eval[bool](ann, `document.getElementById("room").hidden`) {
		t.Error("a private room was entered without encryption")
	}
	ann.join(insecure+"/#lobby", "Ann") // an open room can be
	ann.say("hello")
	ann.wait("sent", `document.querySelector("#log .state.sent") !== null`)
}

func TestRememberedRooms(t *testing.T) {
	server := memory(t)
	ann := newPage(t)
	ann.goTo(server.URL() + "/" + room)
	if eval[int](ann, "localStorage.length") != 0 {
		t.Error("something is stored on the device unasked")
	}
	ann.fill("Your name", "Ann")
	ann.click("checkbox", "Remember on this device")
	ann.press("Join")
	ann.inside()
	ann.press("Leave")
	ann.find("textbox", "Room")
	if at := eval[string](ann, "document.activeElement.textContent"); at != "Join" {
		t.Errorf("back at the door the focus is on %q", at)
	}

	// A new tab knows the room, and the name.
	later := ann.newTab()
	later.goTo(server.URL() + "/")
	later.press("harbour private")
	later.wait("no invitation", `document.getElementById("invited").textContent === "Back to harbour"`)
	if name := later.value("Your name"); name != "Ann" {
		t.Errorf("remembered the name %q", name)
	}
	later.press("Join")
	later.inside()
	later.press("Leave")
	later.press("Forget harbour")
	if kept := eval[string](later, "JSON.stringify(Object.entries(localStorage))"); strings.Contains(kept, secret) {
		t.Errorf("forgotten, but kept: %s", kept)
	}
}

// What is remembered is what opened a room: not a secret that did not, and the tick stays while it is mended.
func TestRememberedOnceInside(t *testing.T) {
	server := memory(t)
	bob := newPage(t)
	bob.join(server.URL()+"/"+room, "Bob")
	ann := newPage(t)
	ann.goTo(server.URL() + "/" + room[:len(room)-1] + "a")
	ann.fill("Your name", "Ann")
	ann.click("checkbox", "Remember on this device")
	ann.press("Join")
	ann.alert()
	const kept = "localStorage.getItem('parley.rooms /')"
	if rooms := eval[*string](ann, kept); rooms != nil {
		t.Errorf("remembered before it opened anything: %s", *rooms)
	}
	ann.fill("Secret", secret)
	ann.press("Join")
	ann.inside()
	if rooms := eval[*string](ann, kept); rooms == nil || *rooms != `[{"room":"harbour","secret":"`+secret+`"}]` {
		t.Errorf("remembered %v", rooms)
	}
}

// Who copies the link by hand, from the field that shows it, is not asked for it again.
func TestLinkCopiedByHand(t *testing.T) {
	server := memory(t)
	ann := newPage(t)
	ann.allow()
	ann.join(server.URL()+"/", "Ann")
	ann.click("textbox", "Invite link")
	if !eval[bool](ann, `document.execCommand("copy")`) {
		t.Fatal("nothing was copied")
	}
	ann.press("Leave")
	ann.find("textbox", "Room")
}

// A reload stays in the room, with the address bar as empty as before.
func TestReloadStaysInTheRoom(t *testing.T) {
	server := memory(t, "--grace", "10m")
	ann := newPage(t)
	ann.join(server.URL()+"/"+room, "Ann")
	bob := newPage(t)
	bob.join(server.URL()+"/"+room, "Bob")
	ann.say("before")
	bob.sees("before")
	ann.run(chromedp.Reload())
	ann.inside()
	ann.sees("before")
	if address := eval[string](ann, "location.href"); address != server.URL()+"/" {
		t.Errorf("the address is %s", address)
	}
	ann.say("after")
	bob.sees("after")
	bob.without("left")
}

// A duplicated tab is somebody else: it has a session of its own, and needs a name of its own.
func TestDuplicatedTab(t *testing.T) {
	server := memory(t)
	ann := newPage(t)
	ann.join(server.URL()+"/"+room, "Ann")
	second := ann.duplicate()
	if said := second.alert(); !strings.Contains(said, "called Ann already") {
		t.Errorf("the duplicate says %q", said)
	}
	second.press("Join")
	second.inside()
	ann.wait("two people", `document.querySelectorAll("#people li").length === 2`)
	second.say("I am the other one")
	ann.sees("I am the other one")
}

// Another device takes the session: the page says so, and takes it back only when told to.
func TestTakenOver(t *testing.T) {
	server := memory(t)
	relay := newRelay(t, server)
	ann := newPage(t)
	ann.join(relay.url+"/#lobby", "Ann")
	sent, _ := relay.wire()
	var login hubtest.Login
	for _, raw := range sent {
		if f := decode(t, raw); f.Event == "login" {
			data, err := json.Marshal(f.Data)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(data, &login); err != nil {
				t.Fatal(err)
			}
		}
	}
	other := hubtest.Dial(t, server.WS())
	if ack := other.Login(login); !ack.Resumed {
		t.Fatalf("the session was not taken over: %+v", ack)
	}
	if said := ann.alert(); !strings.Contains(said, "another place") {
		t.Errorf("said %q", said)
	}
	if state := eval[string](ann, `document.getElementById("connection-word").textContent`); state != "Offline" {
		t.Errorf("the connection is said to be %s", state)
	}
	ann.press("Use here")
	ann.inside()
	ann.say("back again")
	ann.sees("back again")
	if code, _ := other.Ended(); code != 4501 {
		t.Errorf("the other one ended with %d", code)
	}
}

// A link that is pasted into the address bar of a tab that is in a room leads to the other one.
func TestAnotherLinkInTheSameTab(t *testing.T) {
	server := memory(t)
	ann := newPage(t)
	ann.join(server.URL()+"/"+room, "Ann")
	ann.reloads(`void (location.hash = "#lobby")`)
	ann.wait("the door of the other room", `document.getElementById("invited-room").textContent === "lobby"`)
	ann.press("Join")
	ann.inside()
	if address := eval[string](ann, "location.href"); address != server.URL()+"/#lobby" {
		t.Errorf("the address is %s", address)
	}
}

// Who would rather stay, asked on the way to another room, stays; and the other room's secret is not left behind.
func TestAnotherLinkDeclined(t *testing.T) {
	server := memory(t)
	ann := newPage(t)
	ann.join(server.URL()+"/", "Ann")
	eval[bool](ann, `(location.hash = "`+room+`", true)`)
	ann.press("Stay")
	ann.wait("no question", `!document.getElementById("ask").open`)
	if address := eval[string](ann, "location.href"); address != server.URL()+"/" {
		t.Errorf("the address is %s", address)
	}
	ann.say("still here")
	ann.sees("still here")
}
