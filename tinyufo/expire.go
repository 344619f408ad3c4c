package tinyufo

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	wheelStep  = 16  // timers that an insertion looks at
	wheelSweep = 256 // timers that Expire looks at before it lets others have the shard
)

// times are the times to live of a cache's entries, and the time. Immutable but for the time.
type times[K comparable, V any] struct {
	timed                        bool // entries have times to live: each is a timed
	clock                        func() int64
	coarse                       atomic.Int64 // the time, when there is no clock; written by keepTime
	ttl, tti, stale, negativeTTL time.Duration
	ttlFunc                      func(K, V) time.Duration
}

func (t *times[K, V]) init(o *Options[K, V]) {
	t.timed, t.clock, t.ttlFunc = o.timed(), o.Clock, o.TTLFunc
	t.ttl, t.tti, t.stale, t.negativeTTL = o.TTL, o.TTI, o.Stale, o.Negative
	if t.ttl == 0 {
		t.ttl = Forever
	}
}

// now is the time for entries to expire by.
func (t *times[K, V]) now() int64 {
	if t.clock != nil {
		return t.clock()
	}
	return t.coarse.Load()
}

// expiry is the time at which an entry that is set now expires.
func (t *times[K, V]) expiry(key K, value V, ttl time.Duration) int64 {
	if ttl == 0 && t.ttlFunc != nil {
		ttl = t.ttlFunc(key, value)
	}
	if ttl == 0 {
		ttl = t.ttl
	}
	if t.tti > 0 {
		ttl = min(ttl, t.tti)
	}
	return later(t.now(), ttl)
}

// later is a time after now, or never.
func later(now int64, d time.Duration) int64 {
	if int64(d) > never-now {
		return never
	}
	return now + int64(d)
}

// fresh reports whether e may be returned, and counts the use for the time to live since the last one. Only for a
// cache whose entries have times to live.
func (t *times[K, V]) fresh(e *entry[K, V]) bool {
	x := timedOf(e)
	expiry, now := x.expiry.Load(), t.now()
	if expiry <= now {
		return false
	}
	// A store for each hit would make readers of one key wait for each other: one in a 64th of the time is near
	// enough.
	if t.tti > 0 {
		if moved := later(now, t.tti); moved-expiry > int64(t.tti)/64 {
			x.expiry.CompareAndSwap(expiry, moved)
		}
	}
	return true
}

// negative reports whether e only says that there is no value.
func (t *times[K, V]) negative(e *entry[K, V]) bool { return t.timed && timedOf(e).expiry.Load() < 0 }

func (t *times[K, V]) alive(e *entry[K, V]) bool {
	if !t.timed {
		return true
	}
	return timedOf(e).expiry.Load() > t.now()
}

// left is the time that an entry has left, plus one; 0 when it lives for ever. ok is false when it has no value
// any more.
func (t *times[K, V]) left(e *entry[K, V]) (left uint64, ok bool) {
	if !t.alive(e) {
		return 0, false
	}
	if !t.timed {
		return 0, true
	}
	expiry := timedOf(e).expiry.Load()
	if expiry == never {
		return 0, true
	}
	return uint64(max(expiry-t.now(), 0)) + 1, true
}

// makeNegative makes an entry that says that there is no value.
func (t *times[K, V]) makeNegative(weighed bool, key K) *entry[K, V] {
	x := makeTimed(weighed, key, *new(V))
	x.expiry.Store(-later(t.now(), t.negativeTTL))
	return &x.entry
}

// arm makes the wheel look at the entry of node i when it is to leave.
func (s *shard[K, V]) arm(i uint32) {
	if due := s.dueOf(s.entryOf(i)); due != never {
		s.wheel.Arm(i, due)
	} else {
		s.wheel.Disarm(i)
	}
}

// dueOf is when an entry is of no use any more.
func (s *shard[K, V]) dueOf(e *entry[K, V]) int64 {
	x := timedOf(e)
	expiry := x.expiry.Load()
	switch {
	case expiry == never:
		return never
	case expiry < 0:
		return -expiry
	}
	return later(expiry, s.cache.stale)
}

// advance drops what has expired, looking at a limited number of entries, and reports whether there is more.
func (s *shard[K, V]) advance(limit int) (more bool) {
	now := s.cache.now()
	if next := s.wheel.Next(); next < 0 || next > now {
		return false
	}
	return s.wheel.Advance(now, limit, s.expired) == limit
}

// expire is called by the wheel for a node whose entry was due. It may have been used or replaced since.
func (s *shard[K, V]) expire(i uint32, now int64) {
	e := s.entryOf(i)
	if s.dueOf(e) > now || s.cache.table.Load().takeOutKey(s.nodes[i].hash, e.key, e) == nil {
		s.arm(i)
		return
	}
	s.release(i)
	s.depart(e, Expired)
}

// Expire drops what has expired. A cache with a Clock drops such entries as others are added; to drop them while none
// are, call this from time to time.
func (c *Cache[K, V]) Expire() {
	if !c.timed {
		return
	}
	for i := range c.shards {
		s := &c.shards[i]
		for more := true; more; {
			s.mu.Lock()
			s.drain()
			more = s.advance(wheelSweep)
			s.unlock(nil)
		}
	}
}

// keepTime tells the cache the time and drops what has expired, until ctx is done.
func (c *Cache[K, V]) keepTime(ctx context.Context, step time.Duration) {
	everyStep(ctx, step, func(now int64) {
		c.coarse.Store(now)
		c.Expire()
	})
}

// everyStep calls tell with the time since the first step, until ctx is done.
func everyStep(ctx context.Context, step time.Duration, tell func(now int64)) {
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	for began := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			tell(int64(now.Sub(began)))
		}
	}
}
