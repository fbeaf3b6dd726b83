package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"parley/hub"
	"parley/store"
)

// natsFlags are the flags of a server that is one of several.
type natsFlags struct {
	NATS       string        `name:"nats" placeholder:"URL" help:"Be one of several servers that are one chat, on these NATS servers with JetStream: nats://a:4222,b:4222. Takes the place of --db."`
	NATSPrefix string        `name:"nats-prefix" default:"parley" placeholder:"NAME" help:"What the names of the streams and subjects begin with: servers with another prefix are another chat (${default})."`
	NATSCreds  string        `name:"nats-creds" type:"existingfile" placeholder:"FILE" help:"Credentials file for NATS."`
	NATSCA     string        `name:"nats-ca" type:"existingfile" placeholder:"FILE" help:"Trust NATS servers with certificates of this authority (the system's)."`
	NATSCert   string        `name:"nats-cert" type:"existingfile" placeholder:"FILE" help:"Certificate to show to the NATS servers."`
	NATSKey    string        `name:"nats-key" type:"existingfile" placeholder:"FILE" help:"Its key."`
	NATSLease  time.Duration `name:"nats-lease" default:"15s" placeholder:"TIME" help:"How long this server may be out of reach before the others take its users for gone; longer than an election among the NATS servers takes (${default})."`
}

func (n *natsFlags) check() error {
	if (n.NATSCert == "") != (n.NATSKey == "") {
		return errors.New("give --nats-cert and --nats-key together")
	}
	if n.NATSLease < time.Second {
		return errors.New("--nats-lease must be 1s at the least")
	}
	return checkNATS(n.NATS)
}

// checkNATS refuses a list that the client would try to connect to for ever. Its error does not repeat the list, in
// which there may be a password.
func checkNATS(list string) error {
	if list == "" {
		return nil
	}
	for address := range strings.SplitSeq(list, ",") {
		if address = strings.TrimSpace(address); !strings.Contains(address, "://") {
			address = "nats://" + address
		}
		if u, err := url.Parse(address); err != nil || u.Host == "" {
			return errors.New("--nats is not one or several addresses, as in nats://a:4222,b:4222")
		}
	}
	return nil
}

// openStore opens the log, and puts it and its directory into the hub's configuration.
func (s *serveCmd) openStore(ctx context.Context, logger *slog.Logger, cfg *hub.Config) (store.Log, error) {
	opts := store.Options{History: s.History, Retain: s.Retain}
	switch {
	case s.NATS != "":
		log, err := store.OpenJetStream(ctx, store.JetStreamOptions{
			Options: opts, URL: s.NATS, Prefix: s.NATSPrefix, Creds: s.NATSCreds, Lease: s.NATSLease, Grace: s.Grace, Logger: logger,
			TLS: store.TLSFiles{CA: s.NATSCA, Cert: s.NATSCert, Key: s.NATSKey},
		})
		if err != nil {
			return nil, err
		}
		cfg.Log, cfg.Shared = log, log
	case s.DB == "":
		log := store.NewMemory(opts)
		cfg.Log, cfg.Directory = log, log
	default:
		log, err := store.OpenSQLite(ctx, s.DB, opts)
		if err != nil {
			return nil, err
		}
		cfg.Log, cfg.Directory = log, log
	}
	return cfg.Log, nil
}

// elsewhere sends a proxy to another server while the others do without this one: it has lost all its clients, and
// would be given every new one. Who comes without a proxy is let in, and told that messages are unavailable.
func elsewhere(log store.Log, trusted []netip.Prefix) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			proxied := r.Header.Get("X-Forwarded-For") != "" && contains(trusted, peerOf(r))
			if proxied && errors.Is(log.Ready(), store.ErrLost) {
				http.Error(w, store.ErrLost.Error(), http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
