package doctor

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// refused says why there is no connection.
func (d *doctor) refused(ctx context.Context, a *attempt) {
	const name = "socket"
	switch {
	case http2(a.begins):
		d.problem(name, http1Change, "what answers speaks HTTP/2 only; a WebSocket needs HTTP/1.1 all the way to the server")
		return
	case a.answer.Response == nil:
		if d.base.Scheme == "https" && strings.Contains(a.err.Error(), "no application protocol") {
			d.skipped(name, "there is no HTTP/1.1: see tls")
			return
		}
		d.problem(name, "see nginx's error log", "no connection: %v", a.err)
		return
	}
	switch status := a.answer.StatusCode; {
	case status == http.StatusUpgradeRequired && strings.Contains(a.answer.body, "HTTP/1.0"):
		d.problem(name, upgradeChange, "the proxy asks the server over HTTP/1.0, which knows no upgrade")
	case status == http.StatusUpgradeRequired:
		d.problem(name, upgradeChange, "the proxy does not pass on the browser's Upgrade")
	case status == http.StatusForbidden:
		d.forbidden(ctx)
	case status == http.StatusNotFound:
		d.missing(ctx, a)
	case status == http.StatusUnauthorized:
		d.problem(name, "auth_basic off; for the socket (tokens do that job)", "the proxy asks for a password, which a WebSocket cannot give")
	case status >= 300 && status < 400:
		d.problem(name, "no return or rewrite for the socket's path", "the proxy sends the socket elsewhere, to %s: browsers do not follow", a.answer.Header.Get("Location"))
	case status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout:
		d.problem(name, upstreamChange, "the proxy does not reach the server: %s", a.answer.Status)
	case status == http.StatusOK:
		d.problem(name, "a location with proxy_pass to the server for "+d.at("ws").Path,
			"at %s is a page and no socket", d.at("ws"))
	default:
		d.problem(name, "see nginx's error log", "%s is answered with %s", d.at("ws"), a.answer.Status)
	}
}

// forbidden finds out whether it is the origin, and which host the server compared it with.
func (d *doctor) forbidden(ctx context.Context) {
	works := func(origin string) bool {
		a := d.dial(ctx, d.at("ws"), origin)
		if a.err == nil {
			a.conn.CloseNow()
		}
		return a.err == nil
	}
	const name, change = "origin", "proxy_set_header Host $http_host; (or, if the page is meant to be elsewhere than the server: --allow-origin %s)"
	own := d.origin()
	switch {
	case !works(""):
		d.problem("socket", "no deny, auth or firewall rule for the socket's path", "the proxy forbids %s", d.at("ws"))
	case d.base.Port() != "" && works(d.base.Scheme+"://"+d.base.Hostname()):
		d.problem(name, "proxy_set_header Host $http_host; in place of $host",
			"the server refuses the page's origin %s: the proxy passes on the host without its port", own)
	default:
		d.problem(name, strings.Replace(change, "%s", own, 1),
			"the server refuses the page's origin %s: the proxy passes on another host than the browser's", own)
	}
}

// missing looks whether the socket is somewhere else than beside the page.
func (d *doctor) missing(ctx context.Context, a *attempt) {
	const name = "socket"
	if d.unknownPath(a.answer) {
		d.problem(name, prefixChange, "the server does not know the path %s: the proxy passes it on as it is", d.at("ws").Path)
		return
	}
	root := d.base.ResolveReference(&url.URL{Path: "/ws"})
	if root.Path != d.at("ws").Path {
		if at := d.dial(ctx, root, d.origin()); at.err == nil {
			at.conn.CloseNow()
			d.problem(name, "one location for both: location "+d.base.Path+" { proxy_pass http://parley/; }",
				"page and socket are under different paths: the page looks for %s, the socket is at %s", d.at("ws"), root)
			return
		}
	}
	d.problem(name, "a location with proxy_pass to the server for "+d.at("ws").Path, "there is nothing at %s", d.at("ws"))
}
