package cache

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/cache/disk"
	"github.com/edge-proxy/edge/internal/exchange/content"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/tinyufo"
)

// Options say how large a Zone is.
type Options struct {
	Reactors int    // how many reactors the engine has that asks the Zone; 0: as many as it has by default at the most
	Memory   int64  // bytes for what is stored, 1 MiB at least
	Bodies   int64  // of these, for bodies of 32 KiB and more; in memory each has at most a 16th of them
	Name     string // in Cache-Status; "": proxy.DefaultName
	// Disk, with its Path and its Size, keeps answers from one process to the next. Its index takes a quarter of Memory
	// less Bodies; a body has at most a 16th of Size. See Zone.OpenDisk.
	Disk disk.Options
	// From is the end of a connection, Offer.Theirs of another process, from which the Zone takes over: see Zone.Take.
	// New closes it where the two do not understand each other. nil: there is no such process.
	From *os.File
	// Elsewhere reports whether the Zone of another process is asked by new clients: purges of this one are refused
	// then, and it stores nothing. nil: it never is. On any goroutine.
	Elsewhere func() bool
}

// memoryMin is the least Options.Memory.
const memoryMin = 1 << 20

// Zone is the store of a cache. Safe for any goroutine.
type Zone struct {
	records   *tinyufo.Bytes
	bodies    bodies
	replace   func(r, old []byte) bool // replaces
	disk      tier
	loads     *content.Loads
	takeover  takeover
	fills     fillTable
	locals    []*local // by Reactor.Index
	name      string
	elsewhere func() bool
	counts    []counts // by Reactor.Index

	filling    atomic.Int64 // bytes of the buffers of fills
	fillingMax int64
	lists      atomic.Uint64 // ids of lists of varying fields that were given out

	generations generations
	queries     queries
	refused     atomic.Uint64 // requests with PURGE from clients that may not

	wall time.Time    // when the Zone was made
	skew atomic.Int64 // wall clock less the clock of reactors, which is one; 0: it was not asked for
}

var errMemory = errors.New("cache: Options.Memory less Bodies is less than 1 MiB, or Reactors below 0")

// New makes a Zone.
func New(o Options) (*Zone, error) {
	o.Reactors = cmp.Or(o.Reactors, runtime.GOMAXPROCS(0))
	o.Memory -= o.Bodies
	if o.Reactors < 0 || o.Memory < memoryMin || o.Bodies < 0 {
		return nil, errMemory
	}
	shards := 1 // of 4 MiB at least, so that a record of 64 KiB is a small part of one
	for n := 4 * o.Reactors; shards < n && o.Memory/int64(2*shards) >= shardMin; shards *= 2 {
	}
	indexed := int64(0)
	if o.Disk.Path != "" {
		indexed = o.Memory / 4
	}
	o.Memory -= indexed
	records, err := tinyufo.NewBytes(tinyufo.BytesOptions{Size: o.Memory, Shards: shards})
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	z := &Zone{records: records, name: o.Name, elsewhere: o.Elsewhere, wall: time.Now(),
		fillingMax: max(o.Memory/8, fillingMin)}
	if z.name == "" {
		z.name = proxy.DefaultName
	}
	if z.elsewhere == nil {
		z.elsewhere = func() bool { return false }
	}
	z.loads = content.NewLoads()
	z.counts = make([]counts, o.Reactors)
	for range o.Reactors {
		z.locals = append(z.locals, &local{zone: z, source: content.NewSource(z.loads)})
	}
	z.replace = z.replaces
	z.bodies.init(o.Bodies)
	z.fills.init()
	z.lists.Store(rand.Uint64()) // no list on disk has the same id
	seed := uint64(0)
	if o.Disk.Path != "" {
		seed = disk.SeedOf(o.Disk.Path)
	}
	of, seed := z.takeover.begin(o.From, seed)
	if of == nil {
		if of, err = newNotices(); err != nil {
			return nil, fmt.Errorf("cache: %w", err)
		}
	}
	seed = cmp.Or(seed, rand.Uint64()|1)
	if d := &z.disk.options; o.Disk.Path != "" {
		*d = o.Disk
		d.Seed, d.Memory, d.Replay = seed, indexed, z.generations.replay
	}
	z.generations.init(o.Memory+o.Bodies, seed, of)
	return z, nil
}

const (
	shardMin   = 4 << 20
	fillingMin = 8 << 20
)

// Close ends the Zone, which no Front uses any more.
func (z *Zone) Close() {
	z.records.Close()
	z.bodies.close()
	z.disk.close(nil)
	z.takeover.end()
	z.generations.close()
}

// OpenDisk opens Options.Disk for the Zone; no other process may use that. The answers on it are found from then on.
func (z *Zone) OpenDisk() error { return z.disk.open(&z.bodies.closed) }

// YieldDisk lets another process use the disk, if Options.Elsewhere says that it is asked now. Answers that are being
// sent go on. It may take long.
func (z *Zone) YieldDisk() { z.disk.close(z.elsewhere) }

// forget drops what is stored under a key.
func (z *Zone) forget(key []byte) {
	z.records.Delete(key)
	z.disk.forget(key)
}

// set stores r under a key, unless the record there was asked for later. It reports whether r is stored.
func (z *Zone) set(key []byte, r record) bool {
	if z.elsewhere() {
		return false
	}
	if r.kind() == isMarker {
		z.disk.forget(key)
	}
	return z.records.SetIf(key, r, z.replace)
}

// replaces reports whether r may take the place of old, and drops the body of old then. The part of the store that has
// them is locked.
func (z *Zone) replaces(r, old []byte) bool {
	if record(old).confirmed() > record(r).confirmed() {
		return false
	}
	if before := record(old).file(); before != 0 && before != record(r).file() {
		z.bodies.store.Delete(before)
	}
	return true
}

// local is what the requests of one reactor share.
// Owned by its reactor.
type local struct {
	zone   *Zone
	source *content.Source // of bodies for followers

	key     []byte // of the request that is looked at
	variant []byte // its key with the values of varying fields
	record  []byte // that was found; a body that is lent lies in it
	target  []byte // that the backend is asked for
	asked   []byte // target that the client asked for
	left    []byte // of that, without the parameters that are left out
	names   []byte // of varying fields
	renewed []byte // head of a record that takes the place of another one
	text    []byte
	tags    []byte // of an answer
	subject subject
	params  [][]byte     // of a query
	head    message.Head // that followers are given
	base    []byte       // memory of that
	blocks  bool         // get may wait for the disk: no client is served by this local
	free    *fill        // fills that are over; see takeFill
	kept    int          // how many
	stored  proxy.Stored

	_ [64]byte // the next local is another reactor's
}

// on returns what belongs to r.
func (z *Zone) on(r *engine.Reactor) *local { return z.locals[r.Index()] }

// takeFill returns a fill that nothing refers to.
func (l *local) takeFill() *fill {
	f := l.free
	if f == nil || !f.fork.Over() || f.self.posted {
		return &fill{}
	}
	l.free, f.next = f.next, nil
	l.kept--
	return f
}

// fillsKept bounds the free fills of a reactor.
const fillsKept = 256

// keepFill keeps f, which is over and had no lane, for another request. Of a lane a task may be on its way.
func (l *local) keepFill(f *fill) {
	if l.kept < fillsKept {
		l.free, f.next = f, l.free
		l.kept++
	}
}

// wallNow is now for those that are on no reactor.
func (z *Zone) wallNow() int64 { return z.wall.UnixNano() + int64(time.Since(z.wall)) }

// now returns the wall clock at which the Zone was made and the time since, in ns: a clock that is set makes no record
// younger.
func (z *Zone) now(r *engine.Reactor) int64 {
	skew := z.skew.Load()
	if skew == 0 {
		z.skew.CompareAndSwap(0, z.wallNow()-r.Now())
		skew = z.skew.Load()
	}
	return r.Now() + skew
}
