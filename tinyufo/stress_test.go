package tinyufo

import (
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// stressOperations is how many operations each stress runs.
func stressOperations() int {
	if n, err := strconv.Atoi(os.Getenv("EDGE_STRESS")); err == nil {
		return n
	}
	if os.Getenv("EDGE_SOAK") != "" {
		return 100_000_000 / len(stresses)
	}
	return testutil.Rounds(200_000)
}

// sometimesHeavy weighs 0 to 6, so that some entries are pinned, and now and then more than any budget.
func sometimesHeavy(k, v uint64) uint32 {
	if v>>8&0x7f == 0x7f {
		return 1 << 20
	}
	return uint32((k + v>>8) % 7)
}

var stresses = map[string]Options[uint64, uint64]{
	"entries":    {Entries: 300},
	"one shard":  {Entries: 40, Shards: 1},
	"few":        {Entries: 4, Shards: 1},
	"weight":     {Weight: 700, Weigher: sometimesHeavy, Shards: 2},
	"times":      {Entries: 300, TTL: 2 * time.Millisecond},
	"idle":       {Entries: 300, TTI: 2 * time.Millisecond},
	"everything": {Weight: 700, Weigher: sometimesHeavy, TTL: 2 * time.Millisecond, Shards: 2, Stats: true},
}

// stress is a cache whose values are numbers of their own, each with its key in the low byte.
type stress struct {
	*testing.T
	c      *Cache[uint64, uint64]
	serial atomic.Uint64
	taken  []atomic.Uint32 // of each value, how many times it was taken in; and left, by 1<<16 each
}

func TestStress(t *testing.T) {
	for name, o := range stresses {
		t.Run(name, func(t *testing.T) {
			const goroutines = 4
			n := stressOperations()
			for n > 0 { // each round has values of its own
				round := min(n, 1_000_000)
				n -= round
				s := &stress{T: t, taken: make([]atomic.Uint32, round+goroutines)}
				s.run(o, goroutines, round/goroutines)
			}
		})
	}
}

// run lets goroutines work on a new cache, and checks the budget meanwhile and everything after.
func (s *stress) run(o Options[uint64, uint64], goroutines, each int) {
	o.OnEvict = func(k, v uint64, _ Cause) { s.leave(k, v) }
	o.OnReplace = s.leave
	var now atomic.Int64
	if o.TTL > 0 || o.TTI > 0 {
		o.Clock = now.Load
	}
	s.c = New(o)
	budget := max(int64(o.Entries), o.Weight)
	var wg, watch sync.WaitGroup
	var done atomic.Bool
	for g := range goroutines {
		wg.Go(func() { s.work(rand.New(rand.NewPCG(uint64(g), 3)), each) })
	}
	watch.Go(func() {
		for i := int64(0); !done.Load(); i++ {
			s.checkBudget(budget)
			now.Add(int64(100 * time.Microsecond))
			s.c.Resize(budget - i%2*int64(len(s.c.shards)))
		}
	})
	wg.Wait()
	done.Store(true)
	watch.Wait()
	s.c.Resize(budget)
	s.c.audit(s.T)
	for v := range s.c.values {
		s.leave(v&0xff, v)
	}
	for i := range s.taken {
		if n := s.taken[i].Load(); n != 0 && n != 1<<16|1 {
			s.Errorf("value %d was taken in %d times and has left or is cached %d times", i, n&0xffff, n>>16)
		}
	}
}

// checkBudget fails when the table holds more than the budget and what waits for the policies.
func (s *stress) checkBudget(budget int64) {
	pinned, n := 0, int64(0)
	for e := range s.c.entries() {
		if s.c.weighed && heavyOf(e).weight == 0 {
			pinned++
		}
		n++
	}
	if most := budget + int64(pinned+len(s.c.shards)*(intakeMax+1)); n > most {
		s.Errorf("%d entries in the table, %d were allowed", n, most)
	}
	if w := s.c.Weight(); w > budget {
		s.Errorf("weight %d, the budget is %d", w, budget)
	}
}

func (s *stress) take(key uint64) (value uint64) {
	n := s.serial.Add(1)
	s.taken[n].Add(1)
	return n<<8 | key
}

// untake is for a value that was not needed.
func (s *stress) untake(value uint64) { s.taken[value>>8].Add(^uint32(0)) }

func (s *stress) leave(key, value uint64) {
	if value&0xff != key {
		s.Errorf("value %#x leaves as that of %d", value, key)
	}
	s.taken[value>>8].Add(1 << 16)
}

// work does random operations.
func (s *stress) work(rng *rand.Rand, n int) {
	c := s.c
	for range n {
		k := min(rng.Uint64N(256), rng.Uint64N(256))
		v, ok := uint64(0), false
		switch op := rng.IntN(32); {
		case op < 12:
			v, ok = c.Get(k)
		case op < 20:
			c.Set(k, s.take(k))
		case op < 23:
			c.Delete(k)
		case op < 25:
			v, ok = c.Swap(k, s.take(k))
		case op < 27:
			mine := s.take(k)
			if v, ok = c.GetOrSet(k, mine); ok {
				s.untake(mine)
			}
		case op < 29:
			s.compute(k, rng.IntN(3))
		case op < 30 && c.timed && c.tti == 0:
			c.SetTTL(k, s.take(k), time.Duration(rng.IntN(3_000_000)+1))
		case op < 31:
			v, ok = c.Peek(k)
		default:
			s.seldom(rng.IntN(4000))
		}
		if ok && v&0xff != k {
			s.Errorf("value %#x for key %d", v, k)
		}
	}
}

// compute stores another value, removes the key, or keeps it.
func (s *stress) compute(k uint64, what int) {
	var mine uint64
	got, ok := s.c.Compute(k, func(old uint64, ok bool) (uint64, Op) {
		switch {
		case what == 0:
			return old, Keep
		case what == 1:
			return old, Remove
		}
		if mine == 0 {
			mine = s.take(k)
		}
		return mine, Store
	})
	if mine != 0 && ok && got != mine {
		s.Errorf("Compute stored %#x, and returned %#x", mine, got)
	}
}

// seldom does what looks at the whole cache.
func (s *stress) seldom(n int) {
	switch n {
	case 0:
		s.c.Purge()
	case 1:
		s.c.DeleteFunc(func(_, v uint64) bool { return v>>8%2 == 0 })
	case 2:
		seen := make(map[uint64]bool)
		for k := range s.c.All() {
			if seen[k] {
				s.Errorf("key %d comes twice", k)
			}
			seen[k] = true
		}
	case 3:
		for k, v := range s.c.Hottest(10) {
			if v&0xff != k {
				s.Errorf("value %#x for key %d", v, k)
			}
		}
		s.c.Expire()
	}
}
