package recent

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// Span is a time in units of 1.024 µs, which a shift makes of nanoseconds. The longest is 73 minutes.
type Span uint32

const (
	spanBits = 10
	longBits = 30 // of Record.End with Long
	// SpanMax is the longest Span in nanoseconds.
	SpanMax = (1<<32 - 1) << spanBits
)

// SpanOf returns a time in nanoseconds, from 0 to SpanMax, as a Span.
func SpanOf(ns int64) Span { return Span(ns >> spanBits) }

// Bounded returns what SpanOf does, and for any other time the nearest Span.
func Bounded(ns int64) Span { return SpanOf(min(max(ns, 0), SpanMax)) }

// Duration returns s as a time.Duration.
func (s Span) Duration() time.Duration { return time.Duration(s) << spanBits }

// Record is what is remembered of one request, or of one connection of a service below HTTP.
type Record struct {
	ID    uint64 // the second half of its number: the first one belongs to the Page
	Given uint64 // HashOf the number that it came with; 0: none
	Began int64  // reactor time, ns

	// How long each took; 0: there was none.
	Queue, Lookup, Connect, TLS Span

	// When, after the beginning; 0: it never was. Sent is when the backend was given the request: its head, or the last
	// byte of its body. LastByte is the last byte of the backend's answer.
	Sent, FirstByte, LastByte, End Span

	BytesIn, BytesOut uint64 // of bodies

	Route, Upstream, Listener uint32 // numbers of observe.Tag; 0: none

	Tries      [2]Try // the first attempt where there were several, and the last one
	Client     [16]byte
	Port       uint16
	Status     uint16
	Generation uint16 // the last 16 bits of the number of its Snapshot
	Flags      Flags
	Reason     uint8 // a number of Reason, of the cache with OfCache; 0: an ordinary end
	Call       uint8 // 1 and the status of the gRPC call; 0: it is none, or has none
	Attempts   uint8
	Proto      uint8 // as in observe.Record
}

// Flags are facts of a request.
type Flags uint16

// The flags.
const (
	Secured  Flags = 1 << iota // the client's connection has TLS
	Reused                     // the connection to the backend had served before
	Tunnel                     // the exchange became a tunnel
	Own                        // the answer is the proxy's
	Denied                     // another attempt was not made for want of budget
	Hedged                     // a second attempt was made beside the first one
	HedgeWon                   // the second attempt beside the first one has answered first
	Refused                    // it never became an exchange: little is known
	OfCache                    // nothing failed: Reason is a reason of the cache
	Unstored                   // and is why the cache did not store the answer
	Long                       // End counts in units of 1.07 s: see SetTook
	cacheLow                   // the lowest of the three bits of what a cache did
)

// cacheWords are what a cache does with a request, by the number in three bits of Flags.
var cacheWords = [8]string{"", "hit", "stale", "revalidated", "miss", "bypass"}

// CacheFlags returns the Flags of what a cache did, by its number: a proxy.CacheStatus.
func CacheFlags(status uint8) Flags { return Flags(status&7) * cacheLow }

// Cache returns what a cache did with the request: hit, stale, revalidated, miss or bypass; "": there was no cache.
func (f Flags) Cache() string { return cacheWords[f/cacheLow&7] }

// stored reports whether a cache sent an answer that it had.
func (f Flags) stored() bool { return f/cacheLow&7 == 1 || f/cacheLow&7 == 2 }

// Try is one attempt: its backend and what became of it.
type Try struct {
	Backend uint32 // a number of observe.Tag; 0: there was no attempt
	how     uint32 // the outcome in the first 8 bits, then the time
}

// Outcomes of a Try that are no number of a Reason: those from statusOutcome on are statuses from 400 on.
const (
	Answered      uint8 = 0
	statusOutcome uint8 = 128
)

// StatusOutcome returns the outcome of an answer that was replaced by another attempt.
func StatusOutcome(status int) uint8 {
	return uint8(min(max(status-400, 0), 255-int(statusOutcome))) + statusOutcome
}

const (
	coarse    = 1 << 23 // the time is in milliseconds; without it, in microseconds
	fineMax   = coarse - 1
	coarseMax = coarse - 1
)

// MakeTry returns a Try that ended at a time after the beginning.
func MakeTry(backend uint32, outcome uint8, after time.Duration) Try {
	at := uint32(min(after.Microseconds(), fineMax))
	if after > fineMax*time.Microsecond {
		at = coarse | uint32(min(after.Milliseconds(), coarseMax))
	}
	return Try{backend, uint32(outcome)<<24 | at}
}

// Reason returns the number of the Reason for which t ended; 0: it was answered.
func (t Try) Reason() uint8 {
	if n := uint8(t.how >> 24); n < statusOutcome {
		return n
	}
	return 0
}

// Status returns the status of the answer that was replaced; 0: none was. 527 stands for those above it, too.
func (t Try) Status() int {
	if n := uint8(t.how >> 24); n >= statusOutcome {
		return int(n-statusOutcome) + 400
	}
	return 0
}

// After returns when t ended, after the beginning: exact to a millisecond above 8 seconds.
func (t Try) After() time.Duration {
	at := t.how & (coarse<<1 - 1)
	if at&coarse != 0 {
		return time.Duration(at&coarseMax) * time.Millisecond
	}
	return time.Duration(at) * time.Microsecond
}

// SetTook sets End to a time in nanoseconds after the beginning, however long: connections last for days.
func (r *Record) SetTook(ns int64) {
	if r.End = Bounded(ns); ns > SpanMax {
		r.End, r.Flags = Span(ns>>longBits), r.Flags|Long
	}
}

// Took returns End as a time.
func (r *Record) Took() time.Duration {
	if r.Flags&Long != 0 {
		return time.Duration(r.End) << longBits
	}
	return r.End.Duration()
}

// SetClient sets where the client is.
func (r *Record) SetClient(ip netip.Addr, port uint16) {
	r.Client, r.Port = [16]byte{}, 0
	if ip.IsValid() {
		r.Client, r.Port = ip.As16(), port
	}
}

// ClientAddr returns the address of the client; invalid: it has none.
func (r *Record) ClientAddr() netip.AddrPort {
	if r.Client == ([16]byte{}) && r.Port == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16(r.Client).Unmap(), r.Port)
}

var seed = maphash.MakeSeed()

// HashOf returns a hash of the number that a request came with, never 0. Each process has a seed of its own.
func HashOf(id []byte) uint64 { return maphash.Bytes(seed, id) | 1 }
