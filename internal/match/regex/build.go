package regex

import (
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// before says what stands before a state. Only a state that has an assertion to decide needs it.
type before uint8

const (
	beforeOther before = iota
	beforeWord
	beforeLine // after \n
	beforeText
)

// rune returns a rune that stands for what was before, -1 for the beginning of the text.
func (b before) rune() rune {
	return [...]rune{beforeOther: ' ', beforeWord: 'a', beforeLine: '\n', beforeText: -1}[b]
}

// beforeOf returns what is before the place after r.
func beforeOf(r rune) before {
	switch {
	case syntax.IsWordChar(r):
		return beforeWord
	case r == '\n':
		return beforeLine
	}
	return beforeOther
}

// undecided are the assertions that the next rune decides.
const undecided = syntax.EmptyEndLine | syntax.EmptyEndText | syntax.EmptyWordBoundary | syntax.EmptyNoWordBoundary

// set is what may come next: instructions that read a rune, and assertions that the next rune decides.
//
//	kept holds no instruction twice, and each of them is seen
type set struct {
	kept     []uint16
	seen     []uint32 // round in which an instruction was added last
	round    uint32
	waiting  bool // an assertion is among kept
	matched  bool // the end of the pattern was reached
	previous before
}

func (s *set) reset(instructions int) {
	if len(s.seen) < instructions {
		s.seen = make([]uint32, instructions)
	}
	if s.round++; s.round == 0 {
		clear(s.seen)
		s.round = 1
	}
	s.kept, s.waiting, s.matched, s.previous = s.kept[:0], false, false, beforeOther
}

// builder makes states. It belongs to a Cache and has room that all its patterns use in turn.
type builder struct {
	now, next, decided set
	stack              []uint16
	pending            []byte // of a rune that has not ended
	key                []byte
	visited            int // instructions, for the text that is being matched
}

// A key is one byte for what stood before, one for the number of pending bytes, three for these, and two for each
// instruction in ascending order.
const (
	keyPending = 2
	keyHead    = keyPending + utf8.UTFMax - 1
)

// begin makes the key of the state at the beginning of a text.
func (w *builder) begin(p *Pattern) (matched bool) {
	w.now.reset(len(p.prog.Inst))
	w.follow(p.prog, &w.now, uint16(p.prog.Start), syntax.EmptyBeginText|syntax.EmptyBeginLine, undecided)
	w.now.previous, w.pending = beforeText, w.pending[:0]
	return w.now.matched
}

// load takes a key apart.
func (w *builder) load(p *Pattern, key string) {
	w.now.reset(len(p.prog.Inst))
	w.now.previous = before(key[0])
	w.pending = append(w.pending[:0], key[keyPending:keyPending+int(key[1])]...)
	for i := keyHead; i < len(key); i += 2 {
		pc := uint16(key[i])<<8 | uint16(key[i+1])
		w.now.kept = append(w.now.kept, pc)
		w.now.waiting = w.now.waiting || p.prog.Inst[pc].Op == syntax.InstEmptyWidth
	}
	w.visited += len(w.now.kept)
}

// read goes on by one byte, which stands for its class.
func (w *builder) read(p *Pattern, b byte) (matched bool) {
	w.pending = append(w.pending, b)
	for len(w.pending) > 0 && utf8.FullRune(w.pending) {
		if w.readPending(p) {
			return true
		}
	}
	return false
}

// end reports whether the pattern matches if the text ends here. A rune that is cut off is invalid bytes.
func (w *builder) end(p *Pattern) (matched bool) {
	for len(w.pending) > 0 {
		if w.readPending(p) {
			return true
		}
	}
	return w.step(p, -1)
}

// readPending takes one rune from the pending bytes.
func (w *builder) readPending(p *Pattern) (matched bool) {
	r, n := utf8.DecodeRune(w.pending)
	w.pending = append(w.pending[:0], w.pending[n:]...)
	return w.step(p, r)
}

// step goes on by one rune, or to the end of the text with -1.
func (w *builder) step(p *Pattern, r rune) (matched bool) {
	prog, from := p.prog, &w.now
	if from.waiting {
		from = &w.decided
		from.reset(len(prog.Inst))
		holds := syntax.EmptyOpContext(w.now.previous.rune(), r)
		for _, pc := range w.now.kept {
			w.follow(prog, from, pc, holds, 0)
		}
		if from.matched {
			return true
		}
	}
	if r < 0 {
		return false
	}
	w.next.reset(len(prog.Inst))
	var holds syntax.EmptyOp
	if r == '\n' {
		holds = syntax.EmptyBeginLine
	}
	for _, pc := range from.kept {
		if inst := &prog.Inst[pc]; inst.MatchRune(r) {
			w.follow(prog, &w.next, uint16(inst.Out), holds, undecided)
		}
	}
	if !p.anchored {
		w.follow(prog, &w.next, uint16(prog.Start), holds, undecided)
	}
	w.visited += len(from.kept)
	w.now, w.next = w.next, w.now
	w.now.previous = beforeOf(r)
	return w.now.matched
}

// follow adds to s what is reached from pc without reading a rune. holds are the assertions that are true here, open
// those that the next rune decides. Each instruction is visited once for a set, whatever the pattern repeats.
func (w *builder) follow(prog *syntax.Prog, s *set, pc uint16, holds, open syntax.EmptyOp) {
	w.stack = append(w.stack[:0], pc)
	for len(w.stack) > 0 {
		pc := w.stack[len(w.stack)-1]
		w.stack = w.stack[:len(w.stack)-1]
		if s.seen[pc] == s.round {
			continue
		}
		s.seen[pc] = s.round
		w.visited++
		switch inst := &prog.Inst[pc]; inst.Op {
		case syntax.InstFail:
		case syntax.InstMatch:
			s.matched = true
		case syntax.InstAlt, syntax.InstAltMatch:
			w.stack = append(w.stack, uint16(inst.Out), uint16(inst.Arg))
		case syntax.InstNop, syntax.InstCapture:
			w.stack = append(w.stack, uint16(inst.Out))
		case syntax.InstEmptyWidth:
			switch op := syntax.EmptyOp(inst.Arg); {
			case op&^holds == 0:
				w.stack = append(w.stack, uint16(inst.Out))
			case op&open != 0:
				s.kept, s.waiting = append(s.kept, pc), true
			}
		default:
			s.kept = append(s.kept, pc)
		}
	}
}

// makeKey returns the key of what was read so far. It is borrowed until the next one is made.
func (w *builder) makeKey() []byte {
	slices.Sort(w.now.kept)
	previous := beforeOther
	if w.now.waiting {
		previous = w.now.previous
	}
	w.key = append(w.key[:0], byte(previous), byte(len(w.pending)), 0, 0, 0)
	copy(w.key[keyPending:], w.pending)
	for _, pc := range w.now.kept {
		w.key = append(w.key, byte(pc>>8), byte(pc))
	}
	return w.key
}
