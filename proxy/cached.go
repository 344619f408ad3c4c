package proxy

import (
	"sync/atomic"

	"github.com/edge-proxy/edge/internal/exchange/recent"
)

// CacheStatus says what a cache did with a request.
type CacheStatus uint8

// What a cache does with a request. Their numbers are also in recent.Flags.
const (
	NoCache          CacheStatus = iota // no cache was asked
	CacheHit                            // a stored answer was sent
	CacheStale                          // a stored answer was sent after its lifetime
	CacheRevalidated                    // a stored answer was sent after the backend had confirmed it
	CacheMiss                           // there was no stored answer to send: the backend was asked
	CacheBypass                         // the request went to the backend as if there were no cache
)

// String returns the word of s in logs; "" for NoCache.
func (s CacheStatus) String() string { return recent.CacheFlags(uint8(s)).Cache() }

// stored reports whether the answer came from the store of the cache.
func (s CacheStatus) stored() bool { return CacheHit <= s && s <= CacheRevalidated }

// answers reports whether the cache was in the place of the destination. It then answers for the backend, also where
// it sends what it has just got from there.
func (s CacheStatus) answers() bool { return CacheHit <= s && s <= CacheMiss }

// CacheReason is why a cache had no stored answer to send, or did not store an answer. Make it once, as a variable of a
// package. Immutable, safe for any goroutine.
type CacheReason struct {
	reason recent.Reason
	number atomic.Uint32 // of reason; 0: not asked for yet
}

// NewCacheReason returns a reason. word is its name in logs, text a clause that says what was so, as in "a purge has
// met it", and try what an operator can do about it; "": nothing is known that helps.
func NewCacheReason(word, text, try string) *CacheReason {
	return &CacheReason{reason: recent.Reason{Word: word, Text: text, Try: try}}
}

// Word returns the name of r in logs; "": r is nil.
func (r *CacheReason) Word() string {
	if r == nil {
		return ""
	}
	return r.reason.Word
}

// noted returns the number of the recent.Reason that r is. r is not nil.
func (r *CacheReason) noted() uint8 {
	n := r.number.Load()
	if n == 0 {
		n = uint32(recent.NumberOf(r.reason))
		r.number.Store(n)
	}
	return uint8(n)
}

// Cached is what a cache did for an exchange.
type Cached struct {
	Status CacheStatus
	Age    int32        // of a stored answer, in seconds; below 0: it is not known. Other answers have none
	Reason *CacheReason // why there was no hit, or with Unstored why the answer was not stored; nil: there is none

	Unstored bool // the backend has answered, and the cache did not store the answer
}

// cachedOf has the Cached of an exchange whose facts.cached is not NoCache.
var cachedOf = NewLocal[Cached]()

// write writes what c says into the record of a request that did not fail. ours: the answer is the proxy's own.
func (c Cached) write(r *recent.Record, ours bool) {
	if c.Status.answers() && !ours {
		r.Flags &^= recent.Own
	}
	if c.Reason != nil {
		if r.Reason, r.Flags = c.Reason.noted(), r.Flags|recent.OfCache; c.Unstored {
			r.Flags |= recent.Unstored
		}
	}
}

// SetCached notes what a cache did for x, in place of what was noted before. On the reactor of x.
func SetCached(x *Exchange, c Cached) {
	if !c.Status.stored() {
		c.Age = -1
	}
	*cachedOf.Of(x) = c
	x.cached = c.Status
}

// CachedOf returns what a cache did for x. By the owner of x.
func CachedOf(x *Exchange) Cached {
	if x.cached == NoCache {
		return Cached{Age: -1}
	}
	return *cachedOf.Of(x)
}
