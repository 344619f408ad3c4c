package h1

import (
	"math/rand/v2"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Each scan stops where a loop over the bytes stops, for every byte at every place among all kinds of neighbours.
func TestScan_agreesWithBytes(t *testing.T) {
	testutil.OnlyPlain(t)
	scans := []struct {
		name string
		scan func([]byte, int) int
		stop func(byte) bool
	}{
		{"control", controlFrom, func(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }},
		{"target", targetEnd, func(c byte) bool { return c <= ' ' || c >= 0x7f || c == '#' }},
		{"colon", func(b []byte, i int) int {
			if k := colonFrom(b, i); k >= 0 {
				return k
			}
			return len(b)
		}, func(c byte) bool { return c == ':' }},
	}
	r := rand.New(rand.NewPCG(1, 2))
	fills := []byte{'a', 0x20, 0x7e, '\t', 0x80, 0xff, 0xfe, 0x22, 0x24, 0x39, 0x3b, 0x00}
	for _, s := range scans {
		for range 200_000 {
			b := make([]byte, r.IntN(40))
			for i := range b {
				b[i] = fills[r.IntN(len(fills))]
			}
			for range r.IntN(3) {
				if len(b) > 0 {
					b[r.IntN(len(b))] = byte(r.Uint32())
				}
			}
			from := r.IntN(len(b) + 1)
			want := len(b)
			for i := from; i < len(b); i++ {
				if s.stop(b[i]) {
					want = i
					break
				}
			}
			if got := s.scan(b, from); got != want {
				t.Fatalf("%s: %q from %d: %d, want %d", s.name, b, from, got, want)
			}
		}
	}
}
