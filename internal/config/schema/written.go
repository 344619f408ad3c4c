package schema

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/plugin/tags"
)

// Written returns what the files say, merged, as an object of JSON in the order of the files. Values of keys that are
// secret are hidden, as are passwords in URLs, fields that carry credentials, and keys that no section has. A ${…}
// stands as it is written: a secret that is quoted by one is not shown.
func (doc *Document) Written() []byte {
	w := writer{}
	if doc.root == nil {
		return []byte("{}")
	}
	w.table(doc.root, doc.schema.root, false)
	return w.out.Bytes()
}

// writer renders a tree without its secrets.
// Owned by its goroutine.
type writer struct{ out bytes.Buffer }

// table renders n, which stands at p; nil: below a value, where keys are names that the user has chosen.
func (w *writer) table(n *syntax.Node, p *place, hide bool) {
	w.object(n, func(c *syntax.Node) {
		switch at := childOf(p, c.Key); {
		case p == nil:
			w.value(c, nil, hide || NamesSecret(c.Key))
		case at == nil:
			w.value(c, nil, true)
		default:
			w.value(c, at, hide)
		}
	})
}

// childOf returns the place of a key; nil below values.
func childOf(p *place, key string) *place {
	if p == nil {
		return nil
	}
	return p.children[key]
}

// value renders n, which stands at p.
func (w *writer) value(n *syntax.Node, p *place, hide bool) {
	isKey := p != nil && p.key != nil && (p.children == nil || n.Kind != syntax.KindTable)
	if isKey {
		hide, p = hide || p.key.Secret, nil
	}
	switch n.Kind {
	case syntax.KindTable:
		if p != nil && p.section != nil && p.shape == Named {
			w.named(n, p, hide)
			return
		}
		w.table(n, p, hide)
	case syntax.KindList:
		w.out.WriteByte('[')
		for i, c := range n.Children {
			if i > 0 {
				w.out.WriteByte(',')
			}
			w.value(c, p, hide)
		}
		w.out.WriteByte(']')
	default:
		w.scalar(n, hide)
	}
}

// named renders the entries of a section of that shape, whose names are no keys.
func (w *writer) named(n *syntax.Node, p *place, hide bool) {
	w.object(n, func(c *syntax.Node) {
		switch bare := p.children[p.section.Bare]; {
		case c.Kind == syntax.KindTable:
			w.table(c, p.of(c), hide)
		case bare != nil:
			w.value(c, bare, hide)
		default:
			w.value(c, nil, true)
		}
	})
}

// object renders the keys of n, and their values by value.
func (w *writer) object(n *syntax.Node, value func(c *syntax.Node)) {
	w.out.WriteByte('{')
	for i, c := range n.Children {
		if i > 0 {
			w.out.WriteByte(',')
		}
		w.text(c.Key)
		w.out.WriteByte(':')
		value(c)
	}
	w.out.WriteByte('}')
}

// scalar renders a string, a number, a boolean or a date.
func (w *writer) scalar(n *syntax.Node, hide bool) {
	switch {
	case n.Expanded:
		raw := unquoted(n)
		if hide && !reference().MatchString(raw) {
			raw = tags.Hidden
		}
		w.text(WithoutCredentials(raw))
	case n.Kind == syntax.KindNull:
		w.out.WriteString("null")
	case hide:
		w.text(tags.Hidden)
	case n.Kind == syntax.KindBool:
		w.any(n.Truth)
	case n.Kind == syntax.KindInt:
		w.any(n.Integer)
	case n.Kind == syntax.KindFloat:
		w.any(n.Fraction)
	default:
		w.text(WithoutCredentials(n.Text))
	}
}

func (w *writer) text(s string) { w.any(s) }

// any writes a value of Go, none of which fails.
func (w *writer) any(v any) {
	e := json.NewEncoder(&w.out)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		w.out.WriteString("null")
		return
	}
	w.out.Truncate(w.out.Len() - 1) // the line end
}

// reference matches a string that is one ${…} and nothing else, without a default, which could be a secret.
var reference = syntax.Expr(`^\$\{(?:file:[^}]*|\w+)\}$`)

// unquoted returns a string as the file has it, without its quotes.
func unquoted(n *syntax.Node) string {
	at := n.Value
	if !at.IsValid() || at.From < 0 || at.To > len(at.Source.Text) || at.From >= at.To {
		return tags.Hidden
	}
	raw := strings.TrimSpace(string(at.Source.Text[at.From:at.To]))
	for _, quote := range []string{`"""`, "'''", `"`, "'"} {
		if len(raw) >= 2*len(quote) && strings.HasPrefix(raw, quote) && strings.HasSuffix(raw, quote) {
			return raw[len(quote) : len(raw)-len(quote)]
		}
	}
	return raw
}

var (
	parameter = syntax.Expr(`[?&;]([\w.-]+)=[^&;#\s"']*`)
	preset    = syntax.Expr(`\$\{(\w+):-[^}]*\}`)
)

// WithoutCredentials hides the user and the password in URLs, parameters that are called as credentials are, and the
// default of a variable.
func WithoutCredentials(s string) string {
	if strings.Contains(s, "@") {
		s = syntax.Userinfo().ReplaceAllString(s, "${1}"+tags.Hidden+"@")
	}
	if strings.Contains(s, "=") {
		s = parameter().ReplaceAllStringFunc(s, func(p string) string {
			if name, _, _ := strings.Cut(p, "="); NamesSecret(name[1:]) {
				return name + "=" + tags.Hidden
			}
			return p
		})
	}
	if strings.Contains(s, ":-") {
		s = preset().ReplaceAllString(s, "$${${1}:-"+tags.Hidden+"}")
	}
	return s
}

// SecretNames are names of fields and parameters that carry credentials, for the preset of "redact" of [log] too.
var SecretNames = strings.Fields(`auth jwt key otp pass passwd pwd session sig authorization cookie token secret
	password apikey accesskey accesskeyid accesstoken clientsecret idtoken refreshtoken signature credential`)

const secretWords = 9 // the first of SecretNames, which harmless names have as a part

// publicKeys are names of keys that tell things apart and open nothing: Idempotency-Key, Sec-WebSocket-Key.
var publicKeys = syntax.Expr(`(?i)(idempotency|surrogate|websocket|cache|public)[-_.]?key`)

var (
	spaces  = strings.NewReplacer("-", " ", "_", " ", ".", " ")
	joiners = strings.NewReplacer("-", "", "_", "", ".", "")
)

// NamesSecret reports whether a name that the user has chosen, of a field or of a parameter, is one for credentials.
func NamesSecret(name string) bool {
	name = publicKeys().ReplaceAllString(strings.ToLower(name), "")
	words, joined := strings.Fields(spaces.Replace(name)), joiners.Replace(name)
	return slices.ContainsFunc(words, func(w string) bool { return slices.Contains(SecretNames[:secretWords], w) }) ||
		slices.ContainsFunc(SecretNames[secretWords:], func(w string) bool { return strings.Contains(joined, w) })
}
