package regex

import (
	"bytes"
	"fmt"
	"math"
	"regexp/syntax"
	"runtime"
	"strings"
)

// Limits bound what a pattern may need. 0 is the default of each.
type Limits struct {
	Instructions int // of the program with repetitions written out: 1000
	States       int // of the table of a pattern in a Cache: 256
	Load         int // words of sets that one byte of a text has looked at where the table does not do: 512
}

const (
	patternMax          = 16 << 10 // bytes of a pattern
	propertiesMax       = 100      // \p and \P in a pattern: 5000 of them keep the parser busy for a second
	instructionsDefault = 1000
	instructionsMax     = math.MaxUint16
	statesDefault       = 256
	loadDefault         = 512 // 64 KiB of text are some 20 ms then
)

// Rung is the way in which a pattern is matched: see the package.
type Rung uint8

// The rungs, from the cheapest on.
const (
	Literal Rung = iota
	Word
	DFA
	NFA
)

// String returns the name of the rung.
func (r Rung) String() string {
	return [...]string{"literal", "word", "dfa", "nfa"}[r]
}

// Pattern is a compiled regular expression. Immutable, safe for any goroutine.
//
//	literal != nil => the pattern means words
//	each match contains filter, if there is one
//	each match begins with lead, and the text does too if leadFirst
//	anchored => each match begins where the text does
type Pattern struct {
	text   string
	groups int
	rung   Rung

	literal   *literal
	filter    *literal
	lead      []byte
	leadFirst bool

	prog     *syntax.Prog
	classes  *classes
	nfa      *nfa
	stride   int // classes, and the end of the text
	states   int // in a table
	anchored bool
	number   int
	serial   uint64
}

// Compile parses a pattern in the syntax of package regexp. An error is an *Error.
func Compile(pattern string, l Limits) (*Pattern, error) {
	if len(pattern) > patternMax {
		return nil, &Error{Offset: patternMax, End: len(pattern),
			Message: fmt.Sprintf("it has %d bytes, the limit is %d", len(pattern), patternMax)}
	}
	if n := strings.Count(pattern, `\p`) + strings.Count(pattern, `\P`); n > propertiesMax {
		return nil, &Error{End: len(pattern),
			Message: fmt.Sprintf(`it has \p and \P %d times, the limit is %d`, n, propertiesMax)}
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, syntaxError(pattern, err)
	}
	most := l.Instructions
	if most <= 0 {
		most = instructionsDefault
	}
	most = min(most, instructionsMax)
	if instructions(re, most) > most {
		return nil, &Error{End: len(pattern), Hint: "repeat less, or write two patterns",
			Message: fmt.Sprintf("with its repetitions written out it has more than %d instructions", most)}
	}
	p := &Pattern{text: pattern, groups: re.MaxCap()}
	re = re.Simplify()
	if p.prog, err = syntax.Compile(re); err != nil {
		return nil, syntaxError(pattern, err)
	}
	p.choose(re)
	return p, p.prepare(l)
}

func (p *Pattern) choose(re *syntax.Regexp) {
	if l, ok := parseLiteral(re); ok {
		p.literal = l
		return
	}
	p.rung = DFA
	p.lead, p.leadFirst = leadOf(re)
	const leadEnough = 3 // bytes: then few texts get further
	if len(p.lead) < leadEnough {
		if words := required(re); words != nil {
			p.filter = requiredLiteral(words)
		}
	}
	if p.filter != nil || p.lead != nil {
		p.rung = Word
	}
}

// leadOf returns the bytes that all matches begin with. first says that the text must begin with them.
func leadOf(re *syntax.Regexp) (lead []byte, first bool) {
	items := flatten(re, nil)
	for len(items) > 0 && items[0].Op == syntax.OpBeginText {
		items, first = items[1:], true
	}
	if len(items) == 0 || items[0].Op != syntax.OpLiteral {
		return nil, first
	}
	words, ok := expandLiteral(items[0])
	if !ok {
		return nil, first
	}
	w := words[0]
	for i, c := range w {
		if c.fold {
			w = w[:i]
			break
		}
	}
	return w.bytes(), first
}

// prepare makes all that an automaton needs, where the pattern can need one.
func (p *Pattern) prepare(l Limits) error {
	if p.literal != nil && !p.literal.otherCase {
		return nil
	}
	all := readersOf(p.prog)
	p.classes = newClasses(p.prog, all)
	most := l.Load
	if most <= 0 {
		most = loadDefault
	}
	ok := false
	if p.nfa, ok = newNFA(p.prog, p.classes, all, most); !ok {
		return &Error{End: len(p.text), Hint: "repeat less of what may be left out, or write two patterns",
			Message: "a text can be made for it that takes too long"}
	}
	p.stride = len(p.classes.bytes) + 1
	states := l.States
	if states <= 0 {
		states = statesDefault
	}
	p.states = min(states, math.MaxUint16/p.stride-rowsReserved)
	var w builder
	w.now.reset(len(p.prog.Inst))
	w.follow(p.prog, &w.now, uint16(p.prog.Start), syntax.EmptyBeginLine, undecided)
	p.anchored = len(w.now.kept) == 0 && !w.now.matched
	p.number, p.serial = takeNumber()
	runtime.AddCleanup(p, releaseNumber, p.number)
	return nil
}

// Match reports whether b contains a match, as regexp.Regexp.Match does. Without a cache there is no table. Match
// allocates nothing once the cache has the states that b needs.
func (p *Pattern) Match(c *Cache, b []byte) bool {
	if p.literal != nil {
		if says := p.literal.match(b); says != unsure {
			return says == yes
		}
	}
	if p.filter != nil && p.filter.match(b) == no {
		return false
	}
	i := 0
	if len(p.lead) > 0 {
		if !p.leadFirst {
			i = bytes.Index(b, p.lead)
		}
		if i < 0 || !bytes.HasPrefix(b[i:], p.lead) {
			return false
		}
	}
	if c == nil {
		return p.nfa.match(new(tracks), p, b, i)
	}
	a := c.lookUp(p)
	if a == nil {
		a = c.admit(p)
	}
	if says := a.match(p, c, b[i+len(p.lead):]); says != undone {
		return says == matched
	}
	c.stats.Left += uint64(len(b) - i)
	return p.nfa.match(&c.tracks, p, b, i)
}

// Rung returns the first rung that texts get to, for explanations. See Cache.Rung for what became of it.
func (p *Pattern) Rung() Rung { return p.rung }

// Instructions returns how many instructions the program of p has.
func (p *Pattern) Instructions() int { return len(p.prog.Inst) }

// Load returns how many words of sets one byte of a text has looked at, at most, where the table does not do: some
// 0.6 ns each. It is 0 for a pattern that is compared.
func (p *Pattern) Load() int {
	if p.nfa == nil {
		return 0
	}
	return p.nfa.load
}

// Groups returns how many groups the pattern has, the whole match not counted.
func (p *Pattern) Groups() int { return p.groups }

// String returns the text of the pattern.
func (p *Pattern) String() string { return p.text }
