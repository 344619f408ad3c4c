//go:build !invariants

package timerwheel

// check does something with -tags invariants only.
func (w *Wheel) check() {}
func (t *Timer) check() {}
func (s *Slots) check() {}
