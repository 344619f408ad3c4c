package regex

import (
	"bytes"
	"regexp"
	"regexp/syntax"
	"slices"
	"sync"
	"testing"
	"unicode/utf8"
)

var machines sync.Map // *regexp.Regexp by text

// machine returns p as package regexp has it.
func (p *Pattern) machine() *regexp.Regexp {
	re, ok := machines.Load(p.text)
	if !ok {
		re, _ = machines.LoadOrStore(p.text, regexp.MustCompile(p.text))
	}
	return re.(*regexp.Regexp)
}

// submatches has package regexp look.
func (p *Pattern) submatches(b []byte, groups *Groups) bool {
	found := p.machine().FindSubmatchIndex(b)
	if found == nil {
		return false
	}
	*groups = noGroups
	for i := 0; i < len(found)/2 && i < GroupsMax; i++ {
		groups[i] = [2]int32{int32(found[2*i]), int32(found[2*i+1])}
	}
	return true
}

// checkPattern walks the invariants of Pattern, finder and classes.
func checkPattern(t *testing.T, p *Pattern) {
	t.Helper()
	switch {
	case (p.literal != nil) != (p.rung == Literal):
		t.Fatalf("%q: rung %v, literal %v", p, p.rung, p.literal)
	case p.rung == Word && p.filter == nil && len(p.lead) == 0:
		t.Fatalf("%q: rung %v without a word", p, p.rung)
	case !utf8.Valid(p.lead):
		t.Fatalf("%q: its lead %q ends within a rune", p, p.lead)
	}
	for _, l := range []*literal{p.literal, p.filter} {
		if l != nil && !l.always && l.shape == contains {
			checkFinder(t, &l.finder)
		}
	}
	if p.classes == nil {
		return
	}
	if rows := rowsReserved + p.states; rows*p.stride > 1<<16 {
		t.Fatalf("%q: %d rows of %d do not fit into offsets of 16 bits", p, rows, p.stride)
	}
	for b, class := range p.classes.of {
		if one := p.classes.bytes[class]; p.classes.of[one] != class {
			t.Fatalf("%q: byte %#x is in class %d, and %#x, which stands for it, in %d", p, b, class, one,
				p.classes.of[one])
		}
	}
}

// checkFinder walks a finder.
func checkFinder(t *testing.T, f *finder) {
	t.Helper()
	if f.pairs == nil {
		return
	}
	for i, w := range f.words {
		if len(w) == 0 || f.step == 2 && len(w) < 3 {
			t.Fatalf("the word %q in steps of %d", w, f.step)
		}
		if f.pairs[0][w[0]]&(1<<i) == 0 || f.fold && !bytes.Equal(w, bytes.ToLower(w)) && utf8.RuneCount(w) == len(w) {
			t.Fatalf("the word %q has no bit, or is not lower case", w)
		}
	}
}

// checkTables walks the automata of a cache, and adds up what their budget was asked for.
func checkTables(t *testing.T, c *Cache, patterns ...*Pattern) {
	t.Helper()
	var sum int64
	for _, a := range c.tables {
		if a != nil {
			sum += a.bytes
		}
	}
	if sum != c.stats.Bytes || sum > c.budget.used.Load() {
		t.Fatalf("tables have %d bytes, stats %d, budget %d", sum, c.stats.Bytes, c.budget.used.Load())
	}
	for _, p := range patterns {
		if a := c.lookUp(p); p.classes != nil && a != nil && a.table != nil {
			checkAutomaton(t, p, a)
		}
	}
}

// checkAutomaton walks an automaton: each value of its table is the offset of a row, and each key that of its state.
func checkAutomaton(t *testing.T, p *Pattern, a *automaton) {
	t.Helper()
	rows := len(a.table) / a.stride
	if a.stride != p.stride || rows*a.stride != len(a.table) || rows < rowsReserved+len(a.keys) ||
		len(a.keys) != len(a.index) || len(a.keys) > p.states {
		t.Fatalf("%q: %d values in rows of %d for %d states, %d in the index", p, len(a.table), a.stride,
			len(a.keys), len(a.index))
	}
	bytes := int64(automatonBytes + 2*len(a.table))
	for i, key := range a.keys {
		bytes += int64(len(key) + stateOverhead)
		if int(a.index[key]) != (rowsReserved+i)*a.stride {
			t.Fatalf("%q: state %d has the offset %d", p, i, a.index[key])
		}
		var kept []uint16
		for at := keyHead; at < len(key); at += 2 {
			pc := uint16(key[at])<<8 | uint16(key[at+1])
			if inst := &p.prog.Inst[pc]; !readsRune(inst) && inst.Op != syntax.InstEmptyWidth {
				t.Fatalf("%q: state %d keeps %v", p, i, inst)
			}
			kept = append(kept, pc)
		}
		if !slices.IsSorted(kept) || len(slices.Compact(kept)) != len(kept) {
			t.Fatalf("%q: state %d keeps %v", p, i, kept)
		}
	}
	if a.bytes != bytes {
		t.Fatalf("%q: %d bytes are charged, it has %d", p, a.bytes, bytes)
	}
	for at, row := range a.table {
		state := int(row)/a.stride - rowsReserved
		if int(row)%a.stride != 0 || state >= len(a.keys) || at < rowsReserved*a.stride && row != 0 {
			t.Fatalf("%q: the table has %d at %d, with %d states", p, row, at, len(a.keys))
		}
	}
}
