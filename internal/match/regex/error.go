package regex

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"
)

// Error says what is wrong with a pattern, and where: pattern[Offset:End] is the part that Message is about.
type Error struct {
	Offset, End int
	Message     string
	Hint        string // what to write in its place, or ""
}

// Error returns the message, the offset and the hint.
func (e *Error) Error() string {
	text := fmt.Sprintf("regular expression, offset %d: %s", e.Offset, e.Message)
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// occurrencesMax bounds how many places of a part are tried to find the place that an error is about.
const occurrencesMax = 16

func syntaxError(pattern string, err error) *Error {
	var wrong *syntax.Error
	if !errors.As(err, &wrong) {
		return &Error{End: len(pattern), Message: err.Error()}
	}
	e := &Error{Message: wrong.Code.String(), Hint: hint(wrong)}
	e.Offset, e.End = place(pattern, wrong)
	if part := pattern[e.Offset:e.End]; part != pattern && len(part) > 1 {
		e.Message += ": " + part
	}
	return e
}

// place returns where in the pattern the part is that an error of the parser names.
func place(pattern string, wrong *syntax.Error) (offset, end int) {
	switch wrong.Code {
	case syntax.ErrUnexpectedParen, syntax.ErrMissingParen:
		if offset, ok := parenthesis(pattern, wrong.Code); ok {
			return offset, offset + 1
		}
	case syntax.ErrTrailingBackslash:
		return len(pattern) - 1, len(pattern)
	}
	if wrong.Expr == "" || wrong.Expr == pattern {
		return 0, len(pattern)
	}
	// The parser goes from left to right, so the part is the first part that is wrong with nothing after it.
	from := 0
	for range occurrencesMax {
		i := strings.Index(pattern[from:], wrong.Expr)
		if i < 0 {
			break
		}
		offset, end = from+i, from+i+len(wrong.Expr)
		var here *syntax.Error
		_, err := syntax.Parse(pattern[:end], syntax.Perl)
		if errors.As(err, &here) && here.Code == wrong.Code && here.Expr == wrong.Expr {
			return offset, end
		}
		from += i + 1
	}
	return 0, len(pattern)
}

// parenthesis returns the offset of the last parenthesis that is not closed, or of the first that closes nothing.
func parenthesis(pattern string, code syntax.ErrorCode) (offset int, ok bool) {
	var open []int
	for i := 0; i < len(pattern); i++ {
		switch {
		case strings.HasPrefix(pattern[i:], `\Q`):
			quoted := strings.Index(pattern[i:], `\E`)
			if quoted < 0 {
				i = len(pattern)
				break
			}
			i += quoted + 1
		case pattern[i] == '\\':
			i++
		case pattern[i] == '[':
			i = classEnd(pattern, i)
		case pattern[i] == '(':
			open = append(open, i)
		case pattern[i] == ')' && len(open) > 0:
			open = open[:len(open)-1]
		case pattern[i] == ')':
			return i, code == syntax.ErrUnexpectedParen
		}
	}
	if len(open) == 0 {
		return 0, false
	}
	return open[len(open)-1], code == syntax.ErrMissingParen
}

// classEnd returns the offset of the ] that ends the class that begins at i.
func classEnd(pattern string, i int) int {
	i++
	if i < len(pattern) && pattern[i] == '^' {
		i++
	}
	for first := i; i < len(pattern); i++ {
		switch {
		case pattern[i] == '\\':
			i++
		case strings.HasPrefix(pattern[i:], "[:"):
			if named := strings.Index(pattern[i:], ":]"); named > 0 {
				i += named + 1
			}
		case pattern[i] == ']' && i > first:
			return i
		}
	}
	return i
}

// hint says what to write in place of what other engines have.
func hint(wrong *syntax.Error) string {
	part := wrong.Expr
	for _, sign := range []string{"(?=", "(?!", "(?<=", "(?<!"} {
		if strings.HasPrefix(part, sign) {
			return "there is no look-around: write a second condition"
		}
	}
	switch wrong.Code {
	case syntax.ErrInvalidPerlOp:
		if strings.HasPrefix(part, "(?>") {
			return "there are no atomic groups: no pattern backtracks, so (?:…) does"
		}
	case syntax.ErrInvalidEscape:
		if len(part) == 2 && '1' <= part[1] && part[1] <= '9' {
			return "there are no references back to a group"
		}
	case syntax.ErrInvalidRepeatOp:
		if strings.HasSuffix(part, "+") {
			return "there are no possessive repetitions: no pattern backtracks, so leave out the second sign"
		}
	case syntax.ErrInvalidRepeatSize:
		return "a repetition is counted to 1000 at most"
	case syntax.ErrMissingParen:
		return `for the character itself write \(`
	case syntax.ErrUnexpectedParen:
		return `for the character itself write \)`
	case syntax.ErrMissingRepeatArgument:
		return `for the character itself write \` + part
	}
	return ""
}
