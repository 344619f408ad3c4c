package lang

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/edge-proxy/edge/message"
)

// Bounds of a JSON text: what reaches them is not readable here.
const (
	jsonLevels    = 64      // of objects and lists in each other
	jsonNumberMax = 1 << 10 // bytes of a number
)

const jsonBlanks = " \t\r\n"

// jsonCall is what the checker knows of a call of json.
type jsonCall struct {
	ofBody  bool // its text is the body of the request, or made of it
	allowed bool // the same condition asks json.valid of the text: it says itself what happens to others
}

// json returns the value in a JSON text that the names of a path with dots lead to: texts decoded, all else in one form
// (see jsonForm), null as a missing value. Of a body that was cut it sees the members that are whole before the cut. A
// text that is not readable has no value, and is counted: see State.Unasked.
func (x *X) json(text, path []byte, call jsonCall) []byte {
	if len(text) == 0 {
		return nil
	}
	m := x.member(text, path, call.ofBody)
	v, ok := m.found, m.state < jsonUnclear || m.state == jsonUnread && call.allowed
	switch {
	case !ok:
	case len(v) == 0 || string(v) == "null":
		return nil
	case v[0] == '"':
		if v = v[1 : len(v)-1]; bytes.IndexByte(v, '\\') >= 0 {
			v = x.State.Keep(appendJSONText(x.State.Room(), v))
		}
	default:
		v, ok = x.State.jsonForm(v)
	}
	if !ok {
		x.State.unread++
		return nil
	}
	return v
}

// validJSON reports whether a text is JSON that json reads, and all of it is here.
func (x *X) validJSON(text []byte, ofBody bool) bool {
	return x.member(text, nil, ofBody).state == jsonWhole
}

// member looks for a member. Rules ask one body one after the other, and a path in its readings: the last answer
// about a whole body is kept.
func (x *X) member(text, path []byte, ofBody bool) jsonMember {
	b := x.Body
	after, within := b.tail(text)
	keeps := within && len(after) == 0 && len(text) == len(b.Bytes) && len(path) < len(b.asked)
	if keeps && b.member.state != 0 && string(b.asked[:len(path)]) == string(path) && b.asked[len(path)] == 0 {
		return b.member
	}
	r := jsonReader{b: text, cut: within && b.Cut && len(bytes.Trim(after, jsonBlanks)) == 0}
	where := jsonThere
	if len(path) > 0 {
		where = jsonOnward
	}
	m := jsonMember{state: jsonUnread}
	if !ofBody || !x.recoded() {
		switch whole := r.value(path, where) && r.over(); {
		case !whole && !(r.cut && r.short):
		case r.unclear:
			m.state = jsonUnclear
		case r.cut:
			m = jsonMember{jsonCut, r.found}
			b.Missed = b.Missed || !whole && (r.found == nil || string(r.found) == "null")
		default:
			m = jsonMember{jsonWhole, r.found}
		}
	}
	if keeps {
		b.asked, b.member = [len(b.asked)]byte{}, m
		copy(b.asked[:], path)
	}
	return m
}

// recoded reports whether the head of the request says that its body is decoded before it is read as UTF-8. JSON is
// UTF-8, and its media type has no charset (RFC 8259 §8.1, §11), but body-parser of Express goes by one: in UTF-7
// "+AGE-" is "a".
func (x *X) recoded() bool {
	if x.Request == nil {
		return false
	}
	for i := range x.Request.Fields {
		f, v := &x.Request.Fields[i], x.Request.Value(i)
		switch {
		case f.Dropped():
		case f.ID == message.ContentEncoding && len(v) > 0 && !message.EqualFold(v, "identity"),
			f.ID == message.ContentType && otherCharset(v):
			return true
		}
	}
	return false
}

// otherCharset reports whether a media type names a charset in which bytes of ASCII may stand for other letters.
func otherCharset(mediaType []byte) bool {
	const word = "charset"
	for i := range max(len(mediaType)-len(word), 0) {
		if v := mediaType[i:]; v[0]|0x20 == 'c' && message.EqualFold(v[:len(word)], word) {
			name, _, _ := bytes.Cut(bytes.TrimLeft(v[len(word):], "*= \t\"'"), []byte{';'})
			name = bytes.TrimRight(name, " \t\"'")
			if !slices.ContainsFunc(charsets, func(c string) bool { return message.EqualFold(name, c) }) {
				return true
			}
		}
	}
	return false
}

var charsets = []string{"utf-8", "utf8", "us-ascii", "iso-8859-1"}

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

	unclear bool // jsonUnclear
	escaped bool // the text that was passed last has a backslash
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
	before := false // a member of that name came
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
			if is = where == jsonOnward && r.spells(r.b[begin+1:r.at-1], name); is {
				r.unclear, before = r.unclear || before, true
			}
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

// spells reports whether written, the text that was passed last without its quotes, stands for a name. Where the two
// differ in case alone it is unclear: encoding/json of Go takes them for the same name.
func (r *jsonReader) spells(written, name []byte) bool {
	if r.escaped {
		if len(written) > 6*len(name) { // an escape has up to six bytes for one
			return false
		}
		var room [256]byte // a longer name is copied elsewhere
		written = appendJSONText(room[:0], written)
	}
	if string(written) == string(name) {
		return true
	}
	r.unclear = r.unclear || bytes.EqualFold(written, name)
	return false
}

// text passes a text in quotes, of valid UTF-8.
func (r *jsonReader) text() bool {
	b, i := r.b, r.at+1
	r.escaped = false
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
			r.escaped = true
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

// appendJSONText appends what a valid text stands for, which is written without its quotes.
func appendJSONText(dst, b []byte) []byte {
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

// A value has one form here, however a client writes it: otherwise each spelling would be a key of its own of a limit,
// and a comparison would miss all but one.

// jsonDigitsMax is the largest number of digits of an integer that is written with all of its digits.
const jsonDigitsMax = 40

// jsonForm returns the one form of a JSON value other than a text, v itself where v has that form. Members of an object
// stay in their order, and a value of more than ComputedMax bytes stays as it is. It reports false for a number that is
// too large for a float64.
func (s *State) jsonForm(v []byte) (form []byte, ok bool) {
	if n, is := parseInt(v); is && (n != 0 || len(v) == 1) || len(v) > ComputedMax {
		return v, true
	}
	var room [64]byte // longer texts are allocated
	r, dst, plain := jsonReader{b: v}, s.Room(), room[:0]
	for r.at < len(v) {
		begin := r.at
		switch c := v[begin]; {
		case c == '"':
			r.text()
			plain = appendJSONText(plain[:0], v[begin+1:r.at-1])
			dst = appendQuoted(dst, plain)
		case c == '-' || digit(c):
			r.number()
			if dst, ok = appendJSONNumber(dst, v[begin:r.at]); !ok {
				return nil, false
			}
		default:
			if r.at++; c > ' ' {
				dst = append(dst, c)
			}
		}
	}
	if bytes.Equal(dst, v) {
		return v, true
	}
	return s.Keep(dst), true
}

// appendQuoted appends a text in quotes as RFC 8785 §3.2.2.2 has it: only what has to be escaped is.
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		switch i := strings.IndexByte("\"\\\b\f\n\r\t", c); {
		case i >= 0:
			dst = append(dst, '\\', `"\bfnrt`[i])
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', '0'+c>>4, "0123456789abcdef"[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// appendJSONNumber appends the one form of a number: an integer of up to jsonDigitsMax digits in decimal digits, any
// other number as the shortest decimal that is the same float64 (RFC 8785 §3.2.2.3). It reports false where there is no
// such float64.
func appendJSONNumber(dst, v []byte) (_ []byte, ok bool) {
	if dst, ok = appendInteger(dst, v); ok {
		return dst, true
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil {
		return dst, false
	}
	var room [32]byte
	v = strconv.AppendFloat(room[:0], f, 'e', -1, 64)
	if dst, ok = appendInteger(dst, v); ok {
		return dst, true
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64), true
	}
	if n := len(v); string(v[n-3:n-1]) == "-0" { // 1e-07
		v = append(v[:n-2], v[n-1])
	}
	return append(dst, v...), true
}

// appendInteger appends a number of JSON in decimal digits. It reports false for a fraction, and for more than
// jsonDigitsMax digits.
func appendInteger(dst, v []byte) (_ []byte, ok bool) {
	begin, power := len(dst), 0
	if i := bytes.IndexAny(v, "eE"); i >= 0 {
		n, _ := strconv.Atoi(string(v[i+1:])) // beyond its range it returns the nearest int
		v, power = v[:i], min(max(n, -1<<20), 1<<20)
	}
	whole, fraction, _ := bytes.Cut(bytes.TrimPrefix(v, []byte{'-'}), []byte{'.'})
	dst = append(append(dst, whole...), fraction...)
	all := bytes.TrimRight(dst[begin:], "0")
	power += len(dst) - begin - len(all) - len(fraction)
	all = bytes.TrimLeft(all, "0")
	switch n := len(all) + power; {
	case len(all) == 0:
		return append(dst[:begin], '0'), true
	case power < 0 || n > jsonDigitsMax:
		return dst[:begin], false
	default:
		dst = dst[:begin+copy(dst[begin:], all)]
		for len(dst) < begin+n {
			dst = append(dst, '0')
		}
	}
	if v[0] == '-' {
		dst = slices.Insert(dst, begin, '-')
	}
	return dst, true
}

// integer returns the integer that a text is, in decimal digits or in another spelling of JSON.
func integer(b []byte) (int64, bool) {
	if n, ok := parseInt(b); ok {
		return n, true
	}
	var room [64]byte
	if r := (jsonReader{b: b}); r.number() && r.at == len(b) {
		digits, _ := appendJSONNumber(room[:0], b)
		return parseInt(digits)
	}
	return 0, false
}
