package page

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/message"
)

// Page is a body of one's own, with variables.
// Immutable.
type Page struct {
	contentType string
	parts       []part
	syntax      syntax
}

// part is a piece of a Page: text, and the variable after it.
type part struct {
	text     []byte
	variable string // "": none
}

// variables are what a Page may have in braces: the status, its phrase, the number of the request, and the host that it
// is for. All else in braces is text.
var variables = []string{"status", "reason", "request_id", "host"}

// errType refuses a content type that is none.
var errType = errors.New("is no content type")

// New makes a Page of body, which is of contentType. Variables are escaped as that type needs it: in HTML for text and
// for quoted attributes, in JSON for strings.
func New(contentType, body string) (*Page, error) {
	major, minor, _ := strings.Cut(contentType, "/")
	if !message.ValidName(major) || minor == "" || !message.ValidValue(contentType) {
		return nil, fmt.Errorf("%q %w", contentType, errType)
	}
	p := &Page{contentType: contentType, syntax: syntaxOf(contentType)}
	for body != "" {
		at, name := len(body), ""
		for _, v := range variables {
			if i := strings.Index(body, "{"+v+"}"); i >= 0 && i < at {
				at, name = i, v
			}
		}
		p.parts = append(p.parts, part{[]byte(body[:at]), name})
		if body = body[at:]; name != "" {
			body = body[len(name)+2:]
		}
	}
	return p, nil
}

// append appends the page for f.
func (p *Page) append(dst []byte, f *Facts) []byte {
	for _, part := range p.parts {
		dst = append(dst, part.text...)
		switch part.variable {
		case "status":
			dst = strconv.AppendInt(dst, int64(f.Status), 10)
		case "reason":
			dst = append(dst, h1.Reason(f.Status)...)
		case "request_id":
			dst = appendEscaped(dst, f.ID, p.syntax) // it may be the client's
		case "host":
			dst = appendEscaped(dst, string(f.Host[:min(len(f.Host), hostMax)]), p.syntax)
		}
	}
	return dst
}

// hostMax is more than any host that resolves.
const hostMax = 256

// Set has the pages for some statuses, or for whole classes of them. The zero value has none.
// Immutable once it is in use.
type Set struct {
	// Else has the pages for all that this Set lacks; nil: there are no others.
	Else *Set

	pages map[int][]*Page // by status, or by class: 4 for 4xx
}

// errStatus refuses what no page can be for.
var errStatus = errors.New("is neither a status from 400 to 599 nor 4xx nor 5xx")

// Add adds a page for status, "404", or for a class, "5xx", where a status has none of its own. Of several for one
// status each client gets the page that it prefers by its type.
func (s *Set) Add(status string, p *Page) error {
	key, ok := keyOf(status)
	if !ok {
		return fmt.Errorf("%q %w", status, errStatus)
	}
	if s.pages == nil {
		s.pages = make(map[int][]*Page)
	}
	s.pages[key] = append(s.pages[key], p)
	return nil
}

// keyOf returns where the pages for a status or a class are.
func keyOf(status string) (int, bool) {
	switch status {
	case "4xx":
		return 4, true
	case "5xx":
		return 5, true
	}
	n, err := strconv.Atoi(status)
	return n, err == nil && n >= 400 && n <= 599 && len(status) == 3
}

// find returns the page for status that the client of h prefers among those that it takes, nil for none.
func (s *Set) find(status int, h *message.Head) *Page {
	for ; s != nil; s = s.Else {
		pages := s.pages[status]
		if pages == nil {
			pages = s.pages[status/100]
		}
		best := rank{}
		var chosen *Page
		for _, p := range pages {
			if r := rankOf(h, p.contentType); r.quality > 0 && (chosen == nil || r.above(best)) {
				best, chosen = r, p
			}
		}
		if chosen != nil {
			return chosen
		}
	}
	return nil
}

// types are the types of the bodies of this package. The text comes first: it is for clients that take anything, as
// curl does. Browsers say that they want HTML.
var types = [...]string{typeText, typeHTML, typeJSON, typeProblem}

// Append appends the body for f, and returns its type: a page of the first of sets that has one in a type that the
// client of the request h takes, else what Accept prefers of the bodies of this package. A nil h is a request of which
// nothing is known; a nil Set has no pages.
func Append(dst []byte, f *Facts, h *message.Head, sets ...*Set) (contentType string, body []byte) {
	if contentType, body = AppendOwn(dst, f, h, sets...); contentType != "" {
		return contentType, body
	}
	best, chosen := rank{}, typeText
	for _, t := range types {
		if r := rankOf(h, t); r.quality > 0 && r.above(best) {
			best, chosen = r, t
		}
	}
	switch chosen {
	case typeHTML:
		dst = appendHTML(dst, f)
	case typeText:
		dst = appendText(dst, f)
	default:
		dst = appendJSON(dst, f)
	}
	return chosen, dst
}

// AppendOwn is Append for pages of sets alone. The type is empty where none is for the client.
func AppendOwn(dst []byte, f *Facts, h *message.Head, sets ...*Set) (contentType string, body []byte) {
	for _, s := range sets {
		if p := s.find(f.Status, h); p != nil {
			return p.contentType, p.append(dst, f)
		}
	}
	return "", dst
}

// syntax is what a text is put into.
type syntax uint8

const (
	inText syntax = iota
	inHTML
	inJSON
)

// syntaxOf returns the syntax of a type.
func syntaxOf(contentType string) syntax {
	t, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch t = strings.TrimSpace(t); {
	case t == typeJSON, strings.HasSuffix(t, "+json"):
		return inJSON
	case t == "text/plain":
		return inText
	}
	return inHTML
}

// appendEscaped appends text so that it is text in s, whatever it holds: in the content and the quoted attributes of
// HTML, and in strings of JSON. Control characters but line ends are left out everywhere, as is what is no UTF-8.
func appendEscaped(dst []byte, text string, s syntax) []byte {
	for i, c := range text {
		switch {
		case c < ' ' && c != '\n', c == 0x7f, c == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
		case s == inHTML && strings.ContainsRune("<>&\"'`\\", c):
			dst = append(strconv.AppendInt(append(dst, "&#"...), int64(c), 10), ';')
		case s == inJSON && c == '\n':
			dst = append(dst, `\n`...)
		case s == inJSON && (c == '"' || c == '\\'):
			dst = append(dst, '\\', byte(c))
		case s == inJSON && (c == '<' || c == '>' || c == '&'): // it may be looked at as HTML
			dst = strconv.AppendInt(append(dst, `\u00`...), int64(c), 16)
		default:
			dst = utf8.AppendRune(dst, c)
		}
	}
	return dst
}
