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

// hierarchy is what Wheel and Slots share: the granule reached, and which slots hold entries. It knows no entry: the
// lists of a slot are linked by pointers there and by indices here. Its methods are inlined or were calls before.
//
//	filled[l] has bit i  <=>  slot l*64+i holds an entry;  used has bit l  <=>  filled[l] != 0
//	draining != 0  =>  slot draining-1 starts at tick and is the one Advance is emptying
type hierarchy struct {
	tick     int64 // the granule reached: nothing before it is left
	target   int64 // the granule of the last Advance; timers armed now go after it
	count    int
	draining uint16 // a slot, plus one
	cut      bool   // the last Advance ran into its limit
	used     uint8
	filled   [levels]uint64
}

// startAt makes h empty, with the time now.
func (h *hierarchy) startAt(now int64) {
	tick := max(now, 0) >> granuleBits
	*h = hierarchy{tick: tick, target: tick}
}

// begin tells h the granule up to which an Advance goes, and reports whether there may be something to do.
func (h *hierarchy) begin(target int64) bool {
	if target < h.tick || target <= h.target && !h.cut { // timers armed since then go after it
		return false
	}
	h.target, h.cut = max(h.target, target), true
	return true
}

// step moves h on to the earliest slot that is not empty and starts by target, or, when there is none, to target.
func (h *hierarchy) step(target int64) (slot uint, ok bool) {
	slot, tick := h.earliest()
	if tick > target {
		h.tick, h.draining, h.cut = target, 0, target < h.target
		return 0, false
	}
	h.tick, h.draining = tick, uint16(slot+1)
	return slot, true
}

// earliest finds the first slot that is not empty, and the granule it starts at.
// A slot that is being drained comes first: tick stands on it already, and finer levels may hold what it cascaded.
func (h *hierarchy) earliest() (slot uint, tick int64) {
	if d := uint(h.draining); d != 0 && h.filled[(d-1)/slots%levels]>>((d-1)%slots)&1 == 1 {
		return d - 1, h.tick
	}
	if h.used == 0 {
		return 0, math.MaxInt64
	}
	level := uint(bits.TrailingZeros8(h.used)) % levels
	i := uint(bits.TrailingZeros64(h.filled[level]))
	shift := level * slotBits
	base := h.tick >> (shift + slotBits) << (shift + slotBits)
	return level*slots + i, base | int64(i)<<shift
}

// next is the time at which earliest starts, or -1 when there is nothing.
func (h *hierarchy) next() int64 {
	if h.count == 0 {
		return -1
	}
	_, tick := h.earliest()
	return timeOf(tick)
}

// slotOf is the slot of tick, which is not before h.tick.
// The remainders of level and slot, here and below, change nothing but spare the bounds checks.
func (h *hierarchy) slotOf(tick int64) uint {
	level := uint(bits.Len64(uint64(h.tick^tick|slotMask))-1) / slotBits
	return level%levels*slots + uint(tick>>(level*slotBits))%slots
}

// fill sets the bits of a slot that was empty.
func (h *hierarchy) fill(slot uint) {
	level := slot / slots
	h.filled[level%levels] |= 1 << (slot % slots)
	h.used |= 1 << level
}

// clear drops the bits of a slot that became empty.
func (h *hierarchy) clear(slot uint) {
	level := slot / slots
	h.filled[level%levels] &^= 1 << (slot % slots)
	if h.filled[level%levels] == 0 {
		h.used &^= 1 << level
	}
}

// timeOf is when the granule tick starts.
func timeOf(tick int64) int64 {
	if tick >= tickNever {
		return math.MaxInt64
	}
	return tick << granuleBits
}

// tickOf is the first granule that starts at or after at. Written without an addition that could overflow.
func tickOf(at int64) int64 {
	const rest = 1<<granuleBits - 1
	return at>>granuleBits + (at&rest+rest)>>granuleBits
}
