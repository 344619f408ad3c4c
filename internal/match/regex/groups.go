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
	placesMax  = 1 << 24 // bits: instructions times places of a text, 2 MiB
	placesKept = 1 << 13 // words of them that stay from one text to the next
	visitsMax  = 1 << 22 // instructions that are tried at places for one text, some 20 ms
	jobsKept   = 1 << 12 // room for jobs that stays from one text to the next
	undo       = -1      // as the instruction of a job: the group gets back what it was
)

// job is what is tried when the present way leads nowhere.
type job struct {
	pc  int32 // or undo
	pos int32 // or what the border was
	cap int32 // border of a group, for undo
}

// backtracker finds the groups of the match that package regexp finds: the leftmost one, and of these the match that
// the order of the pattern prefers. No instruction is tried twice at a place.
//
//	visited has a bit for each instruction at each place, by places; all are 0 between searches
type backtracker struct {
	visited    []uint64
	jobs       []job
	first, end int
	visits     int // that are left in this search; below 0: there were too many
}

// Submatches sets the groups of the leftmost match in b, as regexp.Regexp.FindSubmatchIndex returns them, and reports
// whether there is one; if not, what groups has is without meaning. It allocates nothing once the cache has grown,
// unless b needs much. Where to find the groups would take too long, which Stats.Ungrouped counts, all of them are -1
// though there is a match.
func (p *Pattern) Submatches(c *Cache, b []byte, groups *Groups) bool {
	s := p.Scan(c, b)
	if s.Next(groups) {
		s.done()
		return true
	}
	if !s.Stopped() {
		return false
	}
	*groups = noGroups
	return p.Match(c, b)
}

var noGroups = func() (g Groups) {
	for i := range g {
		g[i] = [2]int32{-1, -1}
	}
	return g
}()

// Scan finds the matches of a pattern in a text, one after the other.
type Scan struct {
	p       *Pattern
	c       *Cache
	t       *backtracker
	b       []byte
	at      int // where to look next
	end     int // of the match before; -1: there was none
	visits  int // that are left
	stopped bool
}

// Scan returns the matches in b, as regexp.Regexp.FindAllSubmatchIndex does. Without a cache it has room of its own.
func (p *Pattern) Scan(c *Cache, b []byte) Scan {
	s := Scan{p: p, c: c, b: b, end: -1, visits: visitsMax}
	if c != nil {
		s.t = &c.groups
	} else {
		s.t = new(backtracker)
	}
	if len(p.prog.Inst)*(len(b)+1) > placesMax {
		s.stop()
	}
	return s
}

// Next finds the next match and sets its groups. It returns false where there is none, or no time to find it: see
// Stopped.
func (s *Scan) Next(groups *Groups) bool {
	for s.at <= len(s.b) {
		left := &s.visits
		if s.c != nil && s.c.begun {
			left = &s.c.visits
		}
		s.t.visits = *left
		found := s.p.search(s.t, s.b, s.at, groups)
		if *left = s.t.visits; *left < 0 {
			s.stop()
			return false
		}
		if !found {
			s.done()
			return false
		}
		end := int(groups[0][1])
		accept := true
		if end == s.at { // an empty match, which is none after another match
			accept = int(groups[0][0]) != s.end
			_, n := utf8.DecodeRune(s.b[s.at:])
			s.at += max(n, 1)
		} else {
			s.at = end
		}
		if s.end = end; accept {
			return true
		}
	}
	return false
}

// Stopped reports that there may be more matches, and was no time to find them.
func (s *Scan) Stopped() bool { return s.stopped }

// done ends the scan, and gives up room that few texts need.
func (s *Scan) done() {
	s.at = len(s.b) + 1
	if len(s.t.visited) > placesKept {
		s.t.visited = nil
	}
	if cap(s.t.jobs) > jobsKept {
		s.t.jobs = nil
	}
}

func (s *Scan) stop() {
	s.done()
	s.stopped = true
	if s.c != nil {
		s.c.stats.Ungrouped++
	}
}

// search looks for a match at one place of b after the other.
func (p *Pattern) search(t *backtracker, b []byte, from int, groups *Groups) bool {
	if words := (len(p.prog.Inst)*(len(b)+1) + 63) / 64; len(t.visited) < words {
		t.visited = make([]uint64, words)
	}
	t.first, t.end = len(b)+1, 0
	found := p.tryAll(t, b, from, groups)
	if t.first < t.end {
		first, end := t.first*len(p.prog.Inst)/64, (t.end*len(p.prog.Inst)+63)/64
		clear(t.visited[first:end])
	}
	return found
}

func (p *Pattern) tryAll(t *backtracker, b []byte, start int, groups *Groups) bool {
	for start <= len(b) && t.visits >= 0 {
		switch {
		case (p.leadFirst || p.anchored) && start > 0:
			return false
		case len(p.lead) > 0 && !p.leadFirst:
			i := bytes.Index(b[start:], p.lead)
			if i < 0 {
				return false
			}
			start += i
		}
		if t.try(p.prog, b, start, groups) {
			return true
		}
		_, n := utf8.DecodeRune(b[start:])
		start += max(n, 1)
	}
	return false
}

// try looks for a match that begins at start.
func (t *backtracker) try(prog *syntax.Prog, b []byte, start int, groups *Groups) bool {
	*groups = noGroups
	t.first, t.end = min(t.first, start), max(t.end, start+1)
	t.jobs = append(t.jobs[:0], job{pc: int32(prog.Start), pos: int32(start)})
	for len(t.jobs) > 0 && t.visits >= 0 {
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
	for ; t.visits >= 0; t.visits-- {
		bit := pos*len(prog.Inst) + int(pc)
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
			if pos += n; pos >= t.end {
				t.end = pos + 1
			}
		}
		pc = inst.Out
	}
	return 0, false
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
