package syntax

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
)

// parseJSON builds the tree of src: one object, strictly as RFC 8259 has it. whole is false when something was left
// out.
func parseJSON(src *Source, rep *Report) (root *Node, whole bool) {
	b := &jsonBuilder{builder: builder{src: src, rep: rep}, decoder: json.NewDecoder(bytes.NewReader(src.Text))}
	b.decoder.UseNumber()
	root = newTable(OriginHeader)
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
			b.fault(b.span(from, from+1), "", "something stands after the end of the object")
		}
	}
	return root, !b.broken
}

// jsonBuilder turns tokens into nodes. After a syntax error it stops.
type jsonBuilder struct {
	builder
	decoder *json.Decoder
}

// skip returns the offset of the first byte from at on that begins a token.
func (b *jsonBuilder) skip(at int) int {
	at = max(at, 0)
	for at < len(b.src.Text) && strings.IndexByte(" \t\r\n,:", b.src.Text[at]) >= 0 {
		at++
	}
	return at
}

// token returns the next token and where it stands.
func (b *jsonBuilder) token() (json.Token, Span, bool) {
	from := b.skip(int(b.decoder.InputOffset()))
	token, err := b.decoder.Token()
	at := b.span(from, int(b.decoder.InputOffset()))
	if err == nil {
		return token, at, true
	}
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		at = b.span(len(b.src.Text)-1, len(b.src.Text))
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
		if i < from || i >= len(b.src.Text) {
			continue
		}
		if strings.HasPrefix(err.Error(), "invalid character "+quoteByte(b.src.Text[i])) {
			return i
		}
	}
	return max(from, at-1)
}

var jsonWord = compiled(`^[A-Za-z]+`)

// hint says what the byte at place is likely to mean where it must not stand.
func (b *jsonBuilder) hint(place int, message string) string {
	if place >= len(b.src.Text) {
		return ""
	}
	switch c := b.src.Text[place]; {
	case c == '}' || c == ']':
		return "the last member has no comma after it"
	case c == '/' || c == '#':
		return "JSON has no comments"
	case c == '\'':
		return "names and strings stand in double quotes"
	case c == '"' && strings.Contains(message, "after object key:value pair"):
		return "a comma is missing, or a quotation mark"
	}
	if word := jsonWord().Find(b.src.Text[place:]); word != nil {
		if hint := TruthHint(string(word)); hint != "" {
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
func (b *jsonBuilder) object(table *Node, depth int) bool {
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
		if old := table.Child(name); old != nil {
			b.rep.Conflictf(at, old.Head, "first at "+old.Head.RelativeTo(at), "%q is set twice", name)
			continue
		}
		v.Key, v.Head, v.Name = name, at, at
		table.Add(v)
	}
	_, _, ok := b.token()
	return ok
}

func (b *jsonBuilder) value(depth int) (*Node, bool) {
	token, at, ok := b.token()
	if !ok {
		return nil, false
	}
	if depth > nestingMax {
		b.fault(at, "", "nested more than %d levels deep", nestingMax)
		return nil, false
	}
	v := &Node{Origin: OriginValue, Value: at}
	switch t := token.(type) {
	case json.Delim:
		v.Kind = KindTable
		read := b.object
		if t == '[' {
			v.Kind, read = KindList, b.array
		}
		ok = read(v, depth)
		v.Value = b.span(at.From, int(b.decoder.InputOffset()))
	case string:
		v.Kind, v.Text = KindString, t
	case bool:
		v.Kind, v.Truth = KindBool, t
	case json.Number:
		ok = b.number(v, t.String())
	default:
		v.Kind = KindNull
	}
	return v, ok
}

func (b *jsonBuilder) array(list *Node, depth int) bool {
	for b.decoder.More() {
		v, ok := b.value(depth + 1)
		if !ok {
			return false
		}
		v.Head, v.Name = v.Value, v.Value
		list.Children = append(list.Children, v)
	}
	_, _, ok := b.token()
	return ok
}

func (b *jsonBuilder) number(v *Node, text string) bool {
	v.Kind, v.Text = KindInt, text
	var err error
	if strings.ContainsAny(text, ".eE") {
		v.Kind = KindFloat
		v.Fraction, err = strconv.ParseFloat(text, 64)
	} else {
		v.Integer, err = strconv.ParseInt(text, 10, 64)
	}
	if err != nil {
		b.fault(v.Value, "", "the number is too large")
	}
	return err == nil
}
