package policy

import "time"

// Rules are what a route says about storing and reusing its answers. The zero value follows RFC 9111 and is careful
// with cookies. StaleWhile and StaleOnError are for answers that state no such times.
// Immutable once it is used.
type Rules struct {
	TTL          []StatusTTL   // lifetimes by status, for answers that state none
	ObeyTTL      bool          // TTL comes before what an answer states
	TTLMax       time.Duration // bounds every lifetime; 30 days if zero
	HeuristicMax time.Duration // bounds a lifetime that is estimated from Last-Modified; 1 hour if zero
	Cookies      Cookies
	SetCookie    SetCookie
	Targeted     []string      // names of targeted fields (RFC 9213) in lower case; the first valid one counts
	StaleWhile   time.Duration // how long after its lifetime an answer is used while it is renewed
	StaleOnError time.Duration // how long after its lifetime an answer is used where no backend answers
	Honour       bool          // directives of requests count
	KnownOnly    bool          // answers to requests with fields outside of a list are not stored
	Known        []string      // names, in lower case, of fields in that list beside those that many requests have
}

// StatusTTL is the lifetime of answers with that status.
type StatusTTL struct {
	Status uint16
	For    time.Duration
}

// Cookies says what a Cookie of a request means for its answer.
type Cookies uint8

// What a Cookie means.
const (
	Careful Cookies = iota // the answer has to state a lifetime, or it is not stored
	Ignore                 // nothing
)

// SetCookie says what happens to an answer with Set-Cookie.
type SetCookie uint8

// What happens to an answer with Set-Cookie.
const (
	Skip  SetCookie = iota // it is not stored
	Strip                  // it is stored without the field
	Store                  // it is stored with the field
)
