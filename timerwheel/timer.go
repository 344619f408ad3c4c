package timerwheel

// Owner is told when one of its timers fires.
type Owner interface {
	// OnTimer is called by Advance, with the now it was given. t is disarmed by then.
	// It may arm and disarm any timer of the wheel, t included, but may not call Advance.
	OnTimer(t *Timer, now int64)
}

// Timer is one deadline, to be embedded in what it guards. The zero value is a disarmed timer.
// Owned by its wheel's goroutine. It must not be copied, nor its memory reused, while it is armed.
//
//	slot == 0  <=>  disarmed; then next, prev are nil
//	slot != 0   =>  linked in heads[slot-1], under tick
//	armed       =>  tick <= the granule of at, unless at was past when it was asked for
type Timer struct {
	at         int64  // the deadline, ns
	tick       int64  // the granule the entry is linked under
	slot       uint16 // index in Wheel.heads, plus one
	next, prev *Timer
	Owner      Owner // set once, before the first Arm
}

// Armed reports whether t is going to fire.
func (t *Timer) Armed() bool { return t.slot != 0 }

// At is the deadline last asked for, whether t is still armed or not.
func (t *Timer) At() int64 { return t.at }
