package builtin

import (
	"bytes"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/message"
)

// originSet is a set of origins of the web (RFC 6454), for the types of filters that look at Origin.
// Immutable after newOriginSet, safe for any goroutine. Has allocates nothing.
//
// An origin is compared byte by byte with what a browser sends: the scheme and the host in lower case, a port unless it
// is the scheme's own, and no slash after it. newOriginSet refuses what no browser sends, so that a mistake is found
// when the configuration is loaded, and not as a request that fails.
//
// A star stands for one or more letters, digits, dashes and dots. It never stands for a part of the name that another
// person may register: "https://*example.com" would be an origin of evil-example.com, and is refused.
type originSet struct {
	any   bool
	exact map[string]struct{}
	globs []originGlob
}

// originGlob is an origin with a star: what stands before it and after it.
type originGlob struct{ before, after string }

// originError says what is wrong with an origin of a configuration, and what would be right.
type originError struct {
	Origin string
	Hint   string

	fault string
}

// Error says what is wrong.
func (e *originError) Error() string { return strconv.Quote(e.Origin) + ": " + e.fault }

// newOriginSet makes an originSet.
func newOriginSet(origins []string) (*originSet, *originError) {
	s := &originSet{exact: map[string]struct{}{}}
	for _, o := range origins {
		if o == "*" {
			s.any = true
			continue
		}
		if err := checkOrigin(o); err != nil {
			return nil, err
		}
		if before, after, star := strings.Cut(o, "*"); star {
			s.globs = append(s.globs, originGlob{before, after})
		} else {
			s.exact[o] = struct{}{}
		}
	}
	return s, nil
}

// Any reports whether "*" is among the origins.
func (s *originSet) Any() bool { return s.any }

// AnyHost reports whether a star is the whole host of one of the origins, such as "https://*".
func (s *originSet) AnyHost() bool {
	return slices.ContainsFunc(s.globs, func(g originGlob) bool {
		return strings.HasSuffix(g.before, "://") && (g.after == "" || g.after[0] == ':')
	})
}

// Has reports whether an origin is in s. "*" is for the caller: see Any.
func (s *originSet) Has(o []byte) bool {
	if _, ok := s.exact[string(o)]; ok {
		return true
	}
	for i := range s.globs {
		if s.globs[i].matches(o) {
			return true
		}
	}
	return false
}

func (g *originGlob) matches(o []byte) bool {
	if len(o) <= len(g.before)+len(g.after) || string(o[:len(g.before)]) != g.before {
		return false
	}
	end := len(o) - len(g.after)
	if string(o[end:]) != g.after {
		return false
	}
	for _, c := range o[len(g.before):end] {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.') {
			return false
		}
	}
	return true
}

// isOriginOf reports whether an origin names an authority, host[:port], whatever its scheme is.
func isOriginOf(o, authority []byte) bool {
	i := bytes.Index(o, []byte("://"))
	if i <= 0 || len(authority) == 0 || !bytes.Equal(o[i+3:], authority) {
		return false
	}
	for j, c := range o[:i] {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (j == 0 || !('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return true
}

// checkOrigin returns what is wrong with an origin of a configuration.
func checkOrigin(o string) *originError {
	wrong := func(fault, hint string) *originError { return &originError{o, hint, fault} }
	scheme, host, ok := strings.Cut(o, "://")
	switch {
	case o == "null":
		return wrong("it is what sandboxed frames and local files have in common, so that any page can be one",
			"give the page that asks an origin of its own")
	case !ok:
		return wrong("it has no scheme", `write "https://`+strings.Trim(o, "/")+`"`)
	case o != strings.ToLower(o):
		return wrong("browsers send origins in lower case", `write "`+strings.ToLower(o)+`"`)
	case strings.Count(o, "*") > 1:
		return wrong("it has more than one star", "one star may stand in the host, or for the port")
	case strings.ContainsAny(scheme, "*"):
		return wrong("a star in the scheme", "list the origin once for each scheme")
	case strings.HasSuffix(host, "/"):
		return wrong("an origin ends without a slash", `write "`+strings.TrimRight(o, "/")+`"`)
	case strings.ContainsAny(host, "/?#"):
		return wrong("an origin has no path", `write "`+scheme+"://"+host[:strings.IndexAny(host, "/?#")]+`"`)
	}
	if hint := withoutDefaultPort(scheme, host); hint != "" {
		return wrong("browsers leave the port of the scheme out", `write "`+hint+`"`)
	}
	plain := strings.Replace(strings.Replace(o, ":*", ":1", 1), "*", "x", 1)
	u, err := url.Parse(plain)
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.Scheme != scheme {
		return wrong("it is not scheme://host or scheme://host:port", "")
	}
	if _, _, ok := message.SplitAuthority([]byte(u.Host)); !ok || strings.HasSuffix(u.Host, ":") {
		return wrong("the host or its port is not valid", "")
	}
	if !isOwnedStar(host) {
		return wrong("the star stands for a part of a name that anybody can register",
			`put a dot after it, as in "`+strings.Replace(o, "*", "*.", 1)+`"`)
	}
	return nil
}

// withoutDefaultPort returns the origin without its port where that is the one of the scheme.
func withoutDefaultPort(scheme, host string) string {
	port := map[string]string{"http": ":80", "https": ":443"}[scheme]
	if rest, ok := strings.CutSuffix(host, port); ok && port != "" {
		return scheme + "://" + rest
	}
	return ""
}

// isOwnedStar reports whether what a star stands for belongs to the owner of the rest of the host: it is the port, or
// stands before two labels. A star in place of the whole host, or of all labels but the last, means what it says.
func isOwnedStar(host string) bool {
	before, after, star := strings.Cut(host, "*")
	if !star || strings.HasSuffix(before, ":") {
		return true
	}
	after, _, _ = strings.Cut(after, ":")
	return before == "" && (after == "" || after[0] == '.') || strings.Count(after, ".") >= 2
}
