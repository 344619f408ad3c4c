package tinyufo

import (
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// caused counts what OnEvict is told.
type caused map[Cause]int

func (n caused) evict(_, _ int, cause Cause) { n[cause]++ }

func TestTimes_TTL(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		left := make(caused)
		c := New(Options[int, int]{Entries: 100, TTL: time.Minute, OnEvict: left.evict, Resolution: time.Second,
			TTLFunc: func(key, _ int) time.Duration { return time.Duration(key) * time.Second }})
		defer c.Close()
		c.Set(0, 1) // TTLFunc says nothing of it
		c.Set(10, 1)
		c.Set(100, 1)
		c.SetTTL(11, 1, time.Hour)
		c.Set(30, 1)
		testutil.Pass(9 * time.Second)
		for _, k := range []int{0, 10, 100, 11, 30} {
			if _, ok := c.Get(k); !ok {
				t.Errorf("%d expired early", k)
			}
		}
		c.Set(30, 2) // lives from now
		testutil.Pass(2 * time.Second)
		if _, ok := c.Get(10); ok || left[Expired] != 1 || c.Len() != 4 {
			t.Errorf("10 seconds have passed: %v, %d entries", left, c.Len())
		}
		testutil.Pass(24 * time.Second)
		if _, ok := c.Get(30); !ok {
			t.Error("an entry expired with the one that it had replaced")
		}
		testutil.Pass(30 * time.Second)
		if _, ok := c.Peek(0); ok || c.Len() != 2 {
			t.Errorf("65 seconds have passed: %d entries", c.Len())
		}
		testutil.Pass(61 * time.Minute)
		if c.Len() != 0 || left[Expired] != 5 || len(left) != 1 {
			t.Errorf("%d entries, %v", c.Len(), left)
		}
		c.audit(t)
	})
}

func TestTimes_SetTTLSoonerThanBefore(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		left := make(caused)
		c := New(Options[int, int]{Entries: 100, TTL: Forever, OnEvict: left.evict, Resolution: time.Second})
		defer c.Close()
		c.Set(1, 1)
		c.SetTTL(1, 2, time.Hour)
		c.SetTTL(1, 3, time.Minute)
		c.SetTTL(2, 1, time.Minute)
		c.SetTTL(2, 2, time.Hour)
		c.SetTTL(3, 1, time.Minute)
		c.Set(3, 2)
		testutil.Pass(61 * time.Second)
		if _, ok := c.Get(1); ok || left[Expired] != 1 || c.Len() != 2 {
			t.Errorf("a minute has passed: %v, %d entries", left, c.Len())
		}
		testutil.Pass(61 * time.Minute)
		if _, ok := c.Get(3); !ok || c.Len() != 1 {
			t.Errorf("%d entries", c.Len())
		}
		c.SetTTL(3, 1, 0)
		if c.Len() != 0 || left[Deleted] != 1 {
			t.Errorf("%v", left)
		}
	})
}

func TestTimes_TTI(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		c := New(Options[int, int]{Entries: 100, TTI: time.Minute})
		defer c.Close()
		c.Set(1, 1)
		c.Set(2, 1)
		c.Set(3, 1)
		for range 10 {
			testutil.Pass(50 * time.Second)
			if _, ok := c.Get(1); !ok {
				t.Error("a used entry has expired")
			}
			if v, err := c.Load(t.Context(), 2, nil); v != 1 || err != nil {
				t.Error(v, err)
			}
		}
		if c.Len() != 2 {
			t.Errorf("%d entries", c.Len())
		}
		testutil.Pass(2 * time.Minute)
		if c.Len() != 0 {
			t.Errorf("%d entries", c.Len())
		}
	})
}

func TestTimes_CloseStopsThem(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		c := New(Options[int, int]{Entries: 100, TTL: time.Minute})
		c.Set(1, 1)
		c.Close()
		c.Close()
		testutil.Pass(time.Hour)
		if _, ok := c.Get(1); !ok {
			t.Error("an entry expired after Close")
		}
		c.Set(2, 2)
		c.Delete(1)
		c.audit(t)
		// The bubble ends only when the goroutine has.
	})
}

// With a clock there is no goroutine: others who add entries, or Expire, drop what has expired.
func TestTimes_ofAClock(t *testing.T) {
	now := int64(0)
	left := make(caused)
	c := New(Options[int, int]{Entries: 100, TTL: time.Second, Shards: 1, OnEvict: left.evict,
		Clock: func() int64 { return now }})
	for i := range 100 {
		c.Set(i, i)
	}
	now += int64(time.Second) - 1
	if _, ok := c.Get(99); !ok {
		t.Error("an entry expired early")
	}
	now++
	if _, ok := c.Get(99); ok || c.Len() != 100 {
		t.Error("an entry outlived its time, or was dropped by a reader")
	}
	if v, present := c.GetOrSet(5, 500); v != 500 || present {
		t.Errorf("an expired entry was returned: %d", v)
	}
	if old, ok := c.Swap(6, 600); ok {
		t.Errorf("an expired entry was swapped: %d", old)
	}
	if c.Delete(7) {
		t.Error("an expired entry was there to be deleted")
	}
	now += int64(time.Second) / 2
	c.Expire()
	if c.Len() != 2 || left[Expired] != 97 || left[Deleted] != 1 {
		t.Errorf("%d entries, %v", c.Len(), left)
	}
	for i := range 50 {
		c.Set(1000+i, i)
	}
	now += 2 * int64(time.Second)
	for i := range 20 {
		c.Set(2000+i, i)
	}
	if c.Len() != 20 {
		t.Errorf("%d entries: those who add do not drop what has expired", c.Len())
	}
	c.audit(t)
}

// A time that never comes must not overflow.
func TestTimes_thatAreFar(t *testing.T) {
	now := int64(1 << 61)
	c := New(Options[int, int]{Entries: 100, TTL: Forever, Stale: Forever, Clock: func() int64 { return now }})
	for i, ttl := range []time.Duration{Forever, Forever - 1, 1 << 62, 1, 100 * 365 * 24 * time.Hour} {
		c.SetTTL(i, i, ttl)
		if _, ok := c.Get(i); !ok {
			t.Errorf("a time to live of %v has ended", ttl)
		}
	}
	now += int64(time.Hour)
	c.Expire()
	if c.Len() != 5 {
		t.Errorf("%d entries", c.Len())
	}
	if v, err := c.Load(t.Context(), 2, nil); v != 2 || err != nil {
		t.Error(v, err)
	}
	c.audit(t)
}

// A pinned entry is not evicted, and expires like others.
func TestTimes_ofPinnedEntries(t *testing.T) {
	now := int64(0)
	left := make(caused)
	weight := uint32(0)
	c := New(Options[int, int]{Weight: 50, Shards: 1, TTL: Forever, OnEvict: left.evict,
		Weigher: func(int, int) uint32 { return weight }, Clock: func() int64 { return now }})
	for i := range 10 {
		c.SetTTL(i, i, time.Duration(i+1)*time.Second)
	}
	weight = 1
	for i := 10; i < 500; i++ {
		c.Set(i, i)
	}
	if c.Len() != 60 || c.Weight() != 50 {
		t.Errorf("%d entries weigh %d", c.Len(), c.Weight())
	}
	c.audit(t)
	c.Set(9, 9) // not pinned any more, and for ever
	weight = 0
	c.Set(499, 499)
	now = int64(20 * time.Second)
	c.Expire()
	if left[Expired] != 9 {
		t.Errorf("%v", left)
	}
	weight = 26
	c.Set(499, 1)
	if _, ok := c.Get(499); ok || left[TooHeavy] != 1 || left[Deleted] != 1 {
		t.Errorf("%v %v", ok, left)
	}
	c.audit(t)
}
