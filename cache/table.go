package cache

import (
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
	fills map[string]*fill // guarded by mu

	_ [48]byte // the next shard's mutex is in another cache line
}

func (t *fillTable) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.shards {
		t.shards[i].fills = make(map[string]*fill)
	}
}

func (t *fillTable) of(key []byte) *fillShard {
	return &t.shards[maphash.Bytes(t.seed, key)%fillShards]
}

// remove has nobody follow f any more.
func (t *fillTable) remove(f *fill) {
	s := t.of(f.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fills[string(f.key)] == f {
		delete(s.fills, string(f.key))
	}
}

// removeLonely is remove for a fill that nobody follows. It reports false, and does nothing, where somebody does.
func (t *fillTable) removeLonely(f *fill) bool {
	s := t.of(f.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.followers.Load() > 0 {
		return false
	}
	if s.fills[string(f.key)] == f {
		delete(s.fills, string(f.key))
	}
	return true
}
