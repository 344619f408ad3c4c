package timerwheel

import (
	"math"
	"math/bits"
)

const (
	granuleBits = 20 // 2^20 ns: finer than any deadline of a network needs, coarse enough to share wake-ups
	slotBits    = 6  // 64 slots a level: one bitmap word each
	slots       = 1 << slotBits
	slotMask    = int64(slots - 1)
	levels      = 8 // 8 * 6 bits hold the 44 bits of the last granule of int64

	// tickNever is the granule of a deadline beyond the last whole granule of int64. It is never reached.
	tickNever = int64(1) << (63 - granuleBits)
)

// Wheel holds armed timers and knows which of them are due. Owned by one goroutine. The zero value is a wheel at
// time 0; it must not be copied once in use.
//
//	every entry e:  e.tick >= tick; e.tick > target unless an Advance ran into its limit
//	an entry of level l agrees with tick in all bits above l, and l is the highest level where they differ
//	filled[l] has bit i  <=>  heads[l*64+i] != nil;  used has bit l  <=>  filled[l] != 0
//	draining != 0  =>  slot draining-1 starts at tick and is the one Advance is emptying
type Wheel struct {
	tick     int64 // the granule reached: nothing before it is left
	target   int64 // the granule of the last Advance; timers armed now go after it
	count    int
	draining uint16 // index in heads, plus one
	cut      bool   // the last Advance ran into its limit
	used     uint8
	filled   [levels]uint64
	heads    [levels * slots]*Timer
}

// Init makes w an empty wheel whose time is now. Timers armed in it before are forgotten and must not be used again.
func (w *Wheel) Init(now int64) {
	tick := max(now, 0) >> granuleBits
	*w = Wheel{tick: tick, target: tick}
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
// after now, and the next Advance goes on. A time before that of an earlier Advance does nothing.
// A disarmed timer that OnTimer arms fires in a later Advance, whatever its deadline.
func (w *Wheel) Advance(now int64, limit int) (n int) {
	target := now >> granuleBits
	if target < w.tick || target <= w.target && !w.cut { // timers armed since then go after it
		return 0
	}
	w.target, w.cut = max(w.target, target), true
	for n < limit {
		slot, tick := w.earliest()
		if tick > target {
			w.tick, w.draining, w.cut = target, 0, target < w.target
			break
		}
		w.tick, w.draining = tick, slot
		t := w.heads[slot-1]
		w.unlink(t)
		n++
		if slot <= slots && t.at <= now {
			t.Owner.OnTimer(t, now)
			continue
		}
		// t.tick, because a deadline that was past when it was armed has been put off to a later granule.
		w.link(t, max(tickOf(t.at), t.tick))
	}
	w.check()
	return n
}

// Next is the time at which Advance should be called, or -1 when no timer is armed. It is a lower bound of the earliest
// deadline, rounded up to its granule; not after now when the last Advance ran into its limit.
func (w *Wheel) Next() int64 {
	if w.count == 0 {
		return -1
	}
	_, tick := w.earliest()
	if tick == tickNever {
		return math.MaxInt64
	}
	return tick << granuleBits
}

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
// The remainders of level and slot, here and below, change nothing but spare the bounds checks.
func (w *Wheel) link(t *Timer, tick int64) {
	level := uint(bits.Len64(uint64(w.tick^tick|slotMask))-1) / slotBits
	i := uint(tick>>(level*slotBits)) % slots
	slot := level%levels*slots + i
	head := w.heads[slot]
	t.tick, t.slot, t.next = tick, uint16(slot+1), head
	w.heads[slot] = t
	w.count++
	if head != nil {
		head.prev = t
		return
	}
	w.filled[level%levels] |= 1 << i
	w.used |= 1 << level
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

// clear drops the bits of a slot that became empty.
func (w *Wheel) clear(slot uint) {
	level := slot / slots
	w.filled[level] &^= 1 << (slot % slots)
	if w.filled[level] == 0 {
		w.used &^= 1 << level
	}
}

// earliest finds the first slot that is not empty, as index plus one, and the granule it starts at.
// A slot that is being drained comes first: tick stands on it already, and finer levels may hold what it cascaded.
func (w *Wheel) earliest() (slot uint16, tick int64) {
	if d := w.draining; d != 0 && w.heads[d-1] != nil {
		return d, w.tick
	}
	if w.used == 0 {
		return 0, math.MaxInt64
	}
	level := uint(bits.TrailingZeros8(w.used)) % levels
	i := uint(bits.TrailingZeros64(w.filled[level]))
	shift := level * slotBits
	base := w.tick >> (shift + slotBits) << (shift + slotBits)
	return uint16(level*slots + i + 1), base | int64(i)<<shift
}

// tickOf is the first granule that starts at or after at. Written without an addition that could overflow.
func tickOf(at int64) int64 {
	tick := at >> granuleBits
	if at&(1<<granuleBits-1) != 0 {
		tick++
	}
	return tick
}
