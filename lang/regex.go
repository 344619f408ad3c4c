package lang

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"
)

// InstructionsMax is how large a regular expression may be, in instructions of the compiled program: x{1000} has a
// thousand of them.
const InstructionsMax = 1000

// pattern is a regular expression. Immutable.
type pattern struct {
	re *regexp.Regexp
}

// newPattern compiles an expression of Go's package regexp. The error says which bytes of text are wrong.
func newPattern(text string) (*pattern, *Error) {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		var e *syntax.Error
		if !errors.As(err, &e) {
			return nil, problem(0, len(text), "%v", err)
		}
		if i := strings.Index(text, e.Expr); i >= 0 && e.Expr != "" {
			return nil, problem(i, i+len(e.Expr), "%v: %s", e.Code, e.Expr)
		}
		return nil, problem(0, len(text), "%v", e.Code)
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, problem(0, len(text), "%v", err)
	}
	if n := len(prog.Inst); n > InstructionsMax {
		return nil, problem(0, len(text), "its program has %d instructions, %d are allowed", n, InstructionsMax)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, problem(0, len(text), "%v", err)
	}
	return &pattern{re: re}, nil
}

// groups is how many groups p has, the whole match aside.
func (p *pattern) groups() int { return p.re.NumSubexp() }

// matches reports whether p matches somewhere in b.
func (p *pattern) matches(_ *State, b []byte) bool { return p.re.Match(b) }

// capture is matches, and notes the groups in s.
func (p *pattern) capture(s *State, b []byte) bool {
	at := p.re.FindSubmatchIndex(b)
	if at != nil {
		s.keepMatch(b, at)
	}
	return at != nil
}

// all returns the places of all matches in b and of their groups, as regexp.Regexp does.
func (p *pattern) all(b []byte) [][]int { return p.re.FindAllSubmatchIndex(b, -1) }
