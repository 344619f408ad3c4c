package location

import (
	"errors"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/lang"
)

// Template makes a target or a Location.
// Immutable.
type Template struct {
	text  *lang.Template
	parts []part
	query bool // the query of the request follows
	local bool // it makes a path: it must not come to begin with two slashes
	sent  bool // to a backend
	host  bool // it has {host}
	rest  bool // it has {rest}
	plain bool // it has values of the older names alone
	named bool // a value other than {host} is a part of the host: the host is checked
}

// part is a part of a Template.
type part struct {
	plain   string
	value   variable
	at      position
	index   int  // in the text
	root    bool // a path begins with it: there is "/" at least
	encoded bool // it is encoded where it stands in a query
}

// variable is a value that is not encoded, or computed.
type variable uint8

const (
	none variable = iota
	pathAsIs
	restAsIs
	queryAsIs
	targetAsIs
	hostAsIs
	computed
)

var variables = map[string]variable{
	"path": pathAsIs, "rest": restAsIs, "query": queryAsIs, "target": targetAsIs, "host": hostAsIs,
}

// position is where in a URL a part stands.
type position uint8

const (
	inHost position = iota
	inPath
	inQuery
)

// Bounds of a Template and of what it makes, in bytes.
const (
	TextMax  = 2048
	PartsMax = 32
	Max      = 16 << 10
)

// What is wrong with a template.
var (
	errLong     = errors.New("longer than 2048 bytes")
	errParts    = errors.New("more than 32 parts")
	errChar     = errors.New("blanks, quotes, control characters and the like are percent-encoded")
	errPath     = errors.New(`a path begins with "/", "{path}" or "{rest}"`)
	errFragment = errors.New(`a path has no "#"`)
	errLocation = errors.New("write a URL with http:// or https://, or a path")
	errHost     = errors.New("the host of a URL is a text, {host} or {map.NAME[key]}, and a path or its end follows")
)

// What is wrong with a request, so that nothing can be made of it.
var (
	ErrHost = errors.New("there is no host in the request")
	ErrDots = errors.New("the path would have dot segments")
	ErrLong = errors.New("longer than 16 KiB")
)

// Path makes a Template of a path that is sent on. The query of the request follows what it makes, unless the template
// has a "?", {query} or {target}; a template that ends with "?" takes the query away.
func Path(text *lang.Template) (*Template, error) {
	t, err := cut(text)
	if err != nil {
		return nil, err
	}
	if !t.beginsPath() {
		return nil, errPath
	}
	for i := range t.parts {
		if strings.Contains(t.parts[i].plain, "#") {
			return nil, errFragment
		}
	}
	t.local, t.sent = true, true
	t.parts[0].root = t.parts[0].value != none
	t.place(0, inPath)
	return t, nil
}

// Location makes a Template of a URL or a path, as the field Location has it. A request chooses where in the place that
// is named it leads, never the place. The query is kept as Path says.
func Location(text *lang.Template) (*Template, error) {
	t, err := cut(text)
	if err != nil {
		return nil, err
	}
	first, after := t.afterScheme()
	if first < 0 {
		if t.local = t.beginsPath(); !t.local {
			return nil, errLocation
		}
		t.parts[0].root = t.parts[0].value != none
		t.place(0, inPath)
		return t, nil
	}
	return t, t.endHost(first, after)
}

// cut cuts text into parts.
func cut(text *lang.Template) (*Template, error) {
	if len(text.String()) > TextMax {
		return nil, errLong
	}
	t := &Template{text: text, query: true, plain: true}
	for i, p := range text.Parts() {
		one := part{plain: p.Plain, index: i}
		if p.Source == "" {
			if !valid(p.Plain) {
				return nil, errChar
			}
			t.query = t.query && !strings.ContainsAny(p.Plain, "?#")
		} else {
			if one.value = variables[p.Source]; one.value == none {
				one.value = computed
			}
			one.encoded = strings.Contains(p.Source, "url_encode")
			usual := one.value != computed && one.value != targetAsIs || p.Source == "method" || p.Source == "scheme"
			t.plain = t.plain && usual
			t.host, t.rest = t.host || one.value == hostAsIs, t.rest || one.value == restAsIs
			t.query = t.query && !namesQuery(p.Source)
		}
		t.parts = append(t.parts, one)
	}
	if len(t.parts) > PartsMax {
		return nil, errParts
	}
	return t, nil
}

// valid reports whether all bytes of a text may stand in a URL.
func valid(text string) bool {
	for _, c := range []byte(text) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return false
		}
	}
	return true
}

// ValidPrefix reports whether a text may be the begin of a path that is sent on, as it stands.
func ValidPrefix(text string) bool {
	return len(text) <= TextMax && strings.HasPrefix(text, "/") && valid(text) && !strings.ContainsAny(text, "?#")
}

// source returns what the value of part i was written as; "" for a text.
func (t *Template) source(i int) string {
	if p := &t.parts[i]; p.value == none {
		return ""
	}
	return t.text.Parts()[i].Source
}

// namesQuery reports whether an expression names the query as a whole.
func namesQuery(source string) bool {
	words := strings.FieldsFunc(source, func(c rune) bool {
		return c != '.' && c != '_' && c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z')
	})
	return slices.Contains(words, "query") || slices.Contains(words, "target")
}

// beginsPath reports whether t begins as a path does: a value is made to begin with a slash. Older names that are no
// path are mistakes, and so is a map, which could name a host elsewhere.
func (t *Template) beginsPath() bool {
	if len(t.parts) == 0 {
		return false
	}
	switch source := t.source(0); source {
	case "":
		return strings.HasPrefix(t.parts[0].plain, "/")
	case "query", "host", "scheme", "method":
		return false
	default:
		return !strings.HasPrefix(source, "map.")
	}
}

// afterScheme returns the part in which the host begins, and the rest of that part from the host on; -1 where t names
// none.
func (t *Template) afterScheme() (first int, after string) {
	if len(t.parts) == 0 {
		return -1, ""
	}
	for _, scheme := range []string{"http://", "https://", "//"} {
		if rest, found := strings.CutPrefix(t.parts[0].plain, scheme); found {
			return 0, rest
		}
	}
	if t.source(0) == "scheme" && len(t.parts) > 1 {
		if rest, found := strings.CutPrefix(t.parts[1].plain, "://"); found {
			return 1, rest
		}
	}
	return -1, ""
}

// endHost checks that the template itself ends the host, so that no request can extend it. It begins in part first with
// after.
func (t *Template) endHost(first int, after string) error {
	for i := range first {
		t.parts[i].at = inHost
	}
	some, last := false, byte(0) // whether the host has something, and its last byte
	for i := first; i < len(t.parts); i++ {
		p := &t.parts[i]
		if i > first {
			after = p.plain
		}
		if p.value == none {
			end := strings.IndexAny(after, "/?#")
			text := after
			if end >= 0 {
				text = after[:end]
			}
			if strings.ContainsAny(text, "@\\%") {
				return errHost
			}
			if text != "" {
				some, last = true, text[len(text)-1]
			}
			if end < 0 {
				continue
			}
			if !some {
				return errHost
			}
			t.place(i, inHost)
			return nil
		}
		switch source := t.source(i); {
		case (p.value == hostAsIs || isLookup(source)) && (!some || last == '.'),
			(source == "port" || source == "server.port") && last == ':':
			t.named = t.named || p.value != hostAsIs
			some, last = true, 'a'
		case p.value == queryAsIs, p.value == hostAsIs, source == "scheme", source == "method",
			source == "port", source == "server.port", strings.HasPrefix(source, "map."):
			return errHost
		case !some || last == '.' || last == ':' || last == '-':
			return errHost
		default:
			p.root = true
			t.place(i, inPath)
			return nil
		}
	}
	if !some {
		return errHost
	}
	return nil
}

// isLookup reports whether an expression is what a map of the configuration has, and nothing that a request says beside
// it: map.NAME[key].
func isLookup(source string) bool {
	name, key, found := strings.Cut(source, "[")
	if !found || !strings.HasPrefix(name, "map.") || strings.ContainsAny(name, " ()+?%\"'`") {
		return false
	}
	depth, quote := 1, byte(0)
	for i := range len(key) {
		switch c := key[i]; {
		case quote != 0:
			if c == quote && (quote == '`' || key[i-1] != '\\') {
				quote = 0
			}
		case c == '"' || c == '\'' || c == '`':
			quote = c
		case c == '[':
			depth++
		case c == ']':
			if depth--; depth == 0 {
				return i == len(key)-1
			}
		}
	}
	return false
}

// place says for the parts from i on where they stand. at is where part i begins.
func (t *Template) place(i int, at position) {
	for ; i < len(t.parts); i++ {
		p := &t.parts[i]
		if p.at = at; p.value == targetAsIs {
			at = inQuery
			continue
		}
		text := p.plain
		if at == inHost {
			if _, rest, found := strings.Cut(text, "://"); found {
				text = rest
			} else {
				text = strings.TrimPrefix(text, "//")
			}
			if end := strings.IndexAny(text, "/?#"); end >= 0 {
				at = inPath
			}
		}
		if at == inPath && strings.ContainsAny(text, "?#") {
			at = inQuery
		}
	}
}

// String returns the text of t.
func (t *Template) String() string { return t.text.String() }

// NamesMatch reports whether t names match.N.
func (t *Template) NamesMatch() bool { return t.text.NamesMatch() }
