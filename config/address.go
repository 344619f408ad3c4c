package config

import (
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/syntax"
)

const unixPathMax = 107 // sockaddr_un holds 108 bytes with the final zero

// parseListen reads ":80", "0.0.0.0:80", "[::]:80" or "unix:/path". wrong says what is wrong with it, else it is empty.
func parseListen(s string) (a Address, wrong, hint string) {
	a.Text = s
	if p, found := strings.CutPrefix(s, "unix:"); found {
		a.Network, a.Path = "unix", p
		return a, wrongUnixPath(p), ""
	}
	if scheme, _, found := strings.Cut(s, "://"); found {
		return a, syntax.Quote(scheme+"://") + " is not supported by this version", "write an address such as \":80\""
	}
	if _, err := strconv.ParseUint(s, 10, 16); err == nil {
		return a, syntax.Quote(s) + " is not an address", "did you mean " + syntax.Quote(":"+s) + "?"
	}
	host, port, ok := splitHostPort(s)
	if !ok {
		return a, syntax.Quote(s) + " has no port",
			"write an address such as \":80\", \"127.0.0.1:80\" or \"unix:/path\""
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return a, "port " + syntax.Quote(port) + " is not a number from 0 to 65535", ""
	}
	a.Host, a.Port = host, int(n)
	if host == "" {
		a.Network = "tcp"
		return a, "", ""
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "*":
		return a, syntax.Quote(s) + " is not an address", "did you mean " + syntax.Quote(":"+port) + "?"
	case host == "localhost":
		return a, syntax.Quote(host) + " is not an IP address", "write " + syntax.Quote("127.0.0.1:"+port)
	case err != nil:
		return a, syntax.Quote(host) + " is not an IP address; a listener takes no host name", ""
	case ip.Unmap().Is4():
		a.Network, a.Host = "tcp4", ip.Unmap().String()
	default:
		a.Network, a.Host = "tcp6", ip.String()
	}
	return a, "", ""
}

// claims returns what the address occupies: two addresses with a claim in common cannot both be bound.
func (a *Address) claims() []string {
	port := strconv.Itoa(a.Port)
	switch {
	case a.Network == "unix":
		return []string{"unix:" + path.Clean(a.Path)}
	case a.Port == 0:
		return nil
	case a.Network == "tcp":
		return []string{"0.0.0.0:" + port, "[::]:" + port}
	}
	return []string{joinHostPort(a.Host, port)}
}

// parseEndpoint reads "host:port" or "unix:/path".
func parseEndpoint(s string) (e endpoint, wrong, hint string) {
	if p, found := strings.CutPrefix(s, "unix:"); found {
		e.unix = p
		return e, wrongUnixPath(p), ""
	}
	if scheme, rest, found := strings.Cut(s, "://"); found {
		rest, _, _ = strings.Cut(rest, "/")
		port, hint := ":80", ""
		if scheme == "https" {
			port, hint = ":443", ", and tls = true for all backends"
		}
		if _, _, ok := splitHostPort(rest); !ok {
			rest += port
		}
		return e, "an address has no scheme such as " + syntax.Quote(scheme+"://"), "write " + syntax.Quote(rest) + hint
	}
	host, port, ok := splitHostPort(s)
	if !ok && strings.Contains(s, ":") {
		return e, syntax.Quote(s) + " is not an address", "write an IPv6 address in brackets: \"[::1]:80\""
	}
	if !ok {
		return e, syntax.Quote(s) + " has no port", "write " + syntax.Quote(s+":80")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return e, "port " + syntax.Quote(port) + " is not a number from 1 to 65535", ""
	}
	e.port = int(n)
	if ip, err := netip.ParseAddr(host); err == nil {
		e.host = ip.String()
		return e, "", ""
	}
	if host == "" {
		return e, syntax.Quote(s) + " has no host", "did you mean " + syntax.Quote("127.0.0.1"+s) + "?"
	}
	e.host = strings.ToLower(host)
	if !validHost(e.host) {
		return e, syntax.Quote(host) + " is not a host name", ""
	}
	return e, "", ""
}

func wrongUnixPath(p string) string {
	switch {
	case p == "":
		return "\"unix:\" needs a path"
	case len(p) > unixPathMax:
		return "the path of a Unix socket has at most " + strconv.Itoa(unixPathMax) + " bytes"
	case strings.HasPrefix(p, "@") || strings.ContainsRune(p, 0):
		return "abstract Unix sockets are not supported"
	}
	return ""
}

// splitHostPort cuts "host:port" and "[v6]:port". ok is false when there is no port, or a bare IPv6 address.
func splitHostPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	host, port = s[:i], s[i+1:]
	if inner, found := strings.CutPrefix(host, "["); found {
		inner, found = strings.CutSuffix(inner, "]")
		_, err := netip.ParseAddr(inner)
		return inner, port, found && err == nil && strings.Contains(inner, ":")
	}
	return host, port, !strings.Contains(host, ":")
}

func joinHostPort(host, port string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}

// validHost reports whether a lower-case name can be a host: letters, digits, hyphens and underscores between dots.
func validHost(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for _, label := range strings.Split(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || !syntax.IsBareKey(label) {
			return false
		}
	}
	return true
}
