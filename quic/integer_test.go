package quic

import (
	"encoding/hex"
	"testing"
)

// RFC 9000 §A.1.
func TestInteger_ofRFC9000(t *testing.T) {
	for _, c := range []struct {
		wire  string
		value uint64
		short bool
	}{
		{"c2197c5eff14e88c", 151288809941952652, true},
		{"9d7f3e7d", 494878333, true},
		{"7bbd", 15293, true},
		{"25", 37, true},
		{"4025", 37, false},
	} {
		r := reader{b: unhex(t, c.wire)}
		if v := r.integer(); v != c.value || r.cut || len(r.b) != 0 {
			t.Errorf("%s: %d, cut %v", c.wire, v, r.cut)
		}
		if got := hex.EncodeToString(appendInteger(nil, c.value)); c.short && got != c.wire {
			t.Errorf("%d: %s, want %s", c.value, got, c.wire)
		}
	}
}

func TestInteger_bounds(t *testing.T) {
	for _, v := range []uint64{0, 63, 64, 1<<14 - 1, 1 << 14, 1<<30 - 1, 1 << 30, integerMax} {
		b := appendInteger(nil, v)
		if len(b) != integerLen(v) {
			t.Errorf("%d: %d octets, integerLen %d", v, len(b), integerLen(v))
		}
		for n := range b {
			r := reader{b: b[:n]}
			if got := r.integer(); got != 0 || !r.cut || len(r.b) != 0 {
				t.Errorf("%d cut to %d octets: %d", v, n, got)
			}
		}
		r := reader{b: b}
		if got := r.integer(); got != v || r.cut {
			t.Errorf("%d: %d", v, got)
		}
	}
}

func TestReader_nothingAfterACut(t *testing.T) {
	r := reader{b: []byte{3, 'a', 'b', 'c', 9, 1}}
	if string(r.counted()) != "abc" || r.cut {
		t.Error("three octets are there")
	}
	if r.counted() != nil || !r.cut || r.integer() != 0 || r.bytes(1) != nil || r.bytes(0) != nil && len(r.b) != 0 {
		t.Error("nine octets are not there")
	}
}
