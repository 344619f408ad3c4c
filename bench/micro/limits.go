package micro

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/edge-proxy/edge/limits"
)

const (
	limitKeys    = 10_000 // clients, which come by Zipf's law
	limitArrived = 1 << 16
)

var limitsEntries = []Entry{
	{"limits/allowed/edge", "limits of a rate", "SharedGCRA.Take of an event that is admitted, told the time",
		gcra(roomy, 1000)},
	{"limits/allowed/x-time", "limits of a rate", "rate.Limiter.AllowN, told the time",
		limiter(1_000_000, 1_000_000, 1000)},
	{"limits/denied/edge", "limits of a rate", "SharedGCRA.Take of an event that is refused, told the time",
		gcra(tight, 1)},
	{"limits/denied/x-time", "limits of a rate", "rate.Limiter.AllowN, told the time",
		limiter(rate.Every(time.Hour), 1, 1)},
	{"limits/keyed/edge", "limits of a rate", "SharedGCRATable.Take for one of 10 000 hashes", tableTake},
	{"limits/keyed/x-time", "limits of a rate", "a map of rate.Limiter by hash; a mutex is held for the look-up",
		limiterMapTake},
	{"limits/keyed-own/edge", "limits of a rate", "LocalGCRATable.Take for one of 10 000 hashes, on one goroutine",
		localTableTake},
	{"limits/keyed-own/x-time", "limits of a rate", "a map of rate.Limiter by hash, on one goroutine",
		localLimiterMapTake},
}

// arrivals are the hashes of events of limitKeys clients, to be indexed by a uint16.
func arrivals() *[limitArrived]uint64 {
	rng := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(rng, 1.1, 1, limitKeys-1)
	clients := make([]uint64, limitKeys)
	for i := range clients {
		clients[i] = rng.Uint64()
	}
	hashes := new([limitArrived]uint64)
	for i := range hashes {
		hashes[i] = clients[zipf.Uint64()]
	}
	return hashes
}

// A burst that is never spent, and one event that is never paid back.
var (
	roomy = limits.Quota{Count: 1_000_000, Per: time.Second, Burst: 1_000_000}
	tight = limits.Quota{Count: 1, Per: time.Hour}
)

// gcra takes an event each time that step has passed, after one before the first.
func gcra(q limits.Quota, step int64) func(b *testing.B) {
	return func(b *testing.B) {
		g, now := limits.NewSharedGCRA(q), int64(0)
		g.Take(now, 1)
		for b.Loop() {
			now += step
			g.Take(now, 1)
		}
	}
}

func limiter(per rate.Limit, burst int, step time.Duration) func(b *testing.B) {
	return func(b *testing.B) {
		l, now := rate.NewLimiter(per, burst), time.Now()
		l.AllowN(now, 1)
		for b.Loop() {
			now = now.Add(step)
			l.AllowN(now, 1)
		}
	}
}

func tableTake(b *testing.B) {
	t, hashes, now := limits.NewSharedGCRATable(roomy, limitKeys), arrivals(), int64(0)
	for i := 0; b.Loop(); i++ {
		now += 1000
		t.Take(hashes[uint16(i)], now, 1)
	}
}

func localTableTake(b *testing.B) {
	t, hashes, now := limits.NewLocalGCRATable(roomy, limitKeys), arrivals(), int64(0)
	for i := 0; b.Loop(); i++ {
		now += 1000
		t.Take(hashes[uint16(i)], now, 1)
	}
}

// limiterMap is the way of most programs. It leaves out what they need beside it: to forget limiters that are no longer
// used.
type limiterMap map[uint64]*rate.Limiter

func (m limiterMap) of(hash uint64) *rate.Limiter {
	l := m[hash]
	if l == nil {
		l = rate.NewLimiter(1_000_000, 1_000_000)
		m[hash] = l
	}
	return l
}

func limiterMapTake(b *testing.B) {
	var mu sync.Mutex
	limiters, hashes, now := limiterMap{}, arrivals(), time.Now()
	for i := 0; b.Loop(); i++ {
		now = now.Add(1000)
		mu.Lock()
		l := limiters.of(hashes[uint16(i)])
		mu.Unlock()
		l.AllowN(now, 1)
	}
}

func localLimiterMapTake(b *testing.B) {
	limiters, hashes, now := limiterMap{}, arrivals(), time.Now()
	for i := 0; b.Loop(); i++ {
		now = now.Add(1000)
		limiters.of(hashes[uint16(i)]).AllowN(now, 1)
	}
}
