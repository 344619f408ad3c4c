package micro

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/edge-proxy/edge/ketama"
)

// Package ketama may import nothing but the standard library, so its own XXH64 meets the known one here.
func TestXXH64_isTheSameAsCespares(t *testing.T) {
	r := must(ketama.New64(nil, ketama.Options64{}))
	rng := rand.New(rand.NewPCG(1, 64))
	for n := range 2000 {
		key := make([]byte, n%300)
		for i := range key {
			key[i] = byte(rng.Uint32())
		}
		if got, want := r.Hash(key), xxhash.Sum64(key); got != want {
			t.Errorf("%x: %016x, want %016x", key, got, want)
		}
	}
}

// All have the keys and the servers of the entries, and spread the ones over the others.
func TestRings_useEveryServer(t *testing.T) {
	names := ringNames(ringServers)
	ring, group, circle := newRing(names), newGroupcache(names), newHashring(names)
	seen := [3]map[string]bool{{}, {}, {}}
	for range 20_000 {
		key := strconv.FormatUint(rand.Uint64(), 36)
		seen[0][ring.Server(ring.PickString(key)).Name] = true
		seen[1][group.Get(key)] = true
		name, _ := circle.GetNode(key)
		seen[2][name] = true
	}
	for i, names := range seen {
		if len(names) != ringServers {
			t.Errorf("ring %d has %d servers", i, len(names))
		}
	}
}
