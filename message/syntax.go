package message

import (
	"bytes"
	"math"
)

// DateLayout is the layout of dates in fields, for a time in UTC (RFC 9110 §5.6.7).
const DateLayout = "Mon, 02 Jan 2006 15:04:05 GMT"

// The characters of a token (RFC 9110 §5.6.2), and lower case for every byte.
var token, lower = func() (t [256]bool, l [256]byte) {
	for i := range l {
		l[i] = byte(i)
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
		l[c-'a'+'A'] = byte(c)
	}
	for _, c := range "!#$%&'*+-.^_`|~0123456789" {
		t[c] = true
	}
	return t, l
}()

// ValidName reports whether name is a token, as the names of fields and methods have to be (RFC 9110 §5.6.2).
func ValidName[T string | []byte](name T) bool {
	if len(name) > 1<<16-1 {
		return false // Field.NameLen
	}
	for i := range len(name) {
		if !token[name[i]] {
			return false
		}
	}
	return len(name) > 0
}

// ValidValue reports whether value may stand in a field: no control character but HTAB, so no line end, and no white
// space at its ends (RFC 9110 §5.5).
func ValidValue[T string | []byte](value T) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return len(value) == 0 || !blank(value[0]) && !blank(value[len(value)-1])
}

// ParseLength parses the value of Content-Length, 1*DIGIT (RFC 9110 §8.6): no sign, no space, no list, no overflow.
func ParseLength(b []byte) (n int64, ok bool) {
	const ample = 18 // digits that an int64 has room for, whatever they are
	for i, c := range b {
		d := int64(c) - '0'
		if d < 0 || d > 9 || i >= ample && n > (math.MaxInt64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, len(b) > 0
}

// ValidTarget reports whether target holds only what a request target can: visible ASCII without "#" (RFC 9112 §3.2).
func ValidTarget(target []byte) bool {
	for _, c := range target {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return len(target) > 0
}

// EqualFold reports whether b is s, letters of ASCII in any case.
func EqualFold(b []byte, s string) bool { return equalFold(b, s) }

// EqualFoldBytes is EqualFold for bytes.
func EqualFoldBytes(a, b []byte) bool { return equalFold(a, b) }

func equalFold[T string | []byte](b []byte, s T) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if lower[c] != lower[s[i]] {
			return false
		}
	}
	return true
}

// AppendLower appends text with the letters of ASCII in lower case.
func AppendLower(dst, text []byte) []byte {
	at := len(dst)
	dst = append(dst, text...)
	for i, c := range dst[at:] {
		if c-'A' < 26 {
			dst[at+i] = c | 0x20
		}
	}
	return dst
}

// hyphened is lower case, and "-" for "_": CGI and its kin (WSGI, Rack, PHP) cannot tell these two apart.
var hyphened = func() (t [256]byte) {
	t = lower
	t['_'] = '-'
	return t
}()

// sameSpelling is equalFold for names of fields as such an origin reads them.
func sameSpelling(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if hyphened[c] != hyphened[s[i]] {
			return false
		}
	}
	return true
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// CutElement cuts the first element of a comma separated list off, without the white space around it.
func CutElement(list []byte) (element, rest []byte, more bool) {
	element, rest, more = bytes.Cut(list, []byte{','})
	return bytes.Trim(element, " \t"), rest, more
}

// SplitParameters cuts the text before the first semicolon off, without the white space around it: the name of an
// element, or the first of its parameters.
func SplitParameters(element []byte) (first, rest []byte) {
	first, rest, _ = bytes.Cut(element, []byte{';'})
	return bytes.Trim(first, " \t"), rest
}

// HexDigit returns what a hexadecimal digit stands for, 16 for any other byte.
func HexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}

// DecodePercent decodes the first byte that b stands for. A percent sign that encodes nothing stands for itself.
func DecodePercent(b []byte) (c byte, size int) {
	if b[0] == '%' && len(b) > 2 {
		if high, low := HexDigit(b[1]), HexDigit(b[2]); high < 16 && low < 16 {
			return high<<4 | low, 3
		}
	}
	return b[0], 1
}

// AppendPercent appends c, percent-encoded.
func AppendPercent(dst []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(dst, '%', digits[c>>4], digits[c&15])
}

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
