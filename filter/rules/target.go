package rules

import (
	"bytes"
	"errors"
	"strings"

	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// targetMax bounds a target that a rule makes, and a Location.
const targetMax = 16 << 10

var (
	errPath     = errors.New("a path begins with / or with a value such as {path}")
	errFragment = errors.New("a path has no \"#\"")
	errChar     = errors.New("it has a byte that no URL has: encode it as %XX")
	errLocation = errors.New("write a URL with http:// or https://, or a path")
	errHost     = errors.New("the host of a URL is a text, or {host} in one; other values stand in the path and after")
)

// target is a template of a target or of a Location. Immutable.
//
//	https://www.{host}:8443{path}?a={query.a}
//	└── fixed bytes, hosts ┘└── path: begins with one slash where the template does not say so
type target struct {
	text  *lang.Template
	keep  bool // the query of the request follows
	bare  bool // a "?" at its end stands for no query, and goes
	fixed int  // bytes before the path, without those of {host}
	hosts int  // of {host} before the path
}

// newTarget checks the text of t.
func newTarget(t *lang.Template, location bool) (*target, error) {
	text := t.String()
	literal, values, ok := cut(text)
	if !ok {
		return nil, errChar
	}
	to := &target{text: t, bare: strings.HasSuffix(text, "?")}
	to.keep = !strings.ContainsAny(literal, "?#") && !namesQuery(values)
	for _, c := range []byte(literal) {
		if invalid(c) && c != '#' {
			return nil, errChar
		}
	}
	if !location {
		if strings.Contains(literal, "#") {
			return nil, errFragment
		}
		if !strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "{") {
			return nil, errPath
		}
		return to, nil
	}
	return to, to.cutHost(text)
}

// cutHost finds where the host ends that a Location names. The template itself ends it, so that no value can extend it.
func (t *target) cutHost(text string) error {
	rest, found := "", false
	for _, scheme := range []string{"http://", "https://", "//"} {
		if rest, found = strings.CutPrefix(text, scheme); found {
			t.fixed = len(scheme)
			break
		}
	}
	if !found {
		if text == "" || text[0] != '/' && text[0] != '{' {
			return errLocation
		}
		return nil
	}
	for {
		end := strings.IndexAny(rest, "/?#{")
		if end < 0 {
			end = len(rest)
		}
		if strings.ContainsAny(rest[:end], "@\\%") {
			return errHost
		}
		t.fixed += end
		rest = rest[end:]
		after, named := strings.CutPrefix(rest, "{host}")
		if !named {
			break
		}
		t.hosts++
		rest = after
	}
	inPath := rest == "" || rest[0] != '{' || strings.HasPrefix(rest, "{path") || strings.HasPrefix(rest, "{target")
	if !inPath || t.hosts == 0 && text[t.fixed-1] == '/' {
		return errHost
	}
	return nil
}

// append appends what t is for v to the bytes of h, the request, and returns these, or what refuses it.
func (t *target) append(h *message.Head, v *lang.X) ([]byte, *proxy.Error) {
	start := len(h.Base)
	base := t.text.AppendEscaped(h.Base, v, escapeTarget)
	path := start + t.fixed
	if t.hosts > 0 {
		if v.Request.Authority.Len == 0 {
			return nil, proxy.BadTarget
		}
		path += t.hosts * len(v.Request.Host())
	}
	if path = min(path, len(base)); t.bare {
		base = bytes.TrimSuffix(base, []byte("?"))
		path = min(path, len(base))
	}
	switch rest := base[path:]; {
	case len(rest) == 0 && path > start, len(rest) > 0 && rest[0] == '/':
	case path > start && (rest[0] == '?' || rest[0] == '#'):
	default:
		base = append(base, 0)
		copy(base[path+1:], base[path:])
		base[path] = '/'
	}
	if path == start {
		base = message.OneSlash(base, start)
	}
	if q := h.Query(); t.keep && len(q) > 0 {
		base = append(append(base, '?'), q...)
	}
	if len(base)-start > targetMax {
		return nil, proxy.TargetTooLong
	}
	return base, nil
}

// invalid reports whether a byte cannot stand in a URL.
func invalid(c byte) bool {
	return c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}#", c) >= 0
}

// escapeTarget percent-encodes what of dst[from:] cannot stand in a URL. What is encoded stays.
func escapeTarget(dst []byte, from int) []byte { return encode(dst, from, invalid) }

// encode percent-encodes the bytes of dst[from:] that are bad.
func encode(dst []byte, from int, bad func(c byte) bool) []byte {
	i := from
	for i < len(dst) && !bad(dst[i]) {
		i++
	}
	if i == len(dst) {
		return dst
	}
	tail := bytes.Clone(dst[i:])
	dst = dst[:i]
	for _, c := range tail {
		if bad(c) {
			dst = message.AppendPercent(dst, c)
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// dotted reports whether a path has a dot segment, encoded or not. The backend would resolve it, and so get another
// path than the one that the rules and the route have seen.
func dotted(path []byte) bool {
	dots, begin := 0, true // whether the segment has dots alone so far
	for len(path) > 0 {
		c, n := message.DecodePercent(path)
		path = path[n:]
		switch {
		case c == '/' || c == '\\' || c == ';': // some servers take what follows ";" off
			if begin && (dots == 1 || dots == 2) {
				return true
			}
			dots, begin = 0, c != ';'
		case c == '.' && begin:
			dots++
		default:
			begin = false
		}
	}
	return begin && (dots == 1 || dots == 2)
}

// cut returns what of the text of a template stands as it is, and its expressions, one after another.
func cut(text string) (literal, values string, ok bool) {
	var out, in strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '{' && c != '}' {
			out.WriteByte(c)
			continue
		}
		if c == '}' || strings.HasPrefix(text[i:], "{{") {
			return "", "", false // a brace as such: no URL has one
		}
		end := endOfValue(text[i:])
		in.WriteString(text[i : i+end])
		i += end - 1
	}
	return out.String(), in.String(), true
}

// endOfValue returns where the expression in braces ends that s begins with: its texts and sets have braces, too.
func endOfValue(s string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == '\\' && quote != '`' && i+1 < len(s) && s[i+1] == quote {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'' || c == '`':
			quote = c
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// namesQuery reports whether expressions name the query as it came: query or target.
func namesQuery(values string) bool {
	word := func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	}
	for _, name := range strings.FieldsFunc(values, word) {
		if name == "query" || name == "target" || strings.HasPrefix(name, "target.") {
			return true
		}
	}
	return false
}

// change changes the query of the target of h, the request, for v.
func (q *query) change(h *message.Head, v *lang.X) *proxy.Error {
	target := h.Bytes(h.Target)
	if len(target) == 0 || target[0] != '/' { // "*", or the authority of CONNECT
		return nil
	}
	start := len(h.Base)
	base := append(h.Base, h.Path()...)
	mark := byte('?')
	for rest := h.Query(); len(rest) > 0; {
		pair, after, _ := bytes.Cut(rest, []byte("&"))
		rest = after
		if len(pair) > 0 && !q.takes(pair) {
			base = append(append(base, mark), pair...)
			mark = '&'
		}
	}
	for i := range q.put {
		base = append(append(append(base, mark), q.put[i].name...), '=')
		mark = '&'
		if t := q.put[i].value; t != nil {
			from := len(base)
			base = encode(t.Append(base, v), from, reserved)
		}
	}
	if len(base)-start > targetMax {
		return proxy.TargetTooLong
	}
	h.Base, h.Target = base, message.Span{At: uint32(start), Len: uint32(len(base) - start)}
	return nil
}

// query is a Query that was made ready. Immutable.
type query struct {
	gone []string // names, decoded, of what is taken away
	put  []parameter
}

type parameter struct {
	name  string // encoded
	value *lang.Template
}

func newQuery(q *Query) *query {
	if q == nil {
		return nil
	}
	c := &query{gone: q.Del}
	for _, p := range q.Set {
		c.gone = append(c.gone[:len(c.gone):len(c.gone)], p.Name)
	}
	for _, list := range [][]Text{q.Set, q.Add} {
		for _, p := range list {
			c.put = append(c.put, parameter{string(encode([]byte(p.Name), 0, reserved)), p.Value})
		}
	}
	return c
}

// takes reports whether a pair of a query is taken away.
func (q *query) takes(pair []byte) bool {
	for _, name := range q.gone {
		if _, _, ok := message.CutParameter(pair, name); ok {
			return true
		}
	}
	return false
}

// reserved reports whether a byte is encoded in a parameter: all but the unreserved ones of RFC 3986 §2.3.
func reserved(c byte) bool {
	lower := c | 0x20
	return (lower < 'a' || lower > 'z') && (c < '0' || c > '9') && strings.IndexByte("-._~", c) < 0
}
