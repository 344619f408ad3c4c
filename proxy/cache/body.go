package cache

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/cache/disk"
	"github.com/edge-proxy/edge/internal/exchange/content"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/tinyufo"
)

// body is a larger body of an answer, beside its record: a file in memory, or a part of one on disk. Its fill writes
// each byte once, and never again, since a socket that was given a page sends what the page holds later. Safe for any
// goroutine.
//
//	refs counts the store, and every fill and reader: the last one closes the file
//	room only grows while the fill writes
type body struct {
	bodies *bodies
	file   poller.File
	disk   *disk.Body // nil: it is in memory
	draft  *draft     // nil: it is whole, or in memory. Owned by the reactor of the fill
	at     int64      // where it begins in file
	number uint64     // by which a record names it
	room   int64      // bytes that were charged for it
	refs   content.Refs

	// Guarded by bodies.mu:
	until time.Time // when it may be cut; zero: it is in the store, or on its way
	pins  int       // of another process that may have the file, and of the disk that reads it: it is not cut
	isCut bool      // its bytes are no longer charged
}

// draft is a body that is larger than memory takes, on its way to the disk beside the reactor. Followers are given what
// was written.
type draft struct {
	disk  *disk.Draft
	came  []byte // bytes that are to go, draftPiece at most
	going []byte // bytes on their way
	ended bool   // all has come
}

const draftPiece = 1 << 20

// bodies are the bodies of a Zone: those in the store, on their way to it, and those that were evicted while they are
// sent. Safe for any goroutine.
type bodies struct {
	store *tinyufo.Cache[uint64, *body] // nil: the share is too small for any
	share int64                         // bytes for all of them
	least int64                         // bytes that each of them counts for at least, so that there are few files
	live  atomic.Int64                  // that are charged, at most share
	last  atomic.Uint64                 // number that was given out

	closed atomic.Bool

	mu   sync.Mutex
	left []*body // in memory, that have left the store, and that clients may still take; guarded by mu
}

const (
	fileMin    = 32 << 10 // bytes of a body that is in a file: from 16 KiB on sendfile costs less than a copy
	bodyShards = 4        // of the store: each takes bodies of half of its size at the most
	bodyCost   = 2 << 10  // bytes that a file takes, beside its pages
	closeMax   = 4 << 20  // bytes that a reactor frees
	pageSize   = 4 << 10

	bodiesMin   = 16            // bodies for which the share has room
	bodyLargest = 1<<32 - 1<<16 // so that 32 bits are enough for a weight, and for the length in a record

	cutAfter = 30 * time.Second // in which clients take a body that has left the store, and longer
	cutRate  = 32 << 10         // by a second for each of these bytes
)

// init shares bytes of memory out. Three quarters are for the store, so that there is room for bodies on their way.
func (b *bodies) init(share int64) {
	if b.share = share; b.largest() == bodyMax {
		return
	}
	b.least = min(share/max(filesMax(), bodiesMin), bodyLargest)
	b.store = tinyufo.New(tinyufo.Options[uint64, *body]{
		Weight: share / 4 * 3, Shards: bodyShards,
		Weigher:   func(_ uint64, one *body) uint32 { return uint32(one.room) },
		OnEvict:   func(_ uint64, one *body, _ tinyufo.Cause) { b.leave(one) },
		OnReplace: func(_ uint64, one *body) { b.leave(one) },
	})
}

// largest returns the bytes of the largest body that memory takes: in a record, or in a file.
func (b *bodies) largest() int64 { return min(max(b.share/bodiesMin, bodyMax), bodyLargest) }

// filesMax is how many files may be open for bodies: a quarter of those that the process may have.
func filesMax() int64 {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 256
	}
	return int64(min(l.Cur, 1<<32)) / 4
}

// begin makes a body with room for n bytes, with one reference; nil: there is no room, or no descriptor.
func (b *bodies) begin(n int64) *body {
	one := b.charge(n)
	if one == nil {
		return nil
	}
	var err error
	if one.file, err = poller.NewFile("edge-cache", false); err != nil {
		b.live.Add(-one.room)
		return nil
	}
	return one
}

// charge makes a body with room for n bytes, with one reference and without a file; nil: there is no room.
func (b *bodies) charge(n int64) *body {
	if b.store == nil {
		return nil
	}
	one := &body{bodies: b, number: b.last.Add(1)}
	one.refs.Init()
	if !one.grow(n) {
		return nil
	}
	return one
}

// adoptFile makes a body of a file of n bytes, which it takes over, with one reference; nil: there is no room, or it is
// shorter.
func (b *bodies) adoptFile(file poller.File, n int64) *body {
	if size, err := file.Size(); err == nil && size >= n {
		if one := b.charge(n); one != nil {
			one.file, one.pins = file, 1
			return one
		}
	}
	file.Close()
	return nil
}

// adopt makes a body of d, with one reference; nil: there is no room.
func (b *bodies) adopt(d *disk.Body) *body {
	one := b.onDisk(d, 0)
	if one != nil {
		one.place()
		b.keep(one)
	}
	return one
}

// onDisk makes a body of d, which may have no place yet, and charges more bytes for it; nil: there is no room.
func (b *bodies) onDisk(d *disk.Body, more int64) *body {
	one := &body{bodies: b, disk: d, number: b.last.Add(1), room: d.Weight() + more}
	one.refs.Init()
	if b.store == nil || !b.reserve(one.room) {
		d.Close()
		return nil
	}
	return one
}

// place says where b, which is on disk, can be read.
func (b *body) place() {
	fd, at := b.disk.File()
	b.file, b.at = poller.File(fd), at
}

// settle says that b is whole. On disk it takes little of memory from then on.
func (b *body) settle() {
	if b.draft != nil {
		b.draft = nil
		b.bodies.live.Add(b.disk.Weight() - b.room)
		b.room = b.disk.Weight()
	}
}

// grow charges room for n bytes. It reports false where there is none.
func (b *body) grow(n int64) bool {
	all := b.bodies
	room := max((n+pageSize-1)&^(pageSize-1)+bodyCost, all.least)
	more := room - b.room
	if more > 0 && !all.reserve(more) {
		return false
	}
	b.room = max(b.room, room)
	return true
}

// reserve charges n bytes, unless there is no room for them, not even after a cut.
func (b *bodies) reserve(n int64) bool {
	if b.live.Add(n) <= b.share {
		return true
	}
	if b.cut(); b.live.Load() <= b.share {
		return true
	}
	b.live.Add(-n)
	return false
}

// leave gives back the reference of the store to one. Clients that take it have time for cutRate.
func (b *bodies) leave(one *body) {
	b.mu.Lock()
	if one.disk == nil {
		one.until = time.Now().Add(cutAfter + time.Duration(one.room/cutRate)*time.Second)
		b.left = append(b.left, one)
	}
	b.mu.Unlock()
	one.Release()
}

// cut takes the memory of bodies that have left the store, and for which clients have had their time: those that do not
// read would else hold the share for as long as they stay. Their answers end before their end.
func (b *bodies) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.left = slices.DeleteFunc(b.left, func(one *body) bool {
		if now.Before(one.until) || one.pins > 0 || !one.Take() {
			return false
		}
		one.isCut = true
		b.live.Add(-one.room)
		go one.truncate()
		return true
	})
}

// unlist takes one off the list of bodies that are to be cut, if it is there. mu is held.
func (b *bodies) unlist(one *body) {
	if !one.until.IsZero() {
		one.until = time.Time{}
		b.left = slices.DeleteFunc(b.left, func(other *body) bool { return other == one })
	}
}

// truncate frees the pages of b, to which the caller has a reference, and gives that back.
func (b *body) truncate() {
	_ = b.file.Truncate() // else they are freed with the last client
	b.Release()
}

// pin adds n to the pins of b.
func (b *body) pin(n int) {
	b.bodies.mu.Lock()
	b.pins += n
	b.bodies.mu.Unlock()
}

// keep puts one, whose bytes are all there, into the store.
func (b *bodies) keep(one *body) {
	if b.has(one.number) || !one.Take() {
		return
	}
	b.mu.Lock()
	b.unlist(one) // it may have left while a 304 renewed its record
	isCut := one.isCut
	b.mu.Unlock()
	if isCut {
		one.Release()
		return
	}
	if b.store.Set(one.number, one); b.closed.Load() { // after Set: close may have passed it by
		b.store.Delete(one.number)
	}
}

// close makes the store keep no body any more.
func (b *bodies) close() {
	if b.closed.Store(true); b.store != nil {
		b.store.Purge()
	}
}

// has reports whether the store has a body.
func (b *bodies) has(number uint64) bool {
	_, ok := b.store.Peek(number)
	return ok
}

// take returns the body that a record names, with a reference for the caller; nil: it was evicted.
func (b *bodies) take(number uint64) *body {
	if one, ok := b.store.Get(number); ok && one.Take() {
		return one
	}
	return nil
}

// A body is a content.Body.

// Take adds a reference, unless the file is closed.
func (b *body) Take() bool { return b.refs.Take() }

// File returns the file that has b.
func (b *body) File() (from poller.File, at int64) { return b.file, b.at }

// Ready returns up to where b can be sent, from a byte on.
func (b *body) Ready(from int64) (to int64) {
	if b.disk == nil {
		return math.MaxInt
	}
	return b.disk.Ready(from)
}

// Load reads b, which is on disk, and forgets it where that fails.
func (b *body) Load(from int64) (to int64, err error) {
	if to, err = b.disk.Load(from); err != nil {
		b.bodies.store.Delete(b.number)
	}
	return to, err
}

// Release gives a reference back.
func (b *body) Release() {
	switch {
	case !b.refs.Drop():
	case b.room > closeMax: // freed beside the reactors: 256 MiB take 60 ms
		go b.close()
	default:
		b.close()
	}
}

func (b *body) close() {
	if b.disk != nil {
		b.disk.Close()
	} else {
		b.file.Close()
	}
	all := b.bodies
	all.mu.Lock()
	defer all.mu.Unlock()
	all.unlist(b)
	if !b.isCut {
		all.live.Add(-b.room)
	}
}

// write writes p at an offset to which nothing was written yet. It reports false where the system has no memory.
func (b *body) write(p []byte, at int64) bool {
	for len(p) > 0 {
		n, err := b.file.WriteAt(p, at)
		if err != nil {
			return false
		}
		p, at = p[n:], at+int64(n)
	}
	return true
}
