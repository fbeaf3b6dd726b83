// The chat page in a real Chromium, against the real server. People and these tests find things by the
// same words: roles and accessible names, as the browser's own accessibility tree has them.
package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	chrome "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"parley/hub/hubtest"
)

// patience is how long a wait may take before it is a failure: far longer than any should on two
// busy cores.
const patience = 90 * time.Second

// secret is as good as any that the page makes up.
const secret = "abcdefghijklmnopqrstuvwxyz"

// chromium is one browser for all tests; each page has a context (cookies, storage) of its own.
var chromium = sync.OnceValues(func() (context.Context, error) {
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		return nil, fmt.Errorf("no Chromium found; install it, for example: apt-get install chromium")
	}
	var options []chromedp.ExecAllocatorOption
	for _, flag := range []string{
		"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "no-default-browser-check",
		"disable-background-networking", "disable-component-update", "disable-sync", "disable-extensions",
		"disable-dev-shm-usage", // a container's may be too small for it
		"no-proxy-server",       // the machine's knows none of the names used here
		"disable-background-timer-throttling", "disable-backgrounding-occluded-windows", "disable-renderer-backgrounding",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	// The first start on a machine reads some hundred megabytes from its disk.
	options = append(options, chromedp.ExecPath(path), chromedp.WindowSize(1280, 800), chromedp.WSURLReadTimeout(2*patience),
		chromedp.Flag("host-resolver-rules", "MAP insecure.test 127.0.0.1"))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	closeChromium = func() { cancel(); stop() }
	return ctx, chromedp.Do(ctx)
})

var closeChromium = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	closeChromium()
	os.Exit(code)
}

// page is one tab.
type page struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string // what the page complained of on its console
}

// newPage opens an empty tab that ends with the test, and fails it if the page's scripts threw
// or violated the Content-Security-Policy.
func newPage(t *testing.T) *page {
	t.Helper()
	parent, err := chromium()
	if err != nil {
		t.Fatal(err)
	}
	return tab(t, parent, chromedp.WithNewBrowserContext())
}

// newTab opens a further tab beside p, with the same cookies and storage.
func (p *page) newTab() *page {
	p.t.Helper()
	return tab(p.t, p.ctx)
}

// duplicate is what a browser's "duplicate tab" gives: the same address, and a copy of the tab's storage.
func (p *page) duplicate() *page {
	p.t.Helper()
	opened := chromedp.WaitNewTarget(p.ctx, func(*target.Info) bool { return true })
	eval[bool](p, "(window.open(location.href), true)")
	select {
	case id := <-opened:
		return tab(p.t, p.ctx, chromedp.WithTargetID(id))
	case <-time.After(patience):
		p.t.Fatal("no second tab was opened")
		return nil
	}
}

func tab(t *testing.T, parent context.Context, options ...chromedp.ContextOption) *page {
	t.Helper()
	p := &page{t: t}
	ctx, cancel := chromedp.NewContext(parent, options...)
	p.ctx = ctx
	t.Cleanup(func() {
		cancel()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, problem := range p.problems {
			t.Errorf("the page complained: %s", problem)
		}
	})
	p.do(chromedp.Listen(ctx, func(event any) {
		if thrown, ok := event.(*runtime.EventExceptionThrown); ok {
			p.complain(describe(thrown.ExceptionDetails))
		}
		if said, ok := event.(*runtime.EventConsoleAPICalled); ok && said.Type == "error" && len(said.Args) > 0 {
			p.complain(string(said.Args[0].Value) + said.Args[0].Description)
		}
	}))
	return p
}

func describe(details *runtime.ExceptionDetails) string {
	if details.Exception != nil {
		return details.Text + " " + details.Exception.Description
	}
	return details.Text
}

func (p *page) complain(problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, problem)
}

// do fails the test when a step did not work.
func (p *page) do(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// limited is the page's context for one step.
func (p *page) limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(p.ctx, patience)
}

func (p *page) run(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := p.limited()
	defer cancel()
	p.do(chromedp.Do(ctx, actions...))
}

// goTo opens an address; one that differs in its fragment alone loads the page anew, too.
func (p *page) goTo(url string) {
	p.t.Helper()
	p.run(chromedp.Navigate("about:blank"), chromedp.Navigate(url))
}

// eval runs an expression in p; a promise is waited for.
func eval[T any](p *page, expression string) T {
	p.t.Helper()
	ctx, cancel := p.limited()
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// wait returns when the expression has become true.
func (p *page) wait(what, expression string) {
	p.t.Helper()
	ctx, cancel := p.limited()
	defer cancel()
	poll := chromedp.Poll[bool](expression, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(patience))
	_, err := chromedp.Run(ctx, poll)
	for replaced(err) && ctx.Err() == nil {
		_, err = chromedp.Run(ctx, poll)
	}
	if err != nil {
		p.t.Fatalf("waiting for %s: %v\nthe page says:\n%s", what, err, p.text())
	}
}

// replaced reports whether the browser had put another document in the place of the one that was asked.
func replaced(err error) bool {
	return err != nil && strings.Contains(err.Error(), "Cannot find context with specified id")
}

// reloads does something after which the page loads itself anew, and waits for that.
func (p *page) reloads(expression string) {
	p.t.Helper()
	ctx, cancel := p.limited()
	defer cancel()
	always := func(chrome.EventLoadEventFired) bool { return true }
	_, err := chromedp.Run(ctx, chromedp.WaitEvent(chrome.LoadEventFired, always, chromedp.Evaluate[chromedp.Void](expression)))
	p.do(err)
}

// text is what a reader sees.
func (p *page) text() string {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
	if err != nil {
		return err.Error()
	}
	return text
}

// quote makes a JavaScript literal.
func quote(text string) string {
	literal, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(literal)
}

// look asks the accessibility tree for what has this role and name ("" is any) and is not hidden.
func (p *page) look(role, name string) []accessibility.Node {
	p.t.Helper()
	ctx, cancel := p.limited()
	defer cancel()
	root, err := chromedp.Call(ctx, dom.GetDocument, dom.GetDocumentParams{})
	p.do(err)
	tree, err := chromedp.Call(ctx, accessibility.QueryAXTree, accessibility.QueryAXTreeParams{
		BackendNodeID: root.Root.BackendNodeID, Role: role, AccessibleName: name,
	})
	p.do(err)
	var found []accessibility.Node
	for _, node := range tree.Nodes {
		if !node.Ignored {
			found = append(found, *node)
		}
	}
	return found
}

// nextChange settles when the document changes, or soon.
const nextChange = `new Promise((changed) => {
	const all = { subtree: true, childList: true, attributes: true, characterData: true };
	new MutationObserver(changed).observe(document, all);
	setTimeout(changed, 200);
}).then(() => true)`

// find waits for the one thing with this role and name.
func (p *page) find(role, name string) cdp.BackendNodeID {
	p.t.Helper()
	for limit := time.Now().Add(patience); ; {
		found := p.look(role, name)
		if len(found) == 1 {
			return found[0].BackendDOMNodeID
		}
		if time.Now().After(limit) {
			p.t.Fatalf("%d × %s %q\nthe page says:\n%s", len(found), role, name, p.text())
		}
		eval[bool](p, nextChange)
	}
}

// onNode calls a JavaScript function with the node as its this.
func (p *page) onNode(id cdp.BackendNodeID, function string) string {
	p.t.Helper()
	ctx, cancel := p.limited()
	defer cancel()
	node, err := chromedp.Call(ctx, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: id})
	p.do(err)
	result, err := chromedp.Call(ctx, runtime.CallFunctionOn, runtime.CallFunctionOnParams{
		ObjectID: node.Object.ObjectID, FunctionDeclaration: function, ReturnByValue: new(true),
	})
	p.do(err)
	var text string
	_ = json.Unmarshal([]byte(result.Result.Value), &text) // "" for what is no string
	return text
}

// press clicks the button with this name where a finger would.
func (p *page) press(name string) {
	p.t.Helper()
	p.click("button", name)
}

func (p *page) click(role, name string) {
	p.t.Helper()
	id := p.find(role, name)
	var at struct{ X, Y float64 }
	where := p.onNode(id, `function () {
		this.scrollIntoView({ block: "nearest" });
		const r = this.getBoundingClientRect();
		return JSON.stringify({ X: r.x + r.width / 2, Y: r.y + r.height / 2 });
	}`)
	p.do(json.Unmarshal([]byte(where), &at))
	p.run(chromedp.MouseClickXY(at.X, at.Y))
}

// fill types into the text box with this name, in place of what was there.
func (p *page) fill(name, text string) {
	p.t.Helper()
	p.onNode(p.find("textbox", name), "function () { this.focus(); this.select(); }")
	ctx, cancel := p.limited()
	defer cancel()
	_, err := chromedp.Call(ctx, input.InsertText, input.InsertTextParams{Text: text})
	p.do(err)
}

// value is what stands in the text box with this name.
func (p *page) value(name string) string {
	p.t.Helper()
	return p.onNode(p.find("textbox", name), "function () { return this.value }")
}

// join gives a name at the door of url and waits to be in the room.
func (p *page) join(url, name string) {
	p.t.Helper()
	p.goTo(url)
	p.fill("Your name", name)
	p.press("Join")
	p.inside()
}

// inside waits until messages can be written.
func (p *page) inside() {
	p.t.Helper()
	p.wait("the room", `!document.getElementById("message").disabled && !document.getElementById("room").hidden`)
	p.wait("Connected", `document.getElementById("connection").textContent.startsWith("Connected")`)
}

// say writes a message and sends it.
func (p *page) say(text string) {
	p.t.Helper()
	p.fill("Message", text)
	p.press("Send")
}

// sees waits until the log shows the text.
func (p *page) sees(text string) {
	p.t.Helper()
	p.wait(fmt.Sprintf("%q in the log", text), fmt.Sprintf("document.getElementById('log').innerText.includes(%s)", quote(text)))
}

// lines are the messages in the log, marks and states included, as they are read.
func (p *page) lines() []string {
	p.t.Helper()
	return eval[[]string](p, `[...document.querySelectorAll("#log .line, #log .notice")].map((e) =>
		[...e.querySelectorAll(".who bdi, .content > *")].map((c) => c.innerText).join(" | ") || e.innerText)`)
}

// alerts waits for an error and is its text.
func (p *page) alert() string {
	p.t.Helper()
	return p.onNode(p.find("alert", ""), "function () { return this.textContent }")
}

// without fails the test if the text is anywhere to be read.
func (p *page) without(text string) {
	p.t.Helper()
	if there := p.text(); strings.Contains(there, text) {
		p.t.Errorf("%q should not be there:\n%s", text, there)
	}
}

// allow grants the clipboard.
func (p *page) allow() {
	p.t.Helper()
	for _, name := range []string{"clipboard-read", "clipboard-write"} {
		ctx, cancel := p.limited()
		_, err := chromedp.Call(ctx, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: name}, Setting: browser.PermissionSettingGranted,
			BrowserContextID: chromedp.FromContext(p.ctx).BrowserContextID,
		})
		cancel()
		p.do(err)
	}
}

// offline takes the tab's network away, or gives it back.
func (p *page) offline(away bool) {
	p.t.Helper()
	ctx, cancel := p.limited()
	defer cancel()
	_, err := chromedp.Call(ctx, network.OverrideNetworkState, network.OverrideNetworkStateParams{
		Offline: away, DownloadThroughput: -1, UploadThroughput: -1,
	})
	p.do(err)
}

// memory starts a server that keeps messages in memory.
func memory(t *testing.T, args ...string) *hubtest.Server {
	t.Helper()
	return hubtest.Start(t, append([]string{"--db", ""}, args...)...)
}
