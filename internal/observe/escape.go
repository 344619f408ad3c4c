package observe

import (
	"encoding/binary"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special returns a word with the high bit set in some byte when w holds a byte that a log line cannot take as it
// is: a control character, DEL, '"', '\', or anything beyond ASCII.
//
// Flipping bit 1 brings '"' (0x22) right after the control characters, so one subtraction finds
// both. With no byte beyond ASCII, each term borrows or carries over a byte's edge only after a
// byte that is special itself, so the answer for the word as a whole is exact.
func special(w uint64) uint64 {
	return (w | (w + ones) | ((w ^ ones*2) - ones*0x21) | ((w ^ ones*'\\') - ones)) & highs
}

// plain reports whether p can go into a line as it is.
func plain(p []byte) bool {
	if len(p) >= 8 {
		found := special(binary.LittleEndian.Uint64(p[len(p)-8:]))
		for len(p) > 16 {
			found |= special(binary.LittleEndian.Uint64(p)) | special(binary.LittleEndian.Uint64(p[8:]))
			p = p[16:]
		}
		if len(p) > 8 {
			found |= special(binary.LittleEndian.Uint64(p))
		}
		return found == 0
	}
	if len(p) >= 4 {
		low := uint64(binary.LittleEndian.Uint32(p))
		high := uint64(binary.LittleEndian.Uint32(p[len(p)-4:]))
		return special(high<<32|low) == 0
	}
	for _, c := range p {
		if plainByte[c] == 0 {
			return false
		}
	}
	return true
}

var plainByte = func() (t [256]uint8) {
	for c := 0x20; c < 0x7f; c++ {
		t[c] = 1
	}
	t['"'], t['\\'] = 0, 0
	return t
}()

// appendJSON appends p, cut to TextMax, as the inside of a JSON string.
func appendJSON(dst, p []byte) []byte {
	if len(p) > TextMax {
		p = Cut(p, TextMax)
	}
	if plain(p) {
		return append(dst, p...)
	}
	return escapeJSON(dst, p)
}

// Cut returns the begin of p: most bytes, or a little less so as not to split a character; p where it is no longer.
func Cut(p []byte, most int) []byte {
	if len(p) <= most {
		return p
	}
	for at := most; at > most-utf8.UTFMax; at-- {
		if utf8.RuneStart(p[at]) {
			return p[:at]
		}
	}
	return p[:most]
}

func escapeJSON(dst, p []byte) []byte {
	from := 0 // p[from:at] is still to be copied
	for at := 0; at < len(p); {
		c := p[at]
		if plainByte[c] != 0 {
			at++
			continue
		}
		r, size := rune(c), 1
		if c >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(p[at:])
			if size > 1 && !unsafeRune(r) {
				at += size
				continue
			}
		}
		dst = append(dst, p[from:at]...)
		dst = escapeRune(dst, r)
		at += size
		from = at
	}
	return append(dst, p[from:]...)
}

// unsafeRune names characters beyond ASCII that steer a terminal, break a line for some reader, show a line in another
// order than it has (CVE-2021-42574), or do not show at all: the C1 controls, the two separators, and the characters of
// format, such as the zero width space, the byte order mark and tags.
func unsafeRune(r rune) bool {
	return r < 0xa0 || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Cf, r)
}

func escapeRune(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	if high, low := utf16.EncodeRune(r); r > 0xffff {
		return escapeRune(escapeRune(dst, high), low)
	}
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// appendCLF appends p, cut to TextMax, as the inside of a quoted text of the Common Log Format.
// Quotes are escaped by number as well, so that splitting a line at '"' is always right.
func appendCLF(dst, p []byte) []byte {
	const hex = "0123456789ABCDEF"
	if len(p) > TextMax {
		p = p[:TextMax]
	}
	if plain(p) {
		return append(dst, p...)
	}
	for _, c := range p {
		if plainByte[c] != 0 {
			dst = append(dst, c)
		} else {
			dst = append(dst, '\\', 'x', hex[c>>4], hex[c&15])
		}
	}
	return dst
}
