package doctor_test

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/deploy/deploytest"
	"parley/hub/hubtest"
	"parley/store/proctest"
	"parley/web/doctor"
)

const conf = "../../deploy/nginx.conf"

// flags of the servers under test: nginx is a trusted proxy, and whoever asks comes from another address. The times
// are a 25th of the usual ones.
var flags = []string{"--db", "", "--ping-interval", "1s", "--trusted-proxy", "127.0.0.1/32"}

const visitor = "127.0.0.5"

// elsewhere is a connection that seems to be from another machine.
type elsewhere struct{ net.Conn }

func (elsewhere) LocalAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(198, 51, 100, 9), Port: 50000}
}

func examine(t *testing.T, address string, site *deploytest.Site) []doctor.Check {
	t.Helper()
	return examineWithin(t, address, site, time.Minute)
}

// examineWithin is examine where some answer never comes, and is waited for only so long.
func examineWithin(t *testing.T, address string, site *deploytest.Site, patience time.Duration) []doctor.Check {
	t.Helper()
	dial := deploytest.Dialer(visitor)
	checks, err := doctor.Examine(t.Context(), address, doctor.Options{
		Wait: 20 * time.Second, Patience: patience, Roots: site.CA.Pool(),
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return elsewhere{conn}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return checks
}

func problems(checks []doctor.Check) (found []doctor.Check) {
	for _, c := range checks {
		if c.Status == doctor.Problem {
			found = append(found, c)
		}
	}
	return found
}

func report(checks []doctor.Check) string {
	var b bytes.Buffer
	doctor.Report(&b, checks)
	return b.String()
}

func TestGood(t *testing.T) {
	t.Parallel()
	site := deploytest.StartSite(t, conf, deploytest.SiteOptions{Server: hubtest.Start(t, flags...).Addr()})
	for _, address := range []string{"https://" + site.Host, site.Host + "/chat/", "https://" + site.Host + "/chat", "wss://" + site.Host + "/chat/ws"} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			checks := examine(t, address, site)
			var names []string
			for _, c := range checks {
				names = append(names, c.Name)
				if c.Status != doctor.OK {
					t.Errorf("%s: %s", c.Name, c.Found)
				}
			}
			if want := []string{"reach", "tls", "page", "socket", "size", "address", "silence"}; !slices.Equal(names, want) {
				t.Errorf("looked at %v, want %v", names, want)
			}
			if text := report(checks); !strings.Contains(text, "the server takes this machine for "+visitor) {
				t.Errorf("the address is not told:\n%s", text)
			}
		})
	}
}

// TestBroken breaks nginx.conf on purpose, each time in one place, and wants that place named and nothing else.
func TestBroken(t *testing.T) {
	t.Parallel()
	shared := hubtest.Start(t, flags...)
	suspicious := hubtest.Start(t, "--db", "", "--ping-interval", "1s", "--trusted-proxy", "192.0.2.1")
	gullible := hubtest.Start(t, "--db", "", "--ping-interval", "1s", "--trusted-proxy", "127.0.0.0/8")
	leisurely := hubtest.Start(t, "--db", "", "--trusted-proxy", "127.0.0.1/32")
	expired := time.Now().Add(-time.Hour)
	const (
		noUpgrade  = "proxy_set_header Upgrade         $http_upgrade;"
		forwarding = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
		page       = "        location / {\n            proxy_pass http://parley;"
		sub        = "        location /chat/ {\n            proxy_pass http://parley/;"
	)
	for _, test := range []struct {
		name    string
		opts    deploytest.SiteOptions
		address string // after the host; "" is the page at /
		plain   bool   // over http
		check   string
		found   string // HOST stands for the site's
		change  string // what must be in it
	}{
		{
			name: "no upgrade", opts: deploytest.SiteOptions{Change: []string{noUpgrade, ""}},
			check: "socket", found: "the proxy does not pass on the browser's Upgrade",
			change: "proxy_set_header Upgrade $http_upgrade;",
		}, {
			name: "HTTP/1.0", opts: deploytest.SiteOptions{Change: []string{"proxy_http_version 1.1;", ""}},
			check: "socket", found: "the proxy asks the server over HTTP/1.0, which knows no upgrade",
			change: "proxy_http_version 1.1;",
		}, {
			name: "impatient", opts: deploytest.SiteOptions{Server: leisurely.Addr(), Change: []string{"_timeout    60s;", "_timeout 6s;"}},
			check: "silence", found: "silent connections are cut after 6s, before the server's ping, which comes each 25s",
			change: "proxy_read_timeout",
		}, {
			name: "another host", opts: deploytest.SiteOptions{Change: []string{"$http_host;", "$proxy_host;"}},
			check: "origin", found: "the server refuses the page's origin https://HOST: the proxy passes on another host than the browser's",
			change: "proxy_set_header Host $http_host;",
		}, {
			name: "host without port", opts: deploytest.SiteOptions{Change: []string{"$http_host;", "$host;"}},
			check: "origin", found: "the server refuses the page's origin https://HOST: the proxy passes on the host without its port",
			change: "proxy_set_header Host $http_host; in place of $host",
		}, {
			name: "no forwarded address", opts: deploytest.SiteOptions{Change: []string{forwarding, ""}},
			check: "address", found: "a client can choose its address: the proxy passes on the client's own X-Forwarded-For",
			change: forwarding[:32],
		}, {
			name: "forwarded address taken out", opts: deploytest.SiteOptions{Change: []string{"$proxy_add_x_forwarded_for;", "'';"}},
			check: "address", found: "all clients are one to the server: the proxy does not name them",
			change: "proxy_set_header X-Forwarded-For",
		}, {
			name: "proxy not trusted", opts: deploytest.SiteOptions{Server: suspicious.Addr()},
			check: "address", found: "all clients are one to the server: it does not trust the proxy that names them",
			change: "--trusted-proxy",
		}, {
			name: "everybody trusted", opts: deploytest.SiteOptions{Server: gullible.Addr()},
			check: "address", found: "a client can choose its address: the server believes more of X-Forwarded-For than a proxy wrote",
			change: "--trusted-proxy",
		}, {
			name: "expired", opts: deploytest.SiteOptions{Until: expired},
			check: "tls", found: "the certificate ended on " + expired.UTC().Format(time.DateOnly),
			change: "certbot renew",
		}, {
			name: "wrong name", opts: deploytest.SiteOptions{CertFor: "www.example.com"},
			check: "tls", found: "the certificate is for www.example.com, not for chat.example.com",
			change: "ssl_certificate",
		}, {
			name: "plain http", plain: true,
			opts: deploytest.SiteOptions{Change: []string{
				"return 301 https://$host$request_uri;",
				"proxy_pass http://parley; proxy_http_version 1.1; proxy_set_header Host $http_host; " +
					"proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; " + forwarding,
			}},
			check: "tls", found: "plain http: browsers encrypt nothing on such a page, so private rooms do not work",
			change: "listen 443 ssl;",
		}, {
			name: "socket elsewhere", address: "/chat/",
			opts:  deploytest.SiteOptions{Change: []string{sub, "        location /chat/ws { return 404; }\n" + sub}},
			check: "socket", found: "page and socket are under different paths: the page looks for https://HOST/chat/ws, the socket is at https://HOST/ws",
			change: "location /chat/ { proxy_pass http://parley/; }",
		}, {
			name: "socket redirected", opts: deploytest.SiteOptions{Change: []string{page, "        location = /ws { return 302 /chat/ws; }\n" + page}},
			check: "socket", found: "the proxy sends the socket elsewhere, to https://HOST/chat/ws: browsers do not follow",
			change: "return",
		}, {
			name: "page in place of the socket", opts: deploytest.SiteOptions{Change: []string{page, "        location = /ws { return 200 hello; }\n" + page}},
			check: "socket", found: "at https://HOST/ws is a page and no socket",
			change: "proxy_pass",
		}, {
			name: "address of the socket", address: "/ws",
			check: "page", found: "https://HOST/ws is the socket and no page",
			change: "without ws",
		}, {
			name: "no subprotocol", opts: deploytest.SiteOptions{Change: []string{noUpgrade, noUpgrade + " proxy_set_header Sec-WebSocket-Protocol '';"}},
			check: "socket", found: "the proxy drops the subprotocol parley.v1: browsers close such a connection",
			change: "Sec-WebSocket-Protocol",
		}, {
			name: "password", opts: deploytest.SiteOptions{Change: []string{page, "        location = /ws { return 401; }\n" + page}},
			check: "socket", found: "the proxy asks for a password, which a WebSocket cannot give",
			change: "auth_basic off;",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.opts.Server == "" {
				test.opts.Server = shared.Addr()
			}
			site := deploytest.StartSite(t, conf, test.opts)
			address := "https://" + site.Host + test.address
			if test.plain {
				address = "http://" + deploytest.Name + ":" + site.Plain
			}
			checks := examine(t, address, site)
			found := problems(checks)
			want := strings.ReplaceAll(test.found, "HOST", site.Host)
			if len(found) != 1 || found[0].Name != test.check || !same(found[0].Found, want) || !strings.Contains(found[0].Change, test.change) {
				t.Errorf("want %s: %s\ngot\n%s", test.check, want, report(checks))
			}
		})
	}
}

// same compares what was found with what is wanted, except for how long 6 s have become on a busy machine.
func same(found, want string) bool {
	if before, after, ok := strings.Cut(want, "after 6s"); ok {
		return strings.HasPrefix(found, before+"after ") && strings.HasSuffix(found, after)
	}
	return found == want
}

// TestSubPathPassedOn has two problems with one cause: neither the page nor the socket is found.
func TestSubPathPassedOn(t *testing.T) {
	t.Parallel()
	site := deploytest.StartSite(t, conf, deploytest.SiteOptions{
		Server: hubtest.Start(t, flags...).Addr(),
		Change: []string{"proxy_pass http://parley/;", "proxy_pass http://parley;"},
	})
	checks := examine(t, "https://"+site.Host+"/chat/", site)
	found := problems(checks)
	if len(found) != 2 || found[0].Name != "page" || found[1].Name != "socket" ||
		found[0].Found != "the server does not know the path /chat/: the proxy passes it on as it is" ||
		found[1].Found != "the server does not know the path /chat/ws: the proxy passes it on as it is" {
		t.Errorf("got\n%s", report(checks))
	}
}

// TestUnknownAuthority asks as somebody who does not know the test's authority.
func TestUnknownAuthority(t *testing.T) {
	t.Parallel()
	site := deploytest.StartSite(t, conf, deploytest.SiteOptions{Server: hubtest.Start(t, flags...).Addr()})
	site.CA = deploytest.NewCA(t)
	checks := examine(t, "https://"+site.Host, site)
	found := problems(checks)
	want := "the certificate is from an authority that is not known here, CN=Parley test authority, or the chain to it is not sent"
	if len(found) != 1 || found[0].Name != "tls" || found[0].Found != want || !strings.Contains(found[0].Change, "fullchain.pem") {
		t.Errorf("got\n%s", report(checks))
	}
}

// TestHTTP2Upstream puts an nginx that speaks HTTP/2 alone between nginx and the server.
func TestHTTP2Upstream(t *testing.T) {
	t.Parallel()
	server := hubtest.Start(t, flags...)
	port := proctest.FreePort(t)
	site := deploytest.StartSite(t, conf, deploytest.SiteOptions{
		Server: "127.0.0.1:" + port,
		Change: []string{"    upstream parley {", "    server { listen 127.0.0.1:" + port + " http2; location / { proxy_pass http://" +
			server.Addr() + "; } }\n    upstream parley {"},
	})
	checks := examineWithin(t, "https://"+site.Host, site, 5*time.Second)
	found := problems(checks)
	if len(found) != 2 || found[0].Found != "what the proxy got is no HTTP/1.1" ||
		found[1].Found != "what answers speaks HTTP/2 only; a WebSocket needs HTTP/1.1 all the way to the server" {
		t.Errorf("got\n%s", report(checks))
	}
}

func TestServerDown(t *testing.T) {
	t.Parallel()
	site := deploytest.StartSite(t, conf, deploytest.SiteOptions{Server: "127.0.0.1:" + proctest.FreePort(t)})
	checks := examine(t, "https://"+site.Host, site)
	found := problems(checks)
	want := "the proxy does not reach the server: 502 Bad Gateway"
	if len(found) != 2 || found[0].Found != want || found[1].Found != want {
		t.Errorf("got\n%s", report(checks))
	}
	checks = examine(t, "https://"+deploytest.Name+":"+proctest.FreePort(t), site)
	if found := problems(checks); len(found) != 1 || found[0].Name != "reach" {
		t.Errorf("where nobody listens:\n%s", report(checks))
	}
}

func TestNoAddress(t *testing.T) {
	for _, address := range []string{"", "ftp://example.com", "https://", "https://:443", "wss:///ws"} {
		if _, err := doctor.Examine(t.Context(), address, doctor.Options{}); err == nil {
			t.Errorf("%q was examined", address)
		}
	}
}

// TestOtherServer has a page at the address that is none of ours.
func TestOtherServer(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("<!doctype html><title>Welcome to nginx!</title>"))
	}))
	defer other.Close()
	checks, err := doctor.Examine(t.Context(), other.URL, doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	found := problems(checks)
	if len(found) != 2 || !strings.HasPrefix(found[0].Found, "the page is there, but not its files beside it: ") ||
		found[1].Found != "at "+other.URL+"/ws is a page and no socket" {
		t.Errorf("got\n%s", report(checks))
	}
}

// TestWrongScheme asks a port in the language that it does not speak: that is all there is to tell.
func TestWrongScheme(t *testing.T) {
	quiet := log.New(io.Discard, "", 0)
	plain, secure := httptest.NewUnstartedServer(http.NotFoundHandler()), httptest.NewUnstartedServer(http.NotFoundHandler())
	plain.Config.ErrorLog, secure.Config.ErrorLog = quiet, quiet
	plain.Start()
	defer plain.Close()
	secure.StartTLS()
	defer secure.Close()
	for address, want := range map[string]string{
		strings.Replace(plain.URL, "http://", "https://", 1):  "the port does not speak TLS",
		strings.Replace(secure.URL, "https://", "http://", 1): "the port speaks TLS",
	} {
		checks, err := doctor.Examine(t.Context(), address, doctor.Options{})
		if found := problems(checks); err != nil || len(found) != 1 || found[0].Name != "tls" || found[0].Found != want {
			t.Errorf("%s: %v\n%s", address, err, report(checks))
		}
	}
	// A Go server that is another one, --admin say: there is no path to take off.
	checks, err := doctor.Examine(t.Context(), plain.URL, doctor.Options{})
	found := problems(checks)
	if err != nil || len(found) != 2 || found[0].Found != plain.URL+"/: 404 Not Found" || found[1].Found != "there is nothing at "+plain.URL+"/ws" {
		t.Errorf("%v\n%s", err, report(checks))
	}
}
