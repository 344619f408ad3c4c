package config

import (
	"strings"

	"github.com/edge-proxy/edge/config/syntax"
)

// pattern is what a route matches, in normal form.
type pattern struct {
	host string // lower case; "" is any host
	path string
	kind PathKind
}

// String returns the pattern as a file would write it.
func (p pattern) String() string {
	switch {
	case p.kind == PathPrefix && p.path == "/":
		return p.host + "/*"
	case p.kind == PathPrefix:
		return p.host + p.path + "/*"
	case strings.HasSuffix(p.path, "/"):
		if p.host != "" {
			return p.host + p.path + " (exact)"
		}
		return "=" + p.path
	}
	return p.host + p.path
}

// parsePattern reads "host/path", "/path" or "=/". wrong says what is wrong with it, else it is empty.
func parsePattern(s string) (p pattern, wrong, hint string) {
	if scheme, rest, found := strings.Cut(s, "://"); found {
		return p, "a pattern has no scheme such as " + syntax.Quote(scheme+"://"),
			"did you mean " + syntax.Quote(rest) + "?"
	}
	slash := strings.IndexByte(s, '/')
	if slash < 0 {
		return p, syntax.Quote(s) + " has no path", "did you mean " + syntax.Quote(s+"/*") + "?"
	}
	host, route := s[:slash], s[slash:]
	if h, exact := strings.CutSuffix(host, "="); exact {
		host, route = h, "="+route
	}
	if host != "" {
		if host, wrong, hint = parseRouteHost(host); wrong != "" {
			return p, wrong, hint
		}
	}
	p, wrong, hint = parsePath(route)
	p.host = host
	return p, wrong, hint
}

// parsePath reads "/api/*" and "/api/" (a prefix by segments), "/api" (exact), "/" (everything) and "=/" (the root).
func parsePath(s string) (p pattern, wrong, hint string) {
	s, exact := strings.CutPrefix(s, "=")
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '?' || c == '#' {
			return p, "a path stands as it is sent: no blanks, no \"?\", no \"#\", the rest percent-encoded", ""
		}
	}
	switch {
	case !strings.HasPrefix(s, "/"):
		return p, "a path begins with \"/\"", "did you mean " + syntax.Quote("/"+s) + "?"
	case exact:
		p.kind, p.path = PathExact, s
	case strings.HasSuffix(s, "/*"):
		p.path = strings.TrimSuffix(s, "/*")
	case strings.HasSuffix(s, "/"):
		p.path = strings.TrimSuffix(s, "/")
	default:
		p.kind, p.path = PathExact, s
	}
	if p.kind == PathPrefix && strings.HasSuffix(p.path, "/") {
		return p, "a prefix ends with one slash",
			"did you mean " + syntax.Quote(strings.TrimRight(p.path, "/")+"/*") + "?"
	}
	if strings.Contains(p.path, "*") {
		if head, found := strings.CutSuffix(s, "*"); found && !strings.Contains(head, "*") {
			hint = "did you mean " + syntax.Quote(head+"/*") + "?"
		}
		return p, "a star stands only at the end, after a slash", hint
	}
	if p.path == "" {
		p.path = "/"
	}
	return p, "", ""
}

// parseRouteHost reads the host part of a pattern.
func parseRouteHost(s string) (host, wrong, hint string) {
	host = strings.ToLower(s)
	if above, wild := strings.CutPrefix(host, "*."); wild && !strings.ContainsAny(above, "*[") {
		above, wrong, hint = parseRouteHost(above)
		return "*." + above, wrong, hint
	}
	if strings.Contains(host, "*") {
		if host == "*" {
			hint = "leave the host out for any host"
		}
		return "", "a star stands for the first labels of a host: \"*.example.com\"", hint
	}
	if name, _, ok := splitHostPort(host); ok {
		return "", "the host of a route has no port", "did you mean " + syntax.Quote(name) + "?"
	}
	if inner, found := strings.CutPrefix(host, "["); found {
		if inner, found = strings.CutSuffix(inner, "]"); found && strings.Contains(inner, ":") {
			return host, "", ""
		}
	}
	host = strings.TrimSuffix(host, ".")
	if !validHost(host) {
		return "", syntax.Quote(s) + " is not a host name", ""
	}
	return host, "", ""
}
