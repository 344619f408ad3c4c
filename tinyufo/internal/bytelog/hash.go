package bytelog

import (
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"unsafe"
)

// hasher hashes keys. It is seeded: nothing outside of the process can choose keys that meet in one line of an index.
// Immutable.
type hasher struct {
	seed          maphash.Seed
	first, second uint64
}

func newHasher() hasher {
	return hasher{seed: maphash.MakeSeed(), first: rand.Uint64(), second: rand.Uint64()}
}

// A key of shortMin to shortMax bytes is two words, which overlap unless it has 16.
const (
	shortMin = 8
	shortMax = 16
)

// twoWords are the first and the last 8 bytes of a key of shortMin to shortMax bytes, in the order of the machine.
func twoWords(at unsafe.Pointer, n uint64) (first, last uint64) {
	// SAFETY: at least 8 bytes are at the pointer, and n of them end n-8 further on.
	return *(*uint64)(at), *(*uint64)(unsafe.Add(at, n-8))
}

// short is the hash of a key of shortMin to shortMax bytes, seeded, multiplied to 128 bits and folded, as in wyhash
// (Wang Yi): maphash takes as long as all else that a look-up in a small cache does.
func (h *hasher) short(first, last, n uint64) uint64 {
	high, low := bits.Mul64(first^h.first, last^h.second)
	high, low = bits.Mul64(high^low^n, 0x9e37_79b9_7f4a_7c15)
	return high ^ low
}

func (h *hasher) of(key []byte) uint64 {
	if n := uint64(len(key)); n-shortMin <= shortMax-shortMin {
		// SAFETY: key has n bytes.
		first, last := twoWords(unsafe.Pointer(unsafe.SliceData(key)), n)
		return h.short(first, last, n)
	}
	return maphash.Bytes(h.seed, key)
}
