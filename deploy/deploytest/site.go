package deploytest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"parley/store/proctest"
)

// Name is the site's, as in nginx.conf.
const Name = "chat.example.com"

// Site is nginx with nginx.conf before a server.
type Site struct {
	*Nginx
	CA    *CA
	Host  string // name and port, as a browser's address line has them
	Addr  string // where that is
	Plain string // the port of http://
}

// SiteOptions say what a test's site differs in.
type SiteOptions struct {
	Server  string    // the server's address, host:port
	Change  []string  // pairs: what stands in nginx.conf, what stands there instead
	CertFor string    // the certificate's name; Name when empty
	Until   time.Time // and its end; in an hour when zero
}

// StartSite runs nginx with the file conf (nginx.conf) as it is, except for the paths, ports and the user that a test
// must replace, and the changes.
func StartSite(t testing.TB, conf string, opts SiteOptions) *Site {
	t.Helper()
	raw, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	port := proctest.FreePort(t)
	s := &Site{
		CA:    NewCA(t),
		Host:  net.JoinHostPort(Name, port),
		Addr:  net.JoinHostPort("127.0.0.1", port),
		Plain: proctest.FreePort(t),
	}
	if opts.CertFor == "" {
		opts.CertFor = Name
	}
	if opts.Until.IsZero() {
		opts.Until = time.Now().Add(time.Hour)
	}
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	s.CA.Save(s.CA.Issue(opts.Until, opts.CertFor), cert, key)

	text := string(raw)
	replace := func(pairs ...string) {
		t.Helper()
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(text, pairs[i]) {
				t.Fatalf("%s has no %q any more", conf, pairs[i])
			}
			text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
		}
	}
	replace(opts.Change...)
	replace(
		"user www-data;", "user {user};",
		"/run/nginx.pid", "{dir}/nginx.pid",
		"/var/log/nginx/error.log", "stderr",
		"/var/log/nginx/access.log", "{dir}/access.log",
		"http {\n", "http {\nclient_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; "+
			"fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;\n",
		"listen 80;", "listen "+s.Plain+";",
		"listen [::]:80;", "listen [::]:"+s.Plain+";",
		"listen 443 ", "listen "+port+" ",
		"listen [::]:443 ", "listen [::]:"+port+" ",
		"/etc/letsencrypt/live/chat.example.com/fullchain.pem", cert,
		"/etc/letsencrypt/live/chat.example.com/privkey.pem", key,
		"server 127.0.0.1:8080;", "server "+opts.Server+";",
	)
	if l, err := net.Listen("tcp6", "[::]:0"); err == nil {
		l.Close()
	} else { // a machine without IPv6, where nginx would not start
		text = regexp.MustCompile(`(?m)^ *listen \[::\].*\n`).ReplaceAllString(text, "")
	}
	s.Nginx = StartNginx(t, s.Addr, text)
	return s
}

// Dialer connects to the loopback address, whatever the name, from the local address from.
func Dialer(from string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}
}

// Client is an HTTP client that finds every name on the loopback address, comes from the local address from, trusts
// roots alone and follows no redirects.
func Client(t testing.TB, from string, roots *x509.CertPool) *http.Client {
	transport := &http.Transport{
		DialContext:       Dialer(from),
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
