package regex

import (
	"bytes"
	"regexp/syntax"
	"unicode/utf8"
)

// GroupsMax is how many groups Submatches returns, the whole match among them.
const GroupsMax = 10

// Groups are places in a text: begin and end of the whole match and of the groups after it, -1 for a group that took no
// part.
type Groups [GroupsMax][2]int32

const (
	visitsMax = 1 << 18 // bits: instructions times places of a text. Above it package regexp looks
	jobsKept  = 1 << 12 // room for jobs that stays from one text to the next
	undo      = -1      // as the instruction of a job: the group gets back what it was
)

// job is what is tried when the present way leads nowhere.
type job struct {
	pc  int32 // or undo
	pos int32 // or what the border was
	cap int32 // border of a group, for undo
}

// backtracker finds the groups of the match that package regexp finds: the leftmost one, and of these the one that
// the order of the pattern prefers. No instruction is tried twice at a place, so the work is bounded by visitsMax.
type backtracker struct {
	visited []uint64
	jobs    []job
}

// Submatches sets the groups of the leftmost match in b, as regexp.Regexp.FindSubmatchIndex returns them, and reports
// whether there is one; if not, what groups has is without meaning. It allocates nothing once the cache has grown,
// unless b needs very much. Without a cache it is package regexp that looks, and allocates; so it does where places of
// b times instructions are more than 262144.
func (p *Pattern) Submatches(c *Cache, b []byte, groups *Groups) bool {
	if c == nil || len(p.prog.Inst)*(len(b)+1) > visitsMax {
		return p.submatches(b, groups)
	}
	t := &c.groups
	words := (len(p.prog.Inst)*(len(b)+1) + 63) / 64
	if cap(t.visited) < words {
		t.visited = make([]uint64, words)
	}
	t.visited = t.visited[:words]
	clear(t.visited)
	found := p.search(t, b, groups)
	if cap(t.jobs) > jobsKept {
		t.jobs = nil
	}
	return found
}

// search tries one place of b after the other.
func (p *Pattern) search(t *backtracker, b []byte, groups *Groups) bool {
	for start := 0; start <= len(b); {
		if len(p.lead) > 0 && !p.leadFirst {
			i := bytes.Index(b[start:], p.lead)
			if i < 0 {
				return false
			}
			start += i
		}
		if t.try(p.prog, b, start, groups) {
			return true
		}
		if p.leadFirst || p.anchored {
			return false
		}
		_, n := utf8.DecodeRune(b[start:])
		start += max(n, 1)
	}
	return false
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

var noGroups = func() (g Groups) {
	for i := range g {
		g[i] = [2]int32{-1, -1}
	}
	return g
}()

// try looks for a match that begins at start.
func (t *backtracker) try(prog *syntax.Prog, b []byte, start int, groups *Groups) bool {
	*groups = noGroups
	t.jobs = append(t.jobs[:0], job{pc: int32(prog.Start), pos: int32(start)})
	for len(t.jobs) > 0 {
		j := t.jobs[len(t.jobs)-1]
		t.jobs = t.jobs[:len(t.jobs)-1]
		if j.pc == undo {
			groups[j.cap/2][j.cap%2] = j.pos
			continue
		}
		if end, ok := t.follow(prog, b, j, groups); ok {
			groups[0] = [2]int32{int32(start), end}
			return true
		}
	}
	return false
}

// follow goes on from a job to where there is no way, or to the end of the pattern. What else could be tried becomes
// a job.
func (t *backtracker) follow(prog *syntax.Prog, b []byte, j job, groups *Groups) (end int32, ok bool) {
	pc, pos := uint32(j.pc), int(j.pos)
	for {
		bit := int(pc)*(len(b)+1) + pos
		if t.visited[bit/64]&(1<<(bit%64)) != 0 {
			return 0, false
		}
		t.visited[bit/64] |= 1 << (bit % 64)
		inst := &prog.Inst[pc]
		switch inst.Op {
		case syntax.InstFail:
			return 0, false
		case syntax.InstMatch:
			return int32(pos), true
		case syntax.InstAlt, syntax.InstAltMatch:
			t.jobs = append(t.jobs, job{pc: int32(inst.Arg), pos: int32(pos)})
		case syntax.InstCapture:
			if border := inst.Arg; border < 2*GroupsMax {
				at := &groups[border/2][border%2]
				t.jobs = append(t.jobs, job{pc: undo, pos: *at, cap: int32(border)})
				*at = int32(pos)
			}
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(inst.Arg)&^around(b, pos) != 0 {
				return 0, false
			}
		case syntax.InstNop:
		default:
			if pos == len(b) {
				return 0, false
			}
			r, n := rune(b[pos]), 1
			if r >= utf8.RuneSelf {
				r, n = utf8.DecodeRune(b[pos:])
			}
			if !inst.MatchRune(r) {
				return 0, false
			}
			pos += n
		}
		pc = inst.Out
	}
}

// around returns the assertions that hold at a place of a text.
func around(b []byte, pos int) syntax.EmptyOp {
	previous, next := rune(-1), rune(-1)
	if pos > 0 {
		previous, _ = utf8.DecodeLastRune(b[:pos])
	}
	if pos < len(b) {
		next, _ = utf8.DecodeRune(b[pos:])
	}
	return syntax.EmptyOpContext(previous, next)
}
