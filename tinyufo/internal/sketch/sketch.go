package sketch

import "math/bits"

const (
	blockWords = 8    // a block is a cache line: four rows of two words
	wordsMin   = 1024 // the fewest words of a sketch: small caches need them
	ageStep    = 2    // blocks that one count halves while an aging is under way

	sevens = 0x7777_7777_7777_7777
)

// Max is the highest estimate.
const Max = 15

// Sketch estimates how often a hash was seen of late: a count-min sketch with conservative update of four rows
// of 4-bit counters, all four of a hash in one cache line. From time to time all counters are halved (TinyLFU,
// Einziger, Friedman and Manes 2017; conservative update, Estan and Varghese 2002). Guarded by the mutex of its
// shard.
type Sketch struct {
	// Period is how many counts come between the beginnings of two agings.
	Period int

	blocks [][blockWords]uint64
	counts int // since the last aging began
	aged   int // blocks that the aging under way has halved; len(blocks) when none is
}

// Extend makes the sketch large enough for so many entries. A sketch that is in use doubles: since find keeps the order
// of hashes, what a block has counted is of hashes that are now in one of two blocks, and both get all of it.
func (s *Sketch) Extend(entries int) {
	n := (max(entries+entries/4, wordsMin) + blockWords - 1) / blockWords
	if s.blocks == nil {
		s.blocks = make([][blockWords]uint64, n)
		s.aged = n
	}
	for len(s.blocks) < n {
		old := s.blocks
		s.blocks = make([][blockWords]uint64, 2*len(old))
		for i, block := range old {
			s.blocks[2*i], s.blocks[2*i+1] = block, block
		}
		s.aged = len(s.blocks)
	}
}

// find gives the block of a hash, and where in it the four counters are: five bits a row.
func (s *Sketch) find(hash uint32) (block *[blockWords]uint64, rows uint64) {
	x := uint64(hash) * 0x9e37_79b9_7f4a_7c15
	i, _ := bits.Mul64(x, uint64(len(s.blocks)))
	x = (x ^ x>>32) * 0xd6e8_feb8_6659_fd93
	return &s.blocks[i], x >> 40
}

// Peek loads the counters of a hash.
func (s *Sketch) Peek(hash uint32) uint64 {
	block, _ := s.find(hash)
	return block[0]
}

// Add counts a hash n times: of its counters only those that are the least.
func (s *Sketch) Add(hash uint32, n int) {
	for range n {
		block, rows := s.find(hash)
		least := estimate(block, rows)
		if least < Max {
			for row := range uint(4) {
				word, shift := &block[row*2+uint(rows&1)], rows>>1&15*4
				if *word>>shift&Max == least {
					*word += 1 << shift
				}
				rows >>= 5
			}
			s.counts++
		}
		if s.counts >= s.Period {
			s.counts, s.aged = 0, 0
		}
		if s.aged < len(s.blocks) {
			s.age()
		}
	}
}

// Estimate is how often the hash was counted of late, at most 15. It is never too small but for the aging.
func (s *Sketch) Estimate(hash uint32) int { return int(estimate(s.find(hash))) }

func estimate(block *[blockWords]uint64, rows uint64) uint64 {
	least := uint64(Max)
	for row := range uint(4) {
		least = min(least, block[row*2+uint(rows&1)]>>(rows>>1&15*4)&Max)
		rows >>= 5
	}
	return least
}

// age halves the counters of some blocks. It is done in steps: one sweep over a large sketch would stop a caller.
func (s *Sketch) age() {
	end := min(s.aged+ageStep, len(s.blocks))
	for i := s.aged; i < end; i++ {
		block := &s.blocks[i]
		for w := range block {
			block[w] = block[w] >> 1 & sevens
		}
	}
	s.aged = end
}

// Bytes is the memory of the counters.
func (s *Sketch) Bytes() int64 { return int64(len(s.blocks)) * blockWords * 8 }
