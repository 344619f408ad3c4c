package tinyufo

import (
	"context"
	"hash/maphash"
	"iter"
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/tinyufo/internal/bytelog"
)

// BytesOptions say how much a Bytes holds and for how long. Size is needed; the zero value of all else is good.
type BytesOptions struct {
	// Size is how many bytes the cache takes: keys, values and what is needed to find them. An entry costs 16
	// bytes beside its key and value, and up to 7 to round it up; a hash table takes about a tenth of Size.
	Size int64

	// TTL is how long an entry may be returned after it was set, in steps of a quarter of a second; 0 is for ever.
	TTL time.Duration

	// Clock returns the time in ns of a monotonic clock, 0 or more. Nil: when there is a TTL, a goroutine keeps
	// the time until Close.
	Clock func() int64

	// Stats makes Bytes.Stats count hits and misses too.
	Stats bool

	// Shards is in how many parts the cache works, a power of two. 0: four for each processor, but of 1 MB at
	// least.
	Shards int
}

const (
	shardBytesMin = 1 << 20 // what a shard has at least, unless it is the only one
	sizeMin       = 16 << 10
)

// Bytes is a cache of byte slices outside of the heap: the garbage collector sees some pointers for each shard,
// whatever the number of entries. It copies in and copies out. Safe for any goroutine. Get takes no lock; Set
// and Delete lock a shard.
//
// The entries of a shard are in two logs, rings of bytes that the kernel has mapped. A new entry is appended to
// the small one. What comes to the end of a log is dropped, or is copied: from small to main if it is worth
// more than what main would drop for it, in main to its beginning if it was hit meanwhile. The policy is
// Cache's, but for the share of the small log, which is a tenth for good.
type Bytes struct {
	seed   maphash.Seed
	mask   uint64
	shards []bytelog.Shard
	ttl    time.Duration
	clock  func() int64
	coarse atomic.Int64
	stats  *hitStats
	stop   context.CancelFunc
}

// NewBytes makes a cache of byte slices, or returns the error of the kernel which has no memory for it. It
// panics when Size is less than 16 KiB for each of the Shards. Its memory is given back when nothing refers to
// it any more.
func NewBytes(o BytesOptions) (*Bytes, error) {
	n := o.Shards
	if n == 0 {
		n = 1 << bits.Len(uint(4*runtime.GOMAXPROCS(0)-1))
		for n > 1 && o.Size/int64(n) < shardBytesMin {
			n /= 2
		}
	}
	if n < 0 || n&(n-1) != 0 || o.Size/int64(n) < sizeMin {
		panic("tinyufo: BytesOptions.Size is less than 16 KiB for each shard, or Shards not a power of two")
	}
	c := &Bytes{seed: maphash.MakeSeed(), mask: uint64(n - 1), shards: make([]bytelog.Shard, n), ttl: o.TTL,
		clock: o.Clock, stop: func() {}}
	if o.Stats {
		c.stats = new(hitStats)
	}
	for i := range c.shards {
		if err := c.shards[i].Init(o.Size / int64(n)); err != nil {
			for j := range i {
				c.shards[j].Memory().Unmap()
			}
			return nil, err
		}
	}
	maps := make([]bytelog.Memory, n)
	for i := range c.shards {
		maps[i] = c.shards[i].Memory()
	}
	runtime.AddCleanup(c, func(maps []bytelog.Memory) {
		for _, m := range maps {
			m.Unmap()
		}
	}, maps)
	if c.ttl > 0 && c.clock == nil {
		ctx, stop := context.WithCancel(context.Background())
		c.stop = stop
		go everyStep(ctx, 1<<granule, c.coarse.Store)
	}
	return c, nil
}

// Close ends the goroutine of a cache with a TTL and without a Clock. From then on nothing expires.
func (c *Bytes) Close() { c.stop() }

// granule is the step of expiry: 2^28 ns, so that 32 bits last for 36 years.
const granule = 28

func (c *Bytes) now() uint32 {
	if c.clock != nil {
		return uint32(c.clock() >> granule)
	}
	return uint32(c.coarse.Load() >> granule)
}

func (c *Bytes) shardOf(hash uint64) *bytelog.Shard { return &c.shards[hash>>32&c.mask] }

// Get appends the value of key to dst, and returns that. It takes no lock; it tries again when the entry was
// moved while it was copied. key is borrowed until return.
func (c *Bytes) Get(dst, key []byte) (value []byte, ok bool) {
	hash := maphash.Bytes(c.seed, key)
	value, expiry, ok := c.shardOf(hash).Get(dst, hash, key)
	if ok && expiry != 0 && expiry <= c.now() {
		value, ok = dst, false
	}
	runtime.KeepAlive(c) // the mapping lives as long as c
	if c.stats != nil {
		if ok {
			c.stats.hit()
		} else {
			c.stats.miss()
		}
	}
	return value, ok
}

// Set makes value the value of key. Both are copied. It reports whether the cache has taken it in: it does not
// when the key is longer than 65535 bytes, or the entry larger than a fortieth of the shard; then key has no
// value.
func (c *Bytes) Set(key, value []byte) bool {
	hash := maphash.Bytes(c.seed, key)
	var expiry uint32
	if c.ttl > 0 {
		expiry = max(1, c.now()+uint32((c.ttl+1<<granule-1)>>granule))
	}
	taken := c.shardOf(hash).Set(hash, key, value, expiry)
	runtime.KeepAlive(c)
	return taken
}

// Delete removes key, and reports whether it was there.
func (c *Bytes) Delete(key []byte) bool {
	hash := maphash.Bytes(c.seed, key)
	deleted := c.shardOf(hash).Delete(hash, key)
	runtime.KeepAlive(c)
	return deleted
}

// All goes over copies of the keys and values, in no order and without a use of them. It locks a shard while it
// copies a few of its entries. One that is cached all the while comes at least once; one that was moved
// meanwhile may come twice.
func (c *Bytes) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		for i := range c.shards {
			if !c.shards[i].Each(c.now(), yield) {
				return
			}
		}
		runtime.KeepAlive(c)
	}
}

// Len is the number of entries.
func (c *Bytes) Len() (n int) {
	for i := range c.shards {
		n += c.shards[i].Counts().Live
	}
	return n
}

// Stats returns the counts. Nothing is counted as expired: such an entry is dropped when the log comes to it.
func (c *Bytes) Stats() (sum Stats) {
	for i := range c.shards {
		counts := c.shards[i].Counts()
		sum.Insertions += counts.Insertions
		sum.Evictions += counts.Evictions
		sum.Deletions += counts.Deletions
	}
	c.stats.add(&sum)
	return sum
}
