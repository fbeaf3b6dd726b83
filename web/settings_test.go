package web_test

import (
	"slices"
	"strings"
	"testing"

	chrome "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"parley/hub/hubtest"
)

// before has a script run in p before those of every page that it loads.
func (p *page) before(script string) {
	p.t.Helper()
	ctx, cancel := p.limited()
	defer cancel()
	_, err := chromedp.Call(ctx, chrome.AddScriptToEvaluateOnNewDocument, chrome.AddScriptToEvaluateOnNewDocumentParams{Source: script})
	p.do(err)
}

// The theme follows the system until somebody chooses one, which lasts; the browser's own bars go with it.
func TestTheme(t *testing.T) {
	server := memory(t)
	p := newPage(t)
	p.scheme("dark")
	p.goTo(server.URL() + "/")
	// The paper's colour, and that of the bars in this scheme.
	look := func() []string {
		return eval[[]string](p, `[getComputedStyle(document.documentElement).backgroundColor,
			[...document.querySelectorAll("meta[name=theme-color]")].find((bar) => matchMedia(bar.media).matches).content]`)
	}
	dark := []string{"rgb(15, 21, 20)", "#0f1514"}
	if got := look(); !slices.Equal(got, dark) {
		t.Errorf("where the system is dark: %q", got)
	}
	p.press("Theme: automatic")
	if got, light := look(), "rgb(242, 245, 243)"; !slices.Equal(got, []string{light, light}) {
		t.Errorf("chosen light: %q", got)
	}
	p.run(chromedp.Reload())
	p.press("Theme: light")
	p.press("Theme: dark")
	p.scheme("light")
	p.press("Theme: automatic")
	p.press("Theme: light")
	if got := look(); got[0] != "rgb(15, 21, 20)" || got[1] != got[0] {
		t.Errorf("chosen dark, where the system is light: %q", got)
	}
	p.find("button", "Theme: dark")
}

// Nothing makes a sound, and nobody is asked for a permission, before the person wants it.
func TestSoundAndNotificationsOnlyWhenWanted(t *testing.T) {
	server := memory(t)
	p := newPage(t)
	p.before(`
		window.asked = 0; window.shown = []; window.tones = 0;
		window.Notification = class {
			static permission = "default";
			static async requestPermission() { window.asked++; return (this.permission = "granted"); }
			constructor(title, { body }) { window.shown.push(title + ": " + body); }
		};
		const start = OscillatorNode.prototype.start;
		OscillatorNode.prototype.start = function (...args) { window.tones++; return start.apply(this, args); };
		document.hasFocus = () => false;`)
	p.join(server.URL()+"/#lobby", "Ann")
	bob := hubtest.Dial(t, server.WS())
	bob.Login(hubtest.Login{Name: "Bob", Room: "lobby"})
	bob.RoomMessage("quietly", "")
	p.sees("quietly")
	if got := eval[[]int](p, "[asked, shown.length, tones]"); !slices.Equal(got, []int{0, 0, 0}) {
		t.Errorf("unasked: %v permissions, notifications, tones", got)
	}
	p.press("Settings")
	p.click("checkbox", "Sound for new messages")
	p.wait("a sample", "tones > 0")
	p.click("checkbox", "Desktop notifications")
	p.wait("the permission", "asked === 1")
	bob.RoomMessage("aloud", "")
	p.wait("a notification", `shown.join() === "Bob · lobby: aloud"`)
	// Both last: the permission is the browser's to keep.
	p.run(chromedp.Reload())
	p.inside()
	if got := eval[[]bool](p, `[document.getElementById("sound").checked, document.getElementById("desktop").checked]`); !slices.Equal(got, []bool{true, false}) {
		t.Errorf("after a reload: %v; the permission of this browser is gone", got)
	}
}

// Enter that ends the composition of a letter, in any browser's way of saying so, sends nothing.
func TestEnterWhileComposing(t *testing.T) {
	server := memory(t)
	p := newPage(t)
	p.join(server.URL()+"/#lobby", "Ann")
	p.fill("Message", "にほん")
	for _, how := range []string{"{ isComposing: true }", "{ keyCode: 229 }", "{ shiftKey: true }"} {
		eval[bool](p, `document.getElementById("message").dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...`+how+` }))`)
	}
	if text := p.value("Message"); text != "にほん" {
		t.Errorf("sent; the box has %q", text)
	}
	p.run(chromedp.KeyEvent("\r"))
	p.sees("にほん")
}

// On a phone the invite link goes to the system's share sheet; where nothing can be done for the person, it is shown.
func TestShareSheet(t *testing.T) {
	server := memory(t)
	p := newPage(t)
	p.before(`
		const media = window.matchMedia.bind(window);
		window.matchMedia = (query) => (query.includes("coarse") ? { matches: true } : media(query));
		navigator.share = async ({ url }) => {
			if (window.denied) throw new DOMException("", window.denied);
			window.shared = url;
		};
		if (navigator.clipboard) navigator.clipboard.writeText = async () => { throw new Error("no"); };
		document.execCommand = () => false;`)
	p.join(server.URL()+"/"+room, "Ann")
	p.press("Copy invite link")
	p.wait("the share sheet", "window.shared === location.href + "+quote(room))
	// Closed without a choice: nothing is said.
	eval[bool](p, `(window.denied = "AbortError", true)`)
	p.press("Copy invite link")
	if shown := p.look("textbox", "Invite link"); len(shown) != 0 {
		t.Error("the link is shown to somebody who did not want it")
	}
	eval[bool](p, `(window.denied = "NotAllowedError", true)`)
	p.press("Copy invite link")
	if link := p.value("Invite link"); link != server.URL()+"/"+room {
		t.Errorf("the link to copy by hand is %q", link)
	}
}

// The page counts down what is left of a message, says when it is too long, and sends it only then when it is not.
func TestCountdown(t *testing.T) {
	server := memory(t, "--message-limit", "4096")
	p := newPage(t)
	p.join(server.URL()+"/#lobby", "Ann")
	p.fill("Message", strings.Repeat("x", 100))
	if left := p.look("alert", ""); len(left) != 0 {
		t.Error("100 bytes are too many")
	}
	p.fill("Message", strings.Repeat("x", 4000))
	p.wait("the countdown", `document.getElementById("left").textContent === "96 bytes left"`)
	p.fill("Message", strings.Repeat("é", 2050))
	if said := p.alert(); said != "This message is 4 bytes too long." {
		t.Errorf("said %q", said)
	}
	p.press("Send")
	if kept := p.value("Message"); len(kept) != 4100 {
		t.Errorf("the box has %d bytes", len(kept))
	}
	p.fill("Message", strings.Repeat("é", 2048))
	p.press("Send")
	p.wait("sent", `document.querySelector("#log .state.sent") !== null`)

	// With a secret, sealing takes its part of the limit.
	p.join(server.URL()+"/"+room, "Ann")
	p.fill("Message", strings.Repeat("x", 4000))
	p.alert()
}
