package tinyufo

import (
	"context"
	"time"
)

const (
	wheelStep  = 16  // timers that an insertion looks at
	wheelSweep = 256 // timers that Expire looks at before it lets others have the shard
)

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
	if expiry == never || x.negative {
		return expiry
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

// Expire drops what has expired. A cache with a Clock drops such entries as others are added; to have them
// dropped while none are, call this from time to time.
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
