package cache

import (
	"bytes"
	"hash/maphash"
	"sync"
)

// fillShards is how many parts a fillTable has.
const fillShards = 64

// fillTable finds the fill that is under way for a key. Safe for any goroutine: each part has a mutex, which is held
// for operations of its map alone, and while a follower is counted.
type fillTable struct {
	seed   maphash.Seed
	shards [fillShards]fillShard
}

type fillShard struct {
	mu    sync.Mutex
	fills map[uint64]*fill // by the hash of the key, the first of a list; guarded by mu

	_ [48]byte // the next shard's mutex is in another cache line
}

func (t *fillTable) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.shards {
		t.shards[i].fills = make(map[uint64]*fill)
	}
}

func (t *fillTable) hash(key []byte) uint64 { return maphash.Bytes(t.seed, key) }

func (t *fillTable) of(hash uint64) *fillShard { return &t.shards[hash%fillShards] }

// find returns the fill of a key, nil where there is none. mu is held.
func (s *fillShard) find(hash uint64, key []byte) *fill {
	f := s.fills[hash]
	for f != nil && !bytes.Equal(f.key, key) {
		f = f.next
	}
	return f
}

// add has others find f. mu is held.
func (s *fillShard) add(f *fill) {
	f.next = s.fills[f.hash]
	s.fills[f.hash] = f
}

// remove has nobody find f, where somebody does. mu is held.
func (s *fillShard) remove(f *fill) {
	first := s.fills[f.hash]
	for at := &first; *at != nil; at = &(*at).next {
		if *at == f {
			*at = f.next
			break
		}
	}
	if first == nil {
		delete(s.fills, f.hash)
	} else {
		s.fills[f.hash] = first
	}
}

// remove has nobody follow f any more.
func (t *fillTable) remove(f *fill) {
	s := t.of(f.hash)
	s.mu.Lock()
	s.remove(f)
	s.mu.Unlock()
}

// removeLonely is remove for a fill that nobody follows. It reports false, and does nothing, where somebody does.
func (t *fillTable) removeLonely(f *fill) bool {
	s := t.of(f.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.followers.Load() > 0 {
		return false
	}
	s.remove(f)
	return true
}
