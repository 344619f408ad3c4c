package observe

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// Tag is the number of a name, for records that have no pointers. It stands beside the name, which never changes, and
// is 0 until it is asked for. Equal names have equal numbers. Safe for any goroutine.
type Tag uint32

// Of returns the number of name, the name that t stands beside. Tagged knows the number until at least tagsKept/2 other
// names have come.
func (t *Tag) Of(name string) uint32 {
	n := t.Last()
	if !Lasts(n) {
		n = tags.give(name)
		atomic.StoreUint32((*uint32)(t), n)
	}
	return n
}

// Last returns the last result of Of; 0: it was not called yet. It is the present result of Of where Lasts says so.
func (t *Tag) Last() uint32 { return atomic.LoadUint32((*uint32)(t)) }

// Lasts reports whether n, which a Tag has returned, is still returned by Of. 0 is none. Where the smallest of several
// numbers lasts, all do.
func Lasts(n uint32) bool { return n > tags.floor.Load() }

// Tagged returns the name of a number that a Tag has returned. ok is false where that was too long ago, or no Tag has
// returned n.
func Tagged(n uint32) (name string, ok bool) { return tags.text(n) }

// tagsKept bounds the names that are remembered: backends that come and go have new ones for ever.
const tagsKept = 1 << 14

var tags = names{kept: tagsKept}

// names numbers names in the order in which they come, from 1, and remembers the last of them.
//
//	byText[texts[n%kept]] == n, or a larger number that the same name was given later, for last-kept < n <= last
//	floor == last - kept/2, or 0 where that is below it
type names struct {
	kept  uint32
	floor atomic.Uint32 // numbers up to it are not given any more; stored with mu held

	mu     sync.Mutex
	last   uint32            // guarded by mu, as all below
	texts  []string          // by number % kept
	byText map[string]uint32 // the number that a name was given last
}

// give returns the number of a name, a new one where it has no lasting one.
func (l *names) give(name string) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.byText[name]; n > l.floor.Load() {
		return n
	}
	if l.texts == nil {
		l.texts, l.byText = make([]string, l.kept), make(map[string]uint32)
	}
	l.last++
	at := &l.texts[l.last%l.kept]
	if l.last > l.kept && l.byText[*at] == l.last-l.kept {
		delete(l.byText, *at)
	}
	*at = strings.Clone(name)
	l.byText[*at] = l.last
	if half := l.kept / 2; l.last > half {
		l.floor.Store(l.last - half)
	}
	if invariant.On && l.last%64 == 0 { // it looks at all of them
		l.check()
	}
	return l.last
}

// check panics when an invariant of l does not hold. mu is held, or no other goroutine uses l.
func (l *names) check() {
	for i := range min(l.last, l.kept) {
		n := l.last - i
		invariant.That(l.byText[l.texts[n%l.kept]] >= n, "%d has a name that is not known", n)
	}
	invariant.That(len(l.byText) <= int(l.kept), "%d names are kept", len(l.byText))
	invariant.That(l.floor.Load() == l.last-min(l.last, l.kept/2), "the floor of %d is %d", l.last, l.floor.Load())
}

// text returns the name of a number.
func (l *names) text(n uint32) (name string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n == 0 || n > l.last || l.last-n >= l.kept {
		return "", false
	}
	return l.texts[n%l.kept], true
}
