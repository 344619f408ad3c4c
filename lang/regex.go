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

// matches reports whether p matches somewhere in b.
func (p *pattern) matches(b []byte) bool { return p.re.Match(b) }

// capture is matches, and notes the groups in s.
func (p *pattern) capture(s *State, b []byte) bool {
	at := p.re.FindSubmatchIndex(b)
	if at == nil {
		return false
	}
	s.keepMatch(b, at)
	return true
}

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

// replaceAll replaces each match of p in b.
func (p *pattern) replaceAll(s *State, b []byte, with *replacement) []byte {
	dst, left, last := s.Room(), s.left(), 0
	for _, at := range p.re.FindAllSubmatchIndex(b, -1) {
		if len(dst) > left {
			break
		}
		dst = append(dst, b[last:at[0]]...)
		for _, part := range with.parts {
			if part.group < 0 {
				dst = append(dst, part.text...)
			} else if begin := at[2*part.group]; begin >= 0 {
				dst = append(dst, b[begin:at[2*part.group+1]]...)
			}
		}
		last = at[1]
	}
	if last == 0 && len(dst) == 0 {
		return b
	}
	return s.Keep(append(dst, b[last:]...))
}
