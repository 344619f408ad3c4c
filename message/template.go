package message

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Template is a text with variables of a request: {path} and {query} as they came, {host} without its port, {scheme},
// {method}, and {rest}, which its user gives. Its output has only characters of a request target: the template has no
// others, and the codec lets none in.
// Immutable.
type Template struct {
	parts []templatePart
	query bool // the query of the request follows
	local bool // it makes a path: it must not come to begin with two slashes
	host  bool // it has {host}
	rest  bool // it has {rest}
	root  bool // the first {rest} is where a path begins: it is "/" at least
}

// NeedsHost reports whether t can only be used for a request that has an authority.
func (t *Template) NeedsHost() bool { return t.host }

// HasRest reports whether t has {rest}.
func (t *Template) HasRest() bool { return t.rest }

// templatePart is a text or a variable.
type templatePart struct {
	text     string
	variable templateVariable
}

type templateVariable uint8

const (
	noVariable templateVariable = iota
	pathVariable
	restVariable
	queryVariable
	hostVariable
	schemeVariable
	methodVariable
)

var templateNames = [...]string{
	pathVariable: "path", restVariable: "rest", queryVariable: "query", hostVariable: "host",
	schemeVariable: "scheme", methodVariable: "method",
}

// TemplateVariables returns the names of the variables that a Template may have, in the order of messages.
func TemplateVariables() []string { return slices.Clone(templateNames[pathVariable:]) }

// variableNamed returns the variable with that name; noVariable where there is none.
func variableNamed(name string) templateVariable {
	return templateVariable(max(slices.Index(templateNames[:], name), int(noVariable)))
}

// unknownVariable returns the error for a name that no variable has.
func unknownVariable(name string) error {
	names := TemplateVariables()
	last := len(names) - 1
	return fmt.Errorf("there is no {%.32s}; use {%s} or {%s}", name, strings.Join(names[:last], "}, {"), names[last])
}

// Bounds of a template.
const (
	templateMax      = 2048 // bytes
	templatePartsMax = 32
)

// What is wrong with a template.
var (
	errTemplateLong      = errors.New("longer than 2048 bytes")
	errTemplateParts     = errors.New("more than 32 parts")
	errTemplateBrace     = errors.New("a brace begins or ends no variable")
	errTemplateChar      = errors.New("blanks, quotes, control characters and the like are percent-encoded")
	errTemplatePath      = errors.New("a path begins with \"/\", \"{path}\" or \"{rest}\"")
	errTemplateFragment  = errors.New("a path has no \"#\"")
	errTemplateLocation  = errors.New("write a URL with http:// or https://, or a path")
	errTemplateAuthority = errors.New("the host of a URL is a text or {host}, and a path or its end follows")
)

// ParsePath parses a template of a path. The query of the request follows what it makes, unless it has a "?" or {query}
// itself; one that ends with "?" takes the query away.
func ParsePath(text string) (*Template, error) {
	t, err := parseTemplate(text)
	if err != nil {
		return nil, err
	}
	t.root = strings.HasPrefix(text, "{rest}")
	if !strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "{path}") && !t.root {
		return nil, errTemplatePath
	}
	if strings.Contains(text, "#") {
		return nil, errTemplateFragment
	}
	t.local = true
	return t, nil
}

// ParseLocation parses a template of a URL or a path, as Location has it. A request chooses where in the place that is
// named it leads, never the place. The query is kept as ParsePath says.
func ParseLocation(text string) (*Template, error) {
	t, err := parseTemplate(text)
	if err != nil {
		return nil, err
	}
	rest, found := "", false
	for _, scheme := range []string{"http://", "https://", "{scheme}://"} {
		if rest, found = strings.CutPrefix(text, scheme); found {
			break
		}
	}
	if !found {
		if rest, found = strings.CutPrefix(text, "//"); !found {
			t.root = strings.HasPrefix(text, "{rest}")
			t.local = strings.HasPrefix(text, "/") || strings.HasPrefix(text, "{path}") || t.root
			if !t.local {
				return nil, errTemplateLocation
			}
			return t, nil
		}
	}
	t.root, err = checkLocationHost(rest)
	return t, err
}

// checkLocationHost checks that the template itself ends the authority at the start of s, so that no request can extend
// it. It reports whether {rest} follows.
func checkLocationHost(s string) (rest bool, err error) {
	s, named := strings.CutPrefix(s, "{host}")
	end := strings.IndexAny(s, "/?#{")
	if end < 0 {
		end = len(s)
	}
	if end == 0 && !named {
		return false, errTemplateAuthority
	}
	rest = strings.HasPrefix(s[end:], "{rest}")
	if strings.HasPrefix(s[end:], "{") && !strings.HasPrefix(s[end:], "{path}") && !rest {
		return false, errTemplateAuthority
	}
	if strings.ContainsAny(s[:end], "@\\%") {
		return false, errTemplateAuthority
	}
	return rest, nil
}

// parseTemplate cuts text into parts.
func parseTemplate(text string) (*Template, error) {
	if len(text) > templateMax {
		return nil, errTemplateLong
	}
	t := &Template{query: !strings.ContainsAny(text, "?#") && !strings.Contains(text, "{query}")}
	for rest := text; rest != ""; {
		brace := strings.IndexAny(rest, "{}")
		if brace < 0 {
			brace = len(rest)
		}
		for _, c := range []byte(rest[:brace]) {
			if c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`|", c) >= 0 {
				return nil, errTemplateChar
			}
		}
		if brace > 0 {
			t.parts = append(t.parts, templatePart{text: rest[:brace]})
		}
		if rest = rest[brace:]; rest == "" {
			break
		}
		name, behind, found := strings.Cut(rest[1:], "}")
		if rest[0] == '}' || !found {
			return nil, errTemplateBrace
		}
		v := variableNamed(name)
		if v == noVariable {
			return nil, unknownVariable(name)
		}
		t.parts = append(t.parts, templatePart{variable: v})
		t.host = t.host || v == hostVariable
		t.rest = t.rest || v == restVariable
		rest = behind
	}
	if len(t.parts) > templatePartsMax {
		return nil, errTemplateParts
	}
	return t, nil
}

// Append appends what t makes of the request h to dst, which may be the room after the bytes of h. rest is what {rest}
// stands for.
func (t *Template) Append(dst []byte, h *Head, scheme string, rest []byte) []byte {
	start, root := len(dst), t.root
	for i := range t.parts {
		switch p := &t.parts[i]; p.variable {
		case noVariable:
			dst = append(dst, p.text...)
		case pathVariable:
			path := h.Path()
			if len(path) == 0 || path[0] != '/' { // "*", or the authority of CONNECT
				path = slash
			}
			dst = append(dst, path...)
		case queryVariable:
			dst = append(dst, h.Query()...)
		case hostVariable:
			dst = append(dst, h.Host()...)
		case schemeVariable:
			dst = append(dst, scheme...)
		case methodVariable:
			dst = append(dst, h.MethodBytes()...)
		case restVariable:
			if root && (len(rest) == 0 || rest[0] != '/') {
				dst = append(dst, '/')
			}
			root = false
			dst = append(dst, rest...)
		}
	}
	if len(dst) > start && dst[len(dst)-1] == '?' {
		dst = dst[:len(dst)-1]
	}
	if q := h.Query(); t.query && len(q) > 0 {
		dst = append(append(dst, '?'), q...)
	}
	if t.local {
		dst = OneSlash(dst, start)
	}
	return dst
}

var slash = []byte("/")

// OneSlash makes one of the slashes at dst[start:], be they turned either way: to a browser, and to many a server, a
// path that begins with two of them is a host.
func OneSlash(dst []byte, start int) []byte {
	n := start
	for n < len(dst) && (dst[n] == '/' || dst[n] == '\\') {
		n++
	}
	if n-start < 2 {
		return dst
	}
	dst[start] = '/'
	return append(dst[:start+1], dst[n:]...)
}
