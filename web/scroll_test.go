package web_test

import (
	"fmt"
	"strings"
	"testing"

	"parley/hub/hubtest"
)

// Two thousand messages: the newest at once, the older ones as the reader scrolls up, without a jump.
func TestScrollback(t *testing.T) {
	server := memory(t)
	const total = 2000
	talker := hubtest.Dial(t, server.WS())
	talker.Login(hubtest.Login{Name: "Bob", Room: "lobby"})
	for i := range total {
		talker.RoomMessage(fmt.Sprintf("message %d", i), "")
	}
	ann := newPage(t)
	ann.join(server.URL()+"/#lobby", "Ann")
	ann.sees(fmt.Sprintf("message %d", total-1))
	atEnd := `(() => { const log = document.getElementById("log"); return log.scrollHeight - log.scrollTop - log.clientHeight < 3 })()`
	ann.wait("the newest at the bottom", atEnd)

	// To the top again and again; what stood at the top edge stays where it was while older ones come.
	jump := eval[float64](ann, fmt.Sprintf(`(async () => {
		const log = document.getElementById("log");
		const lines = () => log.querySelectorAll(":scope > .line");
		const limit = performance.now() + 60_000;
		let worst = 0;
		while (lines().length < %d && performance.now() < limit) {
			const first = lines()[0];
			log.scrollTop = Math.max(0, first.offsetTop - 20);
			const text = first.querySelector(".content");
			const before = text.getBoundingClientRect().top;
			await new Promise((loaded) => {
				const seen = new MutationObserver(() => lines()[0] !== first && (seen.disconnect(), loaded()));
				seen.observe(log, { childList: true });
				setTimeout(loaded, 20_000);
			});
			worst = Math.max(worst, Math.abs(text.getBoundingClientRect().top - before));
		}
		return worst;
	})()`, total))
	t.Logf("the line at the top edge moved by %.1f px at the most", jump)
	if jump > 2 {
		t.Errorf("the view jumped by %.1f px", jump)
	}
	ann.sees("This is the beginning of what is kept.")
	for i, line := range skipMissing(ann.lines())[1:] {
		if line != fmt.Sprintf("Bob | message %d", i) {
			t.Fatalf("line %d is %q", i, line)
		}
	}

	// New ones do not move the reader; the button counts them, and leads there.
	top := eval[float64](ann, `document.getElementById("log").scrollTop = 5000`)
	for i := range 3 {
		talker.RoomMessage(fmt.Sprintf("new %d", i), "")
	}
	ann.find("button", "3 new messages ↓")
	if now := eval[float64](ann, `document.getElementById("log").scrollTop`); now != top {
		t.Errorf("the view moved from %.0f to %.0f", top, now)
	}
	ann.fill("Message", strings.Repeat("a long one\n", 20)) // the message box grows, and the button makes room for it
	if over := eval[float64](ann, `document.getElementById("newer").getBoundingClientRect().bottom - document.getElementById("message").getBoundingClientRect().top`); over > 0 {
		t.Errorf("the button lies %.0f px over the message box", over)
	}
	ann.fill("Message", "")
	ann.press("3 new messages ↓")
	ann.wait("the newest at the bottom", atEnd)
	ann.wait("no button", `document.getElementById("newer").hidden`)
}

// While the tab is away: a count in the title, and a divider above the first unread one.
func TestUnread(t *testing.T) {
	server := memory(t)
	talker := hubtest.Dial(t, server.WS())
	talker.Login(hubtest.Login{Name: "Bob", Room: "lobby"})
	ann := newPage(t)
	ann.join(server.URL()+"/#lobby", "Ann")
	talker.RoomMessage("read", "")
	ann.sees("read")
	hide := `(Object.defineProperty(document, "hidden", { value: %t, configurable: true }), document.dispatchEvent(new Event("visibilitychange")), true)`
	eval[bool](ann, fmt.Sprintf(hide, true))
	for i := range 2 {
		talker.RoomMessage(fmt.Sprintf("unread %d", i), "")
	}
	ann.wait("the count", `document.title === "(2) lobby · Parley"`)
	eval[bool](ann, fmt.Sprintf(hide, false))
	ann.wait("no count", `document.title === "lobby · Parley"`)
	ann.sees("unread 1")
	if above := eval[string](ann, `document.querySelector("#log .unread").parentElement.querySelector(".body").textContent`); above != "unread 0" {
		t.Errorf("the divider stands above %q", above)
	}
	ann.say("I have read it")
	ann.wait("no divider", `document.querySelector("#log .unread") === null`)
}

// What came while the connection was gone is unread too: a phone ends it soon after another app is in front.
func TestUnreadAfterTheConnectionWasGone(t *testing.T) {
	server := memory(t)
	proxy := hubtest.NewProxy(t, server.Addr())
	talker := hubtest.Dial(t, server.WS())
	talker.Login(hubtest.Login{Name: "Bob", Room: "lobby"})
	talker.RoomMessage("before", "")
	ann := newPage(t)
	ann.join(proxy.URL()+"/#lobby", "Ann")
	ann.sees("before")
	eval[bool](ann, `(Object.defineProperty(document, "hidden", { value: true, configurable: true }), true)`)
	proxy.Refuse(true)
	proxy.Each(func(l *hubtest.Link) { l.Cut(true) })
	ann.state("Reconnecting")
	for i := range 2 {
		talker.RoomMessage(fmt.Sprintf("missed %d", i), "")
	}
	eval[bool](ann, `(delete document.hidden, document.dispatchEvent(new Event("visibilitychange")), true)`)
	proxy.Refuse(false)
	ann.inside()
	ann.sees("missed 1")
	if above := eval[string](ann, `document.querySelector("#log .unread")?.parentElement.querySelector(".body").textContent ?? ""`); above != "missed 0" {
		t.Errorf("the divider stands above %q", above)
	}
}
