package tinyufo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

var errLoad = errors.New("the origin is away")

// origin counts the calls of its loaders, which take a second each.
type origin struct {
	calls  atomic.Int64
	active atomic.Int64
	most   atomic.Int64 // of active at once
}

func (o *origin) load(ctx context.Context, key int) (int, error) {
	o.calls.Add(1)
	o.most.Store(max(o.most.Load(), o.active.Add(1)))
	defer o.active.Add(-1)
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	switch {
	case key < 0:
		return 0, ErrNotFound
	case key%10 == 9:
		return 0, errLoad
	}
	return key * 10, nil
}

func (o *origin) loadMany(ctx context.Context, keys []int) (map[int]int, error) {
	values := make(map[int]int)
	for _, key := range keys {
		if key >= 0 && key%10 != 9 {
			values[key] = key * 10
		}
	}
	o.calls.Add(1)
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if slices.ContainsFunc(keys, func(key int) bool { return key%10 == 9 }) {
		return values, errLoad
	}
	return values, nil
}

func TestLoad_oneLoaderForAllWhoWait(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var o origin
		c := New(Options[int, int]{Entries: 100})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if v, err := c.Load(t.Context(), 4, o.load); v != 40 || err != nil {
					t.Error(v, err)
				}
			})
		}
		wg.Wait()
		if v, ok := c.Get(4); v != 40 || !ok || o.calls.Load() != 1 {
			t.Errorf("%d %v after %d calls", v, ok, o.calls.Load())
		}
		if s := c.Stats(); s.Loads != 1 || s.LoadErrors != 0 || c.loads.underWay.Load() != 0 {
			t.Errorf("%+v, %d under way", s, c.loads.underWay.Load())
		}
	})
}

func TestLoad_oneLoaderAtATime(t *testing.T) {
	var o origin
	c := New(Options[int, int]{Entries: 100})
	quick := func(_ context.Context, key int) (int, error) {
		if o.active.Add(1) > 1 {
			t.Error("two loaders for one key")
		}
		defer o.active.Add(-1)
		o.calls.Add(1)
		return key, nil
	}
	quickMany := func(ctx context.Context, keys []int) (map[int]int, error) {
		v, err := quick(ctx, keys[0])
		return map[int]int{keys[0]: v}, err
	}
	for range 1000 {
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				if i == 0 {
					_, _ = c.LoadMany(t.Context(), []int{1}, quickMany)
				} else {
					_, _ = c.Load(t.Context(), 1, quick)
				}
			})
		}
		wg.Wait()
		c.Delete(1)
	}
	if n := o.calls.Load(); n != 1000 {
		t.Errorf("%d calls for 1000 times that a key was missing", n)
	}
}

func TestLoad_waitersLeaveAtTheirOwnDeadline(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var o origin
		c := New(Options[int, int]{Entries: 100})
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		longer, cancelLonger := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancelLonger()
		began := time.Now()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				_, err := c.Load(short, 4, o.load)
				if took := time.Since(began); err != context.DeadlineExceeded || took != 100*time.Millisecond {
					t.Error(took, err)
				}
			})
		}
		wg.Go(func() {
			if _, err := c.Load(longer, 4, o.load); err != context.DeadlineExceeded {
				t.Error(err)
			}
		})
		wg.Wait()
		if o.calls.Load() != 1 {
			t.Errorf("%d calls", o.calls.Load())
		}
		v, err := c.Load(t.Context(), 4, o.load)
		if took := time.Since(began); v != 40 || err != nil || took != 1300*time.Millisecond {
			t.Error("a load that all had left was joined, or failed:", v, err, took)
		}
		if o.active.Load() != 0 {
			t.Error("a loader that nobody waits for goes on")
		}
	})
}

func TestLoad_isDiscardedWhenTheKeyChanges(t *testing.T) {
	changes := map[string]struct {
		change func(c *Cache[int, int])
		want   int
	}{
		"Delete":  {func(c *Cache[int, int]) { c.Delete(4) }, 0},
		"Purge":   {func(c *Cache[int, int]) { c.Purge() }, 0},
		"Set":     {func(c *Cache[int, int]) { c.Set(4, 7) }, 7},
		"Swap":    {func(c *Cache[int, int]) { c.Swap(4, 7) }, 7},
		"set":     {func(c *Cache[int, int]) { c.GetOrSet(4, 7) }, 7},
		"Compute": {func(c *Cache[int, int]) { c.Compute(4, func(int, bool) (int, Op) { return 7, Store }) }, 7},
		"Remove":  {func(c *Cache[int, int]) { c.Compute(4, func(int, bool) (int, Op) { return 7, Remove }) }, 0},
		"SetTTL":  {func(c *Cache[int, int]) { c.SetTTL(4, 7, time.Hour) }, 7},
		"SetTTL0": {func(c *Cache[int, int]) { c.SetTTL(4, 7, 0) }, 0},
		"Keep":    {func(c *Cache[int, int]) { c.Compute(4, func(int, bool) (int, Op) { return 7, Keep }) }, 40},
	}
	for name, change := range changes {
		for _, many := range []bool{false, true} {
			t.Run(fmt.Sprint(name, many), func(t *testing.T) {
				testutil.Bubble(t, func(t *testing.T) {
					var o origin
					c := New(Options[int, int]{Entries: 100, TTL: Forever})
					defer c.Close()
					done := make(chan int)
					go func() {
						v := 0
						if many {
							found, _ := c.LoadMany(t.Context(), []int{4}, o.loadMany)
							v = found[4]
						} else {
							v, _ = c.Load(t.Context(), 4, o.load)
						}
						done <- v
					}()
					time.Sleep(time.Millisecond)
					change.change(c)
					if v := <-done; v != 40 {
						t.Error("those who wait get", v)
					}
					if v, _ := c.Get(4); v != change.want {
						t.Errorf("%d is cached, not %d", v, change.want)
					}
					if c.loads.underWay.Load() != 0 {
						t.Error("a load is under way for ever")
					}
				})
			})
		}
	}
}

func TestLoad_aLoaderThatFails(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		c := New(Options[int, int]{Entries: 100})
		fail := map[string]func(context.Context, int) (int, error){
			"panic":  func(context.Context, int) (int, error) { panic("no") },
			"goexit": func(context.Context, int) (int, error) { runtime.Goexit(); return 1, nil },
			"error":  func(context.Context, int) (int, error) { return 1, errLoad },
			"absent": func(context.Context, int) (int, error) { return 1, fmt.Errorf("no: %w", ErrNotFound) },
		}
		for name, loader := range fail {
			if v, err := c.Load(t.Context(), 4, loader); err == nil || v != 0 && name != "error" && name != "absent" {
				t.Errorf("%s: %d %v", name, v, err)
			}
			many := func(ctx context.Context, keys []int) (map[int]int, error) {
				_, err := loader(ctx, keys[0])
				return nil, err
			}
			found, err := c.LoadMany(t.Context(), []int{4, 5}, many)
			if (err == nil) != (name == "absent") || len(found) != 0 {
				t.Errorf("LoadMany, %s: %v %v", name, found, err)
			}
			if c.Len() != 0 || c.loads.underWay.Load() != 0 {
				t.Errorf("%s: %d entries, %d loads", name, c.Len(), c.loads.underWay.Load())
			}
		}
		_, err := c.Load(t.Context(), 4, fail["panic"])
		if p, ok := errors.AsType[*PanicError](err); !ok || p.Value != "no" || len(p.Stack) == 0 {
			t.Errorf("%v", err)
		}
	})
}

func TestLoad_negative(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var o origin
		told := 0
		c := New(Options[int, int]{Entries: 100, Negative: time.Minute, OnEvict: func(int, int, Cause) { told++ },
			OnReplace: func(int, int) { told++ }})
		defer c.Close()
		for range 3 {
			if _, err := c.Load(t.Context(), -1, o.load); err != ErrNotFound {
				t.Error(err)
			}
		}
		if _, ok := c.Get(-1); ok || o.calls.Load() != 1 || c.Delete(-1) {
			t.Errorf("%d calls, or a negative entry has a value", o.calls.Load())
		}
		_, _ = c.Load(t.Context(), -1, o.load)
		testutil.Pass(2 * time.Minute)
		if n := c.Len(); n != 0 {
			t.Errorf("%d entries", n)
		}
		_, _ = c.Load(t.Context(), -1, o.load)
		if v, present := c.GetOrSet(-1, 6); v != 6 || present || o.calls.Load() != 3 || told != 0 {
			t.Error(v, present, o.calls.Load(), told)
		}
		for k := range c.All() {
			if k != -1 {
				t.Error(k)
			}
		}
	})
}

func TestLoad_staleWhileOneRefreshes(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var o origin
		c := New(Options[int, int]{Entries: 100, TTL: time.Minute, Stale: time.Minute})
		defer c.Close()
		c.Set(4, 1)
		testutil.Pass(90 * time.Second)
		if _, ok := c.Get(4); ok {
			t.Error("Get returned a stale value")
		}
		for range 10 {
			began := time.Now()
			if v, err := c.Load(t.Context(), 4, o.load); v != 1 || err != nil || time.Since(began) != 0 {
				t.Error(v, err, time.Since(began))
			}
			if found, err := c.LoadMany(t.Context(), []int{4, 4}, o.loadMany); found[4] != 1 || err != nil {
				t.Error(found, err)
			}
		}
		testutil.Pass(2 * time.Second)
		if v, ok := c.Get(4); v != 40 || !ok || o.calls.Load() != 1 {
			t.Errorf("%d %v after %d calls", v, ok, o.calls.Load())
		}
		testutil.Pass(3 * time.Minute)
		if c.Len() != 0 {
			t.Error("an entry lives beyond TTL and Stale")
		}
	})
}

func TestLoadMany_joinsLoadsUnderWay(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var o origin
		c := New(Options[int, int]{Entries: 100})
		c.Set(3, 30)
		go func() { _, _ = c.Load(t.Context(), 4, o.load) }()
		synctest.Wait()
		var asked []int
		loader := func(ctx context.Context, keys []int) (map[int]int, error) {
			asked = slices.Clone(keys)
			return o.loadMany(ctx, keys)
		}
		found, err := c.LoadMany(t.Context(), []int{3, 4, 5, 5, -6, 3}, loader)
		if want := map[int]int{3: 30, 4: 40, 5: 50}; !maps.Equal(found, want) || err != nil {
			t.Error(found, err)
		}
		if !slices.Equal(asked, []int{5, -6}) {
			t.Errorf("the loader was asked for %v", asked)
		}
		found, err = c.LoadMany(t.Context(), []int{4, 9, 7}, o.loadMany)
		if want := map[int]int{4: 40, 7: 70}; !maps.Equal(found, want) || err != errLoad {
			t.Error(found, err)
		}
	})
}

func TestLoadMany_endsWhenNobodyWaits(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var o origin
		c := New(Options[int, int]{Entries: 100})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		ended := make(chan error, 2)
		loader := func(ctx context.Context, keys []int) (map[int]int, error) {
			values, err := o.loadMany(ctx, keys)
			ended <- err
			return values, err
		}
		began := time.Now()
		go func() { // waits for one of the keys
			time.Sleep(50 * time.Millisecond)
			longer, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			_, _ = c.Load(longer, 2, o.load)
		}()
		if _, err := c.LoadMany(ctx, []int{1, 2, 3}, loader); err != context.DeadlineExceeded {
			t.Error(err)
		}
		if err := <-ended; err != context.Canceled || time.Since(began) != 250*time.Millisecond {
			t.Error(err, time.Since(began))
		}
	})
}

// What a load caches evicts another entry, and callbacks may use the cache as they like.
func TestLoad_callbacksUseTheCache(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var o origin
		var c *Cache[int, int]
		var evicted atomic.Int64
		c = New(Options[int, int]{Weight: 4, Shards: 1, TTL: Forever,
			Weigher: func(key, _ int) uint32 { c.Delete(key / 20 * 20); return 1 },
			TTLFunc: func(key, _ int) time.Duration { c.Delete(key + 1); c.Get(key); return 0 },
			OnEvict: func(key, _ int, _ Cause) {
				if n := evicted.Add(1); n < 20 {
					_, _ = c.Load(t.Context(), key, o.load)
					c.Delete(key)
					c.Resize(4 + n%2)
				}
			},
			OnReplace: func(key, _ int) { c.Len(); c.Purge() },
		})
		defer c.Close()
		for i := range 20 {
			if v, err := c.Load(t.Context(), 10*i, o.load); v != 100*i || err != nil {
				t.Error(v, err)
			}
			found, err := c.LoadMany(t.Context(), []int{10 * i, 10*i + 2}, o.loadMany)
			if found[10*i+2] != 100*i+20 || err != nil {
				t.Error(found, err)
			}
		}
		if evicted.Load() == 0 {
			t.Error("nothing was evicted")
		}
		c.audit(t)
	})
}

// No map finds a key that is not equal to itself.
func TestLoad_ofNaN(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		nan := math.NaN()
		c := New(Options[float64, int]{Entries: 100, Negative: time.Minute})
		defer c.Close()
		one := func(context.Context, float64) (int, error) { return 1, nil }
		many := func(_ context.Context, keys []float64) (map[float64]int, error) {
			values := make(map[float64]int)
			for _, key := range keys {
				values[key] = 1
			}
			return values, nil
		}
		for range 10 {
			if v, err := c.Load(t.Context(), nan, one); v != 1 || err != nil {
				t.Error(v, err)
			}
			found, err := c.LoadMany(t.Context(), []float64{1, nan, 2, nan}, many)
			if found[1] != 1 || found[2] != 1 || err != nil {
				t.Error(found, err)
			}
		}
		for i := range c.loads.stripes {
			if n := len(c.loads.stripes[i].calls); n != 0 {
				t.Errorf("%d loads under way for ever", n)
			}
		}
		if n := c.Len(); n != 2 {
			t.Errorf("%d entries", n)
		}
	})
}
