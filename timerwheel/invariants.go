//go:build invariants

package timerwheel

import (
	"fmt"
	"math/bits"
)

// checkedMax bounds the wheels that check themselves after each Advance: the walk is linear.
const checkedMax = 4096

// check panics when the invariants of Wheel do not hold, or the invariants of an armed Timer.
func (w *Wheel) check() {
	if w.count > checkedMax {
		return
	}
	n := 0
	for slot, head := range w.heads {
		w.checkSlot(slot, head != nil)
		var prev *Timer
		for t := head; t != nil; prev, t = t, t.next {
			n++
			if t.prev != prev || int(t.slot) != slot+1 {
				w.fail("slot %d: entry linked as slot %d, broken back link %v", slot, t.slot, t.prev != prev)
			}
			if t.at <= (t.tick-1)<<granuleBits && t.tick > w.target+1 {
				w.fail("entry at granule %d is later than its deadline %d", t.tick, t.at)
			}
			w.checkPlace(t.tick, slot)
			if want := int(w.slotOf(t.tick)); want != slot && int(w.draining) != slot+1 {
				w.fail("entry at granule %d is in slot %d, not %d", t.tick, slot, want)
			}
		}
	}
	w.checkCount(n)
}

// check panics when the invariants of Timer do not hold. The invariants of an armed one are checked from its wheel.
func (t *Timer) check() {
	if t.slot == 0 && (t.next != nil || t.prev != nil) {
		panic("timerwheel: a disarmed timer is linked")
	}
}

// check panics when the invariants of Slots do not hold.
func (s *Slots) check() {
	if len(s.timers) > checkedMax {
		return
	}
	n, armed := 0, 0
	for slot, head := range s.heads {
		s.checkSlot(slot, head != 0)
		prev := firstFlag | uint32(slot)
		for i := head; i != 0; prev, i = i, s.timers[i-1].next {
			n++
			t := &s.timers[i-1]
			if t.prev != prev {
				s.fail("slot %d: timer %d has the back link %x, not %x", slot, i-1, t.prev, prev)
			}
			s.checkPlace(s.tickAt(t.tick), slot)
		}
	}
	for i := range s.timers {
		if s.timers[i].prev != 0 {
			armed++
		}
	}
	if armed != n {
		s.fail("%d timers are armed, %d are linked", armed, n)
	}
	s.checkCount(n)
}

// checkSlot panics when the bit of a slot is not what its list says.
func (h *hierarchy) checkSlot(slot int, full bool) {
	if filled := h.filled[slot/slots]>>(slot%slots)&1 == 1; filled != full {
		h.fail("slot %d: filled %v, has entries %v", slot, filled, full)
	}
}

// checkPlace panics when an entry that is due at tick does not belong into slot. It may be due later than the slot: it
// was moved to a later time and kept its place.
func (h *hierarchy) checkPlace(tick int64, slot int) {
	if tick < h.tick || tick <= h.target && !h.cut {
		h.fail("entry at granule %d is late, cut %v", tick, h.cut)
	}
	if int(h.draining) == slot+1 {
		return // tick has moved onto the slot, so that its entries differ below level only
	}
	level, i := slot/slots, slot%slots
	shift := level * slotBits
	starts := h.tick>>(shift+slotBits)<<(shift+slotBits) | int64(i)<<shift
	if starts > tick || starts < h.tick {
		h.fail("entry at granule %d is in slot %d, which starts at %d", tick, slot, starts)
	}
	if want := (bits.Len64(uint64(h.tick^starts|slotMask)) - 1) / slotBits; want != level {
		h.fail("slot %d of level %d starts at %d: that is on level %d", i, level, starts, want)
	}
}

// checkCount panics when n entries were found and the rest of h says otherwise.
func (h *hierarchy) checkCount(n int) {
	for level, filled := range h.filled {
		if used := h.used>>level&1 == 1; used != (filled != 0) {
			h.fail("level %d: used %v, filled %x", level, used, filled)
		}
	}
	if n != h.count {
		h.fail("%d entries, count %d", n, h.count)
	}
	if d := int(h.draining) - 1; d >= 0 {
		shift := d / slots * slotBits
		if !h.cut || h.tick>>shift<<shift != h.tick || int(h.tick>>shift&slotMask) != d%slots {
			h.fail("slot %d is drained, cut %v", d, h.cut)
		}
	}
}

func (h *hierarchy) fail(format string, args ...any) {
	panic(fmt.Sprintf("timerwheel: at granule %d, target %d: ", h.tick, h.target) + fmt.Sprintf(format, args...))
}
