package ketama

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// fleet is n servers of weight 1.
func fleet(n int) []Server {
	servers := make([]Server, n)
	for i := range servers {
		servers[i].Name = fmt.Sprintf("10.0.%d.%d:8080", i/250, i%250)
	}
	return servers
}

// benchKeyCount is a power of two: a division would be a part of what is measured.
const benchKeyCount = 4096

// benchKeys are random keys of a length, one after the other in memory.
func benchKeys(length int) [][]byte {
	rng := rand.New(rand.NewPCG(1, uint64(length)))
	keys := make([][]byte, benchKeyCount)
	all := make([]byte, len(keys)*length)
	for i := range all {
		all[i] = byte('!' + rng.IntN(90))
	}
	for i := range keys {
		keys[i] = all[i*length:][:length:length]
	}
	return keys
}

func ring(tb testing.TB, servers []Server, o Options) *Ring {
	tb.Helper()
	r, err := New(servers, o)
	testutil.Must(tb, err)
	return r
}

func ring64(tb testing.TB, servers []Server) *Ring64 {
	tb.Helper()
	r, err := New64(servers, Options64{})
	testutil.Must(tb, err)
	return r
}

func maglev(tb testing.TB, servers []Server) *Maglev {
	tb.Helper()
	m, err := NewMaglev(servers, MaglevOptions{})
	testutil.Must(tb, err)
	return m
}

// pick measures look-ups of keys that differ each time, so that no branch predictor knows them.
func pick(b *testing.B, pick func(key []byte) int, length int) {
	keys := benchKeys(length)
	sum := 0
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		sum += pick(keys[i%benchKeyCount])
	}
}

func BenchmarkRing_pick30(b *testing.B)   { pick(b, ring(b, fleet(100), Options{}).Pick, 30) }
func BenchmarkRing_pick8(b *testing.B)    { pick(b, ring(b, fleet(100), Options{}).Pick, 8) }
func BenchmarkRing_pick200(b *testing.B)  { pick(b, ring(b, fleet(100), Options{}).Pick, 200) }
func BenchmarkRing_pick10k(b *testing.B)  { pick(b, ring(b, fleet(10_000), Options{}).Pick, 30) }
func BenchmarkRing64_pick30(b *testing.B) { pick(b, ring64(b, fleet(100)).Pick, 30) }
func BenchmarkMaglev_pick30(b *testing.B) { pick(b, maglev(b, fleet(100)).Pick, 30) }

func BenchmarkRing_at(b *testing.B) {
	r := ring(b, fleet(100), Options{})
	rng := rand.New(rand.NewPCG(1, 1))
	hashes := make([]uint64, benchKeyCount)
	for i := range hashes {
		hashes[i] = rng.Uint64()
	}
	sum := 0
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		sum += r.At(hashes[i%benchKeyCount])
	}
}

func BenchmarkRing_failoverOneDown(b *testing.B) {
	r := ring(b, fleet(100), Options{})
	keys := benchKeys(30)
	down := 7
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Failover(r.Hash(keys[i%benchKeyCount]), func(i int) bool { return i != down })
	}
}

func BenchmarkRing_pickFuncThird(b *testing.B) {
	r := ring(b, fleet(100), Options{})
	keys := benchKeys(30)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := 0
		r.PickFunc(r.Hash(keys[i%benchKeyCount]), func(int) bool { n++; return n == 3 })
	}
}

func BenchmarkRing_pickBounded(b *testing.B) {
	r := ring(b, fleet(100), Options{})
	keys := benchKeys(30)
	var loads [100]int
	served := 0
	for i := range loads {
		loads[i] = i % 20
		served += loads[i]
	}
	b.ReportAllocs()
	bound := Bound{Factor: 125, Served: served}
	for i := 0; b.Loop(); i++ {
		r.PickBounded(r.Hash(keys[i%benchKeyCount]), bound, func(i int) int { return loads[i] })
	}
}

func BenchmarkRing_walkAll(b *testing.B) {
	r := ring(b, fleet(100), Options{})
	keys := benchKeys(30)
	sum := 0
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		for server := range r.Walk(r.Hash(keys[i%benchKeyCount])) {
			sum += server
		}
	}
}

func BenchmarkRing_new(b *testing.B) {
	servers := fleet(100)
	b.ReportAllocs()
	for b.Loop() {
		ring(b, servers, Options{})
	}
}

func BenchmarkRing_with(b *testing.B) {
	servers := fleet(101)
	r := ring(b, servers[:100], Options{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.With(servers[100]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRing_without(b *testing.B) {
	servers := fleet(101)
	r := ring(b, servers, Options{})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Without(servers[i%len(servers)].Name)
	}
}

func BenchmarkRing64_new(b *testing.B) {
	servers := fleet(100)
	b.ReportAllocs()
	for b.Loop() {
		ring64(b, servers)
	}
}

func BenchmarkRing64_with(b *testing.B) {
	servers := fleet(101)
	r := ring64(b, servers[:100])
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.With(servers[100]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMaglev_new(b *testing.B) {
	servers := fleet(100)
	b.ReportAllocs()
	for b.Loop() {
		maglev(b, servers)
	}
}

func BenchmarkChecksum(b *testing.B) {
	for _, length := range []int{3, 8, 16, 30, 60, 64, 200} {
		keys := benchKeys(length)
		b.Run(fmt.Sprint(length), func(b *testing.B) {
			sum := uint32(0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				sum += checksum(keys[i%benchKeyCount])
			}
		})
	}
}

func BenchmarkXXH64(b *testing.B) {
	for _, length := range []int{8, 30, 64, 200} {
		keys := benchKeys(length)
		b.Run(fmt.Sprint(length), func(b *testing.B) {
			sum := uint64(0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				sum += xxh64(keys[i%benchKeyCount], 0)
			}
		})
	}
}
