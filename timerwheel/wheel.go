package timerwheel

// Wheel holds armed timers and knows which of them are due. Owned by one goroutine. The zero value is a wheel at
// time 0; it must not be copied once in use.
//
//	every entry e:  e.tick >= tick; e.tick > target unless an Advance ran into its limit
//	an entry of level l agrees with tick in all bits above l, and l is the highest level where they differ
//	heads[i] != nil  <=>  hierarchy says that slot i is filled
type Wheel struct {
	hierarchy
	heads [levels * slots]*Timer
}

// Init makes w an empty wheel whose time is now. Timers armed in it before are forgotten and must not be used again.
func (w *Wheel) Init(now int64) {
	w.startAt(now)
	clear(w.heads[:])
}

// Arm makes t fire at the absolute time at, whether it was armed or not. A time that is past means the next granule.
// Moving an armed timer to a later time costs a store. t.Owner must be set.
func (w *Wheel) Arm(t *Timer, at int64) {
	if t.slot != 0 && at > (t.tick-1)<<granuleBits {
		t.at = at
		return
	}
	w.relink(t, at)
}

// Disarm makes t not fire. Disarming a disarmed timer does nothing.
func (w *Wheel) Disarm(t *Timer) {
	if t.slot != 0 {
		w.unlink(t)
	}
}

// Advance tells w that it is now, fires what is due, and returns the number of entries touched: fired, cascaded to a
// finer level, or moved because their deadline is later by now. It stops at limit; then the rest stays due, Next is not
// after now, and the next Advance goes on. A time before the time of an earlier Advance does nothing.
// A disarmed timer that OnTimer arms fires in a later Advance, whatever its deadline.
func (w *Wheel) Advance(now int64, limit int) (n int) {
	target := now >> granuleBits
	if !w.begin(target) {
		return 0
	}
	for n < limit {
		slot, ok := w.step(target)
		if !ok {
			break
		}
		// Nothing is linked into slot while it is drained: what OnTimer arms goes after target, to another slot.
		for head := &w.heads[slot%(levels*slots)]; n < limit && *head != nil; n++ {
			t := *head
			w.unlink(t)
			if slot < slots && t.at <= now {
				t.Owner.OnTimer(t, now)
				continue
			}
			// t.tick, because a deadline that was past when it was armed has been put off to a later granule.
			w.link(t, max(tickOf(t.at), t.tick))
		}
	}
	w.check()
	return n
}

// Next is the time at which Advance should be called, or -1 when no timer is armed. It is a lower bound of the earliest
// deadline, rounded up to its granule; not after now when the last Advance ran into its limit.
func (w *Wheel) Next() int64 { return w.next() }

// Len is the number of armed timers.
func (w *Wheel) Len() int { return w.count }

// relink is Arm for a timer that is not armed, or that has to fire before its entry comes up.
func (w *Wheel) relink(t *Timer, at int64) {
	if t.slot != 0 {
		w.unlink(t)
	}
	t.at = at
	w.link(t, max(tickOf(at), w.target+1))
}

// link puts t into the slot of tick, which is not before w.tick.
func (w *Wheel) link(t *Timer, tick int64) {
	slot := w.slotOf(tick)
	head := w.heads[slot]
	t.tick, t.slot, t.next = tick, uint16(slot+1), head
	w.heads[slot] = t
	w.count++
	if head != nil {
		head.prev = t
		return
	}
	w.fill(slot)
}

// unlink takes t out of its slot. The links are cleared so that a disarmed timer keeps nothing else alive.
func (w *Wheel) unlink(t *Timer) {
	slot := uint(t.slot-1) % (levels * slots)
	next, prev := t.next, t.prev
	if next != nil {
		next.prev = prev
		t.next = nil
	}
	if prev != nil {
		prev.next = next
		t.prev = nil
	} else {
		w.heads[slot] = next
		if next == nil {
			w.clear(slot)
		}
	}
	t.slot = 0
	w.count--
}
