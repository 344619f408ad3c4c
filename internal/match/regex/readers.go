package regex

import (
	"iter"
	"regexp/syntax"
	"unicode"
	"unicode/utf8"
)

// readers are the instructions of a program that read the same runes.
type readers struct {
	inst *syntax.Inst
	pcs  []int
}

// readersOf returns all of a program. Repetitions of a class share it.
func readersOf(prog *syntax.Prog) (all []readers) {
	type same struct {
		op    syntax.InstOp
		fold  bool
		few   [4]rune // of a small class
		first *rune   // of a large one
	}
	index := make(map[same]int)
	for pc := range prog.Inst {
		inst := &prog.Inst[pc]
		if !readsRune(inst) {
			continue
		}
		key := same{op: inst.Op, fold: syntax.Flags(inst.Arg)&syntax.FoldCase != 0}
		if len(inst.Rune) <= len(key.few) {
			copy(key.few[:], inst.Rune)
			key.few[len(key.few)-1] += rune(len(inst.Rune)) << 24
		} else {
			key.first = &inst.Rune[0]
		}
		i, ok := index[key]
		if !ok {
			i = len(all)
			index[key] = i
			all = append(all, readers{inst: inst})
		}
		all[i].pcs = append(all[i].pcs, pc)
	}
	return all
}

// ranges returns the first and the last rune of each range that g reads.
func (g *readers) ranges() iter.Seq2[rune, rune] {
	return func(yield func(first, last rune) bool) {
		list := g.inst.Rune
		for i := 0; i+1 < len(list); i += 2 {
			if !yield(list[i], list[i+1]) {
				return
			}
		}
		if len(list) != 1 || !yield(list[0], list[0]) || syntax.Flags(g.inst.Arg)&syntax.FoldCase == 0 {
			return
		}
		for r := unicode.SimpleFold(list[0]); r != list[0]; r = unicode.SimpleFold(r) {
			if !yield(r, r) {
				return
			}
		}
	}
}

// wide reports whether g reads runes from 0x80 on.
func (g *readers) wide() bool {
	for _, last := range g.ranges() {
		if last >= utf8.RuneSelf {
			return true
		}
	}
	return false
}
