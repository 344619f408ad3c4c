package micro

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/dgryski/go-jump"
	"github.com/dgryski/go-rendezvous"
	"github.com/golang/groupcache/consistenthash"
	kkdai "github.com/kkdai/maglev"
	"github.com/serialx/hashring"

	"github.com/edge-proxy/edge/ketama"
)

const (
	ringServers = 100
	ringPoints  = 160 // of each server
	ringTable   = 65537
	ringKeys    = 4096 // a power of two: a division would be a part of what is measured
)

const (
	ringLookUps = "consistent hashing, look-up"
	ringChanges = "consistent hashing, change of servers"

	ringPick     = "the server of a key of 30 bytes, another one each time; 100 servers of 160 points"
	ringBuild    = "a ring of 100 servers of 160 points"
	ringChange   = "one server more and one less, of 100; each makes another ring twice"
	maglevPick   = "the server of a key of 30 bytes, another one each time; 100 servers, 65537 entries"
	ring64Pick   = "the server of a key of 30 bytes, another one each time, by XXH64; 100 servers"
	maglevBuild  = "a table of 65537 entries for 100 servers"
	ringHash     = "the hash of a key of 30 bytes, another one each time"
	jumpWithout  = "; without names, so that only the last server can leave"
	rendezvousOf = "; which looks at every server"
)

var ketamaEntries = []Entry{
	{"ring/pick/edge", ringLookUps, ringPick, func(b *testing.B) {
		r := newRing(ringNames(ringServers))
		byKey(b, func(key string) { r.PickString(key) })
	}},
	{"ring/pick/groupcache", ringLookUps, ringPick, func(b *testing.B) {
		m := newGroupcache(ringNames(ringServers))
		byKey(b, func(key string) { m.Get(key) })
	}},
	{"ring/pick/hashring", ringLookUps, ringPick, func(b *testing.B) {
		r := newHashring(ringNames(ringServers))
		byKey(b, func(key string) { r.GetNode(key) })
	}},

	{"ring64/pick/edge", ringLookUps, ring64Pick, func(b *testing.B) {
		r := must(ketama.New64(ringOf(ringNames(ringServers)), ketama.Options64{}))
		byKey(b, func(key string) { r.PickString(key) })
	}},
	{"ring64/pick/jump", ringLookUps, ring64Pick + jumpWithout, func(b *testing.B) {
		byKey(b, func(key string) { jump.Hash(xxhash.Sum64String(key), ringServers) })
	}},
	{"ring64/pick/rendezvous", ringLookUps, ring64Pick + rendezvousOf, func(b *testing.B) {
		r := rendezvous.New(ringNames(ringServers), xxhash.Sum64String)
		byKey(b, func(key string) { r.Lookup(key) })
	}},

	{"maglev/pick/edge", ringLookUps, maglevPick, func(b *testing.B) {
		m := must(ketama.NewMaglev(ringOf(ringNames(ringServers)), ketama.MaglevOptions{}))
		byKey(b, func(key string) { m.PickString(key) })
	}},
	{"maglev/pick/kkdai", ringLookUps, maglevPick, func(b *testing.B) {
		m := must(kkdai.NewMaglev(ringNames(ringServers), ringTable))
		byKey(b, func(key string) { must(m.Get(key)) })
	}},

	{"ring/build/edge", ringChanges, ringBuild, func(b *testing.B) {
		build(b, ringOf(ringNames(ringServers)), func(s []ketama.Server) { must(ketama.New(s, ketama.Options{})) })
	}},
	{"ring/build/groupcache", ringChanges, ringBuild, func(b *testing.B) {
		build(b, ringNames(ringServers), func(names []string) { newGroupcache(names) })
	}},
	{"ring/build/hashring", ringChanges, ringBuild, func(b *testing.B) {
		build(b, ringNames(ringServers), func(names []string) { newHashring(names) })
	}},
	{"ring/change/edge", ringChanges, ringChange, changeRing},
	{"ring/change/hashring", ringChanges, ringChange, changeHashring},
	{"maglev/build/edge", ringChanges, maglevBuild, func(b *testing.B) {
		build(b, ringOf(ringNames(ringServers)),
			func(s []ketama.Server) { must(ketama.NewMaglev(s, ketama.MaglevOptions{})) })
	}},
	{"maglev/build/kkdai", ringChanges, maglevBuild, func(b *testing.B) {
		build(b, ringNames(ringServers), func(names []string) { must(kkdai.NewMaglev(names, ringTable)) })
	}},

	{"crc32/short/edge", "hashes of short keys", ringHash, func(b *testing.B) {
		r := newRing(nil)
		byKey(b, func(key string) { r.HashString(key) })
	}},
	{"crc32/short/stdlib", "hashes of short keys", ringHash + "; hash/crc32", func(b *testing.B) {
		byKey(b, func(key []byte) { crc32.ChecksumIEEE(key) })
	}},
	{"xxh64/short/edge", "hashes of short keys", ringHash, func(b *testing.B) {
		r := must(ketama.New64(nil, ketama.Options64{}))
		byKey(b, func(key string) { r.HashString(key) })
	}},
	{"xxh64/short/cespare", "hashes of short keys", ringHash + "; assembly", func(b *testing.B) {
		byKey(b, func(key string) { xxhash.Sum64String(key) })
	}},
}

func ringNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("10.0.0.%d:8080", i)
	}
	return names
}

func ringOf(names []string) []ketama.Server {
	servers := make([]ketama.Server, len(names))
	for i, name := range names {
		servers[i].Name = name
	}
	return servers
}

// byKey measures f with 4096 keys by turns.
func byKey[K string | []byte](b *testing.B, f func(key K)) {
	rng := rand.New(rand.NewPCG(1, 1))
	keys := make([]K, ringKeys)
	for i := range keys {
		keys[i] = K(fmt.Sprintf("/path/%08x/%08x/%06x", rng.Uint32(), rng.Uint32(), rng.Uint32()>>8))
	}
	for i := 0; b.Loop(); i++ {
		f(keys[i%ringKeys])
	}
}

// must is for what cannot fail with these servers.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newRing(names []string) *ketama.Ring { return must(ketama.New(ringOf(names), ketama.Options{})) }

func newGroupcache(names []string) *consistenthash.Map {
	m := consistenthash.New(ringPoints, nil)
	m.Add(names...)
	return m
}

// newHashring has a point for each unit of weight.
func newHashring(names []string) *hashring.HashRing {
	weights := make(map[string]int, len(names))
	for _, name := range names {
		weights[name] = ringPoints
	}
	return hashring.NewWithWeights(weights)
}

// build measures f, which builds something of 100 servers as it takes them.
func build[T any](b *testing.B, servers T, f func(T)) {
	for b.Loop() {
		f(servers)
	}
}

func changeRing(b *testing.B) {
	names := ringNames(ringServers + 1)
	r := newRing(names[:ringServers])
	more := ketama.Server{Name: names[ringServers]}
	for b.Loop() {
		must(r.With(more)).Without(more.Name)
	}
}

func changeHashring(b *testing.B) {
	names := ringNames(ringServers + 1)
	r := newHashring(names[:ringServers])
	for b.Loop() {
		r.AddWeightedNode(names[ringServers], ringPoints).RemoveNode(names[ringServers])
	}
}
