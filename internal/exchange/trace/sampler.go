package trace

import "encoding/binary"

// Sampler decides which of the traces that begin here are recorded. Safe for any goroutine, but that Take is for the
// goroutine of its reactor.
type Sampler struct {
	below  uint64   // of the 1<<63 values that the end of a trace's number may have
	most   float64  // a reactor's share of the traces in a second; 0: no bound
	bucket []bucket // by reactor
}

// bucket has what a reactor may still record of this second. Written by its reactor.
type bucket struct {
	left float64
	at   int64    // reactor time of the last Take, ns
	_    [48]byte // up to 64, to keep two reactors apart
}

// NewSampler returns a sampler of a share of all traces, from 0 to 1, of which so many a second are recorded at most,
// by all reactors together; 0: any number.
func NewSampler(share, most float64, reactors int) *Sampler {
	s := &Sampler{
		below: uint64(min(max(share, 0), 1) * (1 << 63)), most: most / float64(reactors),
		bucket: make([]bucket, reactors),
	}
	for i := range s.bucket {
		s.bucket[i].left = s.burst()
	}
	return s
}

// burst is how much a reactor may record at once: a second's worth, and one trace at least.
func (s *Sampler) burst() float64 { return max(s.most, 1) }

// Take reports whether a trace is recorded: the same in each process with the same share, as TraceIDRatioBased of
// OpenTelemetry decides by the last 8 bytes, unless the bound is reached. now is the time of the reactor in ns.
func (s *Sampler) Take(reactor int, trace [16]byte, now int64) bool {
	if binary.BigEndian.Uint64(trace[8:])>>1 >= s.below {
		return false
	}
	if s.most == 0 {
		return true
	}
	b := &s.bucket[reactor]
	b.left = min(b.left+float64(now-b.at)*s.most/1e9, s.burst())
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
