package regex

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
)

// shape is where a text must have the word.
type shape uint8

const (
	contains shape = iota
	begins
	ends
	equals
)

// answer is what a comparison of bytes says about a text.
type answer uint8

const (
	no answer = iota
	yes
	unsure // the text may have U+212A for k, or U+017F for s: the automaton decides
)

// literal is a pattern that means words. Immutable.
type literal struct {
	shape      shape
	fold       bool     // the words are lower case, the text's words are of any
	otherCase  bool     // a letter of the words has a case outside of ASCII
	always     bool     // one of the words is empty and may be anywhere
	words      [][]byte // of begins, ends and equals
	candidates *[256]uint16
	finder     finder // of contains
}

// parseLiteral returns what re means if that is words.
func parseLiteral(re *syntax.Regexp) (*literal, bool) {
	words, ok := expand(trim(re))
	if !ok || len(words) == 0 {
		return nil, false
	}
	var shape shape
	for i, w := range words {
		inner, s, ok := anchors(w)
		if !ok || i > 0 && s != shape {
			return nil, false
		}
		words[i], shape = inner, s
	}
	words, fold, ok := sameCase(words)
	if !ok {
		return nil, false
	}
	if shape == contains && !findable(words, fold) {
		return nil, false
	}
	return newLiteral(shape, words, fold), true
}

// findable reports whether words can be looked for at a cost that is bounded well.
func findable(words []word, fold bool) bool {
	runes := 0
	for _, w := range words {
		runes += len(w)
	}
	return runes <= findRunesMax || len(words) == 1 && !fold
}

// trim leaves out what may match nothing at an end of re at which the text goes on, so that .*x.* is x.
func trim(re *syntax.Regexp) *syntax.Regexp {
	items := flatten(re, nil)
	anyText := func(re *syntax.Regexp) bool {
		return re.Op == syntax.OpStar && re.Sub[0].Op == syntax.OpAnyChar
	}
	for len(items) > 0 {
		last := len(items) - 1
		switch {
		case items[0].Op == syntax.OpStar || items[0].Op == syntax.OpQuest:
			items = items[1:]
		case items[last].Op == syntax.OpStar || items[last].Op == syntax.OpQuest:
			items = items[:last]
		case last > 0 && items[0].Op == syntax.OpBeginText && anyText(items[1]):
			items = items[2:]
		case last > 0 && items[last].Op == syntax.OpEndText && anyText(items[last-1]):
			items = items[:last-1]
		case items[0].Op == syntax.OpPlus:
			items = append([]*syntax.Regexp{items[0].Sub[0]}, items[1:]...)
		case items[last].Op == syntax.OpPlus:
			items = append(append([]*syntax.Regexp{}, items[:last]...), items[last].Sub[0])
		default:
			return &syntax.Regexp{Op: syntax.OpConcat, Sub: items}
		}
	}
	return &syntax.Regexp{Op: syntax.OpEmptyMatch}
}

// flatten appends the parts of a sequence to items, with the parts of groups in it.
func flatten(re *syntax.Regexp, items []*syntax.Regexp) []*syntax.Regexp {
	switch re.Op {
	case syntax.OpCapture, syntax.OpConcat:
		for _, sub := range re.Sub {
			items = flatten(sub, items)
		}
		return items
	case syntax.OpEmptyMatch:
		return items
	}
	return append(items, re)
}

// anchors takes the ends of the text off a word. ok is false if one stands within it.
func anchors(w word) (inner word, s shape, ok bool) {
	for len(w) > 0 && w[0].r == textBegin {
		w, s = w[1:], s|begins
	}
	for len(w) > 0 && w[len(w)-1].r == textEnd {
		w, s = w[:len(w)-1], s|ends
	}
	if slices.ContainsFunc(w, func(c char) bool { return c.r < 0 }) {
		return nil, 0, false
	}
	return w, s, true
}

func newLiteral(s shape, words []word, fold bool) *literal {
	l := &literal{shape: s, fold: fold, otherCase: hasOtherCase(words)}
	for _, w := range words {
		l.words = append(l.words, w.bytes())
		l.always = l.always || len(w) == 0 && s != equals
	}
	if s == contains {
		l.finder = newFinder(l.words, fold)
		l.words = nil
		return l
	}
	l.candidates = new([256]uint16)
	for i, w := range l.words {
		if len(w) == 0 {
			continue
		}
		c := w[0]
		if s == ends {
			c = w[len(w)-1]
		}
		mark(l.candidates, c, uint16(1)<<i, fold)
	}
	return l
}

// mark sets a bit for a byte, in both cases with fold.
func mark(table *[256]uint16, c byte, bit uint16, fold bool) {
	table[c] |= bit
	if fold && isLetter(rune(c)) {
		table[c^0x20] |= bit
	}
}

func (l *literal) match(b []byte) answer {
	if l.always || l.compare(b) {
		return yes
	}
	if l.otherCase && !isASCII(b) {
		return unsure
	}
	return no
}

func (l *literal) compare(b []byte) bool {
	if l.shape == contains {
		return l.finder.in(b)
	}
	if len(b) == 0 {
		return slices.ContainsFunc(l.words, func(w []byte) bool { return len(w) == 0 })
	}
	c := b[0]
	if l.shape == ends {
		c = b[len(b)-1]
	}
	for mask, i := l.candidates[c], 0; mask != 0; mask, i = mask>>1, i+1 {
		if mask&1 == 0 || len(l.words[i]) > len(b) || l.shape == equals && len(l.words[i]) < len(b) {
			continue
		}
		w, part := l.words[i], b
		switch l.shape {
		case begins:
			part = b[:len(w)]
		case ends:
			part = b[len(b)-len(w):]
		}
		if l.fold && equalFold(part, w) || !l.fold && string(part) == string(w) {
			return true
		}
	}
	return false
}

// lower has the lower case of each byte.
var lower = func() (table [256]byte) {
	for i := range table {
		table[i] = byte(i)
		if isLetter(rune(i)) {
			table[i] |= 0x20
		}
	}
	return table
}()

// equalFold reports whether b, which is no shorter, begins with w in any case of ASCII. w is lower case.
func equalFold(b, w []byte) bool {
	b = b[:len(w)]
	for i, c := range w {
		if lower[b[i]] != c {
			return false
		}
	}
	return true
}

// isASCII reports whether no byte of b is part of a longer rune.
func isASCII(b []byte) bool {
	const high = 0x8080808080808080
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b)&high != 0 {
			return false
		}
	}
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
