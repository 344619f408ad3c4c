package cache

import "sync/atomic"

// knownURLs are the names of the URLs for which answers may be stored. An unsafe request to another URL ends nothing:
// else clients would fill the table of purged names, and end all answers, by URLs of their choice. It lies in memory
// that all processes have, so nothing of it is handed over. Names stay for as long as the processes do. Safe for any
// goroutine.
//
//	unsafe request   raises ended ─► notes its purge where the name is known
//	stored answer    its name is known ─► not stored where ended is later than the request for it
type knownURLs struct {
	any   atomic.Uint32 // 1: all names count as known, since an earlier process has filled the disk
	last  atomic.Uint64 // the greatest of ended
	ended [1 << 16]atomic.Uint64
	// bits is a Bloom filter with three bits for a name, in one word: a stored answer reads one cache line more. With 5
	// million names, one of 18 others counts as known.
	bits [1 << 19]atomic.Uint64
}

// bitsOf returns the word of n, and its bits there.
func (u *knownURLs) bitsOf(n uint64) (word *atomic.Uint64, bits uint64) {
	return &u.bits[n>>2%uint64(len(u.bits))], 1<<(n>>40%64) | 1<<(n>>46%64) | 1<<(n>>52%64)
}

// add makes the URL n known.
func (u *knownURLs) add(n uint64) {
	if word, bits := u.bitsOf(n); word.Load()&bits != bits {
		word.Or(bits)
	}
}

// knows reports whether answers may be stored for the URL n.
func (u *knownURLs) knows(n uint64) bool {
	word, bits := u.bitsOf(n)
	return word.Load()&bits == bits || u.any.Load() != 0
}

// endedAt returns the stamp of the last unsafe request to the URL n, or to others that share the place.
func (u *knownURLs) endedAt(n uint64) *atomic.Uint64 {
	return &u.ended[n>>8%uint64(len(u.ended))]
}

// change notes an unsafe request to the URL n. It reports whether answers may be stored for that.
func (u *knownURLs) change(n uint64, stamp uint64) bool {
	raise(u.endedAt(n), stamp)
	raise(&u.last, stamp)
	return u.knows(n)
}

// raise sets v to n where v is less.
func raise(v *atomic.Uint64, n uint64) {
	for old := v.Load(); old < n && !v.CompareAndSwap(old, n); old = v.Load() {
	}
}
