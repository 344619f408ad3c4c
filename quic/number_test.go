package quic

import (
	"math/rand/v2"
	"testing"
)

// RFC 9000 §A.2.
func TestNumber_lengthsOfRFC9000(t *testing.T) {
	for _, c := range []struct {
		n, acked int64
		want     int
	}{
		{0xac5c02, 0xabe8b3, 2}, {0xace8fe, 0xabe8b3, 3},
		{0, none, 1}, {126, none, 1}, {127, none, 2}, {1<<15 - 2, none, 2}, {1<<15 - 1, none, 3},
		{1 << 40, 1<<40 - 1, 1}, {1 << 40, none, 4},
	} {
		if got := numberLen(c.n, c.acked); got != c.want {
			t.Errorf("%x after %x: %d octets, want %d", c.n, c.acked, got, c.want)
		}
	}
}

// RFC 9000 §A.3.
func TestNumber_decodedAsInRFC9000(t *testing.T) {
	if n := decodeNumber(0xa82f30ea, []byte{0x9b, 0x32}); n != 0xa82f9b32 {
		t.Errorf("%x", n)
	}
	if n := decodeNumber(none, []byte{0}); n != 0 {
		t.Errorf("the first is %d", n)
	}
}

// A number comes out as it went in, whatever the receiver has opened of what was sent since the last acknowledgement.
func TestNumber_roundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		acked := r.Int64N(1<<62) >> r.IntN(62)
		if r.IntN(10) == 0 {
			acked = none
		}
		n := min(acked+1+r.Int64N(1<<(1+r.IntN(30))), 1<<62-1)
		octets := numberLen(n, acked)
		b := appendNumber(nil, n, octets)
		if n == acked || len(b) != octets {
			continue
		}
		largest := acked + r.Int64N(n-acked)
		if got := decodeNumber(largest, b); got != n {
			t.Fatalf("%d in %d octets after %d, with %d opened: %d", n, octets, acked, largest, got)
		}
		// Packets that were sent after it may have come before it.
		if octets < 4 {
			largest = min(n+r.Int64N(1<<(8*octets-1)-1), 1<<62-1)
			if got := decodeNumber(largest, b); got != n {
				t.Fatalf("%d in %d octets, with %d opened: %d", n, octets, largest, got)
			}
		}
	}
}

func TestNumber_neverOutOfRange(t *testing.T) {
	for _, largest := range []int64{none, 0, 1, 255, 256, 1<<62 - 1, 1<<62 - 200} {
		for _, b := range [][]byte{{0}, {255}, {0, 0}, {255, 255}, {255, 255, 255, 255}, {0, 0, 0, 0}} {
			if n := decodeNumber(largest, b); n < 0 || n > 1<<62 {
				t.Errorf("%x after %d: %d", b, largest, n)
			}
		}
	}
}
