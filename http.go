package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// listen fails with what to change.
func listen(addr, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w: choose another with %s, or free this one", addr, errors.Unwrap(err), flag)
	}
	return l, nil
}

// newServer is an HTTP server that no slow client holds up, whether it is slow to ask or to read. Connections that are
// upgraded are its own no more, and lose its timeouts.
func newServer(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(httpErrors{logger}, "", 0),
	}
}

// httpErrors is what net/http reports: strangers' mistakes are for debugging, its own troubles for the operator.
type httpErrors struct{ logger *slog.Logger }

func (e httpErrors) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	for _, own := range []string{"http: Accept error", "http: panic serving"} {
		if bytes.HasPrefix(line, []byte(own)) {
			level = slog.LevelError
		}
	}
	e.logger.Log(context.Background(), level, string(bytes.TrimSpace(line)))
	return len(line), nil
}
