package quic

import "testing"

func TestBuckets_burstAndRate(t *testing.T) {
	for k := range abuseCount {
		var b buckets
		var s Stats
		for range budgets[k].burst {
			if err := b.spend(k, 1, 0, &s); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.spend(k, 1, leakEvery-1, &s); err != budgets[k].fault || *budgets[k].counter(&s) != 1 {
			t.Errorf("above the burst: %v", err)
		}
		b.level[k]--
		for range budgets[k].perSecond {
			if err := b.spend(k, 1, leakEvery, &s); err != nil {
				t.Fatalf("a second later: %v", err)
			}
		}
		if err := b.spend(k, 1, leakEvery, &s); err == nil {
			t.Error("above the rate")
		}
		if err := b.spend(k, 1, 1<<60, &s); err != nil || b.level[k] != 0 {
			t.Errorf("much later: %v, %d", err, b.level[k])
		}
	}
}

func TestStats_add(t *testing.T) {
	a, b := Stats{Pages: 1, KeyUpdates: 2}, Stats{Pages: 3}
	b.Add(&a)
	if b.Pages != 4 || b.KeyUpdates != 2 {
		t.Errorf("%+v", b)
	}
}
