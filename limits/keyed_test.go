package limits

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// inTicks is a model of one key: the leaky bucket in ticks of the table.
func (p *tickPace) newBucket() *leakyBucket {
	return &leakyBucket{interval: int64(p.interval), burst: int64(p.burst)}
}

// gcraTable is what both tables have.
type gcraTable interface {
	Take(hash uint64, now, n int64) (bool, time.Duration)
	State(hash uint64, now int64) State
	Live(now int64) int
	Takeovers() uint64
}

func gcraTables(q Quota, keys int) map[string]gcraTable {
	return map[string]gcraTable{"local": NewLocalGCRATable(q, keys), "shared": NewSharedGCRATable(q, keys)}
}

// Few keys in a large table share no cell: each has its own leaky bucket.
func TestGCRATable_isALeakyBucketForEachKey(t *testing.T) {
	const keys = 100
	for _, q := range quotas {
		for name, table := range gcraTables(q, 4096) {
			p := newTickPace(q)
			rng := rand.New(rand.NewPCG(1, 64))
			models := make([]*leakyBucket, keys)
			for i := range models {
				models[i] = p.newBucket()
			}
			for now, i := int64(0), 0; i < 20_000; i++ {
				now += step(rng, q) / keys
				key, n := rng.IntN(keys), int64(1)
				if rng.IntN(4) == 0 {
					n = rng.Int64N(q.burst()+3) - 1
				}
				want := models[key].take(now>>p.shift, n)
				got, wait := table.Take(mixed(uint64(key)), now, n)
				if got != want || got != (wait == 0) {
					t.Fatalf("%s %+v at %d, %d events: %v %v, want %v", name, q, now, n, got, wait, want)
				}
				if ok, _ := table.Take(mixed(uint64(key)), now+int64(wait), n); !got && wait != Never && !ok {
					t.Fatalf("%s %+v: refused after %v", name, q, wait)
				} else if ok {
					models[key].take((now+int64(wait))>>p.shift, n)
					now += int64(wait)
				}
			}
			if table.Takeovers() != 0 {
				t.Errorf("%s: %d cells were taken over", name, table.Takeovers())
			}
		}
	}
}

func TestGCRATable_admitsNoMoreThanItsRateInAnyWindow(t *testing.T) {
	for _, q := range quotas {
		for _, table := range gcraTables(q, 100) {
			rng := rand.New(rand.NewPCG(2, 64))
			var admitted []int64
			for now := int64(0); len(admitted) < 1000; now += step(rng, q) {
				if ok, _ := table.Take(mixed(1), now, 1); ok {
					admitted = append(admitted, now)
				}
			}
			checkWindows(t, q, admitted, q.interval()/intervalTicks)
		}
	}
}

// Events that wait as Reserve says come evenly, whatever came at once. What it refuses, Take would.
func TestSharedGCRATable_reservesEvenly(t *testing.T) {
	table := NewSharedGCRATable(Quota{Count: 100, Per: time.Second, Burst: 5}, 8)
	const now = int64(time.Hour)
	for i := range time.Duration(5) {
		ok, wait := table.Reserve(mixed(1), now, 1)
		if want := i * 10 * time.Millisecond; !ok || (wait-want).Abs() > time.Microsecond {
			t.Errorf("event %d waits %v (%v), want %v", i, wait, ok, want)
		}
	}
	ok, wait := table.Reserve(mixed(1), now, 1)
	if taken, after := table.Take(mixed(1), now, 1); ok || taken || wait != after || wait <= 0 {
		t.Errorf("one too many: %v %v, and Take says %v %v", ok, wait, taken, after)
	}
	if ok, wait := table.Reserve(mixed(2), now, 6); ok || wait != Never {
		t.Errorf("more than a burst: %v %v", ok, wait)
	}
}

// The interval is rounded up to ticks: a rate is never exceeded, and kept to 1/65536; to 1/512 with the largest
// burst.
func TestTickPace_roundsUp(t *testing.T) {
	for burst, share := range map[int64]uint64{1: 1 << 16, 1 << 25: 1 << 16, burstMax: 1 << 9} {
		for _, per := range []time.Duration{1, 999, 65_535, 65_536, 131_073, 1_000_003, time.Second / 3, time.Hour} {
			q := Quota{Count: 1, Per: per, Burst: burst}
			if q.Validate() != nil {
				continue // an hour for each event of the largest burst
			}
			p := newTickPace(q)
			got := p.interval << p.shift
			if got < uint64(per) || (got-uint64(per))*share > uint64(per) {
				t.Errorf("%+v: %d ns", q, got)
			}
			if p.span != p.interval*p.burst || p.span > tatMask/4+1 || p.future > tatMask/2 {
				t.Errorf("%+v: %+v", q, p)
			}
		}
	}
}

// A cell is free when its key has its whole burst again: nobody sweeps, and nothing is taken over.
func TestGCRATable_freesItself(t *testing.T) {
	q := Quota{Count: 10, Per: time.Second, Burst: 10}
	for name, table := range gcraTables(q, 64) {
		for i := range uint64(100_000) {
			now := int64(i) * int64(10*time.Millisecond) // 10 keys within the 100 ms that one event takes
			if ok, _ := table.Take(mixed(i), now, 1); !ok {
				t.Fatalf("%s: the first event of a key is refused", name)
			}
			if n := table.Live(now); n > 11 { // the interval is rounded up to ticks
				t.Fatalf("%s: %d keys are live", name, n)
			}
		}
		if table.Takeovers() != 0 {
			t.Errorf("%s: %d cells were taken over", name, table.Takeovers())
		}
	}
}

// inBucket returns a hash of bucket 0 with this fingerprint.
func inBucket(print uint64) uint64 { return print }

// With 8 live keys in a bucket the next one takes over the cell that frees first, and only that.
func TestGCRATable_fullBucketGivesTheCellThatFreesFirst(t *testing.T) {
	q := Quota{Count: 1, Per: time.Second, Burst: 20}
	for name, table := range gcraTables(q, 1) {
		for k := range uint64(8) {
			table.Take(inBucket(k+1), 0, 10+int64(k+3)%8) // key 6 frees first, after 10 s
		}
		if table.Takeovers() != 0 || table.Live(0) != 8 {
			t.Fatalf("%s: %d taken over, %d live", name, table.Takeovers(), table.Live(0))
		}
		if ok, _ := table.Take(inBucket(100), 0, 20); !ok || table.Takeovers() != 1 {
			t.Errorf("%s: %v, %d taken over", name, ok, table.Takeovers())
		}
		for k := range uint64(8) {
			want := 10 - int64(k+3)%8
			if k == 5 {
				want = 20 // it lost its cell, and has the burst again: the error is lenient
			}
			if s := table.State(inBucket(k+1), 0); s.Remaining != want {
				t.Errorf("%s: key %d has %+v, want %d", name, k, s, want)
			}
		}
	}
}

// At the load that it is made for, a table takes over few cells.
func TestGCRATable_takesOverFewCellsAtItsLoad(t *testing.T) {
	const keys = 1 << 16 // 4 in a bucket: the fullest that a table of this size becomes
	for name, table := range gcraTables(Quota{Count: 1, Per: time.Hour}, keys) {
		for k := range uint64(keys) {
			table.Take(mixed(k), 0, 1)
		}
		if n := table.Takeovers(); n > keys/100 {
			t.Errorf("%s: %d of %d keys took a cell over", name, n, keys)
		}
	}
}

// Keys of one bucket with one fingerprint are one to a table. Of live keys in full buckets, 8 in 2^20 meet.
func TestGCRATable_sharesACellByFingerprintOnly(t *testing.T) {
	for name, table := range gcraTables(Quota{Count: 1, Per: time.Hour}, 1<<12) {
		table.Take(7, 0, 1)
		if ok, _ := table.Take(7|5<<firstShift, 0, 1); ok {
			t.Errorf("%s: another first cell makes another key", name)
		}
		if ok, _ := table.Take(7|1<<bucketShift, 0, 1); !ok {
			t.Errorf("%s: another bucket makes the same key", name)
		}
		if ok, _ := table.Take(0, 0, 1); !ok {
			t.Errorf("%s: a fingerprint of 0 is refused", name)
		}
		if ok, _ := table.Take(1, 0, 1); ok {
			t.Errorf("%s: 0 stands for 1", name)
		}
	}
}

func TestGCRATable_nothingIsTakenByNone(t *testing.T) {
	q := Quota{Count: 1, Per: time.Hour, Burst: 2}
	for name, table := range gcraTables(q, 1) {
		for n, want := range map[int64]bool{0: true, -1: false, 3: false, 1 << 62: false} {
			if ok, wait := table.Take(5, 0, n); ok != want || want != (wait == 0) {
				t.Errorf("%s, %d events: %v, %v", name, n, ok, wait)
			}
		}
		if table.Live(0) != 0 || table.State(5, 0) != (State{Remaining: 2}) {
			t.Errorf("%s: %d live, %+v", name, table.Live(0), table.State(5, 0))
		}
	}
}

// TATs are kept modulo 2^44 ticks: the lap makes no difference to keys that come again in time.
func TestGCRATable_acrossALap(t *testing.T) {
	q := Quota{Count: 1_000_000, Per: time.Second, Burst: 5}
	lap := int64(1) << tatBits // in ticks of 1 ns
	for _, start := range []int64{lap - 2000, 3*lap - 2000} {
		for name, table := range gcraTables(q, 100) {
			model := newBucket(q)
			for now := start; now < start+10_000; now += 300 {
				if got, _ := table.Take(3, now, 1); got != model.take(now, 1) {
					t.Fatalf("%s: %v at %d", name, got, now-start)
				}
			}
		}
	}
}

func TestGCRATable_clockThatGoesBack(t *testing.T) {
	for _, per := range []time.Duration{time.Millisecond, time.Second, 24 * time.Hour} {
		q := Quota{Count: 1, Per: per, Burst: 2}
		for name, table := range gcraTables(q, 100) {
			now := int64(48 * time.Hour)
			table.Take(9, now, 2)
			for _, back := range []time.Duration{1, time.Millisecond, time.Second} {
				if ok, _ := table.Take(9, now-int64(back), 1); ok {
					t.Errorf("%s, %v: admitted twice, %v back", name, per, back)
				}
			}
			if ok, _ := table.Take(9, now-int64(2*time.Second+2*per), 1); !ok {
				t.Errorf("%s, %v: refused after a long step back", name, per)
			}
		}
	}
}

// Goroutines with the same new keys at the same moment: each key gets one cell, and no more than its burst. Run with
// -tags invariants, it also finds fingerprints that are twice in a bucket.
func TestSharedGCRATable_newKeysGetOneCell(t *testing.T) {
	const goroutines, keys, burst = 4, 2000, 3
	table := NewSharedGCRATable(Quota{Count: 1, Per: time.Hour, Burst: burst}, 4*keys)
	var admitted [goroutines][keys]int
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			<-start
			for k := range uint64(keys) {
				for range burst {
					if ok, _ := table.Take(mixed(k), 0, 1); ok {
						admitted[i][k]++
					}
				}
			}
		})
	}
	close(start)
	wg.Wait()
	for k := range keys {
		n := 0
		for i := range goroutines {
			n += admitted[i][k]
		}
		if n > burst || n < burst && table.Takeovers() == 0 && !sharesACell(k, keys, len(table.buckets)) {
			t.Errorf("key %d: %d events of a burst of %d", k, n, burst)
		}
	}
}

// sharesACell reports whether another key has the bucket and the fingerprint of this one.
func sharesACell(key, keys, buckets int) bool {
	place := func(k int) (uint64, uint64) {
		h := mixed(uint64(k))
		return h >> bucketShift & uint64(buckets-1), fingerprint(h)
	}
	bucket, print := place(key)
	for k := range keys {
		if b, p := place(k); k != key && b == bucket && p == print {
			return true
		}
	}
	return false
}

// Keys that push each other out of few buckets, with a time that passes: whatever happens, a key without a takeover
// is never admitted more than its rate, and the table stays whole.
func TestSharedGCRATable_crowdedBuckets(t *testing.T) {
	const goroutines, events = 4, 20_000
	q := Quota{Count: 1000, Per: time.Second, Burst: 4}
	table := NewSharedGCRATable(q, 8)
	var admitted [goroutines]int64
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(3, uint64(i)))
			for n := range int64(events) {
				if ok, _ := table.Take(mixed(rng.Uint64N(30)), n*10_000, 1); ok {
					admitted[i]++
				}
			}
		})
	}
	wg.Wait()
	total := int64(0)
	for _, n := range admitted {
		total += n
	}
	most := 30*(q.burst()+events*10_000/q.interval()) + q.burst()*int64(table.Takeovers())
	if total > most {
		t.Errorf("%d events admitted, %d are allowed with %d takeovers", total, most, table.Takeovers())
	}
}

// FuzzGCRATable runs ops on both tables and on a bucket for each key.
func FuzzGCRATable(f *testing.F) {
	f.Add(uint16(100), uint8(3), []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 200, 201, 0, 0})
	f.Fuzz(func(t *testing.T, perMicros uint16, burst uint8, ops []byte) {
		q := Quota{Count: 1, Per: time.Duration(perMicros)*time.Microsecond + 1, Burst: int64(burst)}
		local, shared, p := NewLocalGCRATable(q, 1), NewSharedGCRATable(q, 1), newTickPace(q)
		models := map[uint64]*leakyBucket{}
		now := int64(0)
		for i := 0; i+2 < len(ops); i += 3 {
			now += int64(ops[i]) * q.interval() / 32
			hash, n := uint64(ops[i+1]%12)+1, int64(ops[i+2]%4)
			model := models[hash]
			if model == nil {
				model = p.newBucket()
				models[hash] = model
			}
			taken := local.Takeovers()
			ok, wait := local.Take(hash, now, n)
			if ok2, wait2 := shared.Take(hash, now, n); ok != ok2 || wait != wait2 {
				t.Fatalf("local %v %v, shared %v %v", ok, wait, ok2, wait2)
			}
			if local.Takeovers() != taken {
				clear(models) // one of them has its burst again
				continue
			}
			if taken == 0 && ok != model.take(now>>p.shift, n) {
				t.Fatalf("%+v at %d, key %d, %d events: %v", q, now, hash, n, ok)
			}
			if local.State(hash, now) != shared.State(hash, now) || local.Live(now) != shared.Live(now) {
				t.Fatalf("local %+v, shared %+v", local.State(hash, now), shared.State(hash, now))
			}
		}
		if local.Takeovers() != shared.Takeovers() {
			t.Fatalf("%d and %d taken over", local.Takeovers(), shared.Takeovers())
		}
	})
}
