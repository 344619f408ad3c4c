package tinyufo

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"runtime"
	"time"

	"github.com/edge-proxy/edge/tinyufo/internal/bytelog"
)

// BytesOptions say how much a Bytes holds and for how long. Size is needed; the zero value of all else is good.
type BytesOptions struct {
	// Size is how many bytes the entries take: keys and values, with 8 bytes for each entry, 4 more if it expires, and
	// up to 7 to round it up. It is never exceeded. What is needed to find entries and to choose those that stay
	// comes on top: about 20 bytes for each entry; see Bytes.Memory. The kernel gives the memory when it is first
	// used, in pages of 2 MB if it has such.
	Size int64

	// TTL is how long an entry may be returned after it was set, unless SetTTL says otherwise for one. 0 means that
	// the cache has no times to live at all, Forever that only SetTTL gives some. Times are kept in steps of 2^28 ns,
	// about 0.27 s: an entry is returned for up to three steps longer, and never for less.
	TTL time.Duration

	// Clock returns the time in ns of a monotonic clock, which may begin anywhere. Times are counted from the call of
	// NewBytes, for 36 years. Nil: when there is a TTL, a goroutine keeps the time until Close.
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
	sizeMax       = bytelog.ShardMax // of a shard
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
	stopwatch
	shards bytelog.Shards
	ttl    time.Duration
	stats  *hitStats
}

// NewBytes makes a cache of byte slices. The error says that Size is less than 16 KiB or more than 32 GiB for each of
// the Shards, or which other option is wrong; or it is the error of the kernel, which has no memory for the cache. Its
// memory is given back when nothing refers to the cache any more.
func NewBytes(o BytesOptions) (*Bytes, error) {
	n := o.Shards
	if n == 0 {
		n = 1 << bits.Len(uint(4*runtime.GOMAXPROCS(0)-1))
		for n > 1 && o.Size/int64(n) < shardBytesMin {
			n /= 2
		}
		for o.Size/int64(n) > sizeMax {
			n *= 2
		}
	}
	if n < 0 || n&(n-1) != 0 || o.TTL < 0 {
		return nil, errors.New("tinyufo: BytesOptions.Shards is not a power of two, or TTL negative")
	}
	if each := o.Size / int64(n); each < sizeMin || each > sizeMax {
		return nil, errors.New("tinyufo: BytesOptions.Size is less than 16 KiB or more than 32 GiB for each shard")
	}
	c := &Bytes{ttl: o.TTL}
	if o.Stats {
		c.stats = new(hitStats)
	}
	if err := c.shards.Open(o.Size, n); err != nil {
		return nil, fmt.Errorf("tinyufo: %w", err)
	}
	c.start(o.Clock, o.TTL > 0)
	return c, nil
}

// Close ends the goroutine of a cache with a TTL and without a Clock. From then on nothing expires.
func (c *Bytes) Close() { c.stop() }

// Get appends the value of key to dst, and returns that. It takes no lock; it tries again when the entry was
// moved while it was copied. key is borrowed until return, and must not lie in dst's capacity.
func (c *Bytes) Get(dst, key []byte) (value []byte, ok bool) {
	value, expiry, ok := c.shards.Get(dst, key)
	if expiry != 0 && expiry <= c.granules() {
		value, ok = dst, false
	}
	if c.stats != nil {
		if ok {
			c.stats.hit()
		} else {
			c.stats.miss()
		}
	}
	return value, ok
}

// Set makes value the value of key. Both are copied. It reports whether the cache has taken the entry; if not, key has
// no value, and that is counted as a refusal. It does not take keys longer than 65535 bytes and entries larger than a
// ninth of a shard. One larger than a fortieth of a shard, and not in the main log yet, is taken if it was seen
// more often than what it would displace: try again when it is next asked for, and it will be.
func (c *Bytes) Set(key, value []byte) bool { return c.shards.Set(key, value, c.expiry(c.ttl), nil) }

// SetIf is Set, unless key has a value old, which may have expired, and replaces(value, old) reports false: then
// nothing is changed, and that is counted as a refusal. No other call sets or deletes key in between. replaces may not
// call the cache, nor keep or change what it is given.
func (c *Bytes) SetIf(key, value []byte, replaces func(value, old []byte) bool) bool {
	return c.shards.Set(key, value, c.expiry(c.ttl), replaces)
}

// SetTTL is Set for an entry with a time to live of its own; a time that is not positive deletes key. So does any in a
// cache without times to live, which would return the entry for longer: BytesOptions.TTL of Forever gives it such.
func (c *Bytes) SetTTL(key, value []byte, ttl time.Duration) bool {
	if ttl <= 0 || c.ttl == 0 {
		c.Delete(key)
		return false
	}
	return c.shards.Set(key, value, c.expiry(ttl), nil)
}

// expiry is the step from which an entry that is set now is not returned any more, or 0.
func (c *Bytes) expiry(ttl time.Duration) uint32 {
	if ttl == 0 || ttl == Forever {
		return 0
	}
	steps := uint64(c.granules()) + (uint64(ttl)+1<<granule-1)>>granule + 1 // the present step is under way already
	if c.clock == nil {
		steps++ // and the next one may be, until the goroutine says so
	}
	return uint32(min(steps, 1<<32-1))
}

// Delete removes key, and reports whether Get would have found it.
func (c *Bytes) Delete(key []byte) bool {
	expiry, ok := c.shards.Delete(key)
	return ok && (expiry == 0 || expiry > c.granules())
}

// All goes over copies of the keys and values, in no order and without a use of them. It locks a shard while it copies
// a few of its entries, and more of them if others are added about as fast as that, so that it ends. An entry that is
// cached all the while comes at least once; an entry that was moved or set meanwhile may come twice.
func (c *Bytes) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) { c.shards.Each(c.granules, yield) }
}

// Drain takes the entries out of the cache: it calls yield with copies, which are borrowed until that returns, and with
// how often each was got since it was set or last considered, 3 at the most, until yield returns false. Those that were
// worth most come first, in each shard. Their memory is given back to the kernel meanwhile, 1 MiB at a time. What is
// set while it runs may stay.
func (c *Bytes) Drain(yield func(key, value []byte, uses int) bool) {
	c.shards.Drain(c.granules, yield)
}

// Len is the number of entries, with those that have ended and were not dropped yet.
func (c *Bytes) Len() int { return c.shards.Counts().Live }

// Memory is how many bytes the cache takes: the bytes of BytesOptions.Size, and what is needed to find entries and to
// choose those that stay.
func (c *Bytes) Memory() int64 { return c.shards.Counts().Bytes }

// Stats returns the counts. Nothing is counted as expired: such an entry is dropped when the log comes to it.
func (c *Bytes) Stats() (sum Stats) {
	n := c.shards.Counts()
	sum.Insertions, sum.Evictions, sum.Deletions, sum.Refusals = n.Insertions, n.Evictions, n.Deletions, n.Refusals
	c.stats.add(&sum)
	return sum
}
