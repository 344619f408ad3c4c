// Package timerwheel is a hierarchical timing wheel for deadlines that are mostly moved or dropped and seldom fire.
//
// It is not a clock and not a scheduler: it reads no time, starts no goroutine and takes no lock. Its owner tells
// it what time it is and asks it when to call again.
//
// A Timer is embedded in what it guards, its Owner is set once, and from then on arming, moving and disarming it
// allocate nothing:
//
//	w.Init(now)
//	c.timer.Owner = c
//	w.Arm(&c.timer, now+timeout)     // again and again, on every read: this only moves a field
//	w.Disarm(&c.timer)
//	wait until w.Next(), then w.Advance(now, limit)
//
// Slots is the same wheel for owners with a table: its timers are the numbers of entries in it, 12 bytes each where a
// Timer has 56, and without pointers, so that the garbage collector does not look at them.
//
//	s.Grow(n)
//	s.Arm(i, now+ttl); s.Move(i, j); s.Disarm(j)
//	s.Advance(now, limit, func(i uint32, now int64) { … })
//
// Time is absolute nanoseconds of a monotonic clock, zero or more. Deadlines are kept in granules of 2^20 ns (1.05 ms).
// A timer never fires before its deadline, and fires no more than one granule after it when Advance is called at Next.
// Within one granule the order is not defined. A deadline in the last granule of int64 never fires: math.MaxInt64
// means never. Slots keeps a deadline that is 2^31 granules (26 days) ahead or more in granules of 2^32 ns (4.3 s).
//
// Moving an armed timer to a later time is lazy: its entry stays where it is, and is moved when it comes up early.
// So Next is a lower bound, and an Advance may fire nothing.
//
//	level 7  …  granules 2^42 and up, one slot each 2^42 granules
//	level 1     64 slots of 64 granules (67 ms)   entries of a slot cascade down when it is reached
//	level 0     64 slots of 1 granule             entries of a slot fire
//
// The level of an entry is the highest group of six bits in which its granule differs from the wheel's own. Hence all
// entries of a level come before all entries of the next one, no slot ever holds two laps, and the earliest slot is
// found by two bit scans.
//
// Ownership: a Wheel and the timers armed in it, or a Slots, are owned by one goroutine. Limits: one Advance touches as
// many entries as it is told, cascades and early ones included; what is left stays due. With -tags invariants a wheel
// of moderate size checks itself after each Advance.
package timerwheel
