package message

import (
	"bytes"
	"iter"
)

// All walks the fields that are not dropped, names and values, in the order they came. Both are borrowed.
func (h *Head) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for i := range h.Fields {
			if !h.Fields[i].Dropped() && !yield(h.Name(i), h.Value(i)) {
				return
			}
		}
	}
}

// Parameter returns the first value of the query that is called name, decoded, as url.ParseQuery reads it: what that
// refuses is passed over. It is "" where there is none, and then nothing is allocated.
func (h *Head) Parameter(name string) string {
	var room [64]byte
	return string(h.AppendParameter(room[:0], name))
}

// AppendParameter is Parameter, but for where the value is: it is appended to dst.
func (h *Head) AppendParameter(dst []byte, name string) []byte {
	for query := h.Query(); ; {
		pair, value, rest := cutParameter(query, name)
		if pair == nil {
			return dst
		}
		if text, ok := appendUnescaped(dst, value); ok && bytes.IndexByte(pair, ';') < 0 {
			return text
		}
		query = rest
	}
}

// CutParameter returns the first value of a query that is called name, as it is written, and the rest of the query
// after it. Both are borrowed. It passes over no value: what is malformed for one reader another one takes.
func CutParameter(query []byte, name string) (value, rest []byte, ok bool) {
	pair, value, rest := cutParameter(query, name)
	return value, rest, pair != nil
}

// cutParameter returns the name and the value together too, nil where there is none.
func cutParameter(query []byte, name string) (pair, value, rest []byte) {
	for len(query) > 0 {
		pair, query, _ = bytes.Cut(query, []byte{'&'})
		key, value, _ := bytes.Cut(pair, []byte{'='})
		if len(pair) > 0 && unescapesTo(key, name) {
			return pair, value, query
		}
	}
	return nil, nil, nil
}

// unescapesTo reports whether b, a part of a query, stands for s.
func unescapesTo(b []byte, s string) bool {
	n := 0
	for ; len(b) > 0; n++ {
		c, size, ok := unescapeByte(b)
		if !ok || n == len(s) || s[n] != c {
			return false
		}
		b = b[size:]
	}
	return n == len(s)
}

// appendUnescaped appends what b, a part of a query, stands for. It returns dst and false where a percent sign encodes
// nothing.
func appendUnescaped(dst, b []byte) ([]byte, bool) {
	if bytes.IndexByte(b, '%') < 0 && bytes.IndexByte(b, '+') < 0 {
		return append(dst, b...), true
	}
	text := dst
	for len(b) > 0 {
		c, size, ok := unescapeByte(b)
		if !ok {
			return dst, false
		}
		text, b = append(text, c), b[size:]
	}
	return text, true
}

// unescapeByte decodes the first byte that b, of a query, stands for.
func unescapeByte(b []byte) (c byte, size int, ok bool) {
	if b[0] == '+' {
		return ' ', 1, true
	}
	c, size = DecodePercent(b)
	return c, size, b[0] != '%' || size == 3
}

// Cookie returns the value of the first cookie called name (RFC 6265 §4.2), without quotation marks around it, as
// net/http reads it: a value that is malformed is passed over. It is "" where there is none, and then nothing is
// allocated.
func (h *Head) Cookie(name string) string { return string(h.PeekCookie(name)) }

// PeekCookie is Cookie, but for whose the value is. Borrowed.
func (h *Head) PeekCookie(name string) []byte {
	if !ValidName(name) {
		return nil
	}
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID != Cookie || f.Dropped() {
			continue
		}
		for rest := h.Value(i); len(rest) > 0; {
			var value []byte
			var ok bool
			if value, rest, ok = CutCookie(rest, name); ok && validCookie(value) {
				return value
			}
		}
	}
	return nil
}

// CutCookie returns the value of the first cookie called name in the value of a Cookie field, without blanks and
// quotation marks around it, and the rest of the field after it. Both are borrowed. It passes over no value, malformed
// or not. name has no blank, equals sign or semicolon.
func CutCookie(list []byte, name string) (value, rest []byte, ok bool) {
	for len(list) > 0 {
		if blank(list[0]) {
			list = list[1:]
			continue
		}
		named := len(list) >= len(name) && string(list[:len(name)]) == name
		if named {
			value = list[len(name):]
			for len(value) > 0 && blank(value[0]) {
				value = value[1:]
			}
			named = len(value) == 0 || value[0] == '=' || value[0] == ';'
		}
		if !named {
			i := bytes.IndexByte(list, ';')
			if i < 0 {
				break
			}
			list = list[i+1:]
			continue
		}
		if i := bytes.IndexByte(value, ';'); i >= 0 {
			value, rest = value[:i], value[i+1:]
		}
		if len(value) > 0 {
			value = value[1:]
		}
		value = bytes.Trim(value, " \t") // as many applications do
		if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
			value = value[1 : n-1]
		}
		return value, rest, true
	}
	return nil, nil, false
}

// validCookie accepts the bytes of a cookie's value, and blanks and commas, which many applications put there.
func validCookie(value []byte) bool {
	for _, c := range value {
		if c < ' ' || c >= 0x7f || c == '"' || c == ';' || c == '\\' {
			return false
		}
	}
	return true
}

// AddVary adds name, the name of a field of requests, to Vary, unless it is there.
func (h *Head) AddVary(name string) {
	for e := range h.Elements(Vary) {
		if string(e) == "*" || EqualFold(e, name) {
			return
		}
	}
	h.AddID(Vary, "Vary", name)
}
