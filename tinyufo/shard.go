package tinyufo

import (
	"math/bits"

	"github.com/edge-proxy/edge/timerwheel"
)

// intakeMax is how many entries a shard takes in while its policy is at work for another goroutine.
const intakeMax = 64

// shard is the policy for some of the hashes: it decides which of their entries stay. The table holds the
// entries; here a node stands for each, is in one of two queues, and says where in the table its entry is.
//
// A goroutine that adds an entry runs the policy itself when mu is free. When it is not, the goroutine takes a
// node that lies ready in a cell, publishes its entry, marks the cell as pending and goes on. The holder of mu
// looks at the cells before and after it unlocks. So no goroutine waits for the policy as long as there are cells.
//
//	cell k   spare bit k set:    holds a free node, for any goroutine to claim
//	         pending bit k set:  holds the node of an entry in the table, for the holder of mu to admit
//	         neither:            a goroutine is between the two
//
// Entries leave the table only under mu. So the entry of a node in a queue is in the table.
type shard[K comparable, V any] struct {
	mu      mutex
	spare   sharedWord
	pending sharedWord
	cells   [intakeMax]cell // each handed over by its bits

	cache *Cache[K, V] // immutable

	// Guarded by mu.
	policy
	wheel   timerwheel.Slots // when the entry of node i is to be looked at; unused without times to live
	out     departures[K, V]
	expired func(i uint32, now int64) // expire, bound once
	counts  Stats                     // what happens under mu

	_ [64]byte // so that no other shard's mutex is in the same cache line
}

// cell hands a node to a goroutine without mu, and back.
type cell struct {
	node, hash uint32
	at         place
}

// departures are entries that have left, for the callbacks, which are called when no lock is held. A nil one
// stands for now.
type departures[K comparable, V any] []departure[K, V]

type departure[K comparable, V any] struct {
	*entry[K, V]
	cause Cause // 0: another value has taken its place
}

// tell calls the callbacks, or leaves it to the holder of a lock to call them after.
func (c *Cache[K, V]) tell(out departures[K, V], after *departures[K, V]) {
	if after != nil {
		*after = append(*after, out...)
		return
	}
	for _, d := range out {
		if d.cause == 0 {
			c.onReplace(d.key, d.value)
		} else {
			c.onEvict(d.key, d.value, d.cause)
		}
	}
}

// init makes the shard ready for a capacity, which is a count of entries unless they are weighed.
func (s *shard[K, V]) init(c *Cache[K, V], capacity int64, seed uint64) {
	s.cache = c
	nodes, intake := nodesFirst, intakeMax
	if !c.weighed {
		intake = int(min(intakeMax, max(1, capacity/8)))
		nodes = int(capacity) + intake + 1
	}
	s.expired = s.expire
	s.policy.init(capacity, nodes, c.weighed, seed)
	if c.timed {
		s.wheel.Init(c.now())
		s.wheel.Grow(len(s.nodes))
	}
	for k := range intake {
		s.cells[k].node = s.takeNode()
		s.spare.Or(1 << k)
	}
}

// nodesFirst is how many nodes a shard of weights begins with.
const nodesFirst = 128

// claim takes a cell with a free node. It fails when there is none.
func (s *shard[K, V]) claim() (k int, ok bool) {
	for {
		spare := s.spare.Load()
		if spare == 0 {
			return 0, false
		}
		k = bits.TrailingZeros64(spare)
		if s.spare.CompareAndSwap(spare, spare&(spare-1)) {
			return k, true
		}
	}
}

// insert adds e, whose key was absent. It fails when another goroutine has added the key meanwhile. What the table has
// no place for counts as added and evicted at once.
func (s *shard[K, V]) insert(hash uint32, e *entry[K, V], after *departures[K, V]) (added bool) {
	if s.mu.TryLock() {
		return s.insertLocked(hash, e, after)
	}
	k, ok := s.claim()
	if !ok {
		s.mu.Lock()
		return s.insertLocked(hash, e, after)
	}
	c := &s.cells[k]
	c.hash, e.node = hash, c.node
	added, full := s.cache.table.Load().add(hash, e, &c.at)
	if !added {
		s.spare.Or(1 << k)
		if full {
			s.mu.Lock()
			s.turnAway(e)
			s.unlock(after)
		}
		return full
	}
	s.pending.Or(1 << k)
	if s.mu.TryLock() {
		s.unlock(after)
	}
	return true
}

// insertLocked is insert with mu held, which it unlocks.
func (s *shard[K, V]) insertLocked(hash uint32, e *entry[K, V], after *departures[K, V]) (added bool) {
	s.fetch(hash, (*residents[K, V])(s))
	i := s.takeNode()
	e.node = i
	added, full := s.cache.table.Load().add(hash, e, &s.at[i])
	if added {
		s.admit(i, hash)
	} else {
		s.freeNode(i)
	}
	if full {
		s.turnAway(e)
	}
	s.unlock(after)
	return added || full
}

// admit puts the node of a new entry into the queues, and evicts what is too much.
func (s *shard[K, V]) admit(i, hash uint32) {
	s.nodes[i].hash = hash
	s.counts.Insertions++
	s.judge(hash, (*residents[K, V])(s))
	c := s.cache
	if c.plain {
		s.enqueue(i)
		s.settle((*residents[K, V])(s))
		return
	}
	t := c.table.Load()
	if c.weighed {
		s.weights[i] = heavyOf(s.entryOf(i)).weight
	}
	s.enqueue(i)
	if c.timed {
		s.wheel.Grow(len(s.nodes))
		s.arm(i)
		s.advance(wheelStep)
	}
	if c.weighed && int64(s.live)*int64(len(c.shards)) > int64(len(t.buckets))*loadMost {
		t.grow()
	}
	if newer := t.moveSome(); newer != t {
		c.table.CompareAndSwap(t, newer)
	}
	s.settle((*residents[K, V])(s))
}

// entryOf is the entry of a node that is admitted, or is being so.
func (s *shard[K, V]) entryOf(i uint32) *entry[K, V] {
	for at := s.at[i]; ; {
		// An empty slot means that another shard has begun to move the chain since at looked.
		if e := s.cache.table.Load().bucketAt(s.nodes[i].hash, at).at(at.lane()).Load(); e != nil {
			return e
		}
	}
}

// unlock admits what is pending, lets mu go and tells the callbacks. What becomes pending after its last look
// is seen by the goroutine that made it so: its TryLock comes later, and succeeds or fails because of another
// holder.
func (s *shard[K, V]) unlock(after *departures[K, V]) {
	for {
		if s.pending.Load() != 0 {
			s.drain()
		}
		s.check()
		out := s.out
		s.out = nil
		s.mu.Unlock()
		s.cache.tell(out, after)
		if s.pending.Load() == 0 || !s.mu.TryLock() {
			return
		}
	}
}

// drain admits what is pending, and makes its cells spare again.
func (s *shard[K, V]) drain() {
	pending := s.pending.Swap(0)
	for p := pending; p != 0; p &= p - 1 {
		c := &s.cells[bits.TrailingZeros64(p)]
		if i := c.node; s.at[i] == removed {
			s.counts.Insertions++
			s.freeNode(i)
		} else {
			s.at[i] = c.at
			s.admit(i, c.hash)
		}
		c.node = s.takeNode()
	}
	s.spare.Or(pending)
}

// remove deletes key, if its entry is only or only is nil. The caller holds mu.
func (s *shard[K, V]) remove(hash uint32, key K, only *entry[K, V]) *entry[K, V] {
	e := s.cache.table.Load().takeOutKey(hash, key, only)
	if e == nil {
		return nil
	}
	if i := e.node; s.at[i].queue() == inNone {
		s.at[i] = removed // its cell is not pending yet: drain frees the node
	} else {
		s.release(i)
	}
	s.depart(e, Deleted)
	return e
}

// release frees a node whose entry has left.
func (s *shard[K, V]) release(i uint32) {
	if s.cache.timed {
		s.wheel.Disarm(i)
	}
	s.dequeue(i)
	s.freeNode(i)
}

// turnAway counts an entry that the table has no place for as added and evicted.
func (s *shard[K, V]) turnAway(e *entry[K, V]) {
	s.counts.Insertions++
	s.depart(e, Evicted)
}

// depart counts an entry that has left, and keeps it for the callback.
func (s *shard[K, V]) depart(e *entry[K, V], cause Cause) {
	s.counts.count(cause)
	if s.cache.onEvict != nil && !s.cache.negative(e) {
		s.out = append(s.out, departure[K, V]{e, cause})
	}
}

// residents is a shard as its policy sees it.
type residents[K comparable, V any] shard[K, V]

func (r *residents[K, V]) lane(i uint32) (*sharedWord, uint) {
	at := r.at[i]
	return &r.cache.table.Load().bucketAt(r.nodes[i].hash, at).word, usesAt(at.lane())
}

func (r *residents[K, V]) evict(i uint32) {
	e := r.cache.table.Load().takeOut(r.nodes[i].hash, r.at[i])
	if r.cache.timed {
		r.wheel.Disarm(i)
	}
	(*shard[K, V])(r).depart(e, Evicted)
}
