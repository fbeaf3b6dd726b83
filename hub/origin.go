package hub

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// Origins is the allow list of pages that may open a connection (section 1).
// The zero value allows the request's own host alone.
type Origins struct {
	all      bool
	wide     string // the first pattern that lets in pages of every host
	patterns []*regexp.Regexp
}

// ParseOrigins makes the list from patterns: scheme://host[:port], in which *
// stands for any run of characters; * alone allows all.
func ParseOrigins(patterns []string) (Origins, error) {
	var o Origins
	for _, p := range patterns {
		p = strings.TrimSpace(p)
		if p == "*" {
			o.all, o.wide = true, p
			continue
		}
		_, host, ok := split(p)
		if !ok {
			return Origins{}, fmt.Errorf("origin %q is not scheme://host[:port] (no path; * stands for any run of characters)", p)
		}
		if name, _, _ := strings.Cut(host, ":"); strings.Trim(name, "*") == "" && o.wide == "" {
			o.wide = p
		}
		expr := strings.ReplaceAll(regexp.QuoteMeta(plain(p)), `\*`, `.*`)
		o.patterns = append(o.patterns, regexp.MustCompile("^"+expr+"$"))
	}
	return o, nil
}

// All is the pattern that lets in pages of every host, "" when there is none.
func (o Origins) All() string { return o.wide }

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
	origin := plain(values[0])
	scheme, host, ok := split(origin)
	if !ok {
		return false
	}
	if sameHost(scheme, host, strings.ToLower(r.Host)) {
		return true
	}
	for _, p := range o.patterns {
		if p.MatchString(origin) {
			return true
		}
	}
	return false
}

// split takes an origin apart. A browser sends nothing but a scheme, a host and
// perhaps a port: whatever has a path or a user in it is none of its.
func split(origin string) (scheme, host string, ok bool) {
	scheme, host, ok = strings.Cut(origin, "://")
	return scheme, host, ok && scheme != "" && host != "" && !strings.ContainsAny(host, `/?#@\ `)
}

// plain is an origin as a browser writes it: in lower case, without its scheme's own port.
func plain(origin string) string {
	origin = strings.ToLower(origin)
	scheme, _, _ := strings.Cut(origin, "://")
	short := strings.TrimSuffix(origin, ownPorts[scheme])
	if strings.HasSuffix(short, "*") {
		return origin // a pattern, which would stand for other ports too
	}
	return short
}

var ownPorts = map[string]string{"http": ":80", "https": ":443"}

// refusal is the line for the operator about a handshake that is not allowed, with
// what would allow it, if that can be: as it is to be typed, so not in quotes, which
// a log in JSON would escape.
func refusal(r *http.Request) string {
	origin := r.Header.Get("Origin")
	line := fmt.Sprintf("refused origin %s for host %s", shown(origin), shown(r.Host))
	if _, err := ParseOrigins([]string{origin}); err == nil && harmless(origin) {
		line += "; allow it with --allow-origin " + origin
	}
	return line
}

// shown is what a stranger sent, in quotes and cut to what is worth reading unless
// it is harmless.
func shown(s string) string {
	if harmless(s) {
		return s
	}
	return fmt.Sprintf("%.200q", s)
}

// harmless reports whether s is short and means nothing to a terminal or a shell.
func harmless(s string) bool { return harmlessText.MatchString(s) }

var harmlessText = regexp.MustCompile(`^[A-Za-z0-9.:/\[\]_-]{1,200}$`)

// sameHost compares an origin with a Host header; a browser leaves out the
// scheme's own port in both, other clients may name it.
func sameHost(scheme, host, header string) bool {
	port := ownPorts[scheme]
	return port != "" && host == strings.TrimSuffix(header, port)
}
