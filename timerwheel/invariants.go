//go:build invariants

package timerwheel

import (
	"fmt"
	"math/bits"
)

// checkedMax bounds the wheels that check themselves after each Advance: the walk is linear.
const checkedMax = 4096

// check panics when the invariants of Wheel do not hold, or those of Timer for one that is armed.
func (w *Wheel) check() {
	if w.count > checkedMax {
		return
	}
	n := 0
	for slot, head := range w.heads {
		level, i := slot/slots, slot%slots
		if filled := w.filled[level]>>i&1 == 1; filled != (head != nil) {
			w.fail("slot %d: filled %v, head %p", slot, filled, head)
		}
		var prev *Timer
		for t := head; t != nil; prev, t = t, t.next {
			n++
			if t.prev != prev || int(t.slot) != slot+1 {
				w.fail("slot %d: entry linked as slot %d, broken back link %v", slot, t.slot, t.prev != prev)
			}
			w.checkPlace(t, level, i)
		}
	}
	for level, filled := range w.filled {
		if used := w.used>>level&1 == 1; used != (filled != 0) {
			w.fail("level %d: used %v, filled %x", level, used, filled)
		}
	}
	if n != w.count {
		w.fail("%d entries, count %d", n, w.count)
	}
	if d := int(w.draining) - 1; d >= 0 {
		shift := d / slots * slotBits
		if !w.cut || w.tick>>shift<<shift != w.tick || int(w.tick>>shift&slotMask) != d%slots {
			w.fail("slot %d is drained, cut %v", d, w.cut)
		}
	}
}

// check panics when the invariants of Timer do not hold. Those of an armed one are checked from its wheel.
func (t *Timer) check() {
	if t.slot == 0 && (t.next != nil || t.prev != nil) {
		panic("timerwheel: a disarmed timer is linked")
	}
}

// checkPlace panics when t does not belong into slot i of level.
func (w *Wheel) checkPlace(t *Timer, level, i int) {
	if t.tick < w.tick || t.tick <= w.target && !w.cut {
		w.fail("entry at granule %d is late, cut %v", t.tick, w.cut)
	}
	if t.at <= (t.tick-1)<<granuleBits && t.tick > w.target+1 {
		w.fail("entry at granule %d is later than its deadline %d", t.tick, t.at)
	}
	if int(t.tick>>(level*slotBits)&slotMask) != i {
		w.fail("entry at granule %d is in slot %d of level %d", t.tick, i, level)
	}
	if int(w.draining) == level*slots+i+1 {
		return // tick has moved onto the slot, so that its entries differ below level only
	}
	if want := (bits.Len64(uint64(w.tick^t.tick|slotMask)) - 1) / slotBits; want != level {
		w.fail("entry at granule %d is on level %d, not %d", t.tick, level, want)
	}
}

func (w *Wheel) fail(format string, args ...any) {
	panic(fmt.Sprintf("timerwheel: at granule %d, target %d: ", w.tick, w.target) + fmt.Sprintf(format, args...))
}
