package limits

import (
	"math/bits"
	"time"
)

// A table of cells by key is buckets of 64 bytes, one line of the cache each. A key has one bucket, in which it may
// have any cell. Of its hash
//
//	63            23 22  20 19           0
//	┌───────────────┬──────┬─────────────┐
//	│ bucket        │ first│ fingerprint │
//	└───────────────┴──────┴─────────────┘
//	                  the cell where the search begins
//
// are used. Two keys of one bucket with the same fingerprint share a cell; with 8 live keys in a bucket a look-up
// meets a wrong one with probability 8/2^20.
const (
	bucketCells = 8
	printBits   = 20
	printMask   = 1<<printBits - 1
	printShift  = 64 - printBits // a fingerprint lies in the high bits of a cell
	firstShift  = printBits
	bucketShift = printBits + 3

	bucketsMax = 1 << 26 // 4 GiB
	bucketKeys = 4       // live keys a bucket is meant for: of 8 cells, so that few buckets are ever full
	stripes    = 64      // locks of a shared table, for keys that come new
)

// bucketCount returns how many buckets keys need: a power of two.
func bucketCount(keys int) int {
	n := (max(keys, 1)-1)/bucketKeys + 1
	return min(1<<bits.Len(uint(n-1)), bucketsMax)
}

// fingerprint returns the fingerprint of hash, never 0: 0 marks a cell that was never used.
func fingerprint(hash uint64) uint64 {
	if p := hash & printMask; p != 0 {
		return p
	}
	return 1
}

// A cell of a table of rates is
//
//	63           44 43                            0
//	┌──────────────┬──────────────────────────────┐
//	│ fingerprint  │ TAT in ticks, modulo 2^44    │
//	└──────────────┴──────────────────────────────┘
//
// A cell whose TAT has passed has the whole burst, as has a key without a cell: so it is free, and the table needs
// no goroutine that sweeps it.
const (
	tatBits = 44
	tatMask = 1<<tatBits - 1

	// intervalTicks is the least length of an interval in ticks, if a tick is not 1 ns already, and the burst has
	// room in spanTicksMax, as up to 32 million events have. The interval is rounded up to a tick, so the rate of a
	// key is less than asked for by 1/65536 at most; by 1/512 for the largest burst.
	intervalTicks = 1 << 16

	spanTicksMax = 1 << (tatBits - 2)
)

// tickPace is a Quota in ticks of 2^shift nanoseconds. Immutable.
//
// TATs are kept modulo 2^44 ticks. A TAT further ahead than future has passed long ago, or
// was left by a clock that went back. A cell that was not asked for during a whole lap looks live again for a moment:
// the part future/2^44 of the time.
type tickPace struct {
	shift    uint8
	burst    uint64
	interval uint64
	span     uint64 // of a burst
	future   uint64 // span and clockBack, rounded up
}

func newTickPace(q Quota) tickPace {
	if err := q.Validate(); err != nil {
		panic(err.Error())
	}
	interval, burst := uint64(q.interval()), uint64(q.burst())
	shift := max(bits.Len64(interval/intervalTicks), 1) - 1
	ticks := func() uint64 { return (interval-1)>>shift + 1 }
	for ticks() > spanTicksMax/burst {
		shift++
	}
	p := tickPace{shift: uint8(shift), burst: burst, interval: ticks(), span: burst * ticks()}
	p.future = p.span + uint64(clockBack)>>shift + 1
	return p
}

// ticks returns now in ticks, modulo 2^44.
func (p *tickPace) ticks(now int64) uint64 { return uint64(now>>p.shift) & tatMask }

// ahead returns how far the TAT of a cell lies after now, or 0 when it has passed.
func (p *tickPace) ahead(cell, now uint64) uint64 {
	if d := (cell - now) & tatMask; d <= p.future {
		return d
	}
	return 0
}

// after returns the cell of print whose TAT is d ticks after now.
func (p *tickPace) after(print, now, d uint64) uint64 { return print<<printShift | (now+d)&tatMask }

// wait is the time after which a TAT that would lie d ticks ahead lies within the burst.
func (p *tickPace) wait(d uint64) time.Duration { return time.Duration((d - p.span) << p.shift) }

func (p *tickPace) state(cell, now uint64) State {
	d := p.ahead(cell, now)
	return State{
		Remaining: max(int64(p.span)-int64(d), 0) / int64(p.interval),
		Reset:     time.Duration(d << p.shift),
	}
}
