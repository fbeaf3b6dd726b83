package main

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"parley/deploy/deploytest"
	"parley/hub/hubtest"
	"parley/store/proctest"
)

// authority is Pebble, Let's Encrypt's own ACME server for tests.
type authority struct {
	url   string
	trust string // a file with the certificate of its HTTPS server
	roots *x509.CertPool
	close func()
}

// startAuthority runs one that finds every domain on the loopback address, and knocks at port.
func startAuthority(t *testing.T, port string) *authority {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0") // by chance else, and each costs a second or more of a handshake's ten
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "default"}})
	front := wfe.New(quiet, store, va.New(quiet, 0, number, false, startDNS(t), store), issuer, nil, false, false, 0, 0)
	server := httptest.NewTLSServer(front.Handler())
	t.Cleanup(server.Close)

	trust := filepath.Join(t.TempDir(), "authority.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(trust, block, 0o600); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(issuer.GetRootCert(0).PEM()) {
		t.Fatal("Pebble's root cannot be read")
	}
	return &authority{url: server.URL + wfe.DirectoryPath, trust: trust, roots: roots, close: server.Close}
}

// startDNS answers every question for an IPv4 address with the loopback one.
func startDNS(t *testing.T) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: listener, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		answer := new(dns.Msg).SetReply(q)
		if name := q.Question[0]; name.Qtype == dns.TypeA {
			answer.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: name.Name, Rrtype: dns.TypeA, Class: dns.ClassINET},
				A:   net.IPv4(127, 0, 0, 1),
			}}
		}
		w.WriteMsg(answer)
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		listener.Close()
		<-ended
	})
	return listener.Addr().String()
}

func TestACME(t *testing.T) {
	port := proctest.FreePort(t)
	pebble := startAuthority(t, port)
	env := []string{"SSL_CERT_FILE=" + pebble.trust}
	dir := filepath.Join(t.TempDir(), "acme")
	args := []string{"--acme", domain, "--acme-url", pebble.url, "--acme-dir", dir}
	s := startTLS(t, port, env, args...)

	for range 6 { // on a busy machine it may take longer than a handshake may, and then it is there for a later one
		if _, err := s.presented(t, domain); err == nil {
			break
		}
	}
	page(t, deploytest.Client(t, "127.0.0.1", pebble.roots), "https://"+s.host())
	s.dial(t, pebble.roots).Login(hubtest.Login{Name: "Ann", Room: "lobby"})
	if _, err := s.presented(t, "other.example.com"); err == nil {
		t.Error("there is a certificate for a name that was not given")
	}
	if err := run(t.Context(), []string{"healthcheck", "--addr", ":" + port, "--acme", domain}, io.Discard); err != nil {
		t.Errorf("the health check: %v", err)
	}
	first, err := s.presented(t, domain)
	if err != nil {
		t.Fatal(err)
	}

	// What was got is kept: the next start needs no authority.
	s.stop()
	pebble.close()
	again := startTLS(t, port, env, args...)
	if second, err := again.presented(t, domain); err != nil || !second.Equal(first) {
		t.Errorf("after a restart: %v, want the same certificate", err)
	}

	// Without one, and without an authority, it says what is wrong.
	again.stop()
	args[len(args)-1] = t.TempDir()
	bare := startTLS(t, port, env, args...)
	if _, err := bare.presented(t, domain); err == nil {
		t.Error("a certificate from nowhere")
	}
	bare.expect(t, "no certificate: does the domain's port 443 lead here?")
}
