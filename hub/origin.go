package hub

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Origins is the allow list of pages that may open a connection (section 1).
// The zero value allows the request's own host alone.
type Origins struct {
	all      bool
	patterns []*regexp.Regexp
}

// ParseOrigins makes the list from patterns: scheme://host[:port], in which *
// stands for any run of characters; * alone allows all.
func ParseOrigins(patterns []string) (Origins, error) {
	var o Origins
	for _, p := range patterns {
		if p == "*" {
			o.all = true
			continue
		}
		scheme, host, ok := strings.Cut(p, "://")
		if !ok || scheme == "" || host == "" || strings.ContainsAny(host, "/?# ") {
			return Origins{}, fmt.Errorf("origin %q is not scheme://host[:port] (no path; * stands for any run of characters)", p)
		}
		expr := strings.ReplaceAll(regexp.QuoteMeta(strings.ToLower(p)), `\*`, `.*`)
		o.patterns = append(o.patterns, regexp.MustCompile("^"+expr+"$"))
	}
	return o, nil
}

// All reports whether every origin is allowed.
func (o Origins) All() bool { return o.all }

// Allow reports whether a handshake may go on: one without an Origin header (no
// browser), one from the request's own host, port included, and one on the list.
func (o Origins) Allow(r *http.Request) bool {
	values, sent := r.Header["Origin"]
	if !sent {
		return true
	}
	if len(values) != 1 {
		return false
	}
	if o.all {
		return true
	}
	origin := strings.ToLower(values[0])
	if u, err := url.Parse(origin); err == nil && u.Host != "" && sameHost(u, strings.ToLower(r.Host)) {
		return true
	}
	for _, p := range o.patterns {
		if p.MatchString(origin) {
			return true
		}
	}
	return false
}

// sameHost compares an origin with a Host header; a browser leaves out the
// scheme's own port in both, other clients may name it.
func sameHost(origin *url.URL, host string) bool {
	port := map[string]string{"http": ":80", "https": ":443"}[origin.Scheme]
	if port == "" {
		return false
	}
	return strings.TrimSuffix(origin.Host, port) == strings.TrimSuffix(host, port)
}
