package natstest

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// Secure starts a server that lets in nobody but users of one account whose certificate is of the pool, and shows
// cert. It gives the URL and two credentials files: of a user, and of one of an account that the server does not know.
// It ends with the test.
func Secure(t testing.TB, cert tls.Certificate, pool *x509.CertPool) (url, creds, strangers string) {
	t.Helper()
	operator, account, system, other := pair(t, nkeys.CreateOperator), pair(t, nkeys.CreateAccount), pair(t, nkeys.CreateAccount), pair(t, nkeys.CreateAccount)
	trusted := jwt.NewOperatorClaims(public(t, operator))
	trusted.SystemAccount = public(t, system)
	if _, err := trusted.Encode(operator); err != nil { // sets who issued it
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	for _, key := range []nkeys.KeyPair{account, system} {
		claims := jwt.NewAccountClaims(public(t, key))
		if key == account {
			claims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: jwt.NoLimit, MemoryStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
		}
		token, err := claims.Encode(operator)
		if err != nil {
			t.Fatal(err)
		}
		if err := resolver.Store(public(t, key), token); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(),
		TrustedOperators: []*jwt.OperatorClaims{trusted}, SystemAccount: public(t, system), AccountResolver: resolver,
		TLS: true, TLSVerify: true, TLSTimeout: readyTimeout.Seconds(),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert},
	})
	await(t, s)
	return s.ClientURL(), credentials(t, account), credentials(t, other)
}

// credentials writes those of a new user of the account.
func credentials(t testing.TB, account nkeys.KeyPair) string {
	t.Helper()
	user := pair(t, nkeys.CreateUser)
	token, err := jwt.NewUserClaims(public(t, user)).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pair(t testing.TB, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	key, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func public(t testing.TB, key nkeys.KeyPair) string {
	t.Helper()
	name, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return name
}
