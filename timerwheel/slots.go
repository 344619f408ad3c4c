package timerwheel

const (
	// SlotsMax is the number of timers a Slots has room for at most.
	SlotsMax = 1<<31 - 1

	firstFlag = uint32(1) << 31 // in slotTimer.prev: the timer is the first of a slot, whose number is the rest
	farFlag   = uint32(1) << 31 // in slotTimer.tick: counted from 0 in far granules, not from the granule reached
	nearMask  = 1<<31 - 1       // a deadline more granules ahead than this is far
	farBits   = 32 - granuleBits
)

// Slots is a Wheel by index: its timers are the numbers 0 … n-1 in one array of its own, 12 bytes each and without a
// pointer, so that a million of them are nothing to the garbage collector. What number i guards is its owner's to know:
// the i-th element of a queue, for one. The lists are not shared with Wheel, because to reach an entry by pointer or by
// index is what each call spends its time on; the rest is.
//
// Owned by one goroutine. The zero value is at time 0 and has room for no timer; it must not be copied once in use.
//
//	every armed i:  its tick >= tick; its tick > target unless an Advance ran into its limit
//	an entry of level l is due no earlier than its slot starts
//	prev == 0  <=>  disarmed
//	heads[i] != 0  <=>  hierarchy says that slot i is filled
type Slots struct {
	hierarchy
	timers []slotTimer
	heads  [levels * slots]uint32 // a timer plus one; 0 for none
}

// slotTimer is one timer of a Slots. Unlike a Timer it keeps one time, not two: the granule it is due at. That it may
// stand in the slot of an earlier one is found when the slot is drained.
type slotTimer struct {
	next uint32 // a timer plus one; 0 for none
	prev uint32 // the same, or firstFlag and the slot; 0 when disarmed
	tick uint32 // the granule modulo 2^31, or farFlag and the far granule minus one
}

// Init makes s a wheel whose time is now, with all its timers disarmed. The room for them stays.
func (s *Slots) Init(now int64) {
	s.startAt(now)
	clear(s.heads[:])
	clear(s.timers)
}

// Grow makes room for the timers 0 … n-1. It allocates just that many and copies those that are there, so an owner
// that cannot tell how many it will need doubles n. It never shrinks, and panics above SlotsMax.
func (s *Slots) Grow(n int) {
	if n <= len(s.timers) {
		return
	}
	if n > SlotsMax {
		panic("timerwheel: more timers than SlotsMax")
	}
	grown := make([]slotTimer, n)
	copy(grown, s.timers)
	s.timers = grown
}

// Arm makes i fire at the absolute time at, whether it was armed or not. A time that is past means the next granule.
// Moving an armed timer to a later time costs a store. i must be below Cap.
func (s *Slots) Arm(i uint32, at int64) {
	tick := tickOf(at)
	t := &s.timers[i]
	if t.prev != 0 {
		if tick >= s.tickAt(t.tick) {
			t.tick, _ = s.encode(tick)
			return
		}
		s.unlink(i)
	}
	s.link(i, max(tick, s.target+1))
}

// Disarm makes i not fire. Disarming a disarmed timer does nothing.
func (s *Slots) Disarm(i uint32) {
	if s.timers[i].prev != 0 {
		s.unlink(i)
	}
}

// Move gives the deadline of from to to, and disarms from: what from guarded has got the number to. A deadline that to
// had is dropped. When from is not armed, to is not either.
func (s *Slots) Move(from, to uint32) {
	if from == to {
		return
	}
	s.Disarm(to)
	t := s.timers[from]
	if t.prev == 0 {
		return
	}
	s.timers[from] = slotTimer{}
	s.timers[to] = t
	if t.next != 0 {
		s.timers[t.next-1].prev = to + 1
	}
	if t.prev&firstFlag != 0 {
		s.heads[t.prev%(levels*slots)] = to + 1
	} else {
		s.timers[t.prev-1].next = to + 1
	}
}

// Advance tells s that it is now, calls fire for what is due, and returns the number of entries touched: fired,
// cascaded to a finer level, or moved because their deadline is later by now. It stops at limit; then the rest stays
// due, Next is not after now, and the next Advance goes on. A time before the time of an earlier Advance does nothing.
//
// i is disarmed when fire is called, with the now that Advance was given. fire may Arm, Disarm and Move any timer, and
// may Grow, but may call neither Advance nor Init. A disarmed timer that it arms fires in a later Advance.
func (s *Slots) Advance(now int64, limit int, fire func(i uint32, now int64)) (n int) {
	target := now >> granuleBits
	if !s.begin(target) {
		return 0
	}
	for n < limit {
		slot, ok := s.step(target)
		if !ok {
			break
		}
		// Nothing is linked into slot while it is drained: what fire arms goes after target, to another slot.
		for head := &s.heads[slot%(levels*slots)]; n < limit && *head != 0; n++ {
			i := *head - 1
			tick := s.tickAt(s.timers[i].tick)
			s.unlink(i)
			if slot < slots && tick <= target {
				fire(i, now)
			} else {
				s.link(i, tick)
			}
		}
	}
	s.check()
	return n
}

// Next is the time at which Advance should be called, or -1 when no timer is armed. It is a lower bound of the earliest
// deadline, rounded up to its granule; not after now when the last Advance ran into its limit.
func (s *Slots) Next() int64 { return s.next() }

// Armed reports whether i is going to fire.
func (s *Slots) Armed(i uint32) bool { return s.timers[i].prev != 0 }

// At is the deadline of i as s keeps it, the time from which on it fires: the one asked for, rounded up to a granule.
// It is math.MaxInt64 when i never fires, and -1 when i is not armed.
func (s *Slots) At(i uint32) int64 {
	t := &s.timers[i]
	if t.prev == 0 {
		return -1
	}
	return timeOf(s.tickAt(t.tick))
}

// Len is the number of armed timers.
func (s *Slots) Len() int { return s.count }

// Cap is the number of timers there is room for.
func (s *Slots) Cap() int { return len(s.timers) }

// link puts i into the slot of tick, which is not before s.tick.
func (s *Slots) link(i uint32, tick int64) {
	t := &s.timers[i]
	t.tick, tick = s.encode(tick)
	slot := s.slotOf(tick)
	head := s.heads[slot]
	t.next, t.prev = head, firstFlag|uint32(slot)
	s.heads[slot] = i + 1
	s.count++
	if head != 0 {
		s.timers[head-1].prev = i + 1
		return
	}
	s.fill(slot)
}

// unlink takes i out of its slot.
func (s *Slots) unlink(i uint32) {
	t := &s.timers[i]
	next, prev := t.next, t.prev
	t.prev = 0
	s.count--
	if next != 0 {
		s.timers[next-1].prev = prev
	}
	if prev&firstFlag == 0 {
		s.timers[prev-1].next = next
		return
	}
	slot := uint(prev) % (levels * slots)
	s.heads[slot] = next
	if next == 0 {
		s.clear(slot)
	}
}

// encode writes tick in 32 bits, after it has rounded it up to a far granule when it is far. tick is not before s.tick.
func (s *Slots) encode(tick int64) (code uint32, kept int64) {
	if tick-s.tick <= nearMask {
		return uint32(tick) & nearMask, tick
	}
	far := (tick - 1) >> farBits
	return uint32(far) | farFlag, (far + 1) << farBits
}

// tickAt is the granule that code stands for: the first one after the granule reached that is written so.
func (s *Slots) tickAt(code uint32) int64 {
	if code&farFlag != 0 {
		return (int64(code&nearMask) + 1) << farBits
	}
	return s.tick + int64((code-uint32(s.tick))&nearMask)
}
