package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"net/url"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"parley/hub"
	"parley/protocol"
	"parley/store"
)

// newRegistry is a registry of metrics with those of the process in it.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// admin is what an operator may ask, on an address of its own: it knows no
// password, so that address must not be reachable for others.
func admin(h *hub.Hub, log store.Log, metrics *prometheus.Registry) http.Handler {
	r := chi.NewRouter()
	r.Handle("/metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{Registry: metrics}))
	r.Get("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(h, log); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ready\n")
	})
	r.Delete("/rooms/*", func(w http.ResponseWriter, r *http.Request) {
		name, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/rooms/"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		room := protocol.PrepareName(name)
		if !protocol.IsRoom(room) {
			http.Error(w, fmt.Sprintf("the name of a room has 1 to %d characters, no control characters", protocol.MaxRoom), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		if err := h.RemoveRoom(ctx, room); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	r.HandleFunc("/debug/pprof/*", pprof.Index)
	r.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	r.HandleFunc("/debug/pprof/profile", pprof.Profile)
	r.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	r.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return r
}

var errDraining = errors.New("draining")

// ready is nil while the server takes clients and their messages.
func ready(h *hub.Hub, log store.Log) error {
	if h.Draining() {
		return errDraining
	}
	return log.Ready()
}
