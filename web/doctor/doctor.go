// Package doctor looks at a server from outside, at its public address, as a browser would, and names what is wrong
// between the two: it tells an operator which line of nginx, or which flag of the server, to change. It changes
// nothing and enters no room, so that it can be run at any time, from anywhere.
package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultPatience is how long an answer is waited for.
const DefaultPatience = 10 * time.Second

// Options say how to look.
type Options struct {
	Wait     time.Duration  // how long a silent connection is watched at the most; 0: not at all
	Patience time.Duration  // for each answer; DefaultPatience when 0
	Roots    *x509.CertPool // whom to trust; the system's when nil
	// Dial makes TCP connections; a plain dialer does when nil.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Status is what came of a check.
type Status string

// What a check can come to.
const (
	OK      Status = "ok"
	Problem Status = "PROBLEM"
	Skipped Status = "skipped"
)

// Check is one thing that was looked at.
type Check struct {
	Name   string // one word
	Status Status
	Found  string // what was seen
	Change string // what to change; only of a problem
}

// doctor is one examination.
type doctor struct {
	opts   Options
	base   *url.URL // where the page is, with a slash at the end
	client *http.Client
	checks []Check
}

func (d *doctor) ok(name, found string, args ...any) {
	d.checks = append(d.checks, Check{Name: name, Status: OK, Found: fmt.Sprintf(found, args...)})
}

func (d *doctor) skipped(name, found string, args ...any) {
	d.checks = append(d.checks, Check{Name: name, Status: Skipped, Found: fmt.Sprintf(found, args...)})
}

func (d *doctor) problem(name, change, found string, args ...any) {
	d.checks = append(d.checks, Check{Name: name, Status: Problem, Found: fmt.Sprintf(found, args...), Change: change})
}

// Examine looks at the server at address: https://chat.example.com, https://example.com/chat/, or its socket's,
// wss://chat.example.com/ws. It fails only when the address is none.
func Examine(ctx context.Context, address string, opts Options) ([]Check, error) {
	base, err := parse(address)
	if err != nil {
		return nil, err
	}
	if opts.Patience == 0 {
		opts.Patience = DefaultPatience
	}
	if opts.Dial == nil {
		opts.Dial = new(net.Dialer).DialContext
	}
	d := &doctor{opts: opts, base: base}
	// What is wrong with the certificate is told once, by the check of it; the others look past it.
	transport := &http.Transport{
		DialContext:       opts.Dial,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2: true,
	}
	defer transport.CloseIdleConnections()
	d.client = &http.Client{Transport: transport, Timeout: opts.Patience}
	if d.reach(ctx) && d.encryption(ctx) {
		d.page(ctx)
		if d.socket(ctx) {
			d.addresses(ctx)
			d.silence(ctx)
		}
	}
	return d.checks, ctx.Err()
}

func parse(address string) (*url.URL, error) {
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err == nil && (u.Scheme == "ws" || u.Scheme == "wss") { // the page is beside the socket
		u.Scheme = strings.Replace(u.Scheme, "ws", "http", 1)
		u.Path = strings.TrimSuffix(u.Path, "ws")
	}
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is no address of a page, as in https://chat.example.com or https://example.com/chat/", address)
	}
	u.RawQuery, u.Fragment, u.User = "", "", nil
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// at is the address of something beside the page.
func (d *doctor) at(name string) *url.URL { return d.base.ResolveReference(&url.URL{Path: name}) }

// addr is host:port of the page.
func (d *doctor) addr() string {
	port := d.base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[d.base.Scheme]
	}
	return net.JoinHostPort(d.base.Hostname(), port)
}

// answer is what came back for a GET.
type answer struct {
	*http.Response
	body string // its beginning
}

// get follows redirects, as a browser does.
func (d *doctor) get(ctx context.Context, u *url.URL, header http.Header) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return answer{}, err
	}
	if header != nil {
		req.Header = header
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	const enough = 64 << 10
	body, err := io.ReadAll(io.LimitReader(resp.Body, enough))
	return answer{resp, string(body)}, err
}

// reach connects, and learns where the page is in the end.
func (d *doctor) reach(ctx context.Context) bool {
	limited, cancel := context.WithTimeout(ctx, d.opts.Patience)
	defer cancel()
	conn, err := d.opts.Dial(limited, "tcp", d.addr())
	if err != nil {
		d.problem("reach", "see that the name leads to the server, that nginx runs and listens there, and that no firewall is between",
			"%s does not answer: %v", d.addr(), err)
		return false
	}
	conn.Close()
	if page, err := d.get(ctx, d.base, nil); err == nil {
		asked := d.base.String()
		d.base = page.Request.URL
		if d.base.String() != asked {
			d.ok("reach", "%s leads to %s", asked, d.base)
			return true
		}
	}
	d.ok("reach", "%s answers", d.addr())
	return true
}

// encryption looks at how the page comes: browsers encrypt messages only on a page that nobody on the way can change.
// It tells whether it can come at all.
func (d *doctor) encryption(ctx context.Context) bool {
	if d.base.Scheme == "http" {
		if conn, err := d.handshake(ctx, nil, true); err == nil {
			conn.Close()
			d.problem("tls", "https:// in place of http:// in the address", "the port speaks TLS")
			return false
		}
		if host := d.base.Hostname(); host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host).IsLoopback() {
			d.ok("tls", "plain http, which browsers take for secure on the same machine only")
			return true
		}
		d.problem("tls", "listen 443 ssl; with ssl_certificate and ssl_certificate_key, and on port 80: return 301 https://$host$request_uri;",
			"plain http: browsers encrypt nothing on such a page, so private rooms do not work")
		return true
	}
	conn, err := d.handshake(ctx, d.opts.Roots, false)
	if err != nil {
		found, change, talks := d.distrust(ctx, err)
		d.problem("tls", change, "%s", found)
		return talks
	}
	defer conn.Close()
	state := conn.ConnectionState()
	d.ok("tls", "%s, the certificate is good until %s", tls.VersionName(state.Version), day(state.PeerCertificates[0].NotAfter))
	return true
}

// handshake is one for a WebSocket: it offers HTTP/1.1 alone.
func (d *doctor) handshake(ctx context.Context, roots *x509.CertPool, trusting bool) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.opts.Patience)
	defer cancel()
	raw, err := d.opts.Dial(ctx, "tcp", d.addr())
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{
		ServerName: d.base.Hostname(), RootCAs: roots, InsecureSkipVerify: trusting, NextProtos: []string{"http/1.1"},
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// distrust says why a browser would not go on after that handshake, and whether the port speaks TLS at all.
func (d *doctor) distrust(ctx context.Context, err error) (found, change string, talks bool) {
	var (
		invalid x509.CertificateInvalidError
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
		plain   tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if now := time.Now(); now.Before(invalid.Cert.NotBefore) {
			return "the certificate is good only from " + day(invalid.Cert.NotBefore) + " on", "see to the clocks of both machines", true
		}
		return "the certificate ended on " + day(invalid.Cert.NotAfter),
			"renew it (certbot renew), and see that nginx is reloaded after each renewal", true
	case errors.As(err, &name):
		return fmt.Sprintf("the certificate is for %s, not for %s", strings.Join(name.Certificate.DNSNames, ", "), d.base.Hostname()),
			"ssl_certificate with one for " + d.base.Hostname() + ", and server_name " + d.base.Hostname() + "; in the same server block", true
	case errors.As(err, &unknown):
		return d.stranger(ctx), "ssl_certificate with the whole chain (certbot's fullchain.pem) from an authority that browsers know", true
	case errors.As(err, &plain):
		_, port, _ := net.SplitHostPort(d.addr())
		return "the port does not speak TLS", "listen " + port + " ssl; (or, to try it on one machine, http:// in the address)", false
	case strings.Contains(err.Error(), "no application protocol"):
		return "the port speaks HTTP/2 only; browsers open a WebSocket over HTTP/1.1", "let it speak http/1.1 too (ALPN h2,http/1.1)", true
	}
	return fmt.Sprintf("no TLS handshake: %v", err), "see nginx's error log; ssl_protocols TLSv1.2 TLSv1.3;", false
}

// stranger names who issued a certificate that is not trusted.
func (d *doctor) stranger(ctx context.Context) string {
	conn, err := d.handshake(ctx, nil, true)
	if err != nil {
		return "the certificate is from an unknown authority"
	}
	defer conn.Close()
	chain := conn.ConnectionState().PeerCertificates
	if issuer := chain[0].Issuer.String(); issuer != chain[0].Subject.String() {
		return fmt.Sprintf("the certificate is from an authority that is not known here, %s, or the chain to it is not sent", issuer)
	}
	return "the certificate is signed by itself"
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// Report writes the checks down for a person to read, and counts the problems.
func Report(w io.Writer, checks []Check) (problems int) {
	for _, c := range checks {
		fmt.Fprintf(w, "%-8s %-8s %s\n", c.Status, c.Name, c.Found)
		if c.Status == Problem {
			problems++
			fmt.Fprintf(w, "%-8s %-8s change: %s\n", "", "", c.Change)
		}
	}
	return problems
}
