package web_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"parley/hub/hubtest"
)

// count is how often the log shows the text.
func (p *page) count(text string) int {
	p.t.Helper()
	return eval[int](p, fmt.Sprintf(`document.getElementById("log").innerText.split(%s).length - 1`, quote(text)))
}

// state waits for one of the three words.
func (p *page) state(word string) {
	p.t.Helper()
	p.wait(word, fmt.Sprintf(`document.getElementById("connection-word").textContent === %q`, word))
	if status := p.look("status", "Connection"); len(status) != 1 {
		p.t.Errorf("%d × status Connection", len(status))
	}
}

// A lost connection: said at once, with a countdown; what was missed comes, what was written meanwhile goes, once.
func TestDropAndComeBack(t *testing.T) {
	server := memory(t, "--grace", "10m")
	proxy := hubtest.NewProxy(t, server.Addr())
	ann, bob := newPage(t), newPage(t)
	ann.join(server.URL()+"/"+room, "Ann")
	bob.join(proxy.URL()+"/"+room, "Bob")
	bob.wait("a round trip", `/^\d+ ms$/.test(document.getElementById("connection-detail").textContent)`)
	proxy.Refuse(true)
	proxy.Each(func(l *hubtest.Link) { l.Cut(true) })
	bob.state("Reconnecting")
	bob.wait("a countdown", `/^in \d+ s$/.test(document.getElementById("connection-detail").textContent)`)
	bob.say("written meanwhile")
	bob.sees("written meanwhile")
	bob.wait("it waits", `document.querySelector("#log .state.queued") !== null`)
	ann.say("missed by Bob")
	ann.sees("missed by Bob")
	bob.press("Try now") // in vain
	proxy.Refuse(false)
	bob.inside()
	bob.sees("missed by Bob")
	ann.sees("written meanwhile")
	bob.wait("it is sent", `document.querySelector("#log .outbox").childElementCount === 0`)
	ann.say("that was all")
	bob.sees("that was all")
	for _, p := range []*page{ann, bob} {
		for _, text := range []string{"written meanwhile", "missed by Bob"} {
			if n := p.count(text); n != 1 {
				t.Errorf("%q is there %d times", text, n)
			}
		}
	}
	ann.without("Bob left")
}

// No network at all has a word of its own.
func TestOffline(t *testing.T) {
	server := memory(t)
	proxy := hubtest.NewProxy(t, server.Addr())
	ann := newPage(t)
	ann.join(proxy.URL()+"/#lobby", "Ann")
	ann.offline(true)
	proxy.Refuse(true)
	proxy.Each(func(l *hubtest.Link) { l.Cut(false) })
	ann.state("Offline")
	ann.offline(false)
	proxy.Refuse(false)
	ann.inside()
}

// What was written and not sent survives a reload, and is sent once.
func TestReloadWithUnsentMessages(t *testing.T) {
	server := memory(t)
	relay := newRelay(t, server)
	ann, bob := newPage(t), newPage(t)
	ann.join(server.URL()+"/"+room, "Ann")
	bob.join(relay.url+"/"+room, "Bob")
	relay.leave(true)
	bob.state("Reconnecting")
	bob.say("first of two")
	bob.say("second of two")
	bob.fill("Message", "a draft")
	bob.wait("both wait", `document.querySelectorAll("#log .state.queued").length === 2`)
	bob.wait("under one name", `[...document.querySelectorAll("#log .outbox .line")].map((l) => l.classList.contains("together")).join() === "false,true"`)
	kept := eval[string](bob, "JSON.stringify(Object.entries(sessionStorage))")
	if strings.Contains(kept, "of two") {
		t.Errorf("plain text of a private room is stored: %s", kept)
	}
	bob.run(chromedp.Reload())
	bob.state("Reconnecting")
	relay.leave(false)
	bob.inside()
	ann.sees("second of two")
	bob.sees("second of two")
	bob.wait("all sent", `document.querySelector("#log .outbox").childElementCount === 0`)
	if draft := bob.value("Message"); draft != "a draft" {
		t.Errorf("the draft is %q", draft)
	}
	want := []string{"Bob | first of two", "Bob | second of two"}
	for _, p := range []*page{ann, bob} {
		if got := skipMissing(p.lines()); !slices.Equal(got, want) {
			t.Errorf("a page shows %q", got)
		}
	}
}

// A message that was refused says so where it stands, and can be sent again or given up.
func TestRefusedMessage(t *testing.T) {
	server := memory(t)
	relay := newRelay(t, server)
	ann, bob := newPage(t), newPage(t)
	ann.join(relay.url+"/"+room, "Ann")
	bob.join(server.URL()+"/"+room, "Bob")
	relay.refusing("invalid")
	ann.say("once more")
	ann.sees("Not sent. not today.")
	relay.refusing("")
	ann.press("Retry")
	bob.sees("once more")
	ann.wait("sent", `document.querySelector("#log > .line .state.sent") !== null`)
	ann.without("Not sent.")

	relay.refusing("invalid")
	ann.say("never mind")
	ann.press("Discard")
	ann.wait("gone", `document.querySelector("#log .outbox").childElementCount === 0`)
	relay.refusing("")
	ann.say("the end")
	bob.sees("the end")
	bob.without("never mind")
}

// Leaving with unsent messages asks; they are dropped only then.
func TestLeavingWithUnsentMessages(t *testing.T) {
	server := memory(t)
	relay := newRelay(t, server)
	ann := newPage(t)
	ann.join(relay.url+"/"+room, "Ann")
	relay.leave(true)
	ann.say("never sent")
	ann.press("Leave")
	ann.find("dialog", "Leave before it is sent?")
	ann.press("Leave anyway")
	ann.find("textbox", "Room")
	if kept := eval[string](ann, "JSON.stringify(Object.entries(sessionStorage))"); strings.Contains(kept, "p1.") {
		t.Errorf("still kept: %s", kept)
	}
}

// The server dies and comes back: everybody is there again, and what was written meanwhile arrives once.
func TestServerRestart(t *testing.T) {
	server := hubtest.Start(t, "--db", filepath.Join(t.TempDir(), "parley.db"))
	ann, bob := newPage(t), newPage(t)
	ann.join(server.URL()+"/"+room, "Ann")
	bob.join(server.URL()+"/"+room, "Bob")
	ann.say("before")
	bob.sees("before")
	server.Kill()
	bob.state("Reconnecting")
	ann.state("Reconnecting")
	bob.say("meanwhile")
	server.Restart()
	bob.inside()
	ann.inside()
	ann.sees("meanwhile")
	ann.say("after")
	bob.sees("after")
	bob.wait("all sent", `document.querySelector("#log .outbox").childElementCount === 0`)
	want := []string{"Ann | before", "Bob | meanwhile", "Ann | after"}
	for _, p := range []*page{ann, bob} {
		got := slices.DeleteFunc(skipMissing(p.lines()), func(line string) bool { return strings.Contains(line, "joined") })
		if !slices.Equal(got, want) {
			t.Errorf("a page shows %q", got)
		}
	}
}

// A log in memory is gone after a restart: said where it happened, and the talk goes on below.
func TestRestartWithALogInMemory(t *testing.T) {
	server := memory(t)
	ann := newPage(t)
	ann.join(server.URL()+"/#lobby", "Ann")
	ann.say("before")
	ann.wait("sent", `document.querySelector("#log .state.sent") !== null`)
	server.Kill()
	ann.state("Reconnecting")
	server.Restart()
	ann.inside()
	ann.sees("no longer has")
	ann.say("after")
	ann.wait("sent", `document.querySelectorAll("#log .line .state.sent").length === 2`)
	want := []string{"Ann | before", "Messages may be missing here. The server no longer has what came in between.", "Ann | after"}
	if got := ann.lines(); !slices.Equal(got, want) {
		t.Errorf("the page shows %q", got)
	}
}

// More was missed than a login brings: the gap is shown, and filled as the reader comes to it.
func TestGapIsFilled(t *testing.T) {
	server := memory(t)
	proxy := hubtest.NewProxy(t, server.Addr())
	ann := newPage(t)
	ann.join(proxy.URL()+"/#lobby", "Ann")
	talker := hubtest.Dial(t, server.WS())
	talker.Login(hubtest.Login{Name: "Bob", Room: "lobby"})
	talker.RoomMessage("message 0", "")
	ann.sees("message 0")
	proxy.Refuse(true)
	proxy.Each(func(l *hubtest.Link) { l.Cut(true) })
	ann.state("Reconnecting")
	const missed = 1150
	for i := range missed {
		talker.RoomMessage(fmt.Sprintf("message %d", i+1), "")
	}
	proxy.Refuse(false)
	ann.inside()
	ann.sees(fmt.Sprintf("message %d", missed))
	ann.find("button", "Load earlier messages")
	ann.wait("all of it", fmt.Sprintf(`(() => {
		document.querySelector(".hole")?.scrollIntoView();
		return document.querySelectorAll("#log > .line").length === %d;
	})()`, missed+1))
	for i, line := range skipMissing(ann.lines()) {
		if line != fmt.Sprintf("Bob | message %d", i) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
	if holes := ann.look("button", "Load earlier messages"); len(holes) != 0 {
		t.Errorf("%d gaps are left", len(holes))
	}
}
