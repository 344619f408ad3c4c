package regex

import (
	"encoding/binary"
	"math/bits"
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// nfa is a program as sets of bits, which a text moves: one bit for each instruction that reads a rune, for each
// assertion, and for the end of the pattern. It needs no table that could be full, and takes for each byte of a text at
// most the time that load says beforehand. Immutable.
//
// Most instructions lead to themselves or to one of the next two, as instructions of a+ and of .{0,99} do. All of these
// move by one shift of the set. What else an instruction leads to is a jump, which all share that lead there:
//
//	a . . . b      a.{0,3}b: its five nodes and the end
//	0 1 2 3 4 5    one: 0 1 2 3 4; two: 2; a jump from 0 and 1 to 4
//
//	node i is bit i%64 of word i/64 of a set, a set has words words
//	set start[holds] of starts is what a match begins with where the assertions holds are true
type nfa struct {
	words          int
	last           int      // the node of the end
	ascii          []uint64 // for each class of bytes the set of what reads these
	wide           []wide   // what reads runes from 0x80 on
	invalid        []uint64 // what reads U+FFFD
	stay, one, two []uint64
	jumps          []jump
	assertions     []assertion // in the order of their nodes
	waiting        []uint64    // the nodes of the assertions
	start          [1 << 6]uint8
	starts         []uint64
	used           syntax.EmptyOp // assertions of the pattern
	load           int            // words that one byte has looked at, at most
}

// jump leads from any node of one set to all of another. Words of zeros at the ends of both are left out.
type jump struct {
	at, to     int // first words
	from, dest []uint64
}

// assertion is a node that the next rune decides.
type assertion struct {
	node int
	op   syntax.EmptyOp
	dest []uint64
}

// wide is what reads the same runes, and what these are.
type wide struct {
	inst *syntax.Inst
	all  bool // every rune
	set  []uint64
}

// What else than words is counted as load.
const (
	jumpLoad   = 2 // of a jump
	searchLoad = 4 // of a search in a class of runes
)

type nfaMaker struct {
	*nfa
	prog  *syntax.Prog
	nodes []int // of each instruction, -1 for none
	seen  []uint32
	round uint32
	stack []uint32
}

// newNFA returns the nfa of a program. ok is false if its load is more than most.
func newNFA(prog *syntax.Prog, c *classes, groups []readers, most int) (n *nfa, ok bool) {
	m := nfaMaker{nfa: new(nfa), prog: prog, nodes: make([]int, len(prog.Inst)), seen: make([]uint32, len(prog.Inst))}
	m.number()
	m.load = 6 * m.words // what step does without jumps, and what Match does around it
	m.stay, m.one, m.two, m.waiting = m.set(), m.set(), m.set(), m.set()
	if !m.lead(most) {
		return nil, false
	}
	m.read(c, groups)
	m.begin()
	for _, w := range m.wide {
		if m.load++; !w.all {
			m.load += (searchLoad + m.words) / 2 // a rune from 0x80 on has two bytes
		}
	}
	return m.nfa, m.load <= most
}

func (n *nfa) set() []uint64 { return make([]uint64, n.words) }

func has(set []uint64, node int) bool { return set[node/64]>>(node%64)&1 != 0 }

func add(set []uint64, node int) { set[node/64] |= 1 << (node % 64) }

// number gives nodes their numbers, in the order of the program. Assertions that say and lead to the same are one node.
func (m *nfaMaker) number() {
	type same struct {
		op  syntax.EmptyOp
		out uint32
	}
	assertions := make(map[same]int)
	for i := range m.prog.Inst {
		inst := &m.prog.Inst[i]
		m.nodes[i] = -1
		switch {
		case readsRune(inst):
			m.nodes[i] = m.last
			m.last++
		case inst.Op == syntax.InstEmptyWidth:
			op := syntax.EmptyOp(inst.Arg)
			m.used |= op
			key := same{op, m.skip(inst.Out)}
			node, ok := assertions[key]
			if !ok {
				node = m.last
				assertions[key] = node
				m.assertions = append(m.assertions, assertion{node: node, op: op})
				m.last++
			}
			m.nodes[i] = node
		}
	}
	m.words = m.last/64 + 1
}

// skip returns where pc leads to after instructions that do nothing.
func (m *nfaMaker) skip(pc uint32) uint32 {
	for op := m.prog.Inst[pc].Op; op == syntax.InstNop || op == syntax.InstCapture; op = m.prog.Inst[pc].Op {
		pc = m.prog.Inst[pc].Out
	}
	return pc
}

// follow adds to set what pc leads to without reading a rune. Assertions lead on where holds has them; with wait they
// are nodes of set where it has not.
func (m *nfaMaker) follow(set []uint64, pc uint32, holds syntax.EmptyOp, wait bool) {
	m.round++
	m.stack = append(m.stack[:0], pc)
	for len(m.stack) > 0 {
		pc := m.stack[len(m.stack)-1]
		m.stack = m.stack[:len(m.stack)-1]
		if m.seen[pc] == m.round {
			continue
		}
		m.seen[pc] = m.round
		switch inst := &m.prog.Inst[pc]; inst.Op {
		case syntax.InstFail:
		case syntax.InstMatch:
			add(set, m.last)
		case syntax.InstAlt, syntax.InstAltMatch:
			m.stack = append(m.stack, inst.Out, inst.Arg)
		case syntax.InstNop, syntax.InstCapture:
			m.stack = append(m.stack, inst.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(inst.Arg)&^holds == 0 {
				m.stack = append(m.stack, inst.Out)
			} else if wait {
				add(set, m.nodes[pc])
			}
		default:
			add(set, m.nodes[pc])
		}
	}
}

// lead fills in what each node leads to. It returns false where that is a load of more than most.
func (m *nfaMaker) lead(most int) bool {
	whole, words := jumpMaker{words: m.words}, jumpMaker{words: m.words}
	dest, reached := m.set(), m.set()
	done := 0 // nodes below it are filled in: assertions that are one node come once
	for pc := range m.prog.Inst {
		inst, node := &m.prog.Inst[pc], m.nodes[pc]
		if node < done {
			continue
		}
		done = node + 1
		clear(dest)
		m.follow(dest, inst.Out, 0, true)
		if !readsRune(inst) {
			i := slices.IndexFunc(m.assertions, func(a assertion) bool { return a.node == node })
			m.assertions[i].dest = slices.Clone(dest)
			continue
		}
		union(reached, dest)
		for by, shift := range [][]uint64{m.stay, m.one, m.two} {
			if to := node + by; to <= m.last && has(dest, to) {
				add(shift, node)
				dest[to/64] &^= 1 << (to % 64)
			}
		}
		whole.add(node, 0, dest)
		for i := range dest {
			words.add(node, i, dest[i:i+1])
		}
		if m.load+jumpLoad*min(len(whole.targets), len(words.targets)) > most {
			return false
		}
	}
	jumps, load := whole.jumps()
	if split, less := words.jumps(); less < load {
		jumps, load = split, less
	}
	m.jumps, m.load = jumps, m.load+load
	m.keep(reached)
	return true
}

// jumpMaker makes jumps of what single nodes lead to.
type jumpMaker struct {
	words   int
	targets []jump
	index   map[string]int // in targets
	key     []byte
}

// add leads node to dest, from the word to on.
func (m *jumpMaker) add(node, to int, dest []uint64) {
	m.key = binary.LittleEndian.AppendUint32(m.key[:0], uint32(to))
	empty := true
	for _, w := range dest {
		m.key, empty = binary.LittleEndian.AppendUint64(m.key, w), empty && w == 0
	}
	if empty {
		return
	}
	i, ok := m.index[string(m.key)]
	if !ok {
		if m.index == nil {
			m.index = make(map[string]int)
		}
		i = len(m.targets)
		m.index[string(m.key)] = i
		m.targets = append(m.targets, jump{to: to, from: make([]uint64, m.words), dest: slices.Clone(dest)})
	}
	add(m.targets[i].from, node)
}

// jumps returns them with their load.
func (m *jumpMaker) jumps() (jumps []jump, load int) {
	for _, j := range m.targets {
		skip := 0
		j.at, j.from = trimmed(j.from)
		skip, j.dest = trimmed(j.dest)
		j.to += skip
		jumps = append(jumps, j)
		load += jumpLoad + len(j.from) + len(j.dest)
	}
	return jumps, load
}

// trimmed returns a set that is not empty without the words of zeros at its ends.
func trimmed(set []uint64) (at int, rest []uint64) {
	for set[at] == 0 {
		at++
	}
	end := len(set)
	for set[end-1] == 0 {
		end--
	}
	return at, slices.Clone(set[at:end])
}

// keep leaves out assertions that nothing leads to which reads a rune: assertions of the begin are in starts. reached
// is what such nodes lead to.
func (m *nfaMaker) keep(reached []uint64) {
	for more := true; more; {
		more = false
		for _, a := range m.assertions {
			if has(reached, a.node) && !has(m.waiting, a.node) {
				add(m.waiting, a.node)
				union(reached, a.dest)
				more = true
			}
		}
	}
	m.assertions = slices.DeleteFunc(m.assertions, func(a assertion) bool { return !has(m.waiting, a.node) })
	m.load += len(m.assertions) * (1 + 2*m.words)
}

// read fills in what reads which runes.
func (m *nfaMaker) read(c *classes, groups []readers) {
	m.ascii, m.invalid = make([]uint64, len(c.bytes)*m.words), m.set()
	for _, g := range groups {
		set := m.set()
		for _, pc := range g.pcs {
			add(set, m.nodes[pc])
		}
		for class, b := range c.bytes {
			if b < utf8.RuneSelf && g.inst.MatchRune(rune(b)) {
				union(m.ascii[class*m.words:][:m.words], set)
			}
		}
		if g.inst.MatchRune(utf8.RuneError) {
			union(m.invalid, set)
		}
		all := g.inst.Op == syntax.InstRuneAny || g.inst.Op == syntax.InstRuneAnyNotNL
		if all || g.wide() {
			m.wide = append(m.wide, wide{g.inst, all, set})
		}
	}
}

func union(a, b []uint64) {
	for i, w := range b {
		a[i] |= w
	}
}

// begin fills in the starts.
func (m *nfaMaker) begin() {
	seen := uint64(0)
	for _, before := range []rune{-1, '\n', 'a', ' '} {
		for _, after := range []rune{-1, '\n', 'a', ' '} {
			holds := syntax.EmptyOpContext(before, after) & m.used
			if seen&(1<<holds) == 0 {
				seen |= 1 << holds
				m.start[holds] = uint8(len(m.starts) / m.words)
				set := m.set()
				m.follow(set, uint32(m.prog.Start), holds, false)
				m.starts = append(m.starts, set...)
			}
		}
	}
}

// match reports whether there is a match in b that begins at from or later, or at from if p is anchored.
func (n *nfa) match(t *tracks, p *Pattern, b []byte, from int) bool {
	now, next, done, read := t.sets(n.words)
	before := rune(-1)
	if from > 0 {
		before, _ = utf8.DecodeLastRune(b[:from])
	}
	for i := from; ; {
		r, size := rune(-1), 0
		if i < len(b) {
			if r, size = rune(b[i]), 1; r >= utf8.RuneSelf {
				r, size = utf8.DecodeRune(b[i:])
			}
		}
		holds := syntax.EmptyOp(0)
		if n.used != 0 {
			holds = syntax.EmptyOpContext(before, r) & n.used
			before = r
		}
		if i == from || !p.anchored {
			union(now, n.starts[int(n.start[holds])*n.words:][:n.words])
		}
		if len(n.assertions) > 0 {
			n.decide(now, done, holds)
		}
		if has(now, n.last) {
			return true
		}
		if size == 0 {
			return false
		}
		reads := read
		if r < utf8.RuneSelf {
			reads = n.ascii[int(p.classes.of[r])*n.words:][:n.words]
		} else {
			n.readers(read, r)
		}
		if !n.step(next, now, reads) && p.anchored {
			return false
		}
		now, next = next, now
		i += size
	}
}

// tracks is room for the sets of a text that is matched, which all patterns of a Cache use in turn.
type tracks struct{ room []uint64 }

// sets returns four sets of so many words. The first is empty.
func (t *tracks) sets(words int) (now, next, done, read []uint64) {
	if len(t.room) < 4*words {
		t.room = make([]uint64, 4*words)
	}
	now, rest := t.room[:words], t.room[words:]
	clear(now)
	return now, rest[:words], rest[words : 2*words], rest[2*words : 3*words]
}

// readers makes set the nodes that read a rune from 0x80 on.
func (n *nfa) readers(set []uint64, r rune) {
	if r == utf8.RuneError {
		copy(set, n.invalid)
		return
	}
	clear(set)
	for i := range n.wide {
		if w := &n.wide[i]; w.all || w.inst.MatchRune(r) {
			union(set, w.set)
		}
	}
}

// step makes next what the nodes of now lead to that read the rune. It reports whether there are any.
func (n *nfa) step(next, now, reads []uint64) bool {
	one, two, any := uint64(0), uint64(0), uint64(0)
	for i, w := range now {
		w &= reads[i]
		now[i] = w
		any |= w
		first, second := w&n.one[i], w&n.two[i]
		next[i] = w&n.stay[i] | first<<1 | one | second<<2 | two
		one, two = first>>63, second>>62
	}
	if any == 0 {
		return false
	}
	for i := range n.jumps {
		j := &n.jumps[i]
		from := now[j.at:]
		for k, w := range j.from {
			if w&from[k] != 0 {
				union(next[j.to:], j.dest)
				break
			}
		}
	}
	return true
}

// decide follows the assertions of now that hold, and takes all of them out. One may lead to another.
func (n *nfa) decide(now, done []uint64, holds syntax.EmptyOp) {
	clear(done)
	for more := true; more; {
		more = false
		for i, waiting := range n.waiting {
			for todo := now[i] & waiting &^ done[i]; todo != 0; todo &= todo - 1 {
				bit := bits.TrailingZeros64(todo)
				done[i] |= 1 << bit
				at, _ := slices.BinarySearchFunc(n.assertions, i*64+bit, assertion.compare)
				if a := &n.assertions[at]; a.op&^holds == 0 {
					union(now, a.dest)
					more = true
				}
			}
		}
	}
	for i, waiting := range n.waiting {
		now[i] &^= waiting
	}
}

func (a assertion) compare(node int) int { return a.node - node }
