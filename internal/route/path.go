package route

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/edge-proxy/edge/message"
)

// A path has more than one spelling, and what a route lets through must not be another thing to the origin. Routes see
// a path as RFC 3986 §6.2.2 reads it:
//
//	/a/%2E%2e/%7Eb//c%2fd?q  ─►  /~b//c%2Fd      unreserved characters decoded, dot segments resolved
//
// Servers that tell less apart than the RFC read it in other ways: see Readings. Where these lead to different routes,
// or dot segments show in one of them alone, the request is refused.
//
// RFC 3986 §3.3 gives ";" to applications: some origins take what follows it in a segment for parameters, and look for
// dot segments and empty ones when they have taken those away. See Parameters.

// pathOf returns t, a target, up to its query, and whether there is one way alone to read it. Borrowed. It looks at
// eight bytes at a time.
func pathOf(t []byte) (path []byte, plain bool) {
	if len(t) == 1 && t[0] == '/' { // the most frequent of all
		return t, true
	}
	slashBefore := uint64(0)
	for n := 0; n < len(t); n += 8 {
		var w uint64
		if len(t)-n >= 8 {
			w = binary.LittleEndian.Uint64(t[n:])
		} else {
			w = lastWord(t, n)
		}
		slash := marked(w, '/')
		odd := marked(w, '%') | marked(w, '\\') | (slash<<8|slashBefore)&(slash|marked(w, '.')) // "//", "/."
		if odd|marked(w|betweenSemicolonAndQuestion, '?') == 0 {
			slashBefore = slash >> 56
			continue
		}
		query := marked(w, '?')
		odd |= marked(w, ';')
		switch {
		case odd&(query^(query-1)) == 0: // none in front of the query
			return t[:n+bits.TrailingZeros64(query)/8], true
		default:
			if i := bytes.IndexByte(t, '?'); i >= 0 {
				t = t[:i]
			}
			return t, false
		}
	}
	return t, true
}

// betweenSemicolonAndQuestion is the bit that tells ";" from "?", in eight bytes.
const betweenSemicolonAndQuestion = 0x0404040404040404

// marked marks, by its bit 0x80, each byte of w that is c. Above the first of them others may be marked, below it none.
func marked(w uint64, c uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	w ^= c * ones
	return (w - ones) &^ w & highs
}

// lastWord loads t[n:], fewer than eight bytes and one at least, with zeros after them.
func lastWord(t []byte, n int) uint64 {
	rest := t[n:]
	switch left := len(rest); {
	case len(t) >= 8:
		return binary.LittleEndian.Uint64(t[len(t)-8:]) >> (64 - 8*left)
	case left >= 4:
		return uint64(binary.LittleEndian.Uint32(rest)) |
			uint64(binary.LittleEndian.Uint32(rest[left-4:]))<<(8*(left-4))
	}
	w := uint64(0)
	for i, c := range rest {
		w |= uint64(c) << (8 * i)
	}
	return w
}

// AppendPath appends the path of a target as rules see it: see Paths. It is for a request that was not refused.
func AppendPath(dst, target []byte, how Reading) []byte {
	path, plain := pathOf(target)
	switch {
	case plain, how.Paths == PathsRaw, len(path) == 0 || path[0] != '/':
		return append(dst, path...)
	case how.Parameters == ParametersStripped:
		return resolvePath(dst, path, withoutParameters)
	}
	return resolvePath(dst, path, 0)
}

// NormalPath returns the one spelling that rules have for a path, which begins with a slash: unreserved characters
// decoded, the other encodings in upper case, dot segments resolved (RFC 3986 §6.2.2).
func NormalPath(path string) string { return string(resolvePath(nil, []byte(path), 0)) }

// reading is how a path is read, beside what RFC 3986 says. A set of bits.
type reading uint8

const (
	encodedSlash      reading = 1 << iota // %2F is a slash, and %3B begins parameters
	backslash                             // "\" is a slash; with encodedSlash, so is %5C
	mergedFirst                           // several slashes are one, before dot segments are resolved
	mergedLast                            // several slashes are one, after dot segments were resolved
	encodedOther                          // %3A is a colon, and so are others: see decodable
	withoutParameters                     // the rest of a segment from ";" on is left out
)

// resolvePath appends path with its unreserved characters decoded and its dot segments resolved: RFC 3986 §5.2.4,
// §6.2.2.
func resolvePath(dst, path []byte, how reading) []byte {
	start := len(dst)
	encoded, bare := how&encodedSlash != 0, how&withoutParameters != 0
	for i := 0; i < len(path); {
		i++ // the slash, in whatever form it came, was looked at by the round before
		at := len(dst)
		dst = append(dst, '/')
		more, parameters := false, false
		for i < len(path) {
			c, size := message.DecodePercent(path[i:])
			if (c == '/' || c == '\\' && how&backslash != 0) && (size == 1 || encoded) {
				i += size - 1
				more = true
				break
			}
			parameters = parameters || bare && c == ';' && (size == 1 || encoded)
			switch {
			case parameters:
			case size == 3 && !unreserved(c) && (how&encodedOther == 0 || !decodable(c)):
				dst = append(dst, '%', upperHex(path[i+1]), upperHex(path[i+2]))
			case c == '%': // "%2%65" must not come to encode a dot
				dst = append(dst, "%25"...)
			default:
				dst = append(dst, c)
			}
			i += size
		}
		segment := dst[at+1:]
		switch {
		case how&mergedFirst != 0 && len(segment) == 0 && more, string(segment) == ".":
			dst = dst[:at]
		case string(segment) == "..":
			dst = dst[:start+max(bytes.LastIndexByte(dst[start:at], '/'), 0)]
		default:
			continue
		}
		if !more {
			dst = append(dst, '/')
		}
	}
	if how&mergedLast != 0 {
		kept := slices.CompactFunc(dst[start:], func(a, b byte) bool { return a == '/' && b == '/' })
		dst = dst[:start+len(kept)]
	}
	return dst
}

// oddities returns how some servers read path in another way than the RFC; 0: all read it in one way.
func oddities(path []byte) (how reading) {
	for i, c := range path {
		switch c {
		case '\\':
			how |= backslash
		case '/':
			if i > 0 && path[i-1] == '/' {
				how |= mergedFirst
			}
		case '%':
			d, size := message.DecodePercent(path[i:])
			if size == 3 && (d == '/' || d == ';' || d == '\\') {
				how |= encodedSlash
			}
			if size == 3 && d == '\\' {
				how |= backslash
			}
			if size == 3 && decodable(d) && !unreserved(d) {
				how |= encodedOther
			}
		}
	}
	return how
}

// hidesDots reports whether a path whose dot segments are resolved has some for lenient readers: "..%2f", "..\".
func hidesDots(path []byte) bool {
	dots, only := 0, true
	for i := 0; ; {
		c, size := byte('/'), 1
		if i < len(path) {
			c, size = message.DecodePercent(path[i:])
		}
		switch {
		case c == '/' || c == '\\':
			if only && (dots == 1 || dots == 2) {
				return true
			}
			dots, only = 0, true
		case c == '.':
			dots++
		default:
			only = false
		}
		if i >= len(path) {
			return false
		}
		i += size
	}
}

// parametersOf reports whether a segment of path has parameters, encoded or not, and whether one is odd without them: a
// dot segment, or an empty segment that others follow. "/;x" alone is what servers make of "/" for clients without
// cookies.
func parametersOf(path []byte) (some, odd bool) {
	const text = 3 // more characters, or others, than a dot segment has
	length, empty, in := 0, false, false
	for i := 1; i < len(path); {
		c, size := message.DecodePercent(path[i:])
		switch {
		case c == '/' || c == '\\':
			odd = odd || empty
			length, empty, in = 0, false, false
		case in:
		case c == ';':
			some, in = true, true
			empty = length == 0
			odd = odd || length == 1 || length == 2
		case c == '.':
			length = min(length+1, text)
		default:
			length = text
		}
		i += size
	}
	return some, odd
}

// unreserved reports whether c means the same encoded or not: RFC 3986 §2.3.
func unreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// decodable reports whether servers that decode a path before they look at it see an encoded c as c itself, and as
// nothing else: "/users%3Adelete" is "/users:delete".
func decodable(c byte) bool { return '!' <= c && c <= '~' && c != '%' && c != '/' && c != '\\' }

func upperHex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 'A'
	}
	return c
}
