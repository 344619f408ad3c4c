package balance

import (
	"errors"
	"fmt"
)

var errNoPicker = errors.New("its New has made no picker")

// Guarded returns m as a method that may be wrong: a call that panics, and a pick of a backend that must not be picked,
// is told to failed, on the goroutine that it happens on, and picks none. It is for methods of other packages. A pick
// costs some nanoseconds more than one of m.
func Guarded(m *Method, failed func(p any)) *Method {
	g := &Method{Name: m.Name, New: func(reactor, reactors int) Picker {
		p := &guardedPicker{failed: failed}
		func() {
			defer reportPanic(failed)
			if p.picker = m.New(reactor, reactors); p.picker == nil {
				failed(errNoPicker)
			}
		}()
		return p
	}}
	if m.Hash != nil {
		g.Hash = func(key []byte) (sum uint64) {
			defer reportPanic(failed)
			return m.Hash(key)
		}
	}
	if m.Prepare != nil {
		g.Prepare = func(v *View) {
			defer reportPanic(failed)
			m.Prepare(v)
		}
	}
	return g
}

// guardedPicker is a Picker of another package.
// Owned by one goroutine.
type guardedPicker struct {
	picker Picker // nil: New has panicked, or has made none
	failed func(p any)
}

// Pick picks.
func (g *guardedPicker) Pick(v *View, l *Local, q *Request) (picked int) {
	if g.picker == nil {
		return -1
	}
	picked = -1
	defer reportPanic(g.failed)
	i := g.picker.Pick(v, l, q)
	if i < -1 || i >= v.Len() || i >= 0 && !v.pickable(i, q) {
		g.failed(fmt.Errorf("it has picked %d, which is not open, or was tried", i))
		return -1
	}
	return i
}

// reportPanic tells failed of a panic. To be deferred.
func reportPanic(failed func(p any)) {
	if p := recover(); p != nil {
		failed(p)
	}
}
