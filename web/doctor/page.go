package doctor

import (
	"context"
	"net/http"
	"strings"
)

const prefixChange = "a slash at the end of proxy_pass takes the path off: location /chat/ { proxy_pass http://parley/; }"

// page looks whether the page and the files beside it come.
func (d *doctor) page(ctx context.Context) {
	page, err := d.get(ctx, d.base, nil)
	switch {
	case err != nil:
		d.problem("page", "see nginx's error log", "%s: %v", d.base, err)
		return
	case d.unknownPath(page):
		d.problem("page", prefixChange, "the server does not know the path %s: the proxy passes it on as it is", d.base.Path)
		return
	case page.StatusCode < http.StatusOK: // nginx passes on what it does not understand as HTTP/0.9
		d.problem("page", http1Change, "what the proxy got is no HTTP/1.1")
		return
	case page.StatusCode >= http.StatusInternalServerError:
		d.problem("page", upstreamChange, "the proxy does not reach the server: %s", page.Status)
		return
	case page.StatusCode == http.StatusUpgradeRequired:
		d.problem("page", "the page's address in place of the socket's: without ws at its end", "%s is the socket and no page", d.base)
		return
	case page.StatusCode != http.StatusOK:
		d.problem("page", "location with proxy_pass to the server for this path", "%s: %s", d.base, page.Status)
		return
	}
	shim, err := d.get(ctx, d.at("parley.js"), nil)
	switch {
	case err != nil:
		d.problem("page", "see nginx's error log", "%s: %v", d.at("parley.js"), err)
	case shim.StatusCode != http.StatusOK || !strings.HasPrefix(shim.Header.Get("Content-Type"), "text/javascript"):
		d.problem("page", "one location with a slash at its end for all of it: location /chat/ { proxy_pass http://parley/; }",
			"the page is there, but not its files beside it: %s: %s, %s", d.at("parley.js"), shim.Status, shim.Header.Get("Content-Type"))
	default:
		d.ok("page", "%s and its files come over %s", d.base, page.Proto)
	}
}

// unknownPath tells whether it was the server itself, and not the proxy, that found nothing under the page's path. It
// knows / always: what does not is no such server.
func (d *doctor) unknownPath(a answer) bool {
	return d.base.Path != "/" && a.StatusCode == http.StatusNotFound && strings.TrimSpace(a.body) == "404 page not found"
}
