package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5/middleware"
)

// trustedProxies turns addresses and networks into networks.
func trustedProxies(list []string) ([]netip.Prefix, error) {
	var nets []netip.Prefix
	for _, s := range list {
		s = strings.TrimSpace(s)
		if addr, err := netip.ParseAddr(s); err == nil {
			addr = addr.Unmap().WithZone("") // as peers are compared
			nets = append(nets, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("--trusted-proxy %q is no address and no network, as in 10.0.0.5 or 10.0.0.0/8", s)
		}
		nets = append(nets, p)
	}
	return nets, nil
}

// clientIP finds out whose request it is: the connection's peer, or whom a trusted
// proxy names in X-Forwarded-For. Somebody else's header is ignored, and the first
// one is warned about, since it may be a proxy that the operator forgot to name.
func clientIP(logger *slog.Logger, trusted []netip.Prefix) func(http.Handler) http.Handler {
	find := middleware.ClientIPFromRemoteAddr
	if len(trusted) > 0 {
		nets := make([]string, len(trusted))
		for i, p := range trusted {
			nets[i] = p.String()
		}
		find = middleware.ClientIPFromXFF(nets...)
	}
	var once sync.Once
	return func(next http.Handler) http.Handler {
		next = find(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Forwarded-For") != "" {
				if peer := peerOf(r); !contains(trusted, peer) {
					once.Do(func() {
						logger.Warn(fmt.Sprintf("ignored X-Forwarded-For from %s; if that is your proxy, name it with --trusted-proxy %s", peer, peer))
					})
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

func contains(nets []netip.Prefix, addr netip.Addr) bool {
	for _, p := range nets {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

func peerOf(r *http.Request) netip.Addr {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr)
	return ap.Addr().Unmap().WithZone("")
}

// addressOf is what clientIP found, or the connection's peer.
func addressOf(r *http.Request) netip.Addr {
	if addr := middleware.GetClientIPAddr(r.Context()); addr.IsValid() {
		return addr
	}
	return peerOf(r)
}
