package location

import (
	"bytes"

	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
)

// Append appends what t makes of the request h to dst, which may be the room after the bytes of h. v is the view of
// the same request. The error is ErrHost, ErrDots or ErrLong.
func (t *Template) Append(dst []byte, h *message.Head, v *lang.X) ([]byte, error) {
	if t.host && h.Authority.Len == 0 {
		return dst, ErrHost
	}
	start := len(dst)
	for i := range t.parts {
		p := &t.parts[i]
		from := len(dst)
		dst = t.appendPart(dst, h, v, p)
		if p.root && (len(dst) == from || dst[from] != '/') {
			dst = append(dst, 0)
			copy(dst[from+1:], dst[from:])
			dst[from] = '/'
		}
		if len(dst)-start > Max {
			return dst, ErrLong
		}
	}
	if t.named && !hostHolds(dst[start:]) {
		return dst, ErrHost
	}
	if len(dst) > start && dst[len(dst)-1] == '?' {
		dst = dst[:len(dst)-1]
	}
	if q := h.Query(); t.query && len(q) > 0 {
		dst = append(append(dst, '?'), q...)
	}
	if t.local {
		dst = message.OneSlash(dst, start)
	}
	if t.sent && !t.plain && dotted(dst[start:]) {
		return dst, ErrDots
	}
	if len(dst)-start > Max {
		return dst, ErrLong
	}
	return dst, nil
}

// appendPart appends one part.
func (t *Template) appendPart(dst []byte, h *message.Head, v *lang.X, p *part) []byte {
	switch p.value {
	case none:
		return append(dst, p.plain...)
	case pathAsIs:
		return append(dst, rooted(h.Path())...)
	case queryAsIs:
		return append(dst, h.Query()...)
	case hostAsIs:
		return append(dst, h.Host()...)
	case targetAsIs:
		if p.at == inPath {
			return append(dst, rooted(h.Bytes(h.Target))...)
		}
	case restAsIs:
		return t.text.AppendPart(dst, v, p.index)
	}
	from := len(dst)
	dst = t.text.AppendPart(dst, v, p.index)
	keeps := uint8(inParameter)
	switch {
	case p.at == inHost:
		return dst // which is checked as a whole
	case p.at == inPath:
		keeps = inSegments
	case p.encoded:
		keeps = inEncoded
	}
	return encode(dst, from, keeps)
}

// rooted returns a path, "/" for "*" and the authority of CONNECT.
func rooted(path []byte) []byte {
	if len(path) == 0 || path[0] != '/' {
		return slash
	}
	return path
}

var slash, dot = []byte("/"), []byte("/.")

// Bytes of a value that are not encoded: a set of bits for each byte.
const (
	inParameter = 1 << iota
	inSegments
	inEncoded
	hexOnly = 1 << 7 // "%", where two digits follow
)

var kept = func() (t [256]uint8) {
	for c := range 128 {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		if letter || c == '-' || c == '.' || c == '_' || c == '~' || c == '/' {
			t[c] = inParameter | inSegments | inEncoded
		}
	}
	for _, c := range "!$&'()*+,;=:@" {
		t[c] = inSegments | inEncoded
	}
	t['?'] = inEncoded
	t['%'] = hexOnly
	return t
}()

// encode percent-encodes bytes of dst[from:] that are not kept.
func encode(dst []byte, from int, keeps uint8) []byte {
	i := from
	for i < len(dst) && kept[dst[i]]&keeps != 0 {
		i++
	}
	if i == len(dst) {
		return dst
	}
	end := len(dst)
	for value := dst[i:end]; len(value) > 0; value = value[1:] {
		c := value[0]
		_, size := message.DecodePercent(value)
		if kept[c]&keeps != 0 || c == '%' && size == 3 && keeps != inParameter {
			dst = append(dst, c)
		} else {
			dst = message.AppendPercent(dst, c)
		}
	}
	n := copy(dst[i:], dst[end:])
	return dst[:i+n]
}

// hostHolds reports whether what is made names a host after its scheme.
func hostHolds(url []byte) bool {
	i := 0
	for i+1 < len(url) && (url[i] != '/' || url[i+1] != '/') {
		i++
	}
	if i += 2; i > len(url) {
		return false
	}
	end := i
	for end < len(url) && url[end] != '/' && url[end] != '?' && url[end] != '#' {
		end++
	}
	_, _, ok := message.SplitAuthority(url[i:end])
	return ok
}

// dotted reports whether a target has a dot segment in its path, in whatever spelling.
func dotted(target []byte) bool {
	if !bytes.Contains(target, dot) && bytes.IndexByte(target, '%') < 0 && bytes.IndexByte(target, '\\') < 0 {
		return false // as almost all of them
	}
	dots, only := 0, false // of the segment so far: how many dots, and whether it is nothing else
	for i := 0; ; {
		c, size := byte('/'), 1
		if i < len(target) && target[i] != '?' {
			c, size = message.DecodePercent(target[i:])
		}
		switch {
		case c == '/' || c == '\\' || c == ';': // some servers take away what follows ";"
			if only && (dots == 1 || dots == 2) {
				return true
			}
			dots, only = 0, c != ';'
		case c == '.' && only:
			dots++
		default:
			only = false
		}
		if i >= len(target) || target[i] == '?' {
			return false
		}
		i += size
	}
}
