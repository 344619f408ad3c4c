package target

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
)

// Template is the text of a destination with variables of a request: {host} is the host without its port, {host:N} the
// Nth label of it from the left, {path:N} the Nth segment of the path, {header:NAME}, {cookie:NAME} and {query:NAME}
// the value of the first one of that name. A variable that the request does not have is "". A text of the language
// (package lang) is one as well: see New.
// Immutable.
type Template struct {
	text  string
	parts []part
	path  bool           // it has {path:N}
	value *lang.Template // of which computed parts are; nil: there are none
}

// part is a text or a variable.
type part struct {
	text string // or the name that a variable has
	of   variable
	at   int // N, or which part of the text
}

type variable uint8

const (
	noVariable variable = iota
	hostVariable
	labelVariable
	pathVariable
	headerVariable
	cookieVariable
	queryVariable
	computedVariable // of package lang
)

// Bounds of a template.
const (
	partsMax  = 16
	numberMax = 64 // of a label or a segment
)

// Variables says which variables there are, for messages.
const Variables = "{host}, {host:N}, {path:N}, {header:NAME}, {cookie:NAME} or {query:NAME}"

// What is wrong with a Template.
var (
	errBrace    = errors.New("a brace begins or ends no variable")
	errParts    = errors.New("more than 16 parts")
	errLong     = errors.New("longer than 320 bytes")
	errConstant = errors.New("it has no variable")
	errText     = errors.New("a destination is scheme://host:port, without a user, a path or a query")
	errScheme   = errors.New("a scheme is http://, https:// or h2c://")
)

// HasVariables reports whether text is meant as a Template.
func HasVariables(text string) bool { return strings.ContainsAny(text, "{}") }

// ParseTemplate parses a text with at least one variable. One slash at its end is left out.
func ParseTemplate(text string) (*Template, error) {
	if len(text) > textMax {
		return nil, errLong
	}
	t := &Template{text: text}
	variables := 0
	for rest := strings.TrimSuffix(text, "/"); rest != ""; {
		end := strings.IndexAny(rest, "{}")
		if end < 0 {
			end = len(rest)
		}
		if end > 0 {
			if !plain(rest[:end]) {
				return nil, errText
			}
			t.parts = append(t.parts, part{text: rest[:end]})
		}
		if rest = rest[end:]; rest == "" {
			break
		}
		name, after, closed := strings.Cut(rest[1:], "}")
		if rest[0] == '}' || !closed {
			return nil, errBrace
		}
		p, err := parseVariable(name)
		if err != nil {
			return nil, err
		}
		t.parts = append(t.parts, p)
		t.path = t.path || p.of == pathVariable
		variables++
		rest = after
	}
	switch {
	case variables == 0:
		return nil, errConstant
	case len(t.parts) > partsMax:
		return nil, errParts
	}
	return t, t.checkScheme()
}

// New makes a Template of a text of the language with at least one value. One slash at its end is left out.
func New(text *lang.Template) (*Template, error) {
	t := &Template{text: text.String(), value: text}
	list := text.Parts()
	for i, p := range list {
		if p.Source != "" {
			t.parts = append(t.parts, part{of: computedVariable, at: i})
			continue
		}
		if i == len(list)-1 {
			p.Plain = strings.TrimSuffix(p.Plain, "/")
		}
		if !plain(p.Plain) {
			return nil, errText
		}
		if p.Plain != "" {
			t.parts = append(t.parts, part{text: p.Plain})
		}
	}
	switch computed := func(p part) bool { return p.of == computedVariable }; {
	case len(t.text) > textMax:
		return nil, errLong
	case !slices.ContainsFunc(t.parts, computed):
		return nil, errConstant
	case len(t.parts) > partsMax:
		return nil, errParts
	}
	return t, t.checkScheme()
}

// plain reports whether s may stand in a template beside its variables: what no destination can have is found now.
func plain(s string) bool {
	s = strings.ReplaceAll(s, "://", "")
	for _, c := range []byte(s) {
		if !isLabel[lower(c)] && strings.IndexByte(".:[]", c) < 0 {
			return false
		}
	}
	return true
}

// parseVariable reads what stands between braces.
func parseVariable(name string) (part, error) {
	of, arg, has := strings.Cut(name, ":")
	switch {
	case of == "host" && !has:
		return part{of: hostVariable}, nil
	case of == "host", of == "path" && has:
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 || n > numberMax || arg[0] == '+' || arg[0] == '0' {
			return part{}, fmt.Errorf("{%.40s}: N is a number from 1 to %d", name, numberMax)
		}
		if of == "host" {
			return part{of: labelVariable, at: n}, nil
		}
		return part{of: pathVariable, at: n}, nil
	case of == "header" && message.ValidName(arg):
		return part{of: headerVariable, text: arg}, nil
	case of == "cookie" && message.ValidName(arg):
		return part{of: cookieVariable, text: arg}, nil
	case of == "query" && arg != "":
		return part{of: queryVariable, text: arg}, nil
	}
	return part{}, fmt.Errorf("there is no {%.40s}; use %s", name, Variables)
}

// checkScheme looks at the scheme where the template itself has it.
func (t *Template) checkScheme() error {
	if t.parts[0].of != noVariable {
		return nil
	}
	if scheme, _, has := strings.Cut(t.parts[0].text, "://"); has && schemeNamed(strings.ToLower(scheme)) < 0 {
		return errScheme
	}
	return nil
}

// String returns the text that t was parsed of.
func (t *Template) String() string { return t.text }

// NeedsView reports whether t was made by New: Append needs a view of the request.
func (t *Template) NeedsView() bool { return t.value != nil }

// NamesMatch reports whether t names match.N.
func (t *Template) NamesMatch() bool { return t.value != nil && t.value.NamesMatch() }

// NeedsPath reports whether t has {path:N}.
func (t *Template) NeedsPath() bool { return t.path }

// Fixed returns the parts of a Target that are the same for all requests: the scheme and the port. "" and 0 are what a
// variable has a part in.
func (t *Template) Fixed() (scheme string, port uint16) {
	first := t.parts[0]
	if first.of != noVariable {
		return "", 0 // the variable may have a scheme
	}
	scheme = schemes[HTTP]
	switch name, _, has := strings.Cut(first.text, "://"); {
	case has:
		scheme = strings.ToLower(name)
	case strings.Contains(t.text, "://"):
		return "", 0
	}
	last := t.parts[len(t.parts)-1]
	if last.of != noVariable {
		return scheme, 0
	}
	_, digits, has := strings.Cut(last.text[strings.LastIndexByte(last.text, ']')+1:], ":")
	if !has {
		return scheme, ports[schemeNamed(scheme)]
	}
	n, _ := strconv.ParseUint(digits, 10, 16)
	return scheme, uint16(n)
}

// Suggest returns an entry of a List that fits t, for messages: with a star for what requests name.
func Suggest(t *Template) string {
	if i := strings.LastIndexByte(t.text, '}'); t.parts[0].of == noVariable && strings.HasPrefix(t.text[i+1:], ".") {
		scheme, _, has := strings.Cut(t.parts[0].text, "://")
		if !has {
			scheme = schemes[HTTP]
		}
		entry := scheme + "://*" + strings.TrimSuffix(t.text[i+1:], "/")
		if _, err := ParseList(entry); err == nil {
			return entry
		}
	}
	return "http://*.svc.internal:8080"
}

// Append appends what t makes of the request h to dst. path is the path as routes see it, v the view of the request:
// see NeedsPath and NeedsView. More than a Target can have is left out.
func (t *Template) Append(dst []byte, h *message.Head, path []byte, v *lang.X) []byte {
	start := len(dst)
	for i := range t.parts {
		switch p := &t.parts[i]; p.of {
		case noVariable:
			dst = append(dst, p.text...)
		case hostVariable:
			dst = append(dst, h.Host()...)
		case labelVariable:
			dst = append(dst, piece(h.Host(), '.', p.at)...)
		case pathVariable:
			dst = append(dst, piece(path, '/', p.at+1)...)
		case headerVariable:
			if at := h.Find(p.text); at >= 0 {
				dst = append(dst, h.Value(at)...)
			}
		case cookieVariable:
			dst = append(dst, h.PeekCookie(p.text)...)
		case queryVariable:
			dst = h.AppendParameter(dst, p.text)
		case computedVariable:
			dst = t.value.AppendPart(dst, v, p.at)
		}
		if len(dst)-start > textMax {
			return dst[:start+textMax+1] // which is an error for certain
		}
	}
	return dst
}

// piece returns the nth piece of s between separators, from 1.
func piece(s []byte, separator byte, n int) []byte {
	for ; n > 0; n-- {
		end := 0
		for end < len(s) && s[end] != separator {
			end++
		}
		if n == 1 {
			return s[:end]
		}
		if end == len(s) {
			break
		}
		s = s[end+1:]
	}
	return nil
}
