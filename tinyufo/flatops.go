package tinyufo

import "iter"

// GetOrSet returns the value of key. When it has none, it makes value its value and returns that. present says
// which.
func (c *Flat[K, V]) GetOrSet(key K, value V) (result V, present bool) {
	if old, ok := c.Get(key); ok {
		return old, true
	}
	hash := c.hasher.of(key)
	s := c.lock(hash)
	i, word := s.locate(hash, key)
	if present = word != 0 && !s.outdated(i, c.granules()); present {
		loadWords(&value, valueAt[K](s.slot(i)), true, uint32(word>>tailShift))
	} else {
		s.store(hash, key, &value, c.expiryOf(c.ttl))
	}
	s.unlock()
	return value, present
}

// Compute changes key as f says: f is given the value that key has, and returns what to do. It is atomic:
// between f's call and the change no other goroutine has changed key, for else f is called again. So f should have no
// effects of its own. It runs with no lock held and may use the cache, but if it changes key each time it is called,
// Compute never ends; if it panics, nothing has changed. Compute returns the value that key has after it. The zero
// value and false mean that it has none.
func (c *Flat[K, V]) Compute(key K, f func(old V, ok bool) (V, Op)) (value V, ok bool) {
	hash := c.hasher.of(key)
	for {
		var old V
		s := c.lock(hash)
		i, word := s.locate(hash, key)
		present := word != 0 && !s.outdated(i, c.granules())
		if present {
			loadWords(&old, valueAt[K](s.slot(i)), true, uint32(word>>tailShift))
		}
		s.unlock()
		value, op := f(old, present)
		if op == Keep {
			return old, present
		}
		s = c.lock(hash)
		now, wordNow := s.locate(hash, key)
		same := now == i && wordNow == word
		switch {
		case !same:
		case op == Store:
			s.store(hash, key, &value, c.expiryOf(c.ttl))
		case word != 0:
			s.remove(i, Deleted)
		}
		s.unlock()
		switch {
		case same && op == Store:
			return value, true
		case same:
			return *new(V), false
		}
	}
}

// Purge removes all entries, shard by shard.
func (c *Flat[K, V]) Purge() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for i := uint32(nodeMin); i < uint32(len(s.nodes)); i++ {
			if s.at[i].queue() != inNone {
				s.remove(i, Deleted)
			}
		}
		s.unlock()
	}
}

// All goes over copies of the keys and values, in no order, without a use of them and with no lock held. An entry that
// is cached all the while comes once; a key that is removed and set again meanwhile may come twice, or not.
func (c *Flat[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		now := c.granules()
		for i := range c.shards {
			s := &c.shards[i]
			for i := uint32(nodeMin); i < uint32(len(s.nodes)); i++ {
				if key, value, ok := c.copyOf(s, s.first+i, now); ok && !yield(key, value) {
					return
				}
			}
		}
	}
}

// Len is the number of entries, expired ones that have not been dropped yet included. It looks at each shard in
// turn.
func (c *Flat[K, V]) Len() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.live
		s.unlock()
	}
	return n
}

// Stats returns the counts. An entry that has expired is counted as such when an insertion comes upon it, if it has not
// been evicted before.
func (c *Flat[K, V]) Stats() (sum Stats) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		sum.take(&s.counts)
		s.unlock()
	}
	c.stats.add(&sum)
	return sum
}
