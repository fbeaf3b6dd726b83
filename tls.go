package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
	"golang.org/x/time/rate"
)

// tlsFlags are for a server that browsers reach without a proxy before it: they
// encrypt only on pages that came over HTTPS.
type tlsFlags struct {
	TLSCert string   `name:"tls-cert" placeholder:"FILE" help:"Serve HTTPS with this certificate chain (PEM), read again when it changes."`
	TLSKey  string   `name:"tls-key" placeholder:"FILE" help:"The certificate's key (PEM)."`
	ACME    []string `name:"acme" sep:"," placeholder:"DOMAIN" help:"Serve HTTPS with a certificate for this domain from Let's Encrypt, whose terms you accept by this, fetched and renewed by itself; repeatable. The domain's port 443 must lead here."`
	ACMEDir string   `name:"acme-dir" default:"acme" placeholder:"DIR" help:"Keeps what --acme got; its loss costs new certificates, which are rationed (${default})."`
	ACMEURL string   `name:"acme-url" default:"https://acme-v02.api.letsencrypt.org/directory" placeholder:"URL" help:"Directory of another ACME authority for --acme (${default})."`
}

// check refuses what cannot work, and says what to change.
func (f *tlsFlags) check() error {
	switch {
	case (f.TLSCert == "") != (f.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key belong together")
	case f.TLSCert != "" && len(f.ACME) > 0:
		return errors.New("give --tls-cert or --acme, not both")
	case len(f.ACME) > 0 && f.ACMEDir == "":
		return errors.New("--acme-dir must not be empty")
	}
	for _, domain := range f.ACME {
		if net.ParseIP(domain) != nil || !strings.Contains(domain, ".") || strings.ContainsAny(domain, "/:* ") {
			return fmt.Errorf("--acme %q is no domain, as in chat.example.com", domain)
		}
	}
	if u, err := url.Parse(f.ACMEURL); len(f.ACME) > 0 && (err != nil || u.Scheme != "https" || u.Host == "") {
		return fmt.Errorf("--acme-url %q is not https://…", f.ACMEURL)
	}
	return nil
}

// listener makes inner one of TLS connections when the flags ask for it. The
// handshake is done by a connection's first reader, so a slow one holds up nobody.
//
// HTTP/2 is offered, for the page. WebSockets come over HTTP/1.1 all the same: a
// browser offers nothing else in the handshake of a wss connection, and does not
// put one on an HTTP/2 connection that it has, since Go's server never announces
// RFC 8441.
func (f *tlsFlags) listener(inner net.Listener, logger *slog.Logger) (net.Listener, error) {
	switch {
	case f.TLSCert != "":
		files := &certFiles{cert: f.TLSCert, key: f.TLSKey, logger: logger,
			warn: rate.Sometimes{First: 1, Interval: time.Minute}}
		if err := files.load(); err != nil {
			return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
		}
		return tls.NewListener(inner, &tls.Config{
			GetCertificate: files.get,
			NextProtos:     []string{"h2", "http/1.1"},
		}), nil
	case len(f.ACME) > 0:
		if err := os.MkdirAll(f.ACMEDir, 0o700); err != nil {
			return nil, fmt.Errorf("--acme-dir: %w", err)
		}
		return tls.NewListener(inner, f.acmeConfig(logger)), nil
	}
	return inner, nil
}

// acmeConfig proves to the authority that the domain is ours by TLS-ALPN-01
// (RFC 8737): in a handshake on the port that browsers use, so no other is needed.
// A certificate is fetched by the first handshake that needs it, and renewed a
// while before it ends.
func (f *tlsFlags) acmeConfig(logger *slog.Logger) *tls.Config {
	manager := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(f.ACMEDir),
		HostPolicy: autocert.HostWhitelist(f.ACME...),
		Client:     &acme.Client{DirectoryURL: f.ACMEURL},
	}
	config := manager.TLSConfig()
	get := config.GetCertificate
	warn := rate.Sometimes{First: 1, Interval: time.Minute}
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := get(hello)
		// Strangers ask for any name; that is no news.
		if err != nil && manager.HostPolicy(context.Background(), hello.ServerName) == nil {
			warn.Do(func() {
				logger.Warn("no certificate: does the domain's port 443 lead here?", "domain", hello.ServerName, "error", err)
			})
		}
		return cert, err
	}
	return config
}

// recheck is how often the files are looked at, at the most.
const recheck = time.Second

// certFiles is a certificate that is read again when its files change. Connections
// that are there keep what they have.
type certFiles struct {
	cert, key string
	logger    *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	read    [2]stamp // of the files that current was read from
	looked  time.Time
	warn    rate.Sometimes // files that cannot be used are read each time
}

// stamp is what changes when a file does.
type stamp struct {
	changed time.Time
	size    int64
}

// get is for [tls.Config].
func (c *certFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= recheck {
		c.looked = now
		c.refresh()
	}
	return c.current, nil
}

// refresh reads the files again if they are others now. Those that cannot be used,
// a new certificate whose key is still to come, say, leave the old one in force.
func (c *certFiles) refresh() {
	stamps, err := c.stamps()
	if err == nil && stamps == c.read {
		return
	}
	if err == nil {
		err = c.load()
	}
	if err != nil {
		c.warn.Do(func() { c.logger.Warn("the new certificate cannot be used; the old one stays", "error", err) })
		return
	}
	c.logger.Info("read the certificate again", "file", c.cert, "until", c.current.Leaf.NotAfter)
}

func (c *certFiles) load() error {
	stamps, err := c.stamps() // first: what changes meanwhile is seen the next time
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.current, c.read = &cert, stamps
	return nil
}

func (c *certFiles) stamps() (stamps [2]stamp, err error) {
	for i, name := range []string{c.cert, c.key} {
		info, err := os.Stat(name)
		if err != nil {
			return [2]stamp{}, err
		}
		stamps[i] = stamp{info.ModTime(), info.Size()}
	}
	return stamps, nil
}
