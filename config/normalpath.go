package config

import "strings"

// normalPath returns the one spelling that routing has for a path (RFC 3986 §6.2.2): unreserved characters decoded, the
// other encodings in upper case, dot segments resolved. Two patterns with the same one take the same requests.
func normalPath(path string) string {
	var kept []string
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, s := range segments {
		s = normalSegment(s)
		last := i == len(segments)-1
		if s == ".." && len(kept) > 0 {
			kept = kept[:len(kept)-1]
		}
		switch dots := s == "." || s == ".."; {
		case !dots:
			kept = append(kept, s)
		case last:
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

func normalSegment(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c, encoded := percentByte(s[i:]); {
		case encoded && unreserved(c):
			b.WriteByte(c)
			i += 2
		case encoded:
			b.WriteString(strings.ToUpper(s[i : i+3]))
			i += 2
		case s[i] == '%':
			b.WriteString("%25")
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// percentByte returns the byte that "%xx" at the start of s stands for.
func percentByte(s string) (c byte, encoded bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	for _, digit := range []byte(strings.ToLower(s[1:3])) {
		at := strings.IndexByte("0123456789abcdef", digit)
		if at < 0 {
			return 0, false
		}
		c = c<<4 | byte(at)
	}
	return c, true
}

// unreserved tells whether c stands for itself, encoded or not: RFC 3986 §2.3.
func unreserved(c byte) bool { return letterOrDigit(c) || strings.IndexByte("-._~", c) >= 0 }

// matched is the pattern as routing sees it, which is what two of them are compared by.
func (p pattern) matched() pattern {
	p.path = normalPath(p.path)
	if p.kind == PathPrefix {
		p.path = strings.TrimSuffix(p.path, "/")
	}
	return p
}
