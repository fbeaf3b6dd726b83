package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"parley/deploy/deploytest"
)

// A server that cannot accept connections says so, and strangers' mistakes are not told.
func TestHTTPErrors(t *testing.T) {
	var out bytes.Buffer
	server := newServer(nil, slog.New(slog.NewTextHandler(&out, nil)))
	server.ErrorLog.Print("http: TLS handshake error from 192.0.2.1:1: EOF")
	server.ErrorLog.Print("http: Accept error: accept tcp: too many open files; retrying in 1s")
	if got := out.String(); strings.Contains(got, "handshake") || !strings.Contains(got, `level=ERROR msg="http: Accept error: accept tcp: too many open files; retrying in 1s"`) {
		t.Error(got)
	}
}

// pipes is a listener without a network.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.close(); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A client that is slow in whatever it does is let go.
func TestSlowClients(t *testing.T) {
	ca := deploytest.NewCA(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(time.Now().AddDate(100, 0, 0), "chat.example.com")}}
	for _, tt := range []struct {
		name, sends string
		reads       bool
		tls         bool
		after       time.Duration
	}{
		{"says nothing", "", true, false, 10 * time.Second},
		{"makes no TLS handshake", "", true, true, 10 * time.Second},
		{"does not end its header", "GET / HTTP/1.1\r\nHost: x\r\n", true, false, 10 * time.Second},
		{"does not end its body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nbody", true, false, 30 * time.Second},
		{"does not read", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", false, false, time.Minute},
		{"asks no more", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", true, false, 2 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					_, _ = io.WriteString(w, strings.Repeat("x", 64<<10))
				}), slog.New(slog.DiscardHandler))
				l := newPipes()
				listener := net.Listener(l)
				if tt.tls {
					listener = tls.NewListener(l, config)
				}
				ended := make(chan error, 1)
				go func() { ended <- server.Serve(listener) }()
				theirs, ours := net.Pipe()
				l.conns <- theirs
				begin := time.Now()
				if tt.sends != "" {
					if _, err := io.WriteString(ours, tt.sends); err != nil {
						t.Fatal(err)
					}
				}
				if !tt.reads {
					<-time.After(2 * tt.after) // on a clock that does not wait
				}
				n, err := io.Copy(io.Discard, ours)
				if took := time.Since(begin); tt.reads && took != tt.after || !tt.reads && n > 0 {
					t.Errorf("let go after %v, having been sent %d bytes: %v, want %v", took, n, err, tt.after)
				}
				_ = server.Close()
				<-ended
			})
		})
	}
}
