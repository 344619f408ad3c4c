package tinyufo

// Op is what Compute does with a key.
type Op uint8

// What the function given to Compute may ask for.
const (
	Keep   Op = iota // leave key as it is
	Store            // make the value the value of key
	Remove           // delete key
)

// find is the entry of key that has a value.
func (c *Cache[K, V]) find(hash uint64, key K) (b *bucket[K, V], lane uint, e *entry[K, V], ok bool) {
	b, lane, e = c.table.Load().lookup(uint32(hash), key)
	return b, lane, e, b != nil && c.alive(e)
}

// Peek is Get without being a use: it changes neither what stays in the cache nor the statistics.
func (c *Cache[K, V]) Peek(key K) (value V, ok bool) {
	if _, _, e, ok := c.find(c.hasher.of(key), key); ok {
		return e.value, true
	}
	return value, false
}

// Swap is Set, and returns the value that key had.
func (c *Cache[K, V]) Swap(key K, value V) (old V, ok bool) {
	hash := c.hasher.of(key)
	c.loads.forget(hash, key)
	e := c.put(hash, c.makeEntry(key, value, 0), nil)
	c.loads.forget(hash, key)
	if e != nil && c.alive(e) {
		return e.value, true
	}
	return old, false
}

// GetOrSet returns the value of key. When it has none, it makes value its value and returns that. present says
// which.
func (c *Cache[K, V]) GetOrSet(key K, value V) (result V, present bool) {
	if old, ok := c.Get(key); ok {
		return old, true
	}
	hash := c.hasher.of(key)
	c.loads.forget(hash, key)
	e := c.makeEntry(key, value, 0)
	if c.tooHeavy(e) {
		c.shardOf(hash).reject(e)
		return value, false
	}
	for {
		b, lane, old, ok := c.find(hash, key)
		switch {
		case ok:
			return old.value, true
		case b == nil && c.shardOf(hash).insert(uint32(hash), e, nil),
			b != nil && c.replace(hash, b, lane, old, e, nil):
			c.loads.forget(hash, key)
			return value, false
		}
	}
}

// Compute changes key as f says: f is given the value that key has, and returns what to do. It is atomic:
// between f's call and the change no other goroutine has changed key, for else f is called again. So f should have no
// effects of its own. Compute returns the value that key has after it. The zero value and false mean that it
// has none.
func (c *Cache[K, V]) Compute(key K, f func(old V, ok bool) (V, Op)) (value V, ok bool) {
	hash := c.hasher.of(key)
	for {
		b, lane, old, present := c.find(hash, key)
		var have V
		if present {
			have = old.value
		}
		value, op := f(have, present)
		switch {
		case op == Keep:
			return have, present
		case op == Remove:
			c.loads.forget(hash, key)
			if !present || c.removeOnly(hash, old) {
				return *new(V), false
			}
			continue
		}
		e := c.makeEntry(key, value, 0)
		c.loads.forget(hash, key)
		switch {
		case c.tooHeavy(e):
			if b == nil || c.removeOnly(hash, old) {
				c.shardOf(hash).reject(e)
				return *new(V), false
			}
			continue
		case b == nil && c.shardOf(hash).insert(uint32(hash), e, nil),
			b != nil && c.replace(hash, b, lane, old, e, nil):
			c.loads.forget(hash, key)
			return value, true
		}
	}
}

// removeOnly removes e if it is still the entry of its key.
func (c *Cache[K, V]) removeOnly(hash uint64, e *entry[K, V]) bool {
	c.loads.forget(hash, e.key)
	s := c.shardOf(hash)
	s.mu.Lock()
	removed := s.remove(uint32(hash), e.key, e) != nil
	s.unlock(nil)
	return removed
}

// reject tells the callback of an entry that is too heavy.
func (s *shard[K, V]) reject(e *entry[K, V]) {
	s.mu.Lock()
	s.depart(e, TooHeavy)
	s.unlock(nil)
}

// DeleteFunc removes the entries for which drop says so, and returns how many these were. Entries that are set
// meanwhile may be missed.
func (c *Cache[K, V]) DeleteFunc(drop func(K, V) bool) (n int) {
	for e := range c.entries() {
		if c.alive(e) && drop(e.key, e.value) && c.removeOnly(c.hasher.of(e.key), e) {
			n++
		}
	}
	return n
}

// Purge removes all entries. Loads that are under way are not cached when they end.
func (c *Cache[K, V]) Purge() {
	c.loads.forgetAll()
	for e := range c.entries() {
		c.remove(c.hasher.of(e.key), e.key, nil)
	}
}
