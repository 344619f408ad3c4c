package backend

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// How often the troubles of one member are logged: a member that fails now and then must not fill a log.
const (
	newTroublePause  = 10 * time.Second // after a trouble that was over, or was another one
	sameTroublePause = time.Minute      // while it lasts
)

// Trouble is what goes wrong with a member, as those that use it find out.
type Trouble struct {
	Since    time.Time // of the first failure
	Failures int       // from then on
}

// troubles is what a member remembers of its failures.
// Safe for any goroutine.
//
//	kind != NoTrouble  =>  now is the trouble in progress, with one failure or more
type troubles struct {
	kind atomic.Uint32 // a TroubleKind; written with mu held

	mu       sync.Mutex
	now      Trouble   // guarded by mu
	logged   string    // what was wrong, when it was told last; "": it was not; guarded by mu
	loggedAt time.Time // when any was; guarded by mu
}

// TroubleKind says what ends a Trouble.
type TroubleKind uint32

// The kinds.
const (
	NoTrouble  TroubleKind = iota
	Connecting             // there is no connection: one ends it
	Answering              // answers fail: a whole one ends it
)

// Trouble returns the kind of trouble that m has, by one load.
func (m *Member) Trouble() TroubleKind { return TroubleKind(m.troubles.kind.Load()) }

// Refusing returns how many members of s could not be connected to when that was tried last, and how many there are.
func (s *Set) Refusing() (refusing, members int) {
	return s.count(func(m *Member) bool { return m.Trouble() == Connecting })
}

// Down returns how many members of s are down, those that drain aside, and how many members there are.
func (s *Set) Down() (down, members int) { return s.count((*Member).IsDown) }

// count returns how many members of s are as is says, and how many there are.
func (s *Set) count(is func(*Member) bool) (n, members int) {
	for _, m := range s.now.Load().members {
		if m == nil {
			continue
		}
		if members++; is(m) {
			n++
		}
	}
	return n, members
}

// IsDown reports whether there is a reason against m other than that it drains, by one load.
func (m *Member) IsDown() bool { return m.Reasons()&^(Draining|AgentDrain) != 0 }

// Fail notes that m failed at a time. It returns the trouble that this is part of, and whether to tell of it: it has
// begun, it has become another one, or it goes on for another minute.
func (m *Member) Fail(kind TroubleKind, what string, at time.Time) (t Trouble, tell bool) {
	s := &m.troubles
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Trouble() == NoTrouble {
		s.now, s.logged = Trouble{Since: at}, ""
	}
	wait := newTroublePause
	if s.logged == what {
		wait = sameTroublePause
	}
	s.kind.Store(uint32(kind))
	s.now.Failures++
	if at.Sub(s.loggedAt) < wait {
		return s.now, false
	}
	s.logged, s.loggedAt = what, at
	s.check()
	return s.now, true
}

// Recover notes that m serves again. It returns the trouble that is over, and whether its beginning was told.
func (m *Member) Recover() (t Trouble, told bool) {
	s := &m.troubles
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Trouble() == NoTrouble {
		return Trouble{}, false
	}
	s.check()
	s.kind.Store(uint32(NoTrouble))
	return s.now, s.logged != ""
}

// check panics when an invariant of s does not hold. s.mu is held.
func (s *troubles) check() {
	if invariant.On {
		trouble := TroubleKind(s.kind.Load()) != NoTrouble
		invariant.That(!trouble || s.now.Failures > 0 && !s.now.Since.IsZero(), "a trouble without a failure")
	}
}
