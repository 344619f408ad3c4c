package tinyufo

import (
	"fmt"
	"strings"
	"testing"
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
