package engine

// Pressure says how much of its share of the memory budget a reactor holds in buffers.
type Pressure uint8

// The steps of pressure, and what gives way at each.
const (
	PressureNone   Pressure = iota
	PressureCache           // 75 %: caches shrink
	PressureAccept          // 80 %: accepting pauses, reads are small: who cannot pass on what it read has to keep it
	PressureRead            // 90 %: connections that hold more than their share are not read
	PressureShed            // 95 %: new exchanges are refused
)

// Pressure returns the present step. On r only.
func (r *Reactor) Pressure() Pressure {
	used, share := r.bufs.inUse, r.engine.memoryShare
	switch {
	case used < share/4*3:
		return PressureNone
	case used < share/5*4:
		return PressureCache
	case used < share/10*9:
		return PressureAccept
	case used < share/20*19:
		return PressureRead
	}
	return PressureShed
}

// Hold counts n bytes that a handler keeps for its connections as if they were in buffers; what it keeps no more it
// counts back with a negative n. On r only.
func (r *Reactor) Hold(n int) {
	r.bufs.inUse += int64(n)
	r.bufs.owed += int64(n)
}

// putOff keeps a connection that holds more than its share from reading until the retry timer fires. It reports
// whether it did.
func (r *Reactor) putOff(c *Conn) bool {
	share := r.engine.memoryShare / max(r.load.Load(), 1)
	if int64(c.in.w-c.in.r+c.queued) <= share {
		return false
	}
	r.stats.ReadPaused++
	c.flags |= late
	r.late = append(r.late, c)
	r.retrySoon()
	return true
}
