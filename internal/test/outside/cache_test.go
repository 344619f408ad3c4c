package outside

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/edge-proxy/edge/tinyufo"
)

// call is an operation on a key: value is what it sets, found what it returned.
type call struct {
	op         string
	key, value uint64
}

type found struct {
	value uint64 // 0: none
	had   bool   // of Delete
}

// forgetful is a map that may forget any key at any time: a value that is missing is no error, but one that was
// forgotten, replaced or deleted must not come back, nor be that of another key.
var forgetful = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := make(map[uint64][]porcupine.Operation)
		for _, o := range history {
			key := o.Input.(call).key
			byKey[key] = append(byKey[key], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return uint64(0) },
	Step: func(state, input, output any) (bool, any) {
		have, in, out := state.(uint64), input.(call), output.(found)
		if out.value != 0 && out.value != have || out.had && have == 0 {
			return false, have
		}
		switch {
		case in.op == "get", in.op == "getOrSet" && out.value != 0:
			return true, out.value
		case in.op == "delete":
			return true, uint64(0)
		}
		return true, in.value
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v: %v", input, output) },
}

// cache is what all of them have in common.
type cache interface {
	Get(key uint64) (uint64, bool)
	Set(key, value uint64)
	Delete(key uint64) bool
	Close()
}

// computingCache is what Cache and Flat can do, too.
type computingCache interface {
	cache
	GetOrSet(key, value uint64) (uint64, bool)
	Compute(key uint64, f func(uint64, bool) (uint64, tinyufo.Op)) (uint64, bool)
}

// bytesCache is a Bytes with numbers for keys and values. Both have sizes that depend on them.
type bytesCache struct{ *tinyufo.Bytes }

func newBytesCache(o tinyufo.BytesOptions) cache {
	c, err := tinyufo.NewBytes(o)
	if err != nil {
		panic(err)
	}
	return bytesCache{c}
}

// bytesOf is n, and then its lowest byte some times.
func bytesOf(n uint64, more int) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, n), bytes.Repeat([]byte{byte(n)}, more)...)
}

func keyOf(key uint64) []byte { return bytesOf(key, int(key%12)) }

func (c bytesCache) Get(key uint64) (uint64, bool) {
	v, ok := c.Bytes.Get(nil, keyOf(key))
	if !ok {
		return 0, false
	}
	n := binary.LittleEndian.Uint64(v)
	if !bytes.Equal(v, bytesOf(n, len(v)-8)) {
		return 1<<64 - 1, true // nobody has set that
	}
	return n, true
}

func (c bytesCache) Set(key, value uint64) {
	c.Bytes.Set(keyOf(key), bytesOf(value, int(value>>8%300)))
}

func (c bytesCache) Delete(key uint64) bool { return c.Bytes.Delete(keyOf(key)) }

// perform runs one operation.
func perform(c cache, in call) (out found) {
	switch in.op {
	case "get":
		out.value, _ = c.Get(in.key)
	case "set":
		c.Set(in.key, in.value)
	case "delete":
		out.had = c.Delete(in.key)
	default:
		out = compute(c.(computingCache), in)
	}
	return out
}

// compute runs one operation that not all caches have.
func compute(c computingCache, in call) (out found) {
	switch in.op {
	case "swap":
		if s, ok := c.(interface {
			Swap(k, v uint64) (uint64, bool)
		}); ok {
			out.value, _ = s.Swap(in.key, in.value)
		} else {
			c.Set(in.key, in.value)
		}
	case "getOrSet":
		if v, present := c.GetOrSet(in.key, in.value); present {
			out.value = v
		}
	case "compute":
		c.Compute(in.key, func(old uint64, _ bool) (uint64, tinyufo.Op) {
			out.value = old
			return in.value, tinyufo.Store
		})
	case "remove":
		c.Compute(in.key, func(old uint64, ok bool) (uint64, tinyufo.Op) {
			out.value = old
			return 0, tinyufo.Remove
		})
	}
	return out
}

// chances is how often each operation comes. The last ones are for a computingCache.
var chances = []string{"get", "get", "get", "get", "set", "set", "delete", "swap", "getOrSet", "compute", "remove"}

const chancesOfAll = 7

// record lets goroutines work on a few keys of a cache, while others add keys that evict these, and one resizes.
func record(seed uint64, c cache, resize []int64) []porcupine.Operation {
	const clients, each, keys = 4, 150, 3
	histories := make([][]porcupine.Operation, clients)
	var clock, serial atomic.Int64
	var done atomic.Bool
	var wg, others sync.WaitGroup
	ops := chances
	if _, ok := c.(computingCache); !ok {
		ops = ops[:chancesOfAll]
	}
	for g := range clients {
		rng := rand.New(rand.NewPCG(seed, uint64(g)))
		wg.Go(func() {
			for range each {
				in := call{op: ops[rng.IntN(len(ops))], key: rng.Uint64N(keys)}
				in.value = uint64(serial.Add(1))<<8 | in.key
				if in.op == "remove" {
					in.value = 0
				}
				began := clock.Add(1)
				out := perform(c, in)
				histories[g] = append(histories[g],
					porcupine.Operation{ClientId: g, Input: in, Call: began, Output: out, Return: clock.Add(1)})
				if rng.IntN(16) == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	others.Go(func() {
		for k := uint64(keys); !done.Load(); k++ {
			c.Set(k, k)
			if n := len(resize); n > 0 && k%64 == 0 {
				c.(interface{ Resize(int64) }).Resize(resize[k/64%uint64(n)])
			}
		}
	})
	wg.Wait()
	done.Store(true)
	others.Wait()
	var history []porcupine.Operation
	for _, h := range histories {
		history = append(history, h...)
	}
	return history
}

// The model must not accept more than it says.
func TestForgetful(t *testing.T) {
	for name, test := range map[string]struct {
		want    bool
		history []porcupine.Operation
	}{
		"forgets":        {true, []porcupine.Operation{did("set", 1, 0), did("get", 0, 1), did("get", 0, 0)}},
		"resurrects":     {false, []porcupine.Operation{did("set", 1, 0), did("get", 0, 0), did("get", 0, 1)}},
		"returns an old": {false, []porcupine.Operation{did("set", 1, 0), did("swap", 2, 1), did("get", 0, 1)}},
		"swaps twice":    {false, []porcupine.Operation{did("set", 1, 0), did("swap", 2, 1), did("swap", 3, 1)}},
		"deletes twice":  {false, []porcupine.Operation{did("set", 1, 0), did("delete", 0, 1), did("delete", 0, 1)}},
	} {
		for i := range test.history {
			test.history[i].Call, test.history[i].Return = int64(2*i), int64(2*i+1)
		}
		if got := porcupine.CheckOperations(forgetful, test.history); got != test.want {
			t.Errorf("a cache that %s: %v", name, got)
		}
	}
}

func did(op string, value, got uint64) porcupine.Operation {
	out := found{value: got}
	if op == "delete" {
		out = found{had: got != 0}
	}
	return porcupine.Operation{Input: call{op: op, value: value}, Output: out}
}

// TestCacheIsLinearizable runs tiny caches, so that evictions happen all the time; with EDGE_SOAK=1, a minute each.
func TestCacheIsLinearizable(t *testing.T) {
	budget := 400 * time.Millisecond
	if os.Getenv("EDGE_SOAK") != "" {
		budget = time.Minute
	}
	weigher := func(key, value uint64) uint32 { return uint32(key+value>>8) % 5 }
	for name, test := range map[string]struct {
		options tinyufo.Options[uint64, uint64]
		resize  []int64
	}{
		"one":     {tinyufo.Options[uint64, uint64]{Entries: 1}, nil},
		"few":     {tinyufo.Options[uint64, uint64]{Entries: 4, Shards: 2}, nil},
		"all":     {tinyufo.Options[uint64, uint64]{Entries: 200}, nil},
		"resize":  {tinyufo.Options[uint64, uint64]{Entries: 4, Shards: 1}, []int64{2, 1000, 1, 30}},
		"growing": {tinyufo.Options[uint64, uint64]{Weight: 1 << 30, Weigher: weigher, Shards: 4}, nil},
		"weights": {tinyufo.Options[uint64, uint64]{Weight: 20, Weigher: weigher, Shards: 2}, []int64{60, 12, 20, 4}},
		"times":   {tinyufo.Options[uint64, uint64]{Entries: 8, Shards: 1, TTL: time.Millisecond}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			checkHistories(t, budget, test.resize, func() cache { return tinyufo.New(test.options) })
		})
	}
	for name, o := range map[string]tinyufo.FlatOptions{
		"flat, one":   {Entries: 1},
		"flat, few":   {Entries: 4, Shards: 2},
		"flat, all":   {Entries: 200, Shards: 1},
		"flat, times": {Entries: 8, Shards: 1, TTL: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			checkHistories(t, budget, nil, func() cache { return tinyufo.NewFlat[uint64, uint64](o) })
		})
	}
	var now atomic.Int64
	clock := func() int64 { return now.Add(1 << 21) } // it ends after some hundred operations
	for name, o := range map[string]tinyufo.BytesOptions{
		"bytes, small": {Size: 16 << 10, Shards: 1},
		"bytes, two":   {Size: 64 << 10, Shards: 2},
		"bytes, all":   {Size: 16 << 20, Shards: 1},
		"bytes, times": {Size: 16 << 10, Shards: 1, TTL: 1, Clock: clock},
	} {
		t.Run(name, func(t *testing.T) {
			checkHistories(t, budget, nil, func() cache { return newBytesCache(o) })
		})
	}
}

// checkHistories records histories of new caches for some time, and fails when one is not that of a cache.
func checkHistories(t *testing.T, budget time.Duration, resize []int64, make func() cache) {
	seed := uint64(0)
	for began := time.Now(); time.Since(began) < budget; seed++ {
		c := make()
		history := record(seed, c, resize)
		c.Close()
		result, info := porcupine.CheckOperationsVerbose(forgetful, history, time.Minute)
		if result == porcupine.Ok {
			continue
		}
		file := cmp.Or(os.Getenv("EDGE_HISTORY"), t.TempDir()+"/history.html")
		t.Fatalf("seed %d: %v; %s: %v", seed, result, file, porcupine.VisualizePath(forgetful, info, file))
	}
	t.Logf("%d histories", seed)
}
