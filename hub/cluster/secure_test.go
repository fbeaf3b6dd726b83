package cluster

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"parley/deploy/deploytest"
	"parley/hub/hubtest"
	"parley/store"
	"parley/store/natstest"
	"parley/store/proctest"
)

// The NATS servers ask for credentials and a certificate and show one of their own: a server that is given all of it
// chats, and one that lacks anything says what.
func TestSecureNATS(t *testing.T) {
	ca, soon := deploytest.NewCA(t), time.Now().Add(time.Hour)
	url, creds, strangers := natstest.Secure(t, ca.Issue(soon, "127.0.0.1"), ca.Pool())
	cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	ca.Save(ca.Issue(soon, "node1"), cert, key)
	own := store.TLSFiles{CA: ca.File(), Cert: cert, Key: key}
	other := deploytest.NewCA(t)
	foreign, foreignKey := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	other.Save(other.Issue(soon, "node1"), foreign, foreignKey)

	s := hubtest.Start(t, "--nats", url, "--nats-creds", creds, "--nats-ca", own.CA, "--nats-cert", cert, "--nats-key", key)
	ann, _ := enter(t, s, "Ann")
	ann.RoomMessage("nobody listens in", "")

	for _, tc := range []struct {
		name, creds string
		tls         store.TLSFiles
		says        string
	}{
		{"another's credentials", strangers, own, "NATS refuses these credentials"},
		{"no credentials", "", own, "NATS refuses these credentials"},
		{"an authority of its own", creds, store.TLSFiles{CA: other.File(), Cert: cert, Key: key}, "certificate signed by unknown authority"},
		{"a certificate of another authority", creds, store.TLSFiles{CA: own.CA, Cert: foreign, Key: foreignKey}, "NATS wants to be shown a certificate that it trusts"},
		{"no certificate", creds, store.TLSFiles{CA: own.CA}, "NATS wants to be shown a certificate that it trusts"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			natstest.WantRefused(t, tc.says, func(ctx context.Context, logger *slog.Logger) error {
				_, err := store.OpenJetStream(ctx, store.JetStreamOptions{URL: url, Creds: tc.creds, TLS: tc.tls, Logger: logger})
				return err
			})
		})
	}
}

// The permissions that the file for operators gives to the nodes are enough for all that they do.
func TestPermissions(t *testing.T) {
	file, err := os.ReadFile("../../deploy/cluster/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?ms)^# authorization \{$.*?^# \}$`).FindString(string(file))
	if block == "" {
		t.Fatal("it gives none")
	}
	url := "nats://parley:PASSWORD@" + natstest.Configured(t, regexp.MustCompile(`(?m)^# `).ReplaceAllString(block, ""))
	admin := proctest.FreeAddr(t)
	servers := []*hubtest.Server{hubtest.Start(t, "--nats", url, "--admin", admin), hubtest.Start(t, "--nats", url)}
	ann, _ := enter(t, servers[0], "Ann")
	for _, text := range []string{"one", "two"} {
		ann.RoomMessage(text, "")
	}
	bob, ack := enter(t, servers[1], "Bob")
	if len(ack.Messages) != 2 {
		t.Errorf("Bob finds %v", ack.Messages)
	}
	ann.Ask("typing", map[string]bool{"typing": true}, nil)
	until(t, bob, "typing", func(typing hubtest.Typing) bool { return typing.Typing })
	if first, again := bob.RoomMessage("three", "key-of-the-message"), bob.RoomMessage("three", "key-of-the-message"); !again.Duplicate || again.Seq != first.Seq {
		t.Errorf("kept at %d, and again %+v", first.Seq, again)
	}
	bob.Drop()
	moved, ack := enter(t, servers[0], "Bob")
	if !ack.Resumed {
		t.Errorf("Bob came back as %+v", ack)
	}
	moved.Ask("logout", nil, nil)
	removeRoom(t, admin, "hall")
	for _, s := range servers {
		s.Terminate()
		if out := s.Output(); strings.Contains(strings.ToLower(out), "permission") {
			t.Errorf("it lacks some:\n%s", out)
		}
	}
}
