package value

import (
	"errors"
	"net/url"
	"path"
	"strings"

	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/route"
)

// PatternText returns p as messages and names of routes have it.
func PatternText(p route.Pattern) string {
	if p.Exact && p.Host != "" && strings.HasSuffix(p.Path, "/") {
		return p.Host + p.Path + " (exact)"
	}
	return p.String()
}

// ParsePattern reads "host/path", "/path" or "=/". wrong says what is wrong with it, else it is empty.
func ParsePattern(s string) (p route.Pattern, wrong, hint string) {
	if scheme, rest, found := strings.Cut(s, "://"); found {
		return p, "a pattern has no scheme such as " + syntax.Quote(scheme+"://"), meantPattern(rest)
	}
	if wrong, hint = otherLanguage(s); wrong != "" {
		return p, wrong, hint
	}
	slash := strings.IndexByte(s, '/')
	if slash < 0 {
		wrong, hint = withoutPath(s)
		return p, wrong, hint
	}
	host, path := s[:slash], s[slash:]
	if h, exact := strings.CutSuffix(host, "="); exact {
		host, path = h, "="+path
	}
	if _, port, ok := SplitHostPort(host); ok {
		return p, route.ErrHostPort.Error(), meantPattern(strings.TrimSuffix(host, ":"+port) + path)
	}
	if host != "" {
		if host, wrong, hint = ParseHost(host, path); wrong != "" {
			return p, wrong, hint
		}
	}
	return parseRoute(host, path)
}

// meantPattern returns the hint that the pattern s was meant; when s is wrong too, it returns the hint for s.
func meantPattern(s string) string { return suggest(s, "did you mean "+syntax.Quote(s)+"?") }

// suggest returns hint, which suggests the pattern s; when s is wrong too, it returns the hint for s.
func suggest(s, hint string) string {
	if _, wrong, other := ParsePattern(s); wrong != "" {
		return other
	}
	return hint
}

// withoutPath says what is wrong with a pattern without a slash.
func withoutPath(s string) (wrong, hint string) {
	wrong = syntax.Quote(s) + " has no path"
	above, wild := strings.CutPrefix(s, "*.")
	switch _, port, hasPort := SplitHostPort(s); {
	case s == "*":
		return wrong, `did you mean "/*"?`
	case hasPort:
		return route.ErrHostPort.Error(), meantPattern(strings.TrimSuffix(s, ":"+port) + "/*")
	case wild && syntax.IsBareKey(above):
		return wrong, "write " + syntax.Quote(s+"/*") + " for the hosts below " + above +
			`; when = 'path ends_with ` + syntax.Quote(s[1:]) + "' for paths"
	case fileName().MatchString(s) && !wild:
		return wrong, meantPattern("/" + s)
	case syntax.IsBareKey(s) && s != "localhost":
		return wrong, "write " + syntax.Quote("/"+s+"/*") + " for a path, " + syntax.Quote(s+"/*") + " for a host"
	}
	return wrong, meantPattern(s + "/*")
}

// fileName is what no host is called.
var fileName = syntax.Expr(`\.(?:php|html?|js|css|png|jpe?g|gif|svg|ico|txt|xml|json|pdf)$`)

// Patterns as other programs have them.
var (
	patternMethod    = syntax.Expr(`^([A-Z]+)[ \t]+(\S.*)$`)
	patternRule      = syntax.Expr("^!?(?:Host|HostRegexp|Path|PathPrefix|PathRegexp|Header|Method|Query)\\(")
	patternModifier  = syntax.Expr(`^(=|\^~)[ \t]+(/.*)$`)
	patternParameter = syntax.Expr(`^([^{<]*)/[^/{<]*(?:\{[^/]*\}|<[^/]*>)`)
	patternExpr      = syntax.Expr(`^~|^\^|\\|\([^()]*\||\(\?|\(\.[*+]|/\.[*+]|\.\+|\$$|\[\^?\w-\w|\)[*+?]`)
	exprMarks        = syntax.Expr(`^~\*?[ \t]*`)
)

// otherLanguage says what is wrong with a pattern in the language of another program, and how it is written here.
func otherLanguage(s string) (wrong, hint string) {
	if plainPattern(s) {
		return "", ""
	}
	if m := patternMethod().FindStringSubmatch(s); m != nil {
		return "a pattern has no method", suggest(m[2], "write methods = "+syntax.Quote(m[1])+" beside pattern = "+
			syntax.Quote(m[2]))
	}
	if m := patternModifier().FindStringSubmatch(s); m != nil {
		if m[1] != "=" {
			m[2] = strings.TrimSuffix(m[2], "/") + "/*"
		}
		return "a pattern has no modifier such as " + syntax.Quote(m[1]), meantPattern(m[2])
	}
	if m := patternParameter().FindStringSubmatch(s); m != nil {
		return "a pattern has no parameters", openEnd(m[1])
	}
	switch {
	case patternRule().MatchString(s):
		return "a pattern is no rule of Traefik", "Host(`a.test`) && PathPrefix(`/api`) is written \"a.test/api/*\""
	case patternExpr().MatchString(s):
		return "a pattern is compared as it stands: it is no regular expression", plainHint(s)
	}
	return "", ""
}

// plainPattern reports whether s has only letters, digits and marks that mean the same to all programs, and at most a
// star after the last slash: nearly every pattern. Files have thousands, and each of five expressions costs 2 µs.
func plainPattern(s string) bool {
	s = strings.TrimSuffix(s, "/*")
	for _, c := range []byte(s) {
		if !syntax.IsLetterOrDigit(c) && strings.IndexByte("/-_.", c) < 0 {
			return false
		}
	}
	return true
}

// plainHint says how a regular expression is written as a pattern, or what to do when it cannot be.
func plainHint(expr string) string {
	text := exprMarks().ReplaceAllString(expr, "")
	plain, begins := strings.CutPrefix(text, "^")
	plain, ends := strings.CutSuffix(plain, "$")
	for _, rest := range []string{"/(.*)", "/.*", "/.+", "(.*)", ".*"} {
		if head, found := strings.CutSuffix(plain, rest); found {
			plain, begins, ends = head, true, false
			break
		}
	}
	plain = strings.NewReplacer(`\.`, ".", `\/`, "/", `\-`, "-").Replace(plain)
	if (begins || strings.HasPrefix(plain, "/")) && !strings.ContainsAny(plain, `\^$|()[]{}*+?`) {
		if !ends {
			plain = strings.TrimSuffix(plain, "/") + "/*"
		}
		return meantPattern(plain)
	}
	if strings.HasPrefix(expr, "~*") {
		text = "(?i)" + text
	}
	if text == expr && !strings.ContainsAny(expr[:1], "^/\\") || strings.ContainsAny(text, `'"`) {
		text = "…" // of an expression with a host, or with quotes
	}
	return `write pattern = "/*" and when = 'path ~ "` + text + `"'`
}

// openEnd returns the hint to take everything below dir, for a pattern that leaves open a part in the middle of a path,
// or what the path ends in.
func openEnd(dir string) string {
	what := "all below " + dir
	if dir == "" {
		what = "every path"
	}
	return suggest(dir+"/*", syntax.Quote(dir+"/*")+" takes "+what+
		`; for a part in the middle or at the end write when = 'path ~ "…"'`)
}

// ParsePath reads a path without a host.
func ParsePath(s string) (p route.Pattern, wrong, hint string) {
	if wrong, hint = otherLanguage(s); wrong != "" {
		return p, wrong, hint
	}
	return parseRoute("", s)
}

// parseRoute reads a path of host, as package route does, and explains what is wrong with it.
func parseRoute(host, s string) (p route.Pattern, wrong, hint string) {
	p, err := route.ParsePath(s)
	if err == nil {
		p.Host = host
		return p, "", ""
	}
	path := strings.TrimPrefix(s, "=")
	switch star := strings.IndexByte(path, '*'); {
	case errors.Is(err, route.ErrPathText):
		hint = sentHint(host, path)
	case errors.Is(err, route.ErrPathSlash):
		hint = meantPattern(host + "/" + path)
	case errors.Is(err, route.ErrPathPrefix):
		hint = meantPattern(host + strings.TrimRight(strings.TrimSuffix(path, "/*"), "/") + "/*")
	case errors.Is(err, route.ErrPathStar):
		hint = starHint(host, path[:star], path[star:])
	}
	return route.Pattern{}, wrongOf(err), hint
}

// wrongOf returns what is wrong with a pattern, without a hint.
func wrongOf(err error) string {
	if e := (*route.PatternError)(nil); errors.As(err, &e) {
		return e.Wrong.Error()
	}
	return err.Error()
}

// starHint returns the hint for a path of host with a star where none may stand: before is the text up to the star, and
// star the text from it on.
func starHint(host, before, star string) string {
	dir, segment := path.Split(before)
	dir = host + strings.TrimRight(dir, "/")
	switch rest := strings.Trim(star, "*/"); {
	case rest == "" && segment == "":
		return meantPattern(dir + "/*")
	case rest == "" && !strings.Contains(segment, "."):
		way := dir + "/" + segment
		return suggest(way+"/*", syntax.Quote(way+"/*")+" takes "+way+
			" and all below it; for a part of a segment write when = 'path starts_with "+
			syntax.Quote(strings.TrimPrefix(way, host))+"'")
	}
	return openEnd(dir)
}

// sentHint returns the hint for a path of host that no request can have: s has blanks, a query, a fragment, or letters
// that clients percent-encode.
func sentHint(host, s string) string {
	if at := strings.IndexByte(s, '?'); at >= 0 {
		name, value, _ := strings.Cut(s[at+1:], "=")
		if !syntax.IsBareKey(name) {
			return "conditions on parameters stand in query"
		}
		return suggest(host+s[:at], "write "+syntax.Quote(host+s[:at])+" and query = { "+name+" = "+
			syntax.Quote(value)+" }")
	}
	before, _, _ := strings.Cut(s, "#") // a fragment is never sent
	before = strings.TrimSpace(before)
	if plain, err := url.PathUnescape(before); err == nil {
		before = plain
	}
	return meantPattern(host + strings.ReplaceAll((&url.URL{Path: before}).EscapedPath(), "%2A", "*"))
}

// ParseHost reads the host part of a pattern, as package route does, and explains what is wrong with it. A path is
// what follows in the pattern; empty for a host alone.
func ParseHost(s, path string) (host, wrong, hint string) {
	host, err := route.ParseHost(s)
	if err == nil {
		return host, "", ""
	}
	host = strings.ToLower(s)
	if above, wild := strings.CutPrefix(host, "*."); wild && !strings.ContainsAny(above, "*[") {
		host = above
	}
	switch name, _, _ := SplitHostPort(host); {
	case errors.Is(err, route.ErrHostStar) && host == "*":
		hint = "leave the host out for any host"
	case errors.Is(err, route.ErrHostStar):
		if last := strings.LastIndex(host, "*."); last >= 0 {
			hint = "write " + syntax.Quote(host[last:]) + ", or name each host"
		}
	case errors.Is(err, route.ErrHostPort) && name == "":
		hint = "leave it out for any host"
	case errors.Is(err, route.ErrHostPort) && path != "":
		hint = meantPattern(name + path)
	case errors.Is(err, route.ErrHostPort):
		hint = "did you mean " + syntax.Quote(name) + "?"
	default:
		hint = hostHint(strings.TrimSuffix(host, "."))
	}
	return "", wrongOf(err), hint
}

// hostHint returns the hint for a name that is no host.
func hostHint(host string) string {
	if strings.ContainsFunc(host, func(r rune) bool { return r > 0x7f }) {
		return "an international name stands as it is sent, \"xn--…\""
	}
	if patternExpr().MatchString(host) {
		return "name each host, or write \"*.example.com\" for all below one"
	}
	return "a host has letters, digits, \"-\" and \"_\" between dots"
}
