package doctor_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/hub/hubtest"
	"parley/web/doctor"
)

// middleman passes bytes on to a server, as a firewall or a virus scanner does that looks into them: each of the two
// sees what one Read brought, and returns what is to go on, or false to cut the connection.
type middleman struct {
	toServer, toClient func(chunk []byte) ([]byte, bool)
}

func pass(chunk []byte) ([]byte, bool) { return chunk, true }

// listen runs one middleman a connection until the test ends.
func listen(t *testing.T, target string, each func() middleman) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			m := each()
			pump := func(to, from net.Conn, look func([]byte) ([]byte, bool)) {
				defer to.Close()
				defer from.Close()
				buf := make([]byte, 4<<10)
				for {
					n, err := from.Read(buf)
					chunk, ok := look(buf[:n])
					if !ok || err != nil {
						return
					}
					if _, err := to.Write(chunk); err != nil {
						return
					}
				}
			}
			all.Go(func() { pump(server, client, m.toServer) })
			all.Go(func() { pump(client, server, m.toClient) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		all.Wait()
	})
	return "http://" + ln.Addr().String()
}

// upgraded passes on all until the connection is a WebSocket, and leaves what comes then to the other.
func upgraded(then func(chunk []byte) ([]byte, bool)) func([]byte) ([]byte, bool) {
	done := false
	return func(chunk []byte) ([]byte, bool) {
		if done {
			return then(chunk)
		}
		done = bytes.Contains(chunk, []byte("websocket"))
		if end := bytes.Index(chunk, []byte("\r\n\r\n")) + 4; done && end < len(chunk) {
			rest, ok := then(chunk[end:])
			return slices.Concat(chunk[:end], rest), ok
		}
		return chunk, true
	}
}

func TestMiddlemen(t *testing.T) {
	t.Parallel()
	// The one gives up the silent long after the doctor has, the other long before.
	patient := hubtest.Start(t, "--db", "")
	quick := hubtest.Start(t, "--db", "", "--ping-interval", "500ms")
	for _, test := range []struct {
		name     string
		server   *hubtest.Server
		patience time.Duration
		each     func() middleman
		check    string
		found    string // its beginning
	}{
		{"holds back", patient, 5 * time.Second, func() middleman {
			return middleman{pass, upgraded(func([]byte) ([]byte, bool) { return nil, true })}
		}, "socket", "the connection is made, but nothing that the server sends comes through: no answer in time"},
		{"cuts at 64 KiB", patient, time.Minute, func() middleman {
			left := 64 << 10
			return middleman{upgraded(func(chunk []byte) ([]byte, bool) {
				left -= len(chunk)
				return chunk, left > 0
			}), pass}
		}, "size", "a frame of 98304 bytes does not come through: the connection was cut"},
		{"swallows pings", quick, time.Minute, func() middleman {
			return middleman{pass, upgraded(func(chunk []byte) ([]byte, bool) {
				const ping = 0x89
				if len(chunk) > 0 && chunk[0] == ping {
					return nil, true
				}
				return chunk, true
			})}
		}, "silence", "the server's pings, each 500ms, do not come through: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			checks, err := doctor.Examine(t.Context(), listen(t, test.server.Addr(), test.each),
				doctor.Options{Wait: 10 * time.Second, Patience: test.patience})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(problems(checks), func(c doctor.Check) bool { return c.Name == test.check && strings.HasPrefix(c.Found, test.found) }) {
				t.Errorf("want %s: %s\ngot\n%s", test.check, test.found, report(checks))
			}
		})
	}
}

// TestHTTP2Only has a port that refuses HTTP/1.1 in the TLS handshake.
func TestHTTP2Only(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		io.WriteString(w, "page and shim alike")
	}))
	server.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedProtos, "h2") {
			return nil, nil
		}
		// Go's server would let it in all the same if this were h2.
		return &tls.Config{Certificates: server.TLS.Certificates, NextProtos: []string{"none"}}, nil
	}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	checks, err := doctor.Examine(t.Context(), server.URL, doctor.Options{Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	found := problems(checks)
	if len(found) != 1 || found[0].Found != "the port speaks HTTP/2 only; browsers open a WebSocket over HTTP/1.1" {
		t.Errorf("got\n%s", report(checks))
	}
}
