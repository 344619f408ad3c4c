package printable

import (
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Text returns a text as it may be shown, with its lines and tabs.
func Text(s string) string { return shown(s, "\n\t") }

// Word returns a text as it may be shown on one line: a line end and a tab are escapes too.
func Word(s string) string { return shown(s, "") }

// Printf is fmt.Fprintf with each text among the values as Word returns it.
func Printf(w io.Writer, format string, values ...any) (int, error) {
	clean := make([]any, len(values))
	for i, v := range values {
		switch clean[i] = v; v.(type) {
		case string, fmt.Stringer, error:
			clean[i] = Word(fmt.Sprint(v))
		default:
			if reflect.TypeOf(v).Kind() == reflect.String {
				clean[i] = Word(fmt.Sprint(v))
			}
		}
	}
	return fmt.Fprintf(w, format, clean...)
}

// shown replaces by escapes what is neither printable nor one of keep.
func shown(s, keep string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return hides(r) || r == utf8.RuneError }) {
		return s
	}
	var b strings.Builder
	for i, size := 0, 0; i < len(s); i += size {
		var r rune
		r, size = utf8.DecodeRuneInString(s[i:])
		part := s[i : i+size]
		if hides(r) && !strings.ContainsRune(keep, r) || r == utf8.RuneError && size == 1 {
			part = strconv.Quote(part)
			part = part[1 : len(part)-1]
		}
		b.WriteString(part)
	}
	return b.String()
}

// hides reports whether a terminal may not show r.
func hides(r rune) bool { return !strconv.IsPrint(r) }

// JSON returns a document that means the same and in which only line ends are not printable: inside of strings JSON has
// escapes for all else.
func JSON(text []byte) []byte {
	var out []byte // nil: it is text so far
	for i, size := 0, 0; i < len(text); i += size {
		var r rune
		if r, size = utf8.DecodeRune(text[i:]); r == '\n' || !hides(r) {
			if out != nil {
				out = append(out, text[i:i+size]...)
			}
			continue
		}
		if out == nil {
			out = append(make([]byte, 0, len(text)+64), text[:i]...)
		}
		if r > 0xffff {
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		} else {
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	if out == nil {
		return text
	}
	return out
}
