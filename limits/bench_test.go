package limits

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// benchKeys is how many keys there are, as a busy proxy has clients; they come by Zipf's law.
const benchKeys = 10_000

// arrivals returns the hashes of 65 536 events, to be indexed by a uint16: no division in the loop.
func arrivals(keys uint64, s float64) *[1 << 16]uint64 {
	rng := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(rng, s, 1, keys-1)
	hashes := new([1 << 16]uint64)
	for i := range hashes {
		hashes[i] = mixed(zipf.Uint64())
	}
	return hashes
}

// mixed is a hash of a number with a seed that is the same in every run.
func mixed(n uint64) uint64 { return fold(fold(n^0x9e3779b97f4a7c15, mixA), mixB) }

// each measures what is done at an event, a microsecond after the one before it.
func each(b *testing.B, keys uint64, s float64, do func(hash uint64, now int64)) {
	hashes, now := arrivals(keys, s), int64(0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now += 1000
		do(hashes[uint16(i)], now)
	}
}

var roomy = Quota{Count: 1_000_000, Per: time.Second, Burst: 1_000_000}

func BenchmarkEstimator_local(b *testing.B) {
	e := NewLocalEstimator(EstimatorOptions{})
	each(b, benchKeys, 1.1, func(hash uint64, _ int64) { e.Add(hash, 1) })
}

func BenchmarkEstimator_localConservative(b *testing.B) {
	e := NewLocalEstimator(EstimatorOptions{Conservative: true})
	each(b, benchKeys, 1.1, func(hash uint64, _ int64) { e.Add(hash, 1) })
}

func BenchmarkEstimator_shared(b *testing.B) {
	e := NewSharedEstimator(EstimatorOptions{})
	each(b, benchKeys, 1.1, func(hash uint64, _ int64) { e.Add(hash, 1) })
}

func BenchmarkEstimator_sharedConservative(b *testing.B) {
	e := NewSharedEstimator(EstimatorOptions{Conservative: true})
	each(b, benchKeys, 1.1, func(hash uint64, _ int64) { e.Add(hash, 1) })
}

func BenchmarkGCRA_localAllowed(b *testing.B) {
	g, now := NewLocalGCRA(roomy), int64(0)
	b.ReportAllocs()
	for b.Loop() {
		now += 1000
		g.Take(now, 1)
	}
}

func BenchmarkGCRA_sharedAllowed(b *testing.B) {
	g, now := NewSharedGCRA(roomy), int64(0)
	b.ReportAllocs()
	for b.Loop() {
		now += 1000
		g.Take(now, 1)
	}
}

func BenchmarkGCRA_sharedDenied(b *testing.B) {
	g := NewSharedGCRA(Quota{Count: 1, Per: time.Hour})
	g.Take(0, 1)
	now := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		now++
		g.Take(now, 1)
	}
}

func BenchmarkGCRA_lease(b *testing.B) {
	g, now := NewSharedGCRA(roomy), int64(0)
	l := NewLease(g, 64)
	b.ReportAllocs()
	for b.Loop() {
		now += 1000
		l.Take(now)
	}
}

func BenchmarkGCRATable_local(b *testing.B) {
	t := NewLocalGCRATable(roomy, benchKeys)
	each(b, benchKeys, 1.1, func(hash uint64, now int64) { t.Take(hash, now, 1) })
}

func BenchmarkGCRATable_shared(b *testing.B) {
	t := NewSharedGCRATable(roomy, benchKeys)
	each(b, benchKeys, 1.1, func(hash uint64, now int64) { t.Take(hash, now, 1) })
}

// Keys that hold a cell for long, all at once: the table is as full as it is meant to be.
func BenchmarkGCRATable_sharedFull(b *testing.B) {
	t := NewSharedGCRATable(Quota{Count: 1000, Per: time.Second, Burst: 1 << 24}, benchKeys)
	hashes, now := arrivals(benchKeys, 1.1), int64(0)
	for k := range uint64(benchKeys) {
		t.Take(mixed(k), 0, 1<<23)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now++
		t.Take(hashes[uint16(i)], now, 1)
	}
}

func BenchmarkGCRATable_sharedDenied(b *testing.B) {
	t := NewSharedGCRATable(Quota{Count: 1, Per: 24 * time.Hour}, benchKeys)
	hashes, now := arrivals(benchKeys, 1.1), int64(0)
	for k := range uint64(benchKeys) {
		t.Take(mixed(k), 0, 1)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now++
		t.Take(hashes[uint16(i)], now, 1)
	}
}

// Each event is of a key that was never there, as in a flood from made-up addresses.
func BenchmarkGCRATable_sharedNewKeys(b *testing.B) {
	t, now := NewSharedGCRATable(Quota{Count: 10, Per: time.Second}, benchKeys), int64(0)
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		now += 100
		t.Take(mixed(i), now, 1)
	}
}

func BenchmarkInFlight_local(b *testing.B) {
	t, hashes := NewLocalInFlight(benchKeys), arrivals(benchKeys, 1.1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		g, _ := t.Enter(hashes[uint16(i)], 100)
		g.Leave()
	}
}

func BenchmarkInFlight_shared(b *testing.B) {
	t, hashes := NewSharedInFlight(benchKeys), arrivals(benchKeys, 1.1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		g, _ := t.Enter(hashes[uint16(i)], 100)
		g.Leave()
	}
}

func BenchmarkHasher_string(b *testing.B) {
	h, s := NewHasher(), "203.0.113.195"
	b.ReportAllocs()
	for b.Loop() {
		h.String(s)
	}
}

func BenchmarkRate_local(b *testing.B) {
	r := NewLocalRate(RateOptions{Window: time.Second})
	each(b, benchKeys, 1.1, func(hash uint64, now int64) { r.Add(hash, now, 1) })
}

func BenchmarkRate_local8Slots(b *testing.B) {
	r := NewLocalRate(RateOptions{Window: time.Second, Slots: 8})
	each(b, benchKeys, 1.1, func(hash uint64, now int64) { r.Add(hash, now, 1) })
}

func BenchmarkRate_shared(b *testing.B) {
	r := NewSharedRate(RateOptions{Window: time.Second})
	each(b, benchKeys, 1.1, func(hash uint64, now int64) { r.Add(hash, now, 1) })
}

func BenchmarkTopK_add(b *testing.B) {
	t := NewTopK(TopKOptions[uint64]{})
	each(b, benchKeys, 1.1, func(hash uint64, _ int64) { t.Add(hash, hash, 1) })
}

// A hundred times as many keys as cells.
func BenchmarkTopK_addManyKeys(b *testing.B) {
	t := NewTopK(TopKOptions[uint64]{})
	each(b, 1_000_000, 1.01, func(hash uint64, _ int64) { t.Add(hash, hash, 1) })
}

func BenchmarkSpaceSaving_add(b *testing.B) {
	s := NewSpaceSaving[uint64](1000, nil)
	each(b, benchKeys, 1.1, func(hash uint64, _ int64) { s.Add(hash, hash, 1) })
}

func BenchmarkHasher_addr(b *testing.B) {
	h, a := NewHasher(), netip.MustParseAddr("203.0.113.195")
	b.ReportAllocs()
	for b.Loop() {
		h.Addr(a)
	}
}

func BenchmarkHasher_comparableAddr(b *testing.B) {
	h, a := NewHasher(), netip.MustParseAddr("203.0.113.195")
	b.ReportAllocs()
	for b.Loop() {
		Comparable(h, a)
	}
}

// The same cell on all processors: they wait for each other.
func BenchmarkGCRA_sharedParallel(b *testing.B) {
	g := NewSharedGCRA(roomy)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for now := int64(0); p.Next(); now += 1000 {
			g.Take(now, 1)
		}
	})
}

func BenchmarkGCRA_leaseParallel(b *testing.B) {
	g := NewSharedGCRA(roomy)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		l := NewLease(g, 1000)
		for now := int64(0); p.Next(); now += 1000 {
			l.Take(now)
		}
	})
}

func BenchmarkGCRATable_sharedParallel(b *testing.B) {
	t, hashes := NewSharedGCRATable(roomy, benchKeys), arrivals(benchKeys, 1.1)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		now := int64(0)
		for i := rand.Int(); p.Next(); i++ {
			now += 1000
			t.Take(hashes[uint16(i)], now, 1)
		}
	})
}
