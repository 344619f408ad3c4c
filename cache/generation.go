package cache

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/edge-proxy/edge/message"
)

// generations says which stored answers count no more, since a later request has changed what is at their URL. The
// store is not searched for them. Invalidations are numbered. A slot has the number of the last invalidation of its
// URLs; answers that were asked for before that one are dead. URLs that share a slot end each other's answers, which
// costs a request to the backend and is never wrong.
// Safe for any goroutine.
type generations struct {
	seed  maphash.Seed
	last  atomic.Uint64   // number of the last invalidation
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

// now returns the generation of answers that are asked for from now on.
func (g *generations) now() uint64 { return g.last.Load() }

// end makes answers for a URL dead that were asked for before. The change has been made when end is called, so answers
// that are asked for while it runs may count or not.
func (g *generations) end(url uint64) {
	slot, n := g.slot(url), g.last.Add(1)
	for {
		if old := slot.Load(); old >= n || slot.CompareAndSwap(old, n) {
			return
		}
	}
}

// dead reports whether an answer that was asked for in a generation counts no more for a request.
func (g *generations) dead(generation uint64, of urls) bool {
	return g.slot(of[0]).Load() > generation || g.slot(of[1]).Load() > generation
}

// hash returns the hash of a URL. The scheme and the port do not count.
func (g *generations) hash(authority, path, query []byte) uint64 {
	host, _, ok := message.SplitAuthority(authority)
	if !ok {
		host = authority
	}
	var lower [256]byte
	n := copy(lower[:], host)
	for i, c := range lower[:n] {
		if 'A' <= c && c <= 'Z' {
			lower[i] |= 0x20
		}
	}
	var h maphash.Hash
	h.SetSeed(g.seed)
	_, _ = h.Write(lower[:n])
	_, _ = h.Write(path)
	_ = h.WriteByte('?')
	_, _ = h.Write(query)
	return h.Sum64()
}
