package route

import (
	"strconv"
	"strings"
)

// Pattern is the host and the path of a rule, which a text such as "example.com/api/*" names.
type Pattern struct {
	Host  string // lower case; "": every host
	Path  string // "/": every path, unless Exact
	Exact bool   // Path is the whole path; else a prefix by segments
}

// PatternError says what is wrong with a pattern, and what was meant where that can be told.
type PatternError struct {
	Wrong string
	Meant string // how it is written, or ""
}

// Error joins both.
func (e *PatternError) Error() string {
	if e.Meant == "" {
		return e.Wrong
	}
	return e.Wrong + ": write " + quote(e.Meant)
}

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
		return Pattern{}, &PatternError{"a pattern has no scheme such as " + quote(scheme+"://"), rest}
	}
	slash := strings.IndexByte(s, '/')
	if slash < 0 {
		return Pattern{}, &PatternError{quote(s) + " has no path", s + "/*"}
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
		return p, &PatternError{"a prefix ends with one slash", strings.TrimRight(p.Path, "/") + "/*"}
	}
	if strings.Contains(p.Path, "*") {
		wrong := &PatternError{Wrong: "a star stands only at the end, after a slash"}
		if head, found := strings.CutSuffix(path, "*"); found && !strings.Contains(head, "*") {
			wrong.Meant = head + "/*"
		}
		return p, wrong
	}
	if p.Path == "" {
		p.Path = "/"
	}
	return p, nil
}

// checkPath refuses what the path of no request is compared with.
func checkPath(path string) error {
	if !strings.HasPrefix(path, "/") {
		return &PatternError{"a path begins with \"/\"", "/" + path}
	}
	for _, c := range []byte(path) {
		if c > ' ' && c < 0x7f && c != '?' && c != '#' {
			continue
		}
		return &PatternError{
			Wrong: "a path stands as it is sent: no blanks, no \"?\", no \"#\", the rest percent-encoded",
		}
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
	if strings.Contains(host, "*") {
		return "", &PatternError{Wrong: "a star stands for the first labels of a host: \"*.example.com\""}
	}
	if name, _, ok := cutPort(host); ok {
		return "", &PatternError{"the host of a route has no port", name}
	}
	if inner, found := strings.CutPrefix(host, "["); found {
		if inner, found = strings.CutSuffix(inner, "]"); found && strings.Contains(inner, ":") {
			return host, nil
		}
	}
	if host = strings.TrimSuffix(host, "."); !ValidHost(host) {
		return "", &PatternError{Wrong: quote(s) + " is not a host name"}
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
