package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/dustin/go-humanize"
	"github.com/go-chi/chi/v5"

	"parley/hub"
	"parley/store"
	"parley/web"
	"parley/web/doctor"
)

// serveCmd is the server: its fields are its flags.
type serveCmd struct {
	Addr         string        `default:":8080" placeholder:"HOST:PORT" help:"Where to listen (${default})."`
	AllowOrigin  []string      `sep:"," placeholder:"ORIGIN" help:"Allow pages from this origin too, besides the server's own host: scheme://host[:port], * for any run of characters; repeatable."`
	TrustedProxy []string      `sep:"," default:"127.0.0.0/8,::1/128" placeholder:"NET" help:"Believe X-Forwarded-For from these addresses or networks (${default})."`
	DB           string        `name:"db" group:"Messages" default:"parley.db" placeholder:"FILE" help:"SQLite file that keeps the messages (${default}); empty keeps them in memory."`
	History      int           `group:"Messages" default:"10000" placeholder:"N" help:"Messages kept a room (${default})."`
	Retain       time.Duration `group:"Messages" default:"720h" placeholder:"TIME" help:"How long messages are kept (${default})."`
	natsFlags    `group:"Several servers"`
	MessageLimit int           `group:"Messages" default:"16384" placeholder:"BYTES" help:"Bytes a message at most, up to 65536 (${default})."`
	Grace        time.Duration `group:"Rooms" default:"10s" placeholder:"TIME" help:"How long a user whose connection dropped stays in the room (${default})."`
	UsersLimit   int           `group:"Rooms" default:"100" placeholder:"N" help:"Members above which a room is large, and gets presence instead of full lists (${default})."`
	RoomLimit    int           `group:"Rooms" default:"10000" placeholder:"N" help:"Members a room at most (${default})."`
	PingInterval time.Duration `group:"Connections" default:"25s" placeholder:"TIME" help:"Time between WebSocket pings; two without a sign of life end a connection (${default})."`
	LoginTimeout time.Duration `group:"Connections" default:"5m" placeholder:"TIME" help:"Time to log in (${default})."`
	QueueLimit   size          `group:"Connections" default:"1MiB" placeholder:"SIZE" help:"Outbound bytes a connection at most, 1MiB at the least (${default})."`
	QueuesLimit  size          `group:"Connections" default:"512MiB" placeholder:"SIZE" help:"Outbound bytes of all connections together; above it the slowest are closed (${default})."`
	MaxConns     int           `group:"Connections" default:"0" placeholder:"N" help:"Connections in all at most; 0 is what the limit of open files allows (${default})."`
	DrainRate    float64       `group:"Connections" default:"1000" placeholder:"N" help:"Reconnections a second that a restart spreads its clients to (${default})."`
	Rate         float64       `group:"Limits, off at 0" default:"0" placeholder:"N" help:"Events a second a connection (${default})."`
	Burst        int           `group:"Limits, off at 0" default:"40" placeholder:"N" help:"Events at once a connection, with --rate (${default})."`
	ConnsPerIP   int           `group:"Limits, off at 0" name:"conns-per-ip" default:"0" placeholder:"N" help:"Connections an address at most; of IPv6 a /64 counts as one (${default})."`
	NewPerIP     int           `group:"Limits, off at 0" name:"new-conns-per-ip" default:"0" placeholder:"N" help:"New connections an address and minute at most (${default})."`
	TokenSecret  string        `group:"Tokens" placeholder:"SECRET" help:"Require tokens (JWT) that are signed with this secret (HS256), 32 bytes at the least. Better in PARLEY_TOKEN_SECRET than on the command line."`
	TokenJWKS    string        `group:"Tokens" name:"token-jwks" placeholder:"URL|FILE" help:"Require tokens that are signed with a key of this key set (RS256 to RS512, ES256 to ES512, EdDSA)."`
	tlsFlags     `group:"HTTPS"`
	Admin        string `group:"Operation" placeholder:"HOST:PORT" help:"Serve /metrics, /readyz, /debug/pprof and DELETE /rooms/{room} here; keep it private (off)."`
	logFlags     `group:"Operation"`
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// size is a number of bytes, written as 1048576, 1MiB or 1MB.
type size int

func (s *size) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil || n > 1<<40 {
		return fmt.Errorf("%q is not a size: write 1048576 or 1MiB", text)
	}
	*s = size(n)
	return nil
}

// Validate is called by kong: it refuses what cannot work, and says what to change.
func (s *serveCmd) Validate() error {
	positive := func(flag string, ok bool) error {
		if ok {
			return nil
		}
		return fmt.Errorf("--%s must be above 0", flag)
	}
	if _, _, err := net.SplitHostPort(s.Addr); err != nil {
		return fmt.Errorf("--addr %q is not HOST:PORT, as in :8080 or 127.0.0.1:8080", s.Addr)
	}
	if _, _, err := net.SplitHostPort(s.Admin); err != nil && s.Admin != "" {
		return fmt.Errorf("--admin %q is not HOST:PORT, as in 127.0.0.1:8081", s.Admin)
	}
	if err := cmp.Or(
		positive("history", s.History > 0),
		positive("retain", s.Retain > 0),
		positive("room-limit", s.RoomLimit > 0),
		positive("login-timeout", s.LoginTimeout > 0),
		positive("burst", s.Burst > 0),
	); err != nil {
		return err
	}
	switch {
	case s.Grace < 0:
		return errors.New("--grace must not be negative")
	case s.MessageLimit < 1 || s.MessageLimit > hub.MaxMessageLimit:
		return fmt.Errorf("--message-limit must be 1 to %d bytes", hub.MaxMessageLimit)
	case s.QueueLimit < hub.DefaultQueueLimit:
		return errors.New("--queue-limit must be 1MiB at the least")
	case s.UsersLimit < 1 || s.UsersLimit > hub.MaxUsersLimit:
		return fmt.Errorf("--users-limit must be 1 to %d", hub.MaxUsersLimit)
	case s.PingInterval < 100*time.Millisecond:
		return errors.New("--ping-interval must be 100ms at the least")
	case s.DrainRate < 1 || !finite(s.DrainRate):
		return errors.New("--drain-rate must be 1 at the least")
	case s.Rate != 0 && (s.Rate < 0.01 || !finite(s.Rate)):
		return errors.New("--rate must be 0, which turns it off, or 0.01 at the least")
	case s.ConnsPerIP < 0:
		return errors.New("--conns-per-ip must not be negative; 0 turns it off")
	case s.NewPerIP < 0:
		return errors.New("--new-conns-per-ip must not be negative; 0 turns it off")
	case s.MaxConns < 0:
		return errors.New("--max-conns must not be negative; 0 is what the limit of open files allows")
	case s.QueuesLimit < s.QueueLimit:
		return errors.New("--queues-limit must not be below --queue-limit")
	case s.TokenSecret != "" && s.TokenJWKS != "":
		return errors.New("give --token-secret or --token-jwks, not both")
	}
	_, err := trustedProxies(s.TrustedProxy)
	return cmp.Or(err, s.tlsFlags.check(), s.natsFlags.check())
}

// Run serves until ctx ends, then drains.
func (s *serveCmd) Run(ctx context.Context, stdout io.Writer) error {
	logger, flush := s.logger(stdout)
	defer flush()
	slog.SetDefault(logger)
	origins, err := hub.ParseOrigins(s.AllowOrigin)
	if err != nil {
		return fmt.Errorf("--allow-origin: %w", err)
	}
	tokens, err := s.tokens(ctx)
	if err != nil {
		return err
	}
	var listener net.Listener
	if s.NATS == "" { // first, so that a second one by mistake leaves the file alone
		if listener, err = s.listen(logger); err != nil {
			return err
		}
		defer listener.Close()
	}
	metrics := newRegistry()
	cfg := hub.Config{
		Logger: logger, Metrics: metrics, Tokens: tokens,
		History: s.History, Grace: s.Grace, UsersLimit: s.UsersLimit, RoomLimit: s.RoomLimit,
		MessageLimit: s.MessageLimit, QueueLimit: int(s.QueueLimit), QueuesLimit: int64(s.QueuesLimit),
		PingInterval: s.PingInterval, LoginTimeout: s.LoginTimeout,
		Rate: s.Rate, Burst: s.Burst, DrainRate: s.DrainRate,
	}
	log, err := s.openStore(ctx, logger, &cfg)
	if err != nil {
		return err
	}
	if listener == nil { // last: a proxy that finds nobody here goes to another server, and does not wait with this one
		if listener, err = s.listen(logger); err != nil {
			return errors.Join(err, log.Close())
		}
		defer listener.Close()
	}
	// In a container the collector is told how much memory there is; elsewhere
	// there is no limit to tell, and that is no error.
	_, _ = memlimit.Set(memlimit.WithProvider(memlimit.FromCgroup))
	holdCollectorOnce()

	h := hub.New(cfg)
	server := newServer(s.routes(logger, h, log, origins), logger)
	parts := []part{{server, listener}}
	if s.Admin != "" {
		private, err := listen(s.Admin, "--admin")
		if err != nil {
			return errors.Join(err, log.Close())
		}
		operators := newServer(admin(h, log, metrics), logger)
		operators.WriteTimeout = 0 // a profile takes as long as it was asked to
		parts = append(parts, part{operators, private})
		if exposed(private.Addr()) {
			logger.Warn("--admin asks for no password: see that only you reach it", "address", private.Addr().String())
		}
	}
	s.announce(logger, listener.Addr(), log, origins)
	return serve(ctx, logger, parts, h, log)
}

// listen begins to listen for clients.
func (s *serveCmd) listen(logger *slog.Logger) (net.Listener, error) {
	plain, err := listen(s.Addr, "--addr")
	if err != nil {
		return nil, err
	}
	l, err := s.tlsFlags.listener(plain, logger)
	if err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	return l, nil
}

// announce tells what an operator should know at the start.
func (s *serveCmd) announce(logger *slog.Logger, addr net.Addr, log store.Log, origins hub.Origins) {
	logger.Info("listening", "address", addr.String(), "durability", log.Durability(), "version", version)
	if log.Durability() == "memory" {
		logger.Info("messages are kept in memory only: they are gone when the server ends")
	}
	if pattern := origins.All(); pattern != "" {
		logger.Warn("pages of every origin may connect: --allow-origin is " + pattern)
	}
	if exposed(addr) && (s.Rate == 0 || s.ConnsPerIP == 0) {
		logger.Warn("listening on a public address without limits: consider --rate 20 --burst 40 --conns-per-ip 200")
	}
	if files := openFiles(); s.MaxConns >= files {
		logger.Warn(fmt.Sprintf("--max-conns %d is more than the limit of open files, %d, allows: raise that (ulimit -n, LimitNOFILE)", s.MaxConns, files))
	}
}

// exposed tells whether other machines may reach the address.
func exposed(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && !tcp.IP.IsLoopback()
}

// tokens is what checks logins, nil when they need no token.
func (s *serveCmd) tokens(ctx context.Context) (tokens *hub.Tokens, err error) {
	switch {
	case s.TokenSecret != "":
		if tokens, err = hub.SecretTokens(s.TokenSecret); err != nil {
			err = fmt.Errorf("--token-secret: %w", err)
		}
	case s.TokenJWKS != "":
		if tokens, err = hub.KeySetTokens(ctx, s.TokenJWKS, slog.Default()); err != nil {
			err = fmt.Errorf("--token-jwks: %w", err)
		}
	}
	return tokens, err
}

// maxConns leaves some files for everything that is no client.
func (s *serveCmd) maxConns() int {
	if s.MaxConns > 0 {
		return s.MaxConns
	}
	files := openFiles()
	return max(1, files-files/20-32)
}

func (s *serveCmd) routes(logger *slog.Logger, h *hub.Hub, log store.Log, origins hub.Origins) http.Handler {
	trusted, _ := trustedProxies(s.TrustedProxy) // Validate has looked
	r := chi.NewRouter()
	addressed := r.With(clientIP(logger, trusted))
	addressed.With(elsewhere(log, trusted)).Method(http.MethodGet, "/ws", h.Handler(hub.ServeOptions{
		Origins: origins, ClientIP: addressOf,
		ConnsPerIP: s.ConnsPerIP, NewPerIP: s.NewPerIP, MaxConns: s.maxConns(),
	}))
	r.Get("/healthz", healthy)
	r.Head("/healthz", healthy) // what some monitors send
	addressed.Method(http.MethodGet, "/healthz/client", doctor.ClientHandler(trusted, addressOf))
	r.Mount("/", web.Handler())
	return r
}

func healthy(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	io.WriteString(w, "ok\n")
}

// part is an HTTP server and where it listens.
type part struct {
	server   *http.Server
	listener net.Listener
}

// serve runs the parts until ctx ends or one of them fails, and ends them in
// order: first the clients are sent away, then the listeners go, then the log.
func serve(ctx context.Context, logger *slog.Logger, parts []part, h *hub.Hub, log store.Log) error {
	running, cancel := context.WithCancel(context.Background())
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { _ = h.Run(running) })
	failed := make(chan error, len(parts))
	for _, p := range parts {
		all.Go(func() { failed <- p.server.Serve(p.listener) })
	}

	var err error
	select {
	case <-ctx.Done():
		logger.Info("draining")
		h.Drain(context.Background())
	case err = <-failed:
		err = fmt.Errorf("the HTTP server ended: %w", err)
	}
	cancel()
	for _, p := range parts {
		p.server.Close()
	}
	all.Wait()
	err = errors.Join(err, log.Close())
	logger.Info("ended")
	return err
}
