package tinyufo

import (
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"unsafe"
)

// hasher hashes keys of one type. It is seeded: nobody outside can choose keys that meet in one bucket. Immutable.
type hasher[K comparable] struct {
	kind hashKind
	word uint64
	seed maphash.Seed
}

type hashKind uint8

const (
	hashComparable hashKind = iota // any comparable type
	hashString                     // strings and types made of them
	hashWord                       // integers of 8 bytes
	hashHalf                       // integers of 4 bytes
)

func newHasher[K comparable]() hasher[K] {
	h := hasher[K]{word: rand.Uint64(), seed: maphash.MakeSeed()}
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
// of it, and for integers that is inlined.
func (h *hasher[K]) of(key K) uint64 {
	if unsafe.Sizeof(key) == 8 && h.kind == hashWord {
		// SAFETY: kind says that K is an integer of 8 bytes.
		return mix(*(*uint64)(unsafe.Pointer(&key)) ^ h.word)
	}
	return h.other(key)
}

func (h *hasher[K]) other(key K) uint64 {
	if unsafe.Sizeof(key) == unsafe.Sizeof("") && h.kind == hashString {
		// SAFETY: kind says that K is made of string.
		return maphash.String(h.seed, *(*string)(unsafe.Pointer(&key)))
	}
	if unsafe.Sizeof(key) == 4 && h.kind == hashHalf {
		// SAFETY: kind says that K is an integer of 4 bytes.
		return mix(uint64(*(*uint32)(unsafe.Pointer(&key))) ^ h.word)
	}
	return maphash.Comparable(h.seed, key)
}

// lost reports whether key is not equal to itself, as a NaN is not: no look-up would find its entry.
func (h *hasher[K]) lost(key K) bool { return h.kind == hashComparable && key != key }

// mix is one multiplication to 128 bits, folded. Neighbouring integers come out evenly spread.
func mix(x uint64) uint64 {
	high, low := bits.Mul64(x, 0x9e37_79b9_7f4a_7c15)
	return high ^ low
}
