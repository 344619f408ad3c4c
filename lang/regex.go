package lang

import (
	"errors"

	"github.com/edge-proxy/edge/internal/match/regex"
)

// Bounds of regular expressions, in instructions of their compiled programs: x{1000} has a thousand of them. To compile
// one takes a microsecond or so.
const (
	InstructionsMax      = 1000     // of one
	TextInstructionsMax  = 16 << 10 // of all in one text
	ScopeInstructionsMax = 1 << 20  // of all in the texts of one Scope
)

// LoadMax bounds what one byte may cost in the regular expressions of one text, where all of them need more states than
// their tables have: see regex.Pattern.Load. For the worst texts and 64 KiB that a client sends it is 0.2 s.
const LoadMax = 4096

// GroupsMax is how many groups of a match texts can name, the whole of it, match.0, among them.
const GroupsMax = regex.GroupsMax

// pattern is a regular expression. Immutable.
type pattern struct{ *regex.Pattern }

// newPattern compiles an expression of Go's package regexp. The error says which bytes of text are wrong.
func newPattern(text string) (*pattern, *Error) {
	p, err := regex.Compile(text, regex.Limits{Instructions: InstructionsMax})
	if err == nil {
		return &pattern{p}, nil
	}
	var wrong *regex.Error
	if !errors.As(err, &wrong) {
		return nil, problem(0, len(text), "%v", err)
	}
	return nil, &Error{Offset: wrong.Offset, End: wrong.End, Message: wrong.Message, Hint: wrong.Hint}
}

// groups is how many groups p has, the whole match aside.
func (p *pattern) groups() int { return p.Pattern.Groups() }

func (p *pattern) matches(s *State, b []byte) bool { return p.Match(s.Patterns, b) }

// capture is matches, and notes the groups in s. Where there is no time to find them they are missing.
func (p *pattern) capture(s *State, b []byte) bool {
	if !p.Match(s.Patterns, b) {
		return false
	}
	p.Submatches(s.Patterns, b, &s.found)
	if s.found[0][0] < 0 {
		s.cut++
	}
	s.subject = append(s.subject[:0], b...)
	s.groups, s.matched = s.found, true
	return true
}

// replaceAll replaces each match of p in b. Where there is no time for more, the rest is cut off.
func (p *pattern) replaceAll(s *State, b []byte, with *replacement) []byte {
	if !p.Match(s.Patterns, b) {
		return b
	}
	var at regex.Groups
	dst, left, last := s.Room(), s.left(), int32(0)
	scan := p.Scan(s.Patterns, b)
	for len(dst) <= left && scan.Next(&at) {
		dst = append(dst, b[last:at[0][0]]...)
		for _, part := range with.parts {
			if part.group < 0 {
				dst = append(dst, part.text...)
			} else if group := at[part.group]; group[0] >= 0 {
				dst = append(dst, b[group[0]:group[1]]...)
			}
		}
		last = at[0][1]
	}
	if scan.Stopped() {
		s.cut++
		return s.Keep(dst)
	}
	return s.Keep(append(dst, b[last:]...))
}
