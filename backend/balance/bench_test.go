package balance

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// fleet is n backends, of weight 1 or of weights 1 to 5.
func fleet(n int, weighted bool) []Backend {
	backends := make([]Backend, n)
	for i := range backends {
		backends[i] = Backend{Name: fmt.Sprintf("10.0.%d.%d:8080", i/250, i%250), Weight: 1}
		if weighted {
			backends[i].Weight = 1 + i*7%5
		}
	}
	return backends
}

// busy makes a Local for v whose backends have up to 7 requests each, some of them not published.
func busy(v *View, seed uint64) *Local {
	rng := rand.New(rand.NewPCG(seed, 1))
	l := NewLocal(v.loads, seed)
	for range 2 {
		for i := range v.Len() {
			for range rng.IntN(4) {
				l.Enter(i, false)
			}
			l.Answered(i, 900+uint32(rng.IntN(200)), 1000)
		}
		if !l.Dirty() {
			break
		}
		l.Publish()
	}
	return l
}

// sizes runs f for so many backends, of equal and of different weights.
func sizes(b *testing.B, f func(b *testing.B, v *View)) {
	for _, n := range []int{4, 100, 10_000} {
		for _, weighted := range []bool{false, true} {
			kind := "equal"
			if weighted {
				kind = "weighted"
			}
			b.Run(fmt.Sprintf("%d/%s", n, kind), func(b *testing.B) {
				b.ReportAllocs()
				f(b, NewView(fleet(n, weighted), nil))
			})
		}
	}
}

// picks measures a pick of m.
func picks(b *testing.B, m *Method) {
	sizes(b, func(b *testing.B, v *View) {
		if m.Prepare != nil {
			m.Prepare(v)
		}
		l, p := busy(v, 1), m.New(0, 1)
		q := Request{Keyed: true}
		for b.Loop() {
			q.Key += golden
			p.Pick(v, l, &q)
		}
	})
}

func BenchmarkPick_adaptive(b *testing.B)   { picks(b, Adaptive) }
func BenchmarkPick_roundRobin(b *testing.B) { picks(b, RoundRobin) }
func BenchmarkPick_random(b *testing.B)     { picks(b, Random) }
func BenchmarkPick_leastConn(b *testing.B)  { picks(b, LeastConn) }
func BenchmarkPick_p2c(b *testing.B)        { picks(b, P2C) }
func BenchmarkPick_peakEWMA(b *testing.B)   { picks(b, PeakEWMA) }
func BenchmarkPick_ketama(b *testing.B)     { picks(b, Ketama) }
func BenchmarkPick_maglev(b *testing.B)     { picks(b, Maglev) }
func BenchmarkPick_ipHash(b *testing.B)     { picks(b, IPHash) }

// exchange is all that package balance does for a request: it is picked for, enters, is answered, and leaves 16 later.
// A tick has 16.
func exchange(v *View, l *Local, p Picker, under *[16]int, now *uint32, q *Request) {
	for k := range under {
		if under[k] >= 0 {
			l.Leave(under[k], false)
		}
		i := p.Pick(v, l, q)
		l.Enter(i, false)
		l.Answered(i, 1000, *now)
		under[k] = i
	}
	*now++
	l.Publish()
}

// BenchmarkExchange measures 16 requests at a time, so that one takes a 16th.
func BenchmarkExchange(b *testing.B) {
	sizes(b, func(b *testing.B, v *View) {
		l, p := busy(v, 1), Adaptive.New(0, 1)
		under, now := [16]int{}, uint32(2000)
		for k := range under {
			under[k] = -1
		}
		var q Request
		for b.Loop() {
			exchange(v, l, p, &under, &now, &q)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/16, "ns/request")
	})
}

// BenchmarkExchange_allReactors is the same by as many goroutines as there are processors, each with its Local.
func BenchmarkExchange_allReactors(b *testing.B) {
	sizes(b, func(b *testing.B, v *View) {
		Adaptive.Prepare(v)
		b.RunParallel(func(pb *testing.PB) {
			l, p := NewLocal(v.loads, rand.Uint64()), Adaptive.New(0, 1)
			under, now := [16]int{}, uint32(2000)
			for k := range under {
				under[k] = -1
			}
			var q Request
			for pb.Next() {
				exchange(v, l, p, &under, &now, &q)
			}
		})
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/16*2, "ns/request")
	})
}

// BenchmarkTurns_neighbours has two goroutines, each with Turns of its own: it justifies the padding.
func BenchmarkTurns_neighbours(b *testing.B) {
	v := Weights(1, 1, 1, 1)
	pickers := make(chan Picker, 1024)
	for i := range cap(pickers) {
		pickers <- RoundRobin.New(i, cap(pickers))
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		p := <-pickers
		var q Request
		for pb.Next() {
			p.Pick(v, nil, &q)
		}
	})
}

// BenchmarkView is what a backend that opens or closes costs, with what Adaptive and RoundRobin need.
func BenchmarkView(b *testing.B) {
	sizes(b, func(b *testing.B, v *View) {
		for open := false; b.Loop(); open = !open {
			v = v.With(3, open)
			Adaptive.Prepare(v)
			RoundRobin.Prepare(v)
		}
	})
}
