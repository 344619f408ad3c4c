package lang

import (
	"github.com/edge-proxy/edge/internal/match/regex"
	"github.com/edge-proxy/edge/message"
)

// ComputedMax is how many bytes of computed texts one comparison has room for, by each value of its left side, or one
// value of a template, and how long a template may be. Bytes beyond it are cut off and counted: see State.Cut.
const ComputedMax = 64 << 10

// X is what a text is evaluated for: one request, its answer, or a connection. The caller fills it, evaluation reads
// it. Owned by its reactor.
type X struct {
	Request *message.Head // nil before one came
	Answer  *message.Head // nil before one came
	Path    []byte        // the path that routing saw, in normal form; nil: the path as it came
	Body    *Body         // nil: nothing of it is known
	Subject any           // what the functions of registered variables look at
	State   *State        // of the reactor
}

// Body is the begin of a request's body, or all of it. Owned by its X.
type Body struct {
	Bytes  []byte
	Cut    bool // there is more of it
	Missed bool // set by an evaluation: json was asked for a member that may stand in what is cut off

	asked  [32]byte   // the path that json was last asked of all of Bytes, up to the first 0; a longer one is not kept
	member jsonMember // and what it leads to, in Bytes
}

// jsonMember is what a JSON text says of a member.
type jsonMember struct {
	state jsonState
	found []byte // as it is written; nil: there is none
}

// jsonState says how a text was read. Programs that read the same bytes differ about texts of the last two states.
type jsonState uint8

const (
	_           jsonState = iota
	jsonWhole             // to its end
	jsonCut               // to the cut of the body
	jsonUnclear           // a name on the way to the member came twice, or in another case
	jsonUnread            // the text is not JSON within the bounds, or programs decode it before they read it
)

// tail returns what Bytes has after text, where that is a part of them; false: it is none, as far as can be told.
func (b *Body) tail(text []byte) (after []byte, is bool) {
	if b == nil || len(text) == 0 || cap(text) > cap(b.Bytes) ||
		&text[:cap(text)][cap(text)-1] != &b.Bytes[:cap(b.Bytes)][cap(b.Bytes)-1] { // another array
		return nil, false
	}
	end := cap(text) - len(text) - (cap(b.Bytes) - len(b.Bytes))
	return b.Bytes[len(b.Bytes)-max(end, 0):], end >= 0
}

// State is what evaluations on one reactor share: the bytes of computed texts, and the groups of the last match.
// Owned by its reactor.
//
// What an evaluation returns is borrowed until the next one with the same State.
type State struct {
	Now      int64        // nanoseconds since 1970, of the clock that the owner keeps; 0: time.unix is missing
	Patterns *regex.Cache // of regular expressions; an owner that has several states may give their caches one budget

	Stopwatch *Stopwatch // Explain measures clauses with it; nil: it measures none

	computed   []byte   // texts, one after another, from the beginning of an evaluation
	list       [][]byte // lists of texts that are in use, as a stack
	right      rightSide
	collecting [][]byte // a list that is being made
	taken      int      // bytes of computed that the values of the comparison at hand leave as they are
	any        bool     // the left side of that has a value
	cut        uint64
	unread     uint64 // see Unasked

	subject []byte // what the last "~" that held was asked about; empty: none did
	groups  regex.Groups
	found   regex.Groups // of the match that is tried
	matched bool
	outer   matchOf // of the route
}

// rightSide is the right side of the comparison at hand: a part of the list of texts in use.
type rightSide struct {
	begin, end int
	work       int      // bytes that were looked at to find one of its texts in others
	needles    *needles // nil: they are looked for one by one
}

// matchOf is a match that the owner of a State names.
type matchOf struct {
	subject []byte
	groups  [][2]int32
}

// NewState returns the state of one reactor.
func NewState() *State { return &State{Patterns: regex.NewCache(nil)} }

// Cut is how many computed texts were cut off since the start, for want of room, and matches whose groups are missing,
// for want of time.
func (s *State) Cut() uint64 { return s.cut }

// Unasked counts evaluations that did not see all of a request. A client can make it so: a caller whose text decides
// whether the request goes on refuses the request then.
type Unasked struct {
	Cut  uint64 // see State.Cut
	JSON uint64 // texts that json was asked about, and that it cannot read or programs read differently
}

// Unasked returns the counters of s: to be compared before and after an evaluation.
func (s *State) Unasked() Unasked { return Unasked{s.cut, s.unread} }

// SetMatch names the groups that match.N is where no "~" of the rule held: the groups of a route's pattern, each from
// its first byte in subject to the byte after its last, or -1. Both are borrowed until the next call.
func (s *State) SetMatch(subject []byte, groups [][2]int32) {
	s.outer = matchOf{subject, groups}
	s.matched = false
}

// Match returns the groups of the last "~" that held in the last evaluation of a Capturing condition, and the text that
// they are of; nil: there are none. Borrowed until the next evaluation.
func (s *State) Match() (subject []byte, groups *regex.Groups) {
	if !s.matched {
		return nil, nil
	}
	return s.subject, &s.groups
}

// begin forgets the texts of the evaluation before, and the lists that it had in use if a function panicked.
func (s *State) begin() {
	if cap(s.list) > listKept { // it was of a body
		s.list = nil
	}
	s.computed, s.list = s.computed[:0], s.list[:0]
	if s.Patterns != nil {
		s.Patterns.Begin()
	}
}

// Room returns an empty slice to append a computed text to, which Keep then takes. Between the two calls there is no
// other evaluation.
func (s *State) Room() []byte { return s.computed[len(s.computed):] }

// Keep makes text, which was appended to what Room returned, a text of this evaluation. It returns text, or as much of
// it as there is room for.
func (s *State) Keep(text []byte) []byte {
	room := ComputedMax - len(s.computed)
	if len(text) > room {
		text = text[:room]
		s.cut++
	}
	if cap(text) == 0 {
		return empty
	}
	if free := s.computed[len(s.computed):cap(s.computed)]; len(free) == 0 || &text[:1][0] != &free[:1][0] {
		s.computed = append(s.computed, text...) // text outgrew the buffer, or stands elsewhere: it is copied once
		return s.computed[len(s.computed)-len(text):]
	}
	s.computed = s.computed[:len(s.computed)+len(text)]
	return text[:len(text):len(text)]
}

// count returns how many texts all has, which was made of the list in use, and keeps its memory for the next one.
func (s *State) count(all [][]byte) int64 {
	n := len(all) - len(s.list)
	s.list = all[:len(s.list)]
	return int64(n)
}

// left is how many bytes a computed text may have.
func (s *State) left() int { return ComputedMax - len(s.computed) }

// empty is a text that is there and has no bytes. A nil slice is a text that is missing.
var empty = []byte{}

// listKept is how many texts the list of a State keeps room for from one evaluation to the next.
const listKept = 16 << 10

// present returns b as a text that is there.
func present(b []byte) []byte {
	if b == nil {
		return empty
	}
	return b
}

// keepMatch notes the groups of a match in subject, for match.N.
func (s *State) keepMatch(subject []byte, at []int) {
	s.subject = append(s.subject[:0], subject...)
	for i := range s.groups {
		s.groups[i] = [2]int32{-1, -1}
		if 2*i+1 < len(at) {
			s.groups[i] = [2]int32{int32(at[2*i]), int32(at[2*i+1])}
		}
	}
	s.matched = true
}

// group returns a group of the last match, nil when there is none. It is a copy: another "~" of the same evaluation
// takes the place of the subject.
func (s *State) group(i int) []byte {
	subject, groups := s.subject, s.groups[:]
	if !s.matched {
		subject, groups = s.outer.subject, s.outer.groups
	}
	if i >= len(groups) || groups[i][0] < 0 || groups[i][0] > groups[i][1] || int(groups[i][1]) > len(subject) {
		return nil
	}
	text := subject[groups[i][0]:groups[i][1]]
	if !s.matched {
		return present(text)
	}
	return s.Keep(append(s.Room(), text...))
}
