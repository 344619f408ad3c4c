package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// parseJSON builds the tree of src: one object, strictly as RFC 8259 has it. whole is false when something was left
// out.
func parseJSON(src *source, rep *Report) (root *node, whole bool) {
	b := &jsonBuilder{src: src, rep: rep, decoder: json.NewDecoder(bytes.NewReader(src.text))}
	b.decoder.UseNumber()
	root = newTable(originHeader)
	token, at, ok := b.token()
	switch {
	case !ok:
		return root, false
	case token != json.Delim('{'):
		b.fault(at, `write { "key": value }`, "the file is not an object of keys and values")
		return root, false
	}
	if b.object(root, 0) {
		if _, err := b.decoder.Token(); !errors.Is(err, io.EOF) {
			from := b.skip(int(b.decoder.InputOffset()) - 1)
			b.fault(b.span(from, from+1), "", "something stands behind the end of the object")
		}
	}
	return root, !b.broken
}

// jsonBuilder turns tokens into nodes. After a syntax error it stops.
type jsonBuilder struct {
	src     *source
	rep     *Report
	decoder *json.Decoder
	broken  bool
}

func (b *jsonBuilder) span(from, to int) span {
	from = max(0, min(from, len(b.src.text)-1))
	return span{b.src, from, max(from, min(to, len(b.src.text)))}
}

func (b *jsonBuilder) fault(at span, hint, format string, args ...any) {
	b.broken = true
	b.rep.error(at, hint, format, args...)
}

// skip returns the offset of the first byte from at on that begins a token.
func (b *jsonBuilder) skip(at int) int {
	at = max(at, 0)
	for at < len(b.src.text) && strings.IndexByte(" \t\r\n,:", b.src.text[at]) >= 0 {
		at++
	}
	return at
}

// token returns the next token and where it stands.
func (b *jsonBuilder) token() (json.Token, span, bool) {
	from := b.skip(int(b.decoder.InputOffset()))
	token, err := b.decoder.Token()
	at := b.span(from, int(b.decoder.InputOffset()))
	if err == nil {
		return token, at, true
	}
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		at = b.span(len(b.src.text)-1, len(b.src.text))
		b.fault(at, "", "the file ends in the middle")
	case errors.As(err, &syntax):
		place := b.place(syntax, from)
		b.fault(b.span(place, place+1), b.hint(place, syntax.Error()), "%s", syntax.Error())
	default:
		b.fault(at, "", "%s", err.Error())
	}
	return nil, at, false
}

// place returns the byte that a syntax error is about: the decoder counts it inside a value, not between values.
func (b *jsonBuilder) place(err *json.SyntaxError, from int) int {
	at := int(err.Offset)
	for _, i := range []int{at - 1, at} {
		if i < from || i >= len(b.src.text) {
			continue
		}
		if strings.HasPrefix(err.Error(), "invalid character "+quoteByte(b.src.text[i])) {
			return i
		}
	}
	return max(from, at-1)
}

var jsonWord = regexp.MustCompile(`^[A-Za-z]+`)

// hint says what the byte at place is likely to mean where it must not stand.
func (b *jsonBuilder) hint(place int, message string) string {
	if place >= len(b.src.text) {
		return ""
	}
	switch c := b.src.text[place]; {
	case c == '}' || c == ']':
		return "the last member has no comma behind it"
	case c == '/' || c == '#':
		return "JSON has no comments"
	case c == '\'':
		return "names and strings stand in double quotes"
	case c == '"' && strings.Contains(message, "after object key:value pair"):
		return "a comma is missing, or a quotation mark"
	}
	if word := jsonWord.Find(b.src.text[place:]); word != nil {
		if hint := truthHint(string(word)); hint != "" {
			return hint
		}
		return "names and strings stand in double quotes"
	}
	return ""
}

// quoteByte writes a byte as the messages of encoding/json do.
func quoteByte(c byte) string {
	if c == '\'' || c == '"' {
		return "'" + map[byte]string{'\'': `\'`, '"': `"`}[c] + "'"
	}
	s := strconv.Quote(string(rune(c)))
	return "'" + s[1:len(s)-1] + "'"
}

// object reads members up to the closing brace. It returns false after a syntax error.
func (b *jsonBuilder) object(table *node, depth int) bool {
	for b.decoder.More() {
		token, at, ok := b.token()
		if !ok {
			return false
		}
		name, _ := token.(string)
		v, ok := b.value(depth + 1)
		if !ok {
			return false
		}
		if old := table.child(name); old != nil {
			b.rep.conflict(at, old.head, "first at "+old.head.seenFrom(at), "%q is set twice", name)
			continue
		}
		v.key, v.head, v.name = name, at, at
		table.add(v)
	}
	_, _, ok := b.token()
	return ok
}

func (b *jsonBuilder) value(depth int) (*node, bool) {
	token, at, ok := b.token()
	if !ok {
		return nil, false
	}
	if depth > nestingMax {
		b.fault(at, "", "nested more than %d levels deep", nestingMax)
		return nil, false
	}
	v := &node{origin: originValue, value: at}
	switch t := token.(type) {
	case json.Delim:
		v.kind = kindTable
		read := b.object
		if t == '[' {
			v.kind, read = kindArray, b.array
		}
		ok = read(v, depth)
		v.value = b.span(at.from, int(b.decoder.InputOffset()))
	case string:
		v.kind, v.text = kindString, t
	case bool:
		v.kind, v.truth = kindBool, t
	case json.Number:
		ok = b.number(v, t.String())
	default:
		v.kind = kindNull
	}
	return v, ok
}

func (b *jsonBuilder) array(list *node, depth int) bool {
	for b.decoder.More() {
		v, ok := b.value(depth + 1)
		if !ok {
			return false
		}
		v.head, v.name = v.value, v.value
		list.children = append(list.children, v)
	}
	_, _, ok := b.token()
	return ok
}

func (b *jsonBuilder) number(v *node, text string) bool {
	v.kind, v.text = kindInt, text
	var err error
	if strings.ContainsAny(text, ".eE") {
		v.kind = kindFloat
		v.fraction, err = strconv.ParseFloat(text, 64)
	} else {
		v.integer, err = strconv.ParseInt(text, 10, 64)
	}
	if err != nil {
		b.fault(v.value, "", "the number is too large")
	}
	return err == nil
}
