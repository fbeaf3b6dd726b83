package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/go-chi/chi/v5"

	"parley/hub"
	"parley/store"
	"parley/web"
)

// serveCmd is the server: its fields are its flags.
type serveCmd struct {
	Addr         string        `default:":8080" placeholder:"HOST:PORT" help:"Where to listen (${default})."`
	DB           string        `name:"db" default:"parley.db" placeholder:"FILE" help:"SQLite file that keeps the messages (${default}); empty keeps them in memory."`
	History      int           `default:"10000" placeholder:"N" help:"Messages kept a room (${default})."`
	Retain       time.Duration `default:"720h" placeholder:"TIME" help:"How long messages are kept (${default})."`
	Grace        time.Duration `default:"10s" placeholder:"TIME" help:"How long a user whose connection dropped stays in the room (${default})."`
	UsersLimit   int           `default:"100" placeholder:"N" help:"Members above which a room is large and gets presence instead of full lists (${default})."`
	RoomLimit    int           `default:"10000" placeholder:"N" help:"Members a room at most (${default})."`
	MessageLimit int           `default:"16384" placeholder:"BYTES" help:"Bytes a message at most, up to 65536 (${default})."`
	QueueLimit   size          `default:"1MiB" placeholder:"SIZE" help:"Outbound bytes a connection at most, 1MiB at the least (${default})."`
	PingInterval time.Duration `default:"25s" placeholder:"TIME" help:"Time between WebSocket pings; two without a sign of life end a connection (${default})."`
	LoginTimeout time.Duration `default:"5m" placeholder:"TIME" help:"Time to log in (${default})."`
	Rate         float64       `default:"0" placeholder:"N" help:"Events a second a connection; 0 is off (${default})."`
	Burst        int           `default:"40" placeholder:"N" help:"Events at once a connection, with --rate (${default})."`
	ConnsPerIP   int           `name:"conns-per-ip" default:"0" placeholder:"N" help:"Connections an address at most; 0 is off (${default})."`
	AllowOrigin  []string      `sep:"," placeholder:"ORIGIN" help:"Allow pages from this origin too, besides the server's own host: scheme://host[:port], * for any run of characters; repeatable."`
	DrainRate    float64       `default:"1000" placeholder:"N" help:"Reconnections a second that a restart spreads its clients to (${default})."`
}

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
	if err := cmp.Or(
		positive("history", s.History > 0),
		positive("retain", s.Retain > 0),
		positive("users-limit", s.UsersLimit > 0),
		positive("room-limit", s.RoomLimit > 0),
		positive("ping-interval", s.PingInterval > 0),
		positive("login-timeout", s.LoginTimeout > 0),
		positive("burst", s.Burst > 0),
		positive("drain-rate", s.DrainRate > 0),
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
	case s.Rate < 0:
		return errors.New("--rate must not be negative; 0 turns it off")
	case s.ConnsPerIP < 0:
		return errors.New("--conns-per-ip must not be negative; 0 turns it off")
	}
	return nil
}

// Run serves until ctx ends, then drains.
func (s *serveCmd) Run(ctx context.Context, stdout io.Writer) error {
	logger := slog.New(slog.NewTextHandler(stdout, nil))
	origins, err := hub.ParseOrigins(s.AllowOrigin)
	if err != nil {
		return fmt.Errorf("--allow-origin: %w", err)
	}
	if origins.All() {
		logger.Warn("pages of every origin may connect: --allow-origin is *")
	}
	listener, err := net.Listen("tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w; free it or choose another with --addr", s.Addr, errors.Unwrap(err))
	}
	log, err := s.openLog(ctx)
	if err != nil {
		listener.Close()
		return err
	}
	h := hub.New(hub.Config{
		Log: log, Directory: log, Logger: logger,
		History: s.History, Grace: s.Grace, UsersLimit: s.UsersLimit, RoomLimit: s.RoomLimit,
		MessageLimit: s.MessageLimit, QueueLimit: int(s.QueueLimit),
		PingInterval: s.PingInterval, LoginTimeout: s.LoginTimeout,
		Rate: s.Rate, Burst: s.Burst, DrainRate: s.DrainRate,
	})
	server := &http.Server{
		Handler:           s.routes(h, origins),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	logger.Info("listening", "address", listener.Addr().String(), "durability", log.Durability(), "version", version)
	if log.Durability() == "memory" {
		logger.Info("messages are kept in memory only: they are gone when the server ends")
	}
	return serve(ctx, logger, server, listener, h, log)
}

// driver is the store as the server needs it.
type driver interface {
	store.Log
	store.Directory
}

func (s *serveCmd) openLog(ctx context.Context) (driver, error) {
	opts := store.Options{History: s.History, Retain: s.Retain}
	if s.DB == "" {
		return store.NewMemory(opts), nil
	}
	return store.OpenSQLite(ctx, s.DB, opts)
}

func (s *serveCmd) routes(h *hub.Hub, origins hub.Origins) http.Handler {
	r := chi.NewRouter()
	r.Method(http.MethodGet, "/ws", h.Handler(hub.ServeOptions{Origins: origins, ConnsPerIP: s.ConnsPerIP}))
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		io.WriteString(w, "ok\n")
	})
	r.Mount("/", web.Handler())
	return r
}

// serve runs the parts until ctx ends or one of them fails, and ends them in
// order: first the clients are sent away, then the listener goes, then the log.
func serve(ctx context.Context, logger *slog.Logger, server *http.Server, listener net.Listener, h *hub.Hub, log driver) error {
	running, cancel := context.WithCancel(context.Background())
	defer cancel()
	hubDone := make(chan error, 1)
	go func() { hubDone <- h.Run(running) }()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	var err error
	select {
	case <-ctx.Done():
		logger.Info("draining")
		h.Drain(context.Background())
	case err = <-served:
		err = fmt.Errorf("the HTTP server ended: %w", err)
	}
	server.Close()
	cancel()
	<-hubDone
	err = errors.Join(err, log.Close())
	logger.Info("ended")
	return err
}
