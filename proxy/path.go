package proxy

import (
	"bytes"
	"encoding/binary"

	"github.com/edge-proxy/edge/message"
)

// A path has more than one spelling, and what a route lets through must not be another thing to the origin. Routes see
// a path as RFC 3986 §6.2.2 reads it:
//
//	/a/%2E%2e/%7Eb//c%2fd?q  ─►  /~b//c%2Fd      unreserved characters decoded, dot segments resolved
//
// What the RFC tells apart and many an origin does not is looked at a second time, as such an origin would:
//
//	/~b/c/d                                      %2F, %5C and "\" are slashes, several slashes are one
//
// Where the two readings lead to different routes, or the second one has dot segments left, the request is refused.

// pathClass says what about a byte of a path needs a closer look.
var pathClass = [256]uint8{'?': 1, '%': 2, '\\': 2, '.': 3, '/': 3}

// pathOf returns the target up to the query, and whether there is one way alone to read it. Borrowed.
func pathOf(h *message.Head) (path []byte, plain bool) {
	t := h.Bytes(h.Target)
	plain = true
	for i := plainWords(t); i < len(t); i++ {
		switch pathClass[t[i]] {
		case 1:
			return t[:i], plain
		case 2:
			plain = false
		case 3:
			plain = plain && (i == 0 || t[i-1] != '/')
		}
	}
	return t, plain
}

// plainWords returns how many bytes at the start of t, in words of eight, need no closer look.
func plainWords(t []byte) (n int) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	// The bit 0x80 of each byte that is c, and perhaps of the one above it: that is looked at once more then.
	find := func(w uint64, c uint64) uint64 {
		w ^= c * ones
		return (w - ones) &^ w & highs
	}
	var slashBefore uint64
	for ; n+8 <= len(t); n += 8 {
		w := binary.LittleEndian.Uint64(t[n:])
		slash := find(w, '/')
		odd := find(w, '?') | find(w, '%') | find(w, '\\') | (slash<<8|slashBefore)&(slash|find(w, '.'))
		if odd != 0 {
			return n
		}
		slashBefore = slash >> 56
	}
	return n
}

// findRoute chooses the route of the request, nil where none takes it. It reports false where the request was refused.
func (x *Exchange) findRoute() bool {
	h, r := &x.Request, &x.snapshot.router
	path, plain := pathOf(h)
	if plain || x.listener.Paths == PathsRaw || path[0] != '/' {
		x.route = x.local.turns.pick(r.find(path, h), r)
		return true
	}
	l := x.local
	l.path = resolvePath(l.path[:0], path, false)
	read := l.path
	found := r.find(read, h)
	if twofold(read) || twofold(path) {
		at := len(read)
		l.path = resolvePath(l.path, path, true)
		if hidesDots(read) || r.find(l.path[at:], h) != found {
			x.fail(faultPath)
			return false
		}
		read = l.path[:at]
	}
	x.route = l.turns.pick(found, r)
	if x.route != nil && (x.listener.Paths == PathsForwarded || x.route.Rewrite != nil) {
		base := append(h.Base, read...)
		x.retarget(append(base, h.Bytes(h.Target)[len(path):]...))
	}
	return true
}

// resolvePath appends path with its unreserved characters decoded and its dot segments resolved: RFC 3986 §5.2.4,
// §6.2.2. A lenient reader takes more for a slash, and several for one.
func resolvePath(dst, path []byte, lenient bool) []byte {
	start := len(dst)
	for i := 0; i < len(path); {
		i++ // the slash, in whatever form it came, was looked at by the round before
		at := len(dst)
		dst = append(dst, '/')
		more := false
		for i < len(path) {
			c, size := pathByte(path[i:])
			if c == '/' && (size == 1 || lenient) || lenient && c == '\\' {
				i += size - 1
				more = true
				break
			}
			switch {
			case size == 3 && !unreserved(c):
				dst = append(dst, '%', upperHex(path[i+1]), upperHex(path[i+2]))
			case c == '%': // "%2%65" must not come to encode a dot
				dst = append(dst, "%25"...)
			default:
				dst = append(dst, c)
			}
			i += size
		}
		segment := dst[at+1:]
		if lenient && (len(segment) == 0 || segment[0] == '.') {
			segment, _, _ = bytes.Cut(segment, []byte{';'})
		}
		switch {
		case lenient && len(segment) == 0 && more, string(segment) == ".":
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
	return dst
}

// twofold reports whether some read the path in another way than the RFC.
func twofold(path []byte) bool {
	for i, c := range path {
		switch c {
		case '\\':
			return true
		case '/', ';':
			if i > 0 && (path[i-1] == '/' || c == ';' && path[i-1] == '.') {
				return true
			}
		case '%':
			if d, size := pathByte(path[i:]); size == 3 && (d == '/' || d == '\\') {
				return true
			}
		}
	}
	return false
}

// hidesDots reports whether a path whose dot segments are resolved has some for lenient readers: "..%2f", "..\",
// "..;x".
func hidesDots(path []byte) bool {
	dots, only := 0, true
	for i := 0; ; {
		c, size := byte('/'), 1
		if i < len(path) {
			c, size = pathByte(path[i:])
		}
		switch {
		case c == '/' || c == '\\' || c == ';':
			if only && (dots == 1 || dots == 2) {
				return true
			}
			dots, only = 0, c != ';'
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

// pathByte decodes the first byte that b stands for. A percent sign that encodes nothing stands for itself.
func pathByte(b []byte) (c byte, size int) {
	if b[0] == '%' && len(b) > 2 {
		if high, low := hexDigit(b[1]), hexDigit(b[2]); high < 16 && low < 16 {
			return high<<4 | low, 3
		}
	}
	return b[0], 1
}

// unreserved reports whether c means the same encoded or not: RFC 3986 §2.3.
func unreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func upperHex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 'A'
	}
	return c
}
