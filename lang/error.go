package lang

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error says what is wrong with a condition or a template, and where. Immutable.
type Error struct {
	Offset, End int    // the bytes of the text that are meant
	Message     string // what is wrong
	Hint        string // what was probably meant, or ""
}

// Error returns the place, the message and the hint in one line.
func (e *Error) Error() string {
	text := fmt.Sprintf("offset %d: %s", e.Offset, e.Message)
	if e.Hint != "" {
		text += ": " + e.Hint
	}
	return text
}

// Caret returns the line of text that e is about, and under it a line that points at the place.
func (e *Error) Caret(text string) string {
	at := min(e.Offset, len(text))
	begin := strings.LastIndexByte(text[:at], '\n') + 1
	line, _, _ := strings.Cut(text[begin:], "\n")
	end := min(max(e.End, at), begin+len(line))
	marked := 1
	if at < end {
		marked = utf8.RuneCountInString(text[at:end])
	}
	blank := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, text[begin:at])
	return line + "\n" + blank + strings.Repeat("^", marked)
}

// problem returns an error for text[at:end].
func problem(at, end int, format string, args ...any) *Error {
	return &Error{Offset: at, End: end, Message: fmt.Sprintf(format, args...)}
}

// hint adds what was probably meant.
func (e *Error) hint(format string, args ...any) *Error {
	if e.Hint == "" {
		e.Hint = fmt.Sprintf(format, args...)
	}
	return e
}
