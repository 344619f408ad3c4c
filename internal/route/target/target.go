package target

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// Scheme is how a destination is spoken to.
type Scheme int8

// The schemes.
const (
	HTTP  Scheme = iota // plain
	HTTPS               // secured by TLS
	H2C                 // HTTP/2 without TLS, by prior knowledge
)

var (
	schemes  = [...]string{"http", "https", "h2c"}
	prefixes = [...]string{"http://", "https://", "h2c://"}
	ports    = [...]uint16{80, 443, 80}
)

// String returns "http", "https" or "h2c".
func (s Scheme) String() string { return schemes[s] }

func schemeNamed(name string) Scheme {
	for s, n := range schemes {
		if n == name {
			return Scheme(s)
		}
	}
	return -1
}

// Target is a destination: where a request wants to go.
type Target struct {
	Scheme Scheme
	Host   string     // a name in lower case without a dot at its end, or IP without brackets
	IP     netip.Addr // the address that Host is; invalid: it is a name
	Port   uint16
}

// Address returns host:port, with brackets around an IPv6 address.
func (t *Target) Address() string {
	if t.IP.Is6() {
		return "[" + t.Host + "]:" + strconv.Itoa(int(t.Port))
	}
	return t.Host + ":" + strconv.Itoa(int(t.Port))
}

// String returns the canonical form of t, "http://host:port".
func (t *Target) String() string { return prefixes[t.Scheme] + t.Address() }

// Limits of a destination.
const (
	textMax  = 320
	nameMax  = 253
	labelMax = 63
)

// The mistakes of a text that is to be a Target.
var (
	ErrSyntax = errors.New("it is not scheme://host:port")
	ErrLength = errors.New("it is too long")
	ErrHost   = errors.New("its host is neither a name nor an address")
	ErrNumber = errors.New("its host may be read as an IPv4 address in another notation")
	ErrPort   = errors.New("its port is not a number from 1 to 65535")
)

// isLabel has the bytes of a label.
var isLabel = func() (set [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyz0123456789-_") {
		set[c] = true
	}
	return set
}()

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// Parse reads a text in any spelling.
func Parse(text string) (t Target, err error) {
	form, err := Append(nil, []byte(text))
	if err != nil {
		return Target{}, err
	}
	return split(string(form)), nil
}

// split takes a canonical form to pieces.
func split(form string) (t Target) {
	scheme, rest, _ := strings.Cut(form, "://")
	t.Scheme = schemeNamed(scheme)
	colon := strings.LastIndexByte(rest, ':')
	t.Host = strings.Trim(rest[:colon], "[]")
	n, _ := strconv.ParseUint(rest[colon+1:], 10, 16)
	t.Port = uint16(n)
	t.IP, _ = netip.ParseAddr(t.Host) // no name is one: see ErrNumber
	return t
}

// Append appends the canonical form of the destination text to dst: "http://host:port", all in lower case, with the
// port that goes without saying. Where two texts lead to the same place their forms are equal. After an error dst is
// returned as it was.
func Append(dst, text []byte) (form []byte, err error) {
	if len(text) > textMax {
		return dst, ErrLength
	}
	scheme, rest := HTTP, text
	for s, prefix := range prefixes {
		if len(text) >= len(prefix) && equalFold(text[:len(prefix)], prefix) {
			scheme, rest = Scheme(s), text[len(prefix):]
			break
		}
	}
	out := append(dst, prefixes[scheme]...)
	if len(rest) > 0 && rest[0] == '[' {
		out, rest, err = appendV6(out, rest)
	} else {
		out, rest, err = appendHost(out, rest)
	}
	if err != nil {
		return dst, err
	}
	port, err := parsePort(rest, ports[scheme])
	if err != nil {
		return dst, err
	}
	return strconv.AppendUint(append(out, ':'), uint64(port), 10), nil
}

func equalFold(b []byte, s string) bool {
	for i := range b {
		if lower(b[i]) != s[i] {
			return false
		}
	}
	return true
}

// appendV6 appends the address in brackets that s begins with. An IPv4 address in IPv6 form becomes an IPv4 address. A
// zone would name an interface of this machine.
func appendV6(dst, s []byte) (out, rest []byte, err error) {
	end := 1
	for end < len(s) && s[end] != ']' {
		end++
	}
	if end == len(s) {
		return dst, nil, ErrSyntax
	}
	ip, err := netip.ParseAddr(string(s[1:end]))
	if err != nil || !ip.Is6() || ip.Zone() != "" {
		return dst, nil, ErrHost
	}
	if ip = ip.Unmap(); ip.Is4() {
		return ip.AppendTo(dst), s[end+1:], nil
	}
	return append(ip.AppendTo(append(dst, '[')), ']'), s[end+1:], nil
}

// appendHost appends the name or the IPv4 address that s begins with.
func appendHost(dst, s []byte) (out, rest []byte, err error) {
	end, label, last := 0, 0, 0 // label: of which end is inside; last: the begin of the last one
	for ; end < len(s) && s[end] != ':'; end++ {
		c := lower(s[end])
		switch {
		case isLabel[c]:
			if label++; label > labelMax || label == 1 && c == '-' {
				return dst, nil, ErrHost
			}
			dst = append(dst, c)
		case c == '.' && label > 0 && s[end-1] != '-':
			dst = append(dst, c)
			if end+1 < len(s) && s[end+1] != ':' {
				last = end + 1
			}
			label = 0
		default:
			return dst, nil, ErrHost
		}
	}
	host, rest := s[:end], s[end:]
	dotted := end > 0 && s[end-1] == '.'
	if dotted {
		host, dst = host[:end-1], dst[:len(dst)-1]
	}
	switch {
	case len(host) == 0 || host[len(host)-1] == '-':
		return dst, nil, ErrHost
	case len(host) > nameMax:
		return dst, nil, ErrLength
	case !isNumber(host[last:]):
		return dst, rest, nil
	}
	// What netip reads as an IPv4 address has no other form, so it is canonical as it stands.
	if ip, err := netip.ParseAddr(string(host)); err != nil || !ip.Is4() || dotted {
		return dst, nil, ErrNumber
	}
	return dst, rest, nil
}

// isNumber reports whether a label is a number to inet_aton(3): then the whole host is an address, to some. The rule is
// taken from the URL standard (whatwg.org), "ends in a number".
func isNumber(label []byte) bool {
	if len(label) >= 2 && label[0] == '0' && lower(label[1]) == 'x' {
		for _, c := range label[2:] {
			if c = lower(c); (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
		return true
	}
	for _, c := range label {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// parsePort reads ":8080". Without one it is the usual one.
func parsePort(s []byte, usual uint16) (uint16, error) {
	switch {
	case len(s) == 0:
		return usual, nil
	case s[0] != ':':
		return 0, ErrSyntax
	case len(s) < 2 || len(s) > 6 || s[1] == '0':
		return 0, ErrPort
	}
	n := 0
	for _, c := range s[1:] {
		if c < '0' || c > '9' {
			return 0, ErrPort
		}
		n = 10*n + int(c-'0')
	}
	if n > 0xffff {
		return 0, ErrPort
	}
	return uint16(n), nil
}
