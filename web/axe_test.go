package web_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"parley/hub/hubtest"
)

// axe is axe-core as npm installs it; it is no part of what is shipped.
var axe = sync.OnceValues(func() (string, error) {
	script, err := os.ReadFile(filepath.Join("..", "node_modules", "axe-core", "axe.min.js"))
	return string(script), err
})

// accessible runs axe over the whole document as it is now.
func (p *page) accessible(where string) {
	p.t.Helper()
	script, err := axe()
	if err != nil {
		p.t.Fatalf("%v; run npm ci", err)
	}
	ctx, cancel := p.limited()
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[chromedp.Void](script+";0")); err != nil {
		p.t.Fatal(err)
	}
	found := eval[[]string](p, `axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
		violations.flatMap((v) => v.nodes.map((n) => v.id + ": " + n.html + " – " + n.failureSummary)))`)
	for _, violation := range found {
		p.t.Errorf("%s: %s", where, violation)
	}
}

// scheme is what the system prefers: light or dark.
func (p *page) scheme(name string) {
	p.t.Helper()
	ctx, cancel := p.limited()
	defer cancel()
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	})
	p.do(err)
}

func TestAccessibility(t *testing.T) {
	for _, scheme := range []string{"light", "dark"} {
		for _, size := range []struct {
			name          string
			width, height int64
		}{{"desktop", 1280, 800}, {"phone", 390, 844}, {"at 200 %", 640, 400}} {
			t.Run(scheme+" "+size.name, func(t *testing.T) {
				server := memory(t)
				p := newPage(t)
				p.scheme(scheme)
				p.run(chromedp.EmulateViewport(size.width, size.height))
				p.goTo(server.URL() + "/")
				p.accessible("the join form")
				p.fill("Your name", " ")
				p.press("Join")
				p.alert()
				p.accessible("the join form with an error")
				p.fill("Your name", "Ann")
				p.press("Join")
				p.inside()
				p.find("textbox", "Invite link")
				p.accessible("a new room with its link")
				p.press("Leave")
				p.find("dialog", "Leave without the link?")
				p.accessible("the question before leaving")
				p.press("Leave anyway")
				p.goTo(server.URL() + "/#lobby/" + secret)
				guest := hubtest.Dial(t, server.WS())
				guest.Login(hubtest.Login{Name: "Guest", Room: "lobby"}) // opens it without a lock
				guest.RoomMessage("not sealed", "")
				p.fill("Your name", "Ann")
				p.press("Join")
				p.inside()
				p.say("Hello, `code`, https://example.org and\n```\na block\n```")
				p.wait("sent", `document.querySelector("#log .state.sent") !== null`)
				p.sees("could not be verified")
				p.alert()
				p.accessible("the room, with a warning")
				if !eval[bool](p, `document.getElementById("side").offsetParent !== null`) {
					p.press("People: 2")
				}
				p.find("list", "People")
				p.press("Settings")
				p.accessible("the room, with people and settings")
				if wide := eval[float64](p, "document.documentElement.scrollWidth"); int64(wide) > size.width {
					t.Errorf("the page is %.0f wide", wide)
				}
				p.narrow()
			})
		}
	}
}

// narrow checks that nothing that is in sight is cut off at the sides.
func (p *page) narrow() {
	p.t.Helper()
	outside := eval[[]string](p, `[...document.querySelectorAll("button, input, textarea, h1, .body, .connection")]
		.filter((e) => e.checkVisibility() && (e.getBoundingClientRect().left < -1 || e.getBoundingClientRect().right > innerWidth + 1))
		.map((e) => e.outerHTML)`)
	if len(outside) > 0 {
		p.t.Errorf("cut off: %s", strings.Join(outside, "\n"))
	}
}

// The whole way with the keyboard alone.
func TestKeyboardAlone(t *testing.T) {
	server := memory(t)
	p := newPage(t)
	p.goTo(server.URL() + "/" + room)
	p.run(chromedp.KeyEvent("Ann\r"))
	p.inside()
	p.run(chromedp.KeyEvent("typed, not clicked\r"))
	p.sees("typed, not clicked")
	reached := make(map[string]bool)
	for range 12 {
		p.run(chromedp.KeyEvent("\t"))
		reached[eval[string](p, `document.activeElement.id + (document.activeElement.matches(":focus-visible") ? "" : " unseen")`)] = true
	}
	for _, id := range []string{"invite", "people-toggle", "leave", "log", "message", "send", "people"} {
		if !reached[id] {
			t.Errorf("the keyboard does not come to %s: %v", id, reached)
		}
	}
	eval[bool](p, `(document.getElementById("leave").focus(), true)`)
	p.run(chromedp.KeyEvent("\r"))
	p.find("textbox", "Room")
}

// A banner that goes does not lose the focus: from the messages the next Tab comes to the box.
func TestFocusBehindABanner(t *testing.T) {
	server := memory(t)
	for _, name := range []string{"Copy", "Not now"} {
		p := newPage(t)
		p.goTo(server.URL() + "/")
		p.run(chromedp.KeyEvent("Ann\r"))
		p.inside()
		eval[bool](p, `([...document.querySelectorAll("#banners button")].find((b) => b.textContent === "`+name+`").focus(), true)`)
		p.run(chromedp.KeyEvent("\r"))
		p.wait("no banner", `document.querySelector("#banners input") === null`)
		if at := eval[string](p, "document.activeElement.id"); at != "log" {
			t.Errorf("after %s the focus is at %q", name, at)
		}
	}
}

// Every name that issue and documentation promise.
func TestAccessibleNames(t *testing.T) {
	server := memory(t)
	p := newPage(t)
	p.goTo(server.URL() + "/")
	for _, name := range []string{"Your name", "Room", "Secret"} {
		p.find("textbox", name)
	}
	p.find("button", "Join")
	p.fill("Your name", "Ann")
	p.press("Join")
	p.inside()
	for _, name := range []string{"Send", "Copy invite link", "Leave"} {
		p.find("button", name)
	}
	p.find("textbox", "Message")
	p.find("log", "Messages")
	p.find("list", "People")
	p.find("status", "Connection")
}
