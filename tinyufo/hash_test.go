package tinyufo

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// spreads fails when the hashes of 4096 keys are worse in any part that is used than random numbers are once in 10^6
// tests.
func spreads[K comparable](t *testing.T, what string, key func(i int) K) {
	t.Helper()
	h := newHasher[K]()
	const keys, buckets = 4096, 1024
	all := make(map[uint32]bool)
	var inBucket [buckets]int
	var endIn [256]int
	var inShard [16]int
	for i := range keys {
		hash := h.of(key(i))
		if again := h.of(key(i)); again != hash {
			t.Fatalf("%s: key %d has the hashes %x and %x", what, i, hash, again)
		}
		all[uint32(hash)] = true
		inBucket[uint64(uint32(hash))*buckets>>32]++
		endIn[hash&255]++
		inShard[hash>>48%16]++
	}
	if len(all) < keys-3 {
		t.Errorf("%s: %d hashes for %d keys", what, len(all), keys)
	}
	for i, n := range inBucket {
		if n > 26 {
			t.Errorf("%s: %d keys in bucket %d, not about 4", what, n, i)
		}
	}
	for end, n := range endIn {
		if n > 52 {
			t.Errorf("%s: %d keys end in %02x, not about 16", what, n, end)
		}
	}
	for i, n := range inShard {
		if n < 256-130 || n > 256+130 {
			t.Errorf("%s: %d keys in shard %d, not about 256", what, n, i)
		}
	}
}

func TestHasher_spreads(t *testing.T) {
	testutil.OnlyPlain(t)
	spreads(t, "numbers", func(i int) int { return i })
	spreads(t, "high numbers", func(i int) uint64 { return uint64(i) << 52 })
	spreads(t, "numbers of 4 bytes", func(i int) int32 { return int32(i) << 20 })
	spreads(t, "digits", func(i int) string { return fmt.Sprint(i) })
	spreads(t, "names", func(i int) word { return word(fmt.Sprint("user:", i)) })
	spreads(t, "addresses", func(i int) string { return fmt.Sprintf("10.0.%d.%d", i>>8, i&255) })
	spreads(t, "hexadecimal", func(i int) string { return fmt.Sprintf("%016x", i) })
	spreads(t, "zeros", func(i int) string { return strings.Repeat("\x00", i) })
	for length := 2; length <= 40; length++ {
		for at := 0; at <= length-2; at++ {
			spreads(t, fmt.Sprintf("two bytes at %d of %d", at, length), func(i int) string {
				b := make([]byte, length)
				b[at], b[at+1] = byte(i), byte(i>>8)<<4
				return string(b)
			})
		}
	}
}

// hashes fails unless keys of one type have hashes of their own, of the kind that fits the type.
func hashes[K comparable](t *testing.T, kind hashKind, key func(i int) K) {
	t.Helper()
	h := newHasher[K]()
	if h.kind != kind {
		t.Errorf("%T is of kind %d, not %d", key(0), h.kind, kind)
	}
	keys := make(map[uint64]K)
	for i := range 100 {
		k := key(i)
		hash := h.of(k)
		if other, ok := keys[hash]; ok && other != k {
			t.Errorf("%v and %v have one hash", k, other)
		}
		if again := h.of(key(i)); again != hash || h.lost(k) {
			t.Errorf("%v has the hashes %x and %x", k, hash, again)
		}
		keys[hash] = k
	}
}

func TestHasher_types(t *testing.T) {
	hashes(t, hashComparable, func(i int) bool { return i%2 == 1 })
	hashes(t, hashComparable, func(i int) int8 { return int8(i) })
	hashes(t, hashComparable, func(i int) uint8 { return uint8(i) })
	hashes(t, hashComparable, func(i int) int16 { return int16(i) << 8 })
	hashes(t, hashComparable, func(i int) uint16 { return uint16(i) })
	hashes(t, hashHalf, func(i int) int32 { return -int32(i) })
	hashes(t, hashHalf, func(i int) uint32 { return uint32(i) << 20 })
	hashes(t, hashWord, func(i int) int64 { return int64(i) << 40 })
	hashes(t, hashWord, func(i int) uint64 { return uint64(i) })
	hashes(t, hashWord, func(i int) time.Duration { return time.Duration(i) })
	natural := hashWord
	if unsafe.Sizeof(uintptr(0)) == 4 {
		natural = hashHalf
	}
	hashes(t, natural, func(i int) int { return -i })
	hashes(t, natural, func(i int) uint { return uint(i) })
	hashes(t, natural, func(i int) uintptr { return uintptr(i) })
	hashes(t, hashString, func(i int) string { return fmt.Sprint(i) })
	hashes(t, hashString, func(i int) word { return word(fmt.Sprint(i)) })
	hashes(t, hashComparable, func(i int) float32 { return float32(i) })
	hashes(t, hashComparable, func(i int) float64 { return float64(i) / 3 })
	hashes(t, hashComparable, func(i int) complex128 { return complex(float64(i), 1) })
	hashes(t, hashComparable, func(i int) [3]uint16 { return [3]uint16{1, uint16(i), 2} })
	hashes(t, hashComparable, func(i int) [2]uint64 { return [2]uint64{1, uint64(i)} }) // as large as a string
	hashes(t, hashComparable, func(i int) [2]string { return [2]string{"a", fmt.Sprint(i)} })
	hashes(t, hashComparable, func(i int) pair { return pair{int8(i), fmt.Sprint(i)} })
	hashes(t, hashComparable, func(int) struct{} { return struct{}{} })
	hashes(t, hashComparable, func(int) [0]int { return [0]int{} })
	hashes(t, hashComparable, anyKey)
	hashes(t, hashComparable, func(i int) *int { return &pointers[i] })
	hashes(t, hashComparable, func(i int) chan int { return channels[i] })
}

// Two strings of up to shortMost bytes that differ in one byte differ in their ends.
func TestEnds_holdAllBytes(t *testing.T) {
	for length := range shortMost + 1 {
		b := make([]byte, length)
		first, last := ends(string(b))
		for i := range b {
			b[i] = 1
			if f, l := ends(string(b)); f == first && l == last {
				t.Errorf("byte %d of %d is not in them", i, length)
			}
			b[i] = 0
		}
	}
}
