package micro

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/balance"
)

const (
	balanceTick = 16 // requests of a tick

	turnsWhat    = "the next of 4 backends of weights 4, 3, 2, 1"
	leastWhat    = "one of 100 backends by what is under way at each"
	weightedWhat = "one of 100 backends of weights 1 to 5 by what is under way at each"
	exchangeWhat = "16 requests, one of 4 backends each: it is picked and counted, and after 16 others counted off"
	everywhere   = ", by all processors at the same time, on the same backends"
	ofAtomics    = "; two draws by random numbers, counters that all share"
)

var balanceEntries = []Entry{
	{"balance/turns/edge", "balancing", turnsWhat,
		func(b *testing.B) { pickBackend(b, balance.RoundRobin, 4, 3, 2, 1) }},
	{"balance/turns/mutex", "balancing", turnsWhat + "; the rule of nginx, a mutex is held", pickSmooth},
	{"balance/turns/counter", "balancing", "the next of 4 backends, by a counter that all share", pickCounter},

	{"balance/least/edge", "balancing", leastWhat + ", and how fast it is, of three draws",
		func(b *testing.B) { pickBackend(b, balance.Adaptive, slices.Repeat([]int{1}, 100)...) }},
	{"balance/least/atomics", "balancing", leastWhat + ofAtomics,
		func(b *testing.B) { pickShared(b, slices.Repeat([]int{1}, 100)...) }},
	{"balance/weighted/edge", "balancing", weightedWhat + ", and how fast it is, of three draws",
		func(b *testing.B) { pickBackend(b, balance.Adaptive, slices.Repeat([]int{1, 2, 3, 4, 5}, 20)...) }},
	{"balance/weighted/atomics", "balancing", weightedWhat + ofAtomics + "; sums of weights are searched",
		func(b *testing.B) { pickShared(b, slices.Repeat([]int{1, 2, 3, 4, 5}, 20)...) }},

	{"balance/exchange/edge", "balancing", exchangeWhat + "; then all is published", func(b *testing.B) {
		balanced := exchangeOf(balance.NewLoads())
		for b.Loop() {
			balanced()
		}
	}},
	{"balance/exchange/atomics", "balancing", exchangeWhat + ofAtomics, func(b *testing.B) {
		counted := newShared(1, 1, 1, 1).exchange()
		for b.Loop() {
			counted()
		}
	}},
	{"balance/exchange-all/edge", "balancing", exchangeWhat + everywhere + "; then all is published",
		func(b *testing.B) {
			loads := balance.NewLoads()
			onAllProcessors(b, func() func() { return exchangeOf(loads) })
		}},
	{"balance/exchange-all/atomics", "balancing", exchangeWhat + everywhere + ofAtomics,
		func(b *testing.B) { onAllProcessors(b, newShared(1, 1, 1, 1).exchange) }},
}

// onAllProcessors measures what each makes, by as many goroutines as there are processors.
func onAllProcessors(b *testing.B, each func() func()) {
	b.RunParallel(func(pb *testing.PB) {
		for f := each(); pb.Next(); {
			f()
		}
	})
}

// pickBackend measures picks of a method among backends of some weights, which have up to 7 requests each.
func pickBackend(b *testing.B, m *balance.Method, weights ...int) {
	loads := balance.NewLoads()
	view, local := balance.NewView(backendsOf(weights), loads), balance.NewLocal(loads, 1)
	rng := rand.New(rand.NewPCG(1, 3))
	for i := range weights {
		for range rng.IntN(8) {
			local.Enter(i, false)
		}
	}
	local.Publish()
	p := m.New(0, 1)
	m.Prepare(view)
	var q balance.Request
	for b.Loop() {
		p.Pick(view, local, &q)
	}
}

func backendsOf(weights []int) []balance.Backend {
	backends := make([]balance.Backend, len(weights))
	for i, weight := range weights {
		backends[i].Weight = weight
	}
	return backends
}

// exchangeOf returns what does all that package balance does for the requests of a tick, on a reactor of its own.
func exchangeOf(loads *balance.Loads) func() {
	view, local := balance.NewView(backendsOf([]int{1, 1, 1, 1}), loads), balance.NewLocal(loads, rand.Uint64())
	p, now := balance.Adaptive.New(0, 1), uint32(0)
	var q balance.Request
	var under [balanceTick]int
	for k := range under {
		under[k] = p.Pick(view, local, &q)
		local.Enter(under[k], false)
	}
	return func() {
		for k := range under {
			local.Leave(under[k], false)
			under[k] = p.Pick(view, local, &q)
			local.Enter(under[k], false)
			local.Answered(under[k], 1000, now)
		}
		now++
		local.Publish()
	}
}

// smooth is nginx's smooth weighted round robin as a program would write it: one for all, and a mutex.
type smooth struct {
	mu      sync.Mutex
	weights []int
	current []int
}

func (s *smooth) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	best, total := 0, 0
	for i, weight := range s.weights {
		s.current[i] += weight
		total += weight
		if s.current[i] > s.current[best] {
			best = i
		}
	}
	s.current[best] -= total
	return best
}

func pickSmooth(b *testing.B) {
	s := &smooth{weights: []int{4, 3, 2, 1}, current: make([]int, 4)}
	for b.Loop() {
		s.next()
	}
}

func pickCounter(b *testing.B) {
	var turn atomic.Uint64
	for b.Loop() {
		_ = turn.Add(1) % 4
	}
}

// shared is two random choices over counters that all goroutines write.
type shared struct {
	under []padded
	sums  []uint64 // of the weights up to each backend
}

// padded is a counter in a cache line of its own.
type padded struct {
	atomic.Int64
	_ [56]byte
}

func newShared(weights ...int) *shared {
	s := &shared{make([]padded, len(weights)), make([]uint64, len(weights))}
	sum := uint64(0)
	for i, weight := range weights {
		sum += uint64(weight)
		s.sums[i] = sum
	}
	return s
}

func (s *shared) draw() int {
	n := uint64(len(s.sums))
	part := rand.Uint64N(s.sums[n-1])
	if s.sums[n-1] == n {
		return int(part)
	}
	i, _ := slices.BinarySearch(s.sums, part+1)
	return i
}

func (s *shared) pick() int {
	a, b := s.draw(), s.draw()
	if s.under[b].Load() < s.under[a].Load() {
		return b
	}
	return a
}

func pickShared(b *testing.B, weights ...int) {
	s := newShared(weights...)
	for i := range weights {
		s.under[i].Store(int64(rand.IntN(8)))
	}
	for b.Loop() {
		s.pick()
	}
}

// exchange returns what counts the requests of a tick.
func (s *shared) exchange() func() {
	var under [balanceTick]int
	for k := range under {
		under[k] = s.pick()
		s.under[under[k]].Add(1)
	}
	return func() {
		for k := range under {
			s.under[under[k]].Add(-1)
			under[k] = s.pick()
			s.under[under[k]].Add(1)
		}
	}
}
