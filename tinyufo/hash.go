package tinyufo

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"unsafe"
)

// hasher hashes keys of one type. It is seeded: nothing outside of the process can choose keys that meet in one
// bucket. Immutable.
type hasher[K comparable] struct {
	kind  hashKind
	seeds [2]uint64
	seed  maphash.Seed // for what maphash hashes
}

type hashKind uint8

const (
	hashComparable hashKind = iota // any comparable type
	hashString                     // strings and types made of them
	hashWord                       // integers of 8 bytes
	hashHalf                       // integers of 4 bytes
)

func newHasher[K comparable]() hasher[K] {
	h := hasher[K]{seeds: [2]uint64{rand.Uint64(), rand.Uint64()}, seed: maphash.MakeSeed()}
	switch reflect.TypeFor[K]().Kind() {
	case reflect.String:
		h.kind = hashString
	case reflect.Int64, reflect.Uint64, reflect.Int, reflect.Uint, reflect.Uintptr:
		if unsafe.Sizeof(*new(K)) == 8 {
			h.kind = hashWord
		} else {
			h.kind = hashHalf
		}
	case reflect.Int32, reflect.Uint32:
		h.kind = hashHalf
	}
	return h
}

// of is the hash of key. The sizes are constants of each instance of the function, so that only what fits K is left
// of it.
func (h *hasher[K]) of(key K) uint64 {
	if unsafe.Sizeof(key) == 8 && h.kind == hashWord {
		return h.word(key)
	}
	return h.other(key)
}

// word is of for integers of 8 bytes.
func (h *hasher[K]) word(key K) uint64 {
	// SAFETY: the kind says that K is an integer of 8 bytes.
	return fold(*(*uint64)(unsafe.Pointer(&key))^h.seeds[0], odd)
}

// other is of for all else. The hash of a short string is two multiplications, like the hash of the runtime on machines
// without instructions for AES (wyhash, Wang Yi); maphash gets there by four calls, which is a fifth of a hit.
func (h *hasher[K]) other(key K) uint64 {
	if unsafe.Sizeof(key) == unsafe.Sizeof("") && h.kind == hashString {
		// SAFETY: kind says that K is made of string.
		s := *(*string)(unsafe.Pointer(&key))
		if len(s) > shortMost {
			return maphash.String(h.seed, s)
		}
		x, y := ends(s)
		return fold(fold(x^h.seeds[0], y^h.seeds[1])^uint64(len(s)), odd)
	}
	if unsafe.Sizeof(key) == 4 && h.kind == hashHalf {
		// SAFETY: kind says that K is an integer of 4 bytes.
		return fold(uint64(*(*uint32)(unsafe.Pointer(&key)))^h.seeds[0], odd)
	}
	return maphash.Comparable(h.seed, key)
}

// shortMost is the length up to which the two words that ends returns are all of a string.
const shortMost = 16

// ends loads the first and the last bytes of a string, which overlap or meet unless it is longer than shortMost: two
// strings of one length that have the same ends are the same.
func ends(s string) (first, last uint64) {
	// SAFETY: the bytes are read only, and not kept. Encoding/binary loads eight at once, but not from a string.
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	n := len(b)
	switch {
	case n >= 8:
		return binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:])
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[n-4:]))
	case n > 0:
		return uint64(b[0]) | uint64(b[n/2])<<8, uint64(b[n-1])
	}
	return 0, 0
}

// lost reports whether key is not equal to itself, as a NaN is not: no look-up would find its entry.
func (h *hasher[K]) lost(key K) bool { return h.kind == hashComparable && key != key }

// odd is the golden ratio in 64 bits, a factor that has no pattern.
const odd = 0x9e37_79b9_7f4a_7c15

// fold is one multiplication to 128 bits, folded. Neighbouring integers come out evenly spread.
func fold(x, y uint64) uint64 {
	high, low := bits.Mul64(x, y)
	return high ^ low
}
