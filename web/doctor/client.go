package doctor

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"slices"
)

// Seen is what the server tells a client about its address.
type Seen struct {
	Address   netip.Addr `json:"address"`   // what it takes for the client's
	Port      uint16     `json:"port"`      // of the connection that it got
	Trusted   bool       `json:"trusted"`   // that connection comes from a proxy whose X-Forwarded-For counts
	Forwarded bool       `json:"forwarded"` // there was an X-Forwarded-For
}

// ClientHandler answers whom the server takes a client for, to that client alone: what limits an address is of no use
// when all have the same one, or may choose it. trusted are the proxies whose word counts, address finds a request's
// client.
func ClientHandler(trusted []netip.Prefix, address func(*http.Request) netip.Addr) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, _ := netip.ParseAddrPort(r.RemoteAddr)
		known := slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(peer.Addr().Unmap()) })
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(Seen{
			Address:   address(r),
			Port:      peer.Port(),
			Trusted:   known,
			Forwarded: r.Header.Get("X-Forwarded-For") != "",
		})
	})
}

// nobody is an address that no one has (RFC 5737): who is taken for it could be taken for anybody.
const nobody = "203.0.113.77"

const forwardChange = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; in the location, or in the server block if the location sets no header of its own"

// addresses looks whether the server knows its clients' addresses, and whether they can choose them.
func (d *doctor) addresses(ctx context.Context) {
	seen, local, err := d.seen(ctx, nil)
	if err != nil {
		d.skipped("address", "the server does not tell whom it takes a client for: %v", err)
		return
	}
	forged, _, err := d.seen(ctx, http.Header{"X-Forwarded-For": {nobody}})
	direct := seen.Port == local.Port() && !seen.Forwarded
	believed := forged.Address == netip.MustParseAddr(nobody)
	switch {
	case err != nil:
		d.skipped("address", "the server does not tell whom it takes a client for: %v", err)
	case direct && seen.Address.IsLoopback():
		d.ok("address", "there is no proxy on the way, and both ends are on this machine")
	case believed && seen.Forwarded && local.Addr().IsLoopback():
		d.skipped("address", "asked from the server's own machine, which it trusts; ask from another one")
	case believed && (direct || seen.Forwarded):
		d.problem("address", "--trusted-proxy with the proxy's address alone",
			"a client can choose its address: the server believes more of X-Forwarded-For than a proxy wrote")
	case believed:
		d.problem("address", forwardChange, "a client can choose its address: the proxy passes on the client's own X-Forwarded-For")
	case seen.Forwarded && !seen.Trusted:
		d.problem("address", "--trusted-proxy with the proxy's address, which the server's log names",
			"all clients are one to the server: it does not trust the proxy that names them")
	case !seen.Forwarded && !direct && (seen.Trusted || seen.Address.IsPrivate() || seen.Address.IsLoopback()):
		d.problem("address", forwardChange, "all clients are one to the server: the proxy does not name them")
	default:
		d.ok("address", "the server takes this machine for %s", seen.Address)
	}
}

// seen asks the server, and tells where the question left from.
func (d *doctor) seen(ctx context.Context, header http.Header) (seen Seen, local netip.AddrPort, err error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if addr, ok := info.Conn.LocalAddr().(*net.TCPAddr); ok {
			local = addr.AddrPort()
		}
	}})
	a, err := d.get(ctx, d.at("healthz/client"), header)
	if err == nil {
		err = json.Unmarshal([]byte(a.body), &seen)
	}
	return seen, local, err
}
