package hitratio

// sketch estimates how often keys came: counters of 4 bits in blocks of 8 words, which are a cache line. A key has one
// counter in each of four rows, all in one block; a row is two words of a block. The layout is Caffeine's.
// Cormode and Muthukrishnan, "An improved data stream summary: the count-min sketch", 2005.
type sketch struct {
	words  []uint64
	blocks uint64
}

const (
	blockWords  = 8
	sketchRows  = 4
	countMax    = 15
	halfNibbles = 0x7777777777777777
)

// newSketch returns a sketch of at least so many words.
func newSketch(words int) sketch {
	blocks := (words + blockWords - 1) / blockWords
	return sketch{make([]uint64, blocks*blockWords), uint64(blocks)}
}

// nibble is the place of one counter.
type nibble struct {
	word  uint64
	shift uint64
}

func (s *sketch) counters(key uint64) (at [sketchRows]nibble) {
	h := mix(key)
	block := (h >> 32 * s.blocks >> 32) * blockWords
	for i := range at {
		at[i] = nibble{block + 2*uint64(i) + h&1, h >> 1 & 15 << 2}
		h >>= 8
	}
	return at
}

func (s *sketch) count(n nibble) uint64 { return s.words[n.word] >> n.shift & countMax }

func (s *sketch) least(at [sketchRows]nibble) uint64 {
	return min(s.count(at[0]), s.count(at[1]), s.count(at[2]), s.count(at[3]))
}

// frequency is at most 15, and at least what was counted since it was halved, while no counter was full.
func (s *sketch) frequency(key uint64) int { return int(s.least(s.counters(key))) }

// increment raises those counters of key that are the lowest, and reports whether it did: not when all are full. The
// others count other keys already. It is the conservative update of Estan and Varghese, "New directions in traffic
// measurement", 2002.
func (s *sketch) increment(key uint64) bool {
	at := s.counters(key)
	least := s.least(at)
	if least == countMax {
		return false
	}
	for _, n := range at {
		if s.count(n) == least {
			s.words[n.word] += 1 << n.shift
		}
	}
	return true
}

// halve divides the counters of a range of words by two.
func (s *sketch) halve(from, to int) {
	for i := from; i < to; i++ {
		s.words[i] = s.words[i] >> 1 & halfNibbles
	}
}
