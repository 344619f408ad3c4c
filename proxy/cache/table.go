package cache

import (
	"bytes"
	"hash/maphash"
	"sync"
)

// fillShards is how many parts a fillTable has.
const fillShards = 64

// fillTable finds the fill that is under way for a key. Safe for any goroutine: each part has a mutex, which is held
// for operations of its map, and while a follower is counted.
type fillTable struct {
	seed   maphash.Seed
	shards [fillShards]fillShard
}

type fillShard struct {
	mu    sync.Mutex
	fills map[uint64]*entry // by the hash of the key, the first of a list; guarded by mu

	_ [48]byte // the next shard's mutex is in another cache line
}

// entry is a key under which a fill is found. next is guarded by the mutex of its shard; all else is immutable while it
// is in the table.
type entry struct {
	next *entry
	fill *fill
	hash uint64
	key  []byte
}

func (t *fillTable) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.shards {
		t.shards[i].fills = make(map[uint64]*entry)
	}
}

func (t *fillTable) hash(key []byte) uint64 { return maphash.Bytes(t.seed, key) }

func (t *fillTable) of(hash uint64) *fillShard { return &t.shards[hash%fillShards] }

// find returns the entry of a key, nil where there is none. mu is held.
func (s *fillShard) find(hash uint64, key []byte) *entry {
	for e := s.fills[hash]; e != nil; e = e.next {
		if bytes.Equal(e.key, key) {
			return e
		}
	}
	return nil
}

// add lets requests find a fill by e. mu is held.
func (s *fillShard) add(e *entry) { e.next, s.fills[e.hash] = s.fills[e.hash], e }

// remove removes e, if it is there: no request finds a fill by it any more. mu is held.
func (s *fillShard) remove(e *entry) {
	first := s.fills[e.hash]
	for at := &first; *at != nil; at = &(*at).next {
		if *at == e {
			*at = e.next
			break
		}
	}
	if first == nil {
		delete(s.fills, e.hash)
	} else {
		s.fills[e.hash] = first
	}
}

// offer lets requests find f by its second key, unless they find another fill by that.
func (t *fillTable) offer(f *fill) {
	e := &f.second
	s := t.of(e.hash)
	s.mu.Lock()
	if s.find(e.hash, e.key) == nil {
		s.add(e)
	}
	s.mu.Unlock()
}

func (t *fillTable) withdraw(e *entry) {
	s := t.of(e.hash)
	s.mu.Lock()
	s.remove(e)
	s.mu.Unlock()
}

// remove lets no request follow f any more.
func (t *fillTable) remove(f *fill) {
	t.withdraw(&f.entry)
	if len(f.second.key) > 0 {
		t.withdraw(&f.second)
	}
}

// removeLonely is remove for a fill without a follower. It reports false where there is one.
func (t *fillTable) removeLonely(f *fill) bool {
	for _, e := range []*entry{&f.entry, &f.second} {
		if len(e.key) == 0 {
			continue
		}
		s := t.of(e.hash)
		s.mu.Lock()
		lonely := f.followers.Load() == 0
		if lonely {
			s.remove(e)
		}
		s.mu.Unlock()
		if !lonely {
			return false
		}
	}
	return true
}
