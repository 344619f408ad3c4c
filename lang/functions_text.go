package lang

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/edge-proxy/edge/message"
)

// The functions of texts. They return what they are given, a part of it, or a text that the state keeps.

// lower returns b with letters of ASCII in lower case.
func (s *State) lower(b []byte) []byte { return s.Keep(message.AppendLower(s.Room(), b)) }

func (s *State) upper(b []byte) []byte {
	dst := append(s.Room(), b...)
	for i, c := range dst {
		if c-'a' < 26 {
			dst[i] = c &^ 0x20
		}
	}
	return s.Keep(dst)
}

func trim(b []byte) []byte { return present(bytes.Trim(b, " \t\r\n")) }

func cutPrefix(b, prefix []byte) []byte { return present(bytes.TrimPrefix(b, prefix)) }

func cutSuffix(b, suffix []byte) []byte { return present(bytes.TrimSuffix(b, suffix)) }

// replace stops where there is no room left: the result may be the product of two long texts.
func (s *State) replace(b, before, after []byte) []byte {
	if len(before) == 0 || !bytes.Contains(b, before) {
		return b
	}
	dst, left := s.Room(), s.left()
	for len(dst) <= left {
		i := bytes.Index(b, before)
		if i < 0 {
			break
		}
		dst = append(append(dst, b[:min(i, left+1)]...), after[:min(len(after), left+1)]...)
		b = b[i+len(before):]
	}
	return s.Keep(append(dst, b[:min(len(b), left+1)]...)) // no more than is cut off anyway: b may be a body
}

func unreserved(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || digit(c) || c == '-' || c == '.' || c == '_' || c == '~'
}

func (s *State) urlEncode(b []byte) []byte {
	dst := s.Room()
	for _, c := range b {
		if unreserved(c) {
			dst = append(dst, c)
		} else {
			dst = message.AppendPercent(dst, c)
		}
	}
	return s.Keep(dst)
}

func (s *State) urlDecode(b []byte) []byte {
	if bytes.IndexByte(b, '%') < 0 {
		return b
	}
	dst := s.Room()
	for len(b) > 0 {
		c, size := message.DecodePercent(b)
		dst, b = append(dst, c), b[size:]
	}
	return s.Keep(dst)
}

func (s *State) base64(b []byte) []byte { return s.Keep(base64.StdEncoding.AppendEncode(s.Room(), b)) }

// base64Decode takes both alphabets, so it translates the alphabet of URLs, without the padding, before it decodes.
func (s *State) base64Decode(b []byte) []byte {
	n := len(b)
	for n > 0 && b[n-1] == '=' {
		n--
	}
	if len(b)-n > 2 || len(b) != n && len(b)%4 != 0 {
		return nil
	}
	dst := append(s.Room(), b[:n]...)
	for i, c := range dst {
		switch c {
		case '-':
			dst[i] = '+'
		case '_':
			dst[i] = '/'
		case '\r', '\n': // which the decoder would pass over
			return nil
		}
	}
	size, err := base64.RawStdEncoding.Decode(dst, dst) // in place: it writes less than it has read
	if err != nil {
		return nil
	}
	return s.Keep(dst[:size])
}

func (s *State) hex(b []byte) []byte { return s.Keep(hex.AppendEncode(s.Room(), b)) }

func (s *State) sha256(b []byte) []byte {
	sum := sha256.Sum256(b)
	return s.Keep(append(s.Room(), sum[:]...))
}

func basename(b []byte) []byte { return present(b[bytes.LastIndexByte(b, '/')+1:]) }

func extension(b []byte) []byte {
	b = basename(b)
	i := bytes.LastIndexByte(b, '.')
	if i < 0 {
		return nil
	}
	return present(b[i+1:])
}

// sealer is HMAC-SHA-256 with one key (RFC 2104), whose two blocks are made once. Immutable.
type sealer struct{ inner, outer [sha256.BlockSize]byte }

func newSealer(key []byte) *sealer {
	if len(key) > sha256.BlockSize {
		sum := sha256.Sum256(key)
		key = sum[:]
	}
	s := new(sealer)
	copy(s.inner[:], key)
	copy(s.outer[:], key)
	for i := range s.inner {
		s.inner[i] ^= 0x36
		s.outer[i] ^= 0x5c
	}
	return s
}

// seal returns the code of b.
func (k *sealer) seal(s *State, b []byte) []byte {
	inner := sha256.Sum256(append(append(s.Room(), k.inner[:]...), b...))
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(outer[copy(outer[:], k.outer[:]):], inner[:])
	sum := sha256.Sum256(outer[:])
	return s.Keep(append(s.Room(), sum[:]...))
}

// Hash returns the number from 0 to 1<<63 that hash(x) is of a text. It never changes.
func Hash(text []byte) int64 { return hashOf(text) }

// hashOf is FNV-1a of 64 bits, mixed so that every bit depends on every byte. It never changes: shares of clients that
// percent makes stay what they are.
func hashOf(b []byte) int64 {
	h := uint64(0xcbf29ce484222325)
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	return int64(mixed(h) >> 1)
}

func mixed(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// parseInt reads decimal digits with an optional minus, and refuses what does not fit.
func parseInt(b []byte) (int64, bool) {
	if len(b) > 1 && b[0] == '-' {
		n, ok := message.ParseLength(b[1:])
		return -n, ok
	}
	return message.ParseLength(b)
}

// like reports whether b is as the glob says: * stands for any bytes, none too. It looks for what is between two stars
// where it comes first, as package bytes does: in time in proportion to the two lengths.
func like(b, glob []byte) bool {
	first, glob, open := bytes.Cut(glob, oneStar)
	if !open {
		return string(b) == string(first)
	}
	if !bytes.HasPrefix(b, first) {
		return false
	}
	b = b[len(first):]
	last := glob[bytes.LastIndexByte(glob, '*')+1:]
	if !bytes.HasSuffix(b, last) {
		return false
	}
	b, glob = b[:len(b)-len(last)], glob[:len(glob)-len(last)]
	for len(glob) > 0 {
		var part []byte
		part, glob, _ = bytes.Cut(glob, oneStar)
		i := bytes.Index(b, part)
		if i < 0 {
			return false
		}
		b = b[i+len(part):]
	}
	return true
}

var oneStar = []byte{'*'}

// replacement is the third argument of re_replace, cut at its groups. Immutable.
type replacement struct{ parts []replacementPart }

type replacementPart struct {
	text  string
	group int // -1: text
}

// newReplacement reads $1, ${1} and $$.
func newReplacement(text string, groups int) (*replacement, *Error) {
	r := new(replacement)
	for i := 0; i < len(text); {
		j := strings.IndexByte(text[i:], '$')
		if j < 0 {
			r.parts = append(r.parts, replacementPart{text[i:], -1})
			break
		}
		if j > 0 {
			r.parts = append(r.parts, replacementPart{text[i : i+j], -1})
		}
		i += j + 1
		rest := text[i:]
		switch {
		case strings.HasPrefix(rest, "$"):
			r.parts, i = append(r.parts, replacementPart{"$", -1}), i+1
			continue
		case len(rest) > 2 && rest[0] == '{' && digit(rest[1]) && rest[2] == '}':
			rest, i = rest[1:], i+3
		case len(rest) > 0 && digit(rest[0]):
			i++
		default:
			return nil, &Error{Message: "$ is followed by the number of a group",
				Hint: "$1, ${1}; the sign itself is $$"}
		}
		group := int(rest[0] - '0')
		if group > groups {
			return nil, &Error{Message: "the expression has no group " + rest[:1]}
		}
		r.parts = append(r.parts, replacementPart{"", group})
	}
	return r, nil
}
