package regex

import (
	"regexp/syntax"
	"unicode/utf8"
)

// classes divide the bytes into those that no text tells apart. Immutable.
//
//	any two bytes of a class can stand for each other anywhere in a text
type classes struct {
	of    [256]uint8
	bytes []byte // one of each class
}

// leads are the bytes from 0x80 on at which the rules for the next bytes of a rune change.
var leads = [...]byte{0x80, 0x90, 0xa0, 0xc0, 0xc2, 0xe0, 0xe1, 0xed, 0xee, 0xf0, 0xf1, 0xf4, 0xf5}

func newClasses(prog *syntax.Prog, all []readers) *classes {
	var cut [256 + 1]bool
	for _, b := range leads {
		cut[b] = true
	}
	for _, g := range all {
		for first, last := range g.ranges() {
			cutAt(&cut, first)
			cutAt(&cut, last+1)
		}
	}
	wordOp, lineOp := assertions(prog)
	if wordOp {
		for _, r := range []rune{'0', '9' + 1, 'A', 'Z' + 1, '_', '_' + 1, 'a', 'z' + 1} {
			cutAt(&cut, r)
		}
	}
	if lineOp {
		cutAt(&cut, '\n')
		cutAt(&cut, '\n'+1)
	}
	return cutClasses(prog, all, &cut)
}

// cutClasses numbers the classes between the cuts. Parts of ASCII that the same instructions read are one class.
func cutClasses(prog *syntax.Prog, all []readers, cut *[256 + 1]bool) *classes {
	c := &classes{}
	wordOp, lineOp := assertions(prog)
	same := make(map[string]uint8)
	var matched []byte
	for b := range 256 {
		switch {
		case b > 0 && !cut[b]:
			c.of[b] = c.of[b-1]
			continue
		case b < utf8.RuneSelf:
			matched = append(matched[:0], 0)
			if wordOp && syntax.IsWordChar(rune(b)) {
				matched[0] |= 1
			}
			if lineOp && b == '\n' {
				matched[0] |= 2
			}
			for i, g := range all {
				if g.inst.MatchRune(rune(b)) {
					matched = append(matched, byte(i), byte(i>>8))
				}
			}
			if n, ok := same[string(matched)]; ok {
				c.of[b] = n
				continue
			}
			same[string(matched)] = uint8(len(c.bytes))
		}
		c.of[b] = uint8(len(c.bytes))
		c.bytes = append(c.bytes, byte(b))
	}
	return c
}

// cutAt cuts classes so that the bytes of the runes below r and of those from r on are told apart.
func cutAt(cut *[256 + 1]bool, r rune) {
	if r <= 0 || !utf8.ValidRune(r) {
		return // no text has a surrogate, and those around them begin with bytes of their own
	}
	if r < utf8.RuneSelf {
		cut[r] = true
		return
	}
	var b [utf8.UTFMax]byte
	for _, c := range b[:utf8.EncodeRune(b[:], r)] {
		cut[c], cut[c+1] = true, true
	}
}

// assertions reports whether a program looks at words, and at lines.
func assertions(prog *syntax.Prog) (words, lines bool) {
	for i := range prog.Inst {
		if prog.Inst[i].Op != syntax.InstEmptyWidth {
			continue
		}
		op := syntax.EmptyOp(prog.Inst[i].Arg)
		words = words || op&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0
		lines = lines || op&(syntax.EmptyBeginLine|syntax.EmptyEndLine) != 0
	}
	return words, lines
}

func readsRune(inst *syntax.Inst) bool {
	switch inst.Op {
	case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		return true
	}
	return false
}
