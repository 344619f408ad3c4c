package route

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/message"
)

// Pattern is the host and the path of a rule, which a text such as "example.com/api/*" names.
type Pattern struct {
	Host  string // lower case; "": every host
	Path  string // "/": every path, unless Exact
	Exact bool   // Path is the whole path; else a prefix by segments
}

// PatternError says what is wrong with a pattern, and what was meant where that can be told.
type PatternError struct {
	Wrong error
	Meant string // how it is written, or ""
}

// What may be wrong with a host or a path.
var (
	ErrHostPort   = errors.New("the host of a route has no port: the listener's port decides")
	ErrHostStar   = errors.New("a star stands for the first labels of a host: \"*.example.com\"")
	ErrPathSlash  = errors.New("a path begins with \"/\"")
	ErrPathText   = errors.New("a path stands as it is sent: no blanks, no \"?\", no \"#\", the rest percent-encoded")
	ErrPathPrefix = errors.New("a prefix ends with one slash")
	ErrPathStar   = errors.New("a star stands only at the end, after a slash")

	errPatternMethod = errors.New("a pattern has no method: Methods of the route names them")

	errPathBelow     = errors.New("a path takes all below it by itself, unless it is Exact")
	errPathStars     = errors.New("a path has no star")
	errPathParameter = errors.New("a path has no parameters")
)

// Error joins both.
func (e *PatternError) Error() string {
	if e.Meant == "" {
		return e.Wrong.Error()
	}
	return e.Wrong.Error() + "; write " + quote(e.Meant)
}

// Unwrap returns what is wrong.
func (e *PatternError) Unwrap() error { return e.Wrong }

// ParsePattern reads a host, which may be left out, and a path:
//
//	/api/*               /api and all below it, on every host; /api/ is the same
//	/api                 this path alone
//	/                    every path; =/ is the root alone, and =/api/ a path that ends in a slash
//	example.com/api/*    on this host
//	*.example.com/       every path of every host below example.com
//
// The error is a *PatternError.
func ParsePattern(s string) (Pattern, error) {
	if scheme, rest, found := strings.Cut(s, "://"); found {
		return Pattern{}, &PatternError{fmt.Errorf("a pattern has no scheme such as %s", quote(scheme+"://")), rest}
	}
	if method, rest, found := strings.Cut(s, " "); found && message.LookupVerb(method) != message.VerbOther {
		return Pattern{}, &PatternError{errPatternMethod, strings.TrimSpace(rest)}
	}
	slash := strings.IndexByte(s, '/')
	if slash < 0 {
		return Pattern{}, &PatternError{fmt.Errorf("%s has no path", quote(s)), s + "/*"}
	}
	host, path := s[:slash], s[slash:]
	if h, exact := strings.CutSuffix(host, "="); exact {
		host, path = h, "="+path
	}
	var err error
	if host != "" {
		if host, err = ParseHost(host); err != nil {
			return Pattern{}, err
		}
	}
	p, err := ParsePath(path)
	p.Host = host
	return p, err
}

// ParsePath reads the path of a pattern. The error is a *PatternError.
func ParsePath(s string) (p Pattern, err error) {
	path, exact := strings.CutPrefix(s, "=")
	if err := checkPath(path); err != nil {
		return p, err
	}
	p.Path, p.Exact = path, exact
	if !exact {
		below, star := strings.CutSuffix(path, "/*")
		above, slash := strings.CutSuffix(path, "/")
		switch {
		case star:
			p.Path = below
		case slash:
			p.Path = above
		default:
			p.Exact = true
		}
	}
	if !p.Exact && strings.HasSuffix(p.Path, "/") {
		return p, &PatternError{ErrPathPrefix, strings.TrimRight(p.Path, "/") + "/*"}
	}
	if strings.Contains(p.Path, "*") {
		wrong := &PatternError{Wrong: ErrPathStar}
		if head, found := strings.CutSuffix(path, "*"); found && !strings.Contains(head, "*") {
			wrong.Meant = head + "/*"
		}
		return p, wrong
	}
	p.Path = cmp.Or(p.Path, "/")
	return p, nil
}

// checkPath refuses a path that no request can have.
func checkPath(path string) error {
	for _, c := range []byte(path) {
		if c <= ' ' || c >= 0x7f || c == '?' || c == '#' {
			return &PatternError{Wrong: ErrPathText}
		}
	}
	if !strings.HasPrefix(path, "/") {
		return &PatternError{ErrPathSlash, "/" + path}
	}
	if i := strings.Index(path, "/{"); i >= 0 && strings.Contains(path[i:], "}") {
		return &PatternError{Wrong: errPathParameter}
	}
	return nil
}

// ParseHost reads the host of a pattern, or of a rule, and returns it in lower case. The error is a *PatternError.
func ParseHost(s string) (string, error) {
	host := strings.ToLower(s)
	if above, wild := strings.CutPrefix(host, "*."); wild && !strings.ContainsAny(above, "*[") {
		above, err := ParseHost(above)
		return "*." + above, err
	}
	if scheme, rest, found := strings.Cut(host, "://"); found {
		name, _, _ := cutPort(rest)
		return "", &PatternError{fmt.Errorf("a host has no scheme such as %s", quote(scheme+"://")), name}
	}
	if strings.Contains(host, "*") {
		return "", &PatternError{Wrong: ErrHostStar}
	}
	if name, _, ok := cutPort(host); ok {
		return "", &PatternError{ErrHostPort, name}
	}
	if inner, found := strings.CutPrefix(host, "["); found {
		inner, found = strings.CutSuffix(inner, "]")
		if ip, err := netip.ParseAddr(inner); found && err == nil && ip.Is6() {
			return host, nil
		}
	}
	if host = strings.TrimSuffix(host, "."); !ValidHost(host) {
		return "", &PatternError{Wrong: fmt.Errorf("%s is not a host name", quote(s))}
	}
	return host, nil
}

// cutPort cuts "host:port" and "[v6]:port".
func cutPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	host, port = s[:i], s[i+1:]
	if strings.HasPrefix(host, "[") {
		return host, port, strings.HasSuffix(host, "]")
	}
	return host, port, !strings.Contains(host, ":")
}

// ValidHost reports whether a lower-case name can be a host: letters, digits, hyphens and underscores between dots.
func ValidHost(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}

// quotedMax bounds how much of a text an error repeats, in characters.
const quotedMax = 60

func quote(s string) string {
	if r := []rune(s); len(r) > quotedMax {
		s = string(r[:quotedMax]) + "…"
	}
	return strconv.Quote(s)
}

// String returns p as ParsePattern reads it.
func (p Pattern) String() string {
	switch {
	case !p.Exact && p.Path == "/":
		return p.Host + "/*"
	case !p.Exact:
		return p.Host + p.Path + "/*"
	case strings.HasSuffix(p.Path, "/"):
		return p.Host + "=" + p.Path
	}
	return p.Host + p.Path
}
