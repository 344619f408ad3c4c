package lang

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/edge-proxy/edge/message"
)

// Bounds of a JSON text: what reaches them is none here.
const (
	jsonLevels    = 64      // of objects and lists in each other
	jsonNumberMax = 1 << 10 // bytes of a number
)

// json returns the value in a JSON text that the names of a path with dots lead to: texts decoded, objects and lists
// as they are written, and null as what is missing. Of members with one name the last counts, as for most readers.
// In the begin of a body that was cut, it looks at the members that are whole before the cut.
func (x *X) json(text, path []byte) []byte {
	switch v := x.jsonValue(text, path); {
	case string(v) == "null":
		return nil
	case len(v) == 0 || v[0] != '"':
		return v
	case bytes.IndexByte(v, '\\') < 0:
		return v[1 : len(v)-1]
	default:
		return x.State.Keep(appendJSONText(x.State.Room(), v))
	}
}

// jsonValue returns the value as it is written. Rules ask one body one after the other, and a path in its readings: the
// last answer about a whole body is kept.
func (x *X) jsonValue(text, path []byte) []byte {
	b := x.Body
	after, ofBody := b.tail(text)
	keeps := ofBody && len(after) == 0 && len(text) == len(b.Bytes) && len(path) > 0 && len(path) < len(b.asked)
	if keeps && string(b.asked[:len(path)]) == string(path) && b.asked[len(path)] == 0 {
		return b.found
	}
	r := jsonReader{b: text, cut: ofBody && b.Cut && len(bytes.Trim(after, jsonBlanks)) == 0}
	where := jsonThere
	if len(path) > 0 {
		where = jsonOnward
	}
	whole := r.value(path, where) && r.over()
	if missed := !whole && r.cut && r.short; missed {
		b.Missed = b.Missed || r.found == nil || string(r.found) == "null"
	} else if !whole {
		r.found = nil
	}
	if keeps {
		b.asked, b.found = [len(b.asked)]byte{}, r.found
		copy(b.asked[:], path)
	}
	return r.found
}

const jsonBlanks = " \t\r\n"

// jsonWay says how a value lies to the value that is looked for.
type jsonWay uint8

const (
	jsonAside  jsonWay = iota
	jsonOnward         // it may be inside
	jsonThere          // it is the one
)

// jsonReader reads a JSON text (RFC 8259) once, from its first byte to the last one, and finds a value on its way.
type jsonReader struct {
	b     []byte
	at    int
	depth int
	cut   bool // more follows b
	short bool // b ended inside a value
	found []byte
}

// value passes a value, with the blanks before it. It reports false where there is none, or not all of it.
func (r *jsonReader) value(path []byte, where jsonWay) (ok bool) {
	c := r.next()
	begin := r.at
	switch c {
	case '{':
		ok = r.members('}', path, where)
	case '[':
		ok = r.members(']', path, where)
	case '"':
		ok = r.text()
	case 't':
		ok = r.word("true")
	case 'f':
		ok = r.word("false")
	case 'n':
		ok = r.word("null")
	default:
		if ok = r.number(); ok && r.cut && r.at == len(r.b) { // it may go on
			r.short, ok = true, false
		}
	}
	if ok && where == jsonThere {
		r.found = r.b[begin:r.at]
	}
	return ok
}

// next passes blanks, and returns the byte after them without passing it; 0: the text is over.
func (r *jsonReader) next() byte {
	for ; r.at < len(r.b); r.at++ {
		if c := r.b[r.at]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	r.short = true
	return 0
}

// over reports whether nothing but blanks follows.
func (r *jsonReader) over() bool { return r.next() == 0 && r.at == len(r.b) }

// members passes an object, or a list, which ends with a bracket.
func (r *jsonReader) members(bracket byte, path []byte, where jsonWay) bool {
	name, rest, more := bytes.Cut(path, []byte{'.'})
	inside, index := jsonThere, int64(-1)
	if more {
		inside = jsonOnward
	}
	if n, ok := message.ParseLength(name); ok && where == jsonOnward && bracket == ']' {
		index = n
	}
	r.at++
	if r.depth++; r.depth == jsonLevels {
		return false
	}
	for n := int64(0); ; n++ {
		c := r.next()
		if c == bracket && n == 0 {
			break
		}
		is := n == index
		if bracket == '}' {
			begin := r.at
			if c != '"' || !r.text() {
				return false
			}
			is = where == jsonOnward && spells(r.b[begin:r.at], name)
			if r.next() != ':' {
				return false
			}
			r.at++
		}
		to := jsonAside
		if is {
			to, r.found = inside, nil
		}
		if !r.value(rest, to) {
			return false
		}
		if c = r.next(); c == bracket {
			break
		} else if c != ',' {
			return false
		}
		r.at++
	}
	r.at++
	r.depth--
	return true
}

// spells reports whether a text in quotes stands for name. An escape has up to six bytes for one.
func spells(quoted, name []byte) bool {
	written := quoted[1 : len(quoted)-1]
	if len(written) < len(name) || len(written) > 6*len(name) {
		return false
	}
	if len(written) == len(name) {
		return string(written) == string(name) && bytes.IndexByte(written, '\\') < 0
	}
	var room [256]byte // a longer name is copied elsewhere
	return bytes.IndexByte(written, '\\') >= 0 && string(appendJSONText(room[:0], quoted)) == string(name)
}

// text passes a text in quotes, of valid UTF-8.
func (r *jsonReader) text() bool {
	b, i := r.b, r.at+1
	for {
		for i+8 <= len(b) {
			if m := jsonMarks(binary.LittleEndian.Uint64(b[i:])); m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(b) {
			r.short = true
			return false
		}
		n := 1
		switch c := b[i]; {
		case c == '"':
			r.at = i + 1
			return true
		case c < ' ':
			return false
		case c == '\\':
			n = jsonEscape(b[i:])
		case c >= utf8.RuneSelf:
			var of rune
			if of, n = utf8.DecodeRune(b[i:]); of == utf8.RuneError && n == 1 {
				n = 0
				r.short = !utf8.FullRune(b[i:])
			}
		}
		if n == 0 {
			return false
		}
		i += n
	}
}

// jsonMarks returns a word that is 0 where none of eight bytes is a control character, a quotation mark, a backslash,
// or beyond ASCII. The lowest bit that it has is the highest bit of the first such byte.
func jsonMarks(w uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	quote, slash := w^ones*'"', w^ones*'\\'
	return (w | (w - ones*' ') | (quote - ones) | (slash - ones)) & tops
}

// jsonEscape returns the length of the escape at the begin of b, also where b has not all of it; 0: it is none.
func jsonEscape(b []byte) int {
	if len(b) == 1 {
		return 2
	}
	if b[1] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, b[1]) < 0 {
			return 0
		}
		return 2
	}
	for _, c := range b[2:min(len(b), 6)] {
		if c-'0' > 9 && (c|0x20)-'a' > 5 {
			return 0
		}
	}
	return 6
}

// word passes a word that begins with the next byte.
func (r *jsonReader) word(word string) bool {
	rest := r.b[r.at:min(r.at+len(word), len(r.b))]
	r.at += len(rest)
	r.short = len(rest) < len(word) && strings.HasPrefix(word, string(rest))
	return string(rest) == word
}

// number passes a number.
func (r *jsonReader) number() bool {
	begin := r.at
	if r.peek() == '-' {
		r.at++
	}
	if r.peek() == '0' {
		r.at++
	} else if !r.digits() {
		return false
	}
	if r.peek() == '.' {
		if r.at++; !r.digits() {
			return false
		}
	}
	if r.peek()|0x20 == 'e' {
		if r.at++; r.peek() == '+' || r.peek() == '-' {
			r.at++
		}
		if !r.digits() {
			return false
		}
	}
	return r.at-begin < jsonNumberMax
}

// digits passes one digit or more.
func (r *jsonReader) digits() bool {
	begin := r.at
	for r.peek()-'0' < 10 {
		r.at++
	}
	r.short = r.short || r.at == len(r.b) && r.at == begin
	return r.at > begin
}

// peek returns the next byte; 0: the text is over.
func (r *jsonReader) peek() byte {
	if r.at < len(r.b) {
		return r.b[r.at]
	}
	return 0
}

// appendJSONText appends what a valid text in quotes stands for.
func appendJSONText(dst, quoted []byte) []byte {
	b := quoted[1 : len(quoted)-1]
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			return append(dst, b...)
		}
		dst = append(dst, b[:i]...)
		c := b[i+1]
		b = b[i+2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hexRune(b)
			b = b[4:]
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if len(b) >= 6 && b[0] == '\\' && b[1] == 'u' {
					low = hexRune(b[2:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					b = b[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// hexRune reads four digits, which are there.
func hexRune(b []byte) rune {
	n, _ := strconv.ParseUint(string(b[:4]), 16, 32)
	return rune(n)
}
