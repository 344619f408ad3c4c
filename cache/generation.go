package cache

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/edge-proxy/edge/message"
)

// generations says which stored answers count no more, since a later request has changed what is at their URL. The
// store is not searched for them. Requests to backends and invalidations are numbered in one order, by stamps. A
// slot has the stamp of the last invalidation of its URLs; answers that were asked for before that one are dead. URLs
// that share a slot end each other's answers, which costs a request to the backend and is never wrong.
// Safe for any goroutine.
type generations struct {
	seed  maphash.Seed
	stamp atomic.Uint64   // the last one
	ended atomic.Uint64   // of the last invalidation
	slots []atomic.Uint64 // a power of two
}

// urls are two hashes of the URL of a request: of the authority that the client asked for, with the path as routes see
// it; and of the authority and the path that the backend is sent.
type urls [2]uint64

const (
	slotShare = 512 // a slot for so many bytes of the store: the slots take a 64th of it
	slotsMin  = 1 << 12
	slotsMax  = 1 << 20
)

func (g *generations) init(memory int64) {
	n := slotsMin
	for n < slotsMax && int64(n)*slotShare < memory {
		n *= 2
	}
	g.seed, g.slots = maphash.MakeSeed(), make([]atomic.Uint64, n)
}

func (g *generations) slot(url uint64) *atomic.Uint64 { return &g.slots[url&uint64(len(g.slots)-1)] }

// next returns the stamp of an answer that is asked for now.
func (g *generations) next() uint64 { return g.stamp.Add(1) }

// end makes answers for a URL dead that were asked for before. The change has been made when end is called, so answers
// that are asked for while it runs may count or not.
func (g *generations) end(url uint64) {
	n := g.next()
	raise(g.slot(url), n)
	raise(&g.ended, n)
}

// raise sets v to n where v is less.
func raise(v *atomic.Uint64, n uint64) {
	for old := v.Load(); old < n && !v.CompareAndSwap(old, n); old = v.Load() {
	}
}

// dead reports whether an answer with that stamp counts no more for a request.
func (g *generations) dead(stamp uint64, of urls) bool {
	return g.slot(of[0]).Load() > stamp || g.slot(of[1]).Load() > stamp
}

// hash returns the hash of a URL. The scheme and the port do not count.
func (g *generations) hash(authority, path, query []byte) uint64 {
	host, _, ok := message.SplitAuthority(authority)
	if !ok {
		host = authority
	}
	var lower [256]byte
	var h maphash.Hash
	h.SetSeed(g.seed)
	_, _ = h.Write(message.AppendLower(lower[:0], host))
	_, _ = h.Write(path)
	_ = h.WriteByte('?')
	_, _ = h.Write(query)
	return h.Sum64()
}
