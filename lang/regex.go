package lang

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"slices"

	"github.com/edge-proxy/edge/lang/regex"
)

// InstructionsMax is how large a regular expression may be, in instructions of the compiled program: x{1000} has a
// thousand of them.
const InstructionsMax = 1000

// GroupsMax is how many groups of a match texts can name, the whole of it, match.0, among them.
const GroupsMax = regex.GroupsMax

// pattern is a regular expression. Immutable.
type pattern struct {
	*regex.Pattern
	re  *regexp.Regexp // of re_replace, which wants every match
	far bool           // a match may need a look at all of the text
}

// newPattern compiles an expression of Go's package regexp. The error says which bytes of text are wrong.
func newPattern(text string) (*pattern, *Error) {
	p, err := regex.Compile(text, regex.Limits{Instructions: InstructionsMax})
	if err == nil {
		return &pattern{Pattern: p}, nil
	}
	var wrong *regex.Error
	if !errors.As(err, &wrong) {
		return nil, problem(0, len(text), "%v", err)
	}
	return nil, &Error{Offset: wrong.Offset, End: wrong.End, Message: wrong.Message, Hint: wrong.Hint}
}

// groups is how many groups p has, the whole match aside.
func (p *pattern) groups() int { return p.Pattern.Groups() }

// matches reports whether p matches somewhere in b.
func (p *pattern) matches(s *State, b []byte) bool { return p.Match(s.Patterns, b) }

// capture is matches, and notes the groups in s.
func (p *pattern) capture(s *State, b []byte) bool {
	if !p.Submatches(s.Patterns, b, &s.found) {
		return false
	}
	s.subject = append(s.subject[:0], b...)
	s.groups, s.matched = s.found, true
	return true
}

// prepareAll has p ready for all.
func (p *pattern) prepareAll() {
	p.re = regexp.MustCompile(p.String())
	tree, err := syntax.Parse(p.String(), syntax.Perl)
	p.far = err != nil || unbounded(tree)
}

// unbounded reports whether re repeats something without an end.
func unbounded(re *syntax.Regexp) bool {
	return re.Op == syntax.OpStar || re.Op == syntax.OpPlus || re.Op == syntax.OpRepeat && re.Max < 0 ||
		slices.ContainsFunc(re.Sub, unbounded)
}

// replaceWork bounds the matches that re_replace replaces times the bytes of the text, where the pattern
// repeats without an end. Package regexp may look at all of the rest for each match then: 8 KiB of "<" take a second
// for <[^>]*>|<, and 32 KiB 16 times that.
const replaceWork = 8 << 20

// all returns the places of the matches in b and of their groups, as regexp.Regexp does. more reports that there are
// others, for which there is no time.
func (p *pattern) all(b []byte) (places [][]int, more bool) {
	if !p.far {
		return p.re.FindAllSubmatchIndex(b, -1), false
	}
	most := replaceWork / (len(b) + 1)
	if places = p.re.FindAllSubmatchIndex(b, most+1); len(places) > most {
		return places[:most], true
	}
	return places, false
}
