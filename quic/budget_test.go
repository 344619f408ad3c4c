package quic

import "testing"

func TestStats_add(t *testing.T) {
	a, b := Stats{Pages: 1, KeyUpdates: 2}, Stats{Pages: 3}
	b.Add(&a)
	if b.Pages != 4 || b.KeyUpdates != 2 {
		t.Errorf("%+v", b)
	}
}
