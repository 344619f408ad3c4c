package balance

import "math"

// Latencies are counted in buckets that are a 512th of an octave wide, so that a quantile is within 0.2 %.
const (
	octaveBits  = 9
	octaveFirst = 10 // 2^10 ns = 1 µs
	octaves     = 32 // up to 2^42 ns = 73 min
)

// latencies are how long requests took.
type latencies struct {
	counts []uint32
	total  int
}

func newLatencies() *latencies { return &latencies{counts: make([]uint32, octaves<<octaveBits)} }

func (l *latencies) add(ns int64) {
	bits := math.Float64bits(float64(max(ns, 1<<octaveFirst)))
	bucket := int(bits>>(52-octaveBits)) - (1023+octaveFirst)<<octaveBits
	l.counts[min(bucket, len(l.counts)-1)]++
	l.total++
}

// quantile returns the latency that a part q of the requests does not exceed, in milliseconds; 0 when there are none.
func (l *latencies) quantile(q float64) float64 {
	if l.total == 0 {
		return 0
	}
	left := int(math.Ceil(q * float64(l.total)))
	for bucket, n := range l.counts {
		if left -= int(n); left <= 0 && n > 0 {
			return math.Float64frombits((uint64(bucket)+(1023+octaveFirst)<<octaveBits)<<(52-octaveBits)) / 1e6
		}
	}
	return 0
}
