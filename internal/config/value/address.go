package value

import (
	"cmp"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/route"
)

// UnixPathMax bounds the path of a Unix socket: sockaddr_un(7) holds 108 bytes with the final zero.
const UnixPathMax = 107

// ParseListen reads ":80", "0.0.0.0:80", "[::]:80" or "unix:/path". wrong says what is wrong with it, else it is empty.
func ParseListen(s string) (a Address, wrong, hint string) {
	a.Text = s
	if p, found := strings.CutPrefix(s, "unix:"); found {
		a.Network, a.Path = "unix", p
		wrong, hint = wrongUnixPath(p)
		return a, wrong, hint
	}
	if scheme, rest, found := strings.Cut(s, "://"); found {
		return a, syntax.Quote(scheme+"://") + " is not supported by this version", schemeHint(scheme, rest)
	}
	host, port, ok := SplitHostPort(s)
	if !ok {
		wrong, hint = wrongListen(s)
		return a, wrong, hint
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return a, "port " + syntax.Quote(port) + " is not a number from 0 to 65535", portHint(host, port)
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
		hint = "write " + syntax.Quote(":"+port) + "; hosts stand in the patterns of routes"
		return a, syntax.Quote(host) + " is not an IP address; a listener takes no host name",
			cmp.Or(syntax.VariableHint(s), hint)
	case ip.Unmap().Is4():
		a.Network, a.Host = "tcp4", ip.Unmap().String()
	default:
		a.Network, a.Host = "tcp6", ip.String()
	}
	return a, "", ""
}

// wrongListen says what is wrong with an address that has no host and port.
func wrongListen(s string) (wrong, hint string) {
	wrong = syntax.Quote(s) + " is not an address"
	variable, v6, fields := syntax.VariableHint(s), bracketed(s), strings.Fields(s)
	switch _, err := strconv.ParseUint(s, 10, 16); {
	case err == nil:
		return wrong, "did you mean " + syntax.Quote(":"+s) + "?"
	case variable != "":
		return wrong, variable
	case strings.Contains(s, ","):
		return wrong, `write a list: [":80", ":8080"]`
	case len(fields) > 1: // "443 ssl", as nginx has it
		hint = "write one address such as \":443\""
		if slices.Contains(fields, "ssl") {
			hint += ", in [https] or with tls = true"
		}
		return wrong, hint
	case strings.HasPrefix(s, "/") || strings.HasPrefix(s, "./"):
		return wrong, "did you mean " + syntax.Quote("unix:"+s) + "?"
	case v6 != "":
		return wrong, "did you mean " + syntax.Quote(v6) + "?"
	}
	return syntax.Quote(s) + " has no port", "write an address such as \":80\", \"127.0.0.1:80\" or \"unix:/path\""
}

func schemeHint(scheme, rest string) string {
	rest = strings.TrimSuffix(rest, "/")
	if _, wrong, _ := ParseListen(rest); wrong != "" || scheme == "udp" || scheme == "quic" {
		return "write an address such as \":80\""
	}
	hint := "write " + syntax.Quote(rest)
	if scheme == "https" {
		hint += " in [https]"
	}
	return hint
}

// namedPorts are those that people write by their names.
var namedPorts = map[string]string{"http": "80", "https": "443"}

// portHint returns the hint for a port that is no number.
func portHint(host, port string) string {
	address := JoinHostPort(host, port)
	if hint := syntax.VariableHint(address); hint != "" {
		return hint
	}
	if number := namedPorts[strings.ToLower(port)]; number != "" {
		return "write " + syntax.Quote(JoinHostPort(host, number))
	}
	return "write one such as " + syntax.Quote(JoinHostPort(host, "8080"))
}

// bracketed returns an IPv6 address with its port as it is written, port 80 when s has none; "" when s is neither.
func bracketed(s string) string {
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		_, err := strconv.ParseUint(s[i+1:], 10, 16)
		if ip, wrong := netip.ParseAddr(s[:i]); err == nil && wrong == nil && ip.Is6() {
			return JoinHostPort(s[:i], s[i+1:])
		}
	}
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil && ip.Is6() {
		return JoinHostPort(ip.String(), "80")
	}
	return ""
}

// Claims returns what the address occupies: two addresses with a claim in common cannot both be bound.
func (a *Address) Claims() []string {
	port := strconv.Itoa(a.Port)
	switch {
	case a.Network == "unix":
		return []string{"unix:" + path.Clean(a.Path)}
	case a.Port == 0:
		return nil
	case a.Network == "tcp":
		return []string{"0.0.0.0:" + port, "[::]:" + port}
	}
	return []string{JoinHostPort(a.Host, port)}
}

// ParseEndpoint reads "host:port" or "unix:/path".
func ParseEndpoint(s string) (e Endpoint, wrong, hint string) {
	if p, found := strings.CutPrefix(s, "unix:"); found {
		e.Unix = p
		wrong, hint = wrongUnixPath(p)
		return e, wrong, hint
	}
	if scheme, rest, found := strings.Cut(s, "://"); found {
		rest, _, _ = strings.Cut(rest, "/")
		port, hint := ":80", ""
		if scheme == "https" {
			port, hint = ":443", ", and tls = true for all backends"
		}
		if _, _, ok := SplitHostPort(rest); !ok {
			rest += port
		}
		return e, "an address has no scheme such as " + syntax.Quote(scheme+"://"), "write " + syntax.Quote(rest) + hint
	}
	host, port, ok := SplitHostPort(s)
	if !ok {
		wrong, hint = wrongEndpoint(s)
		return e, wrong, hint
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return e, "port " + syntax.Quote(port) + " is not a number from 1 to 65535", portHint(host, port)
	}
	e.Port = int(n)
	if ip, err := netip.ParseAddr(host); err == nil {
		e.Host = ip.String()
		return e, "", ""
	}
	if host == "" {
		return e, syntax.Quote(s) + " has no host", "did you mean " + syntax.Quote("127.0.0.1"+s) + "?"
	}
	e.Host = strings.ToLower(host)
	if !route.ValidHost(e.Host) {
		return e, syntax.Quote(host) + " is not a host name", cmp.Or(syntax.VariableHint(s), hostHint(e.Host))
	}
	return e, "", ""
}

// wrongEndpoint says what is wrong with the address of a backend that has no host and port.
func wrongEndpoint(s string) (wrong, hint string) {
	wrong = syntax.Quote(s) + " is not an address"
	variable, v6 := syntax.VariableHint(s), bracketed(s)
	switch {
	case variable != "":
		return wrong, variable
	case strings.HasPrefix(s, "/"):
		return wrong, "did you mean " + syntax.Quote("unix:"+s) + "?"
	case v6 != "":
		return wrong, "write an IPv6 address in brackets: " + syntax.Quote(v6)
	case strings.Contains(s, ":"):
		return wrong, "write host:port or unix:/path"
	}
	return syntax.Quote(s) + " has no port", "write " + syntax.Quote(s+":80")
}

func wrongUnixPath(p string) (wrong, hint string) {
	const example = `write "unix:/run/name.sock"`
	switch {
	case p == "":
		return "\"unix:\" needs a path", example
	case len(p) > UnixPathMax:
		return "the path of a Unix socket has at most " + strconv.Itoa(UnixPathMax) + " bytes", example
	case strings.HasPrefix(p, "@") || strings.ContainsRune(p, 0):
		return "abstract Unix sockets are not supported", example
	}
	return "", ""
}

// SplitHostPort cuts "host:port" and "[v6]:port". ok is false when there is no port, or a bare IPv6 address.
func SplitHostPort(s string) (host, port string, ok bool) {
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

// JoinHostPort returns host:port, with brackets around an IPv6 address.
func JoinHostPort(host, port string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}
