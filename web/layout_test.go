package web_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"parley/hub/hubtest"
)

// outside lists what sticks out of the parent that should hold it, or lies upon its neighbour.
const outside = `(() => {
	const bad = [];
	const seen = (e) => e.getClientRects().length > 0 && getComputedStyle(e).clipPath === "none";
	for (const line of document.querySelectorAll("#log > .line, #log .outbox > .line")) {
		const { right } = line.getBoundingClientRect();
		for (const e of line.querySelectorAll(".when > *, .body, .who > *")) {
			if (seen(e) && e.getBoundingClientRect().right > right + 1) bad.push("sticks out: " + e.textContent.slice(0, 40));
		}
	}
	const bar = ["#room-title", "#sealed", "#connection", "#try-now", ".tools"].map((name) => document.querySelector(name)).filter(seen);
	for (const a of bar) for (const b of bar) {
		const [x, y] = [a, b].map((e) => e.getBoundingClientRect());
		const apart = x.right <= y.left || y.right <= x.left || x.bottom <= y.top || y.bottom <= x.top;
		const cut = a.scrollWidth > a.clientWidth + 1 && a.id !== "room-title";
		if (a !== b && !apart || cut) bad.push((a.id || "tools") + " and " + (b.id || "tools"));
	}
	if (document.documentElement.scrollWidth > innerWidth) bad.push("the page is wider than the window");
	return bad;
})()`

// Long names, an open room, a lost connection and a message that waits: all of it has its place, in every width.
func TestNothingSticksOut(t *testing.T) {
	for _, size := range []struct{ width, height int64 }{{320, 640}, {390, 844}, {740, 700}, {1280, 800}} {
		server := memory(t)
		proxy := hubtest.NewProxy(t, server.Addr())
		ann := newPage(t)
		ann.run(chromedp.EmulateViewport(size.width, size.height))
		ann.join(proxy.URL()+"/#lobby", "Annabella Wilhelmina Longfellow")
		for _, text := range []string{"short", strings.Repeat("W", 300)} {
			ann.say(text)
			ann.sees(text)
		}
		proxy.Refuse(true)
		proxy.Each(func(l *hubtest.Link) { l.Cut(true) })
		ann.state("Reconnecting")
		ann.say("written meanwhile")
		ann.wait("it waits", `document.querySelector("#log .outbox .state")?.textContent === "waiting"`)
		// As wide as these get: a crowd in the room, and a long wait.
		eval[bool](ann, `(document.getElementById("people-count").textContent = "10,000", document.getElementById("try-now").hidden = false, true)`)
		for _, found := range eval[[]string](ann, outside) {
			t.Errorf("%d × %d: %s", size.width, size.height, found)
		}
		if size.width == 1280 {
			if height := eval[float64](ann, `document.querySelector("#log > .line .content").getBoundingClientRect().height`); height > 45 {
				t.Errorf("a long name makes its one-line message %.0f px high", height)
			}
		}
	}
}

// On a phone the people lie over the talk, and a touch beside them, or Escape, puts them away.
func TestPeopleOnAPhone(t *testing.T) {
	server := memory(t)
	ann := newPage(t)
	ann.run(chromedp.EmulateViewport(390, 844))
	ann.join(server.URL()+"/#lobby", "Ann")
	if lists := ann.look("list", "People"); len(lists) != 0 {
		t.Error("the list is open unasked")
	}
	const closed = `document.getElementById("side").offsetParent === null`
	ann.press("People: 1")
	ann.find("list", "People")
	ann.run(chromedp.MouseClickXY(20, 800)) // where the message box is, below
	ann.wait("no list", closed)
	ann.press("People: 1")
	ann.find("list", "People")
	eval[bool](ann, `(document.getElementById("people").focus(), true)`)
	ann.run(chromedp.KeyEvent("\u001b"))
	ann.wait("no list", closed)
	if at := eval[string](ann, "document.activeElement.id"); at != "people-toggle" {
		t.Errorf("the focus is at %q", at)
	}
}
