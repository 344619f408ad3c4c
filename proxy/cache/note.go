package cache

import (
	"strconv"

	"github.com/edge-proxy/edge/internal/cache/disk"
	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// reasons are the reasons of package policy as exchanges have them.
var reasons = func() (all [policy.ReasonCount]*proxy.CacheReason) {
	for r := policy.ReasonNone + 1; r < policy.ReasonCount; r++ {
		text, try := r.Explain()
		all[r] = proxy.NewCacheReason(r.String(), text, try)
	}
	return all
}()

// RouteCounts are how many requests of a route had each proxy.CacheStatus. Safe for any goroutine.
type RouteCounts struct{ cells []routeCell }

type routeCell struct {
	status [proxy.CacheBypass + 1]observe.Counter
}

// NewRouteCounts makes counters for the routes of one name. They outlive a configuration.
func (z *Zone) NewRouteCounts() *RouteCounts { return &RouteCounts{make([]routeCell, len(z.locals))} }

// Of returns how many requests had s.
func (c *RouteCounts) Of(s proxy.CacheStatus) (n uint64) {
	for i := range c.cells {
		n += c.cells[i].status[s].Load()
	}
	return n
}

// counts are the counters of a Zone on one reactor. Any goroutine may read them.
type counts struct {
	begun, followers observe.Counter
	stored, refused  observe.Counter
	purged           observe.Counter
	ended            [failed + 1]observe.Counter
	reasons          [policy.ReasonCount]observe.Counter
}

// Stats are the counters of a Zone.
type Stats struct {
	Fills     uint64               // requests to backends for an answer that others may follow
	Followers uint64               // requests that waited for the answer to another one
	Stored    uint64               // answers that the store took
	Refused   uint64               // and those that it did not: each is larger than what it would displace is worth
	Purged    uint64               // and those that were purged on their way
	Passed    uint64               // answers that policy does not store
	Cut       uint64               // and those that the backend ended before their end
	Failed    uint64               // fills without an answer
	Evicted   uint64               // records that gave way to others
	Objects   int                  // records
	Bytes     int64                // that the store takes, and the buffers of fills
	Bodies    int                  // bodies in files, which records name
	BodyBytes int64                // that bodies in files take: stored, on their way, or still being sent
	Purges    [PurgeAll + 1]uint64 // that were asked for, by PurgeKind
	Reasons   [policy.ReasonCount]uint64

	Taken   uint64 // records that the process before has handed over
	Dropped uint64 // and those that are not stored: see Zone.Take

	Disk disk.Stats // zero while none is open

	PurgesRefused uint64 // requests with the method PURGE
	BodiesEvicted uint64 // bodies in files that gave way to others
}

// Stats adds up the counters of all reactors.
func (z *Zone) Stats() (s Stats) {
	for i := range z.counts {
		c := &z.counts[i]
		s.Fills += c.begun.Load()
		s.Followers += c.followers.Load()
		s.Stored += c.stored.Load()
		s.Refused += c.refused.Load()
		s.Purged += c.purged.Load()
		s.Passed += c.ended[passed].Load()
		s.Cut += c.ended[cut].Load()
		s.Failed += c.ended[failed].Load()
		for r := range s.Reasons {
			s.Reasons[r] += c.reasons[r].Load()
		}
	}
	s.Taken, s.Dropped = z.takeover.taken.Load(), z.takeover.dropped.Load()
	for k := range s.Purges {
		s.Purges[k] = z.generations.kinds[k].count.Load()
	}
	s.PurgesRefused = z.refused.Load()
	s.Evicted, s.Objects = z.records.Stats().Evictions, z.records.Len()
	s.Bytes, s.BodyBytes = z.records.Memory()+z.filling.Load(), z.bodies.live.Load()
	if d := z.disk.now.Load(); d != nil {
		s.Disk = d.Stats()
	}
	if b := z.bodies.store; b != nil {
		s.Bodies, s.BodiesEvicted = b.Len(), b.Stats().Evictions
	}
	return s
}

// status is what Cache-Status says of an answer: RFC 9211 §2.
type status struct {
	forwarded string        // why the request went to the backend; "": it is a hit
	ttl       int64         // of a hit, s
	code      uint16        // that the backend answered
	more      string        // further parameters
	why       policy.Reason // its word is the detail
}

// tell adds what the cache did to an answer.
func (l *local) tell(of *Route, h *message.Head, s status) {
	if of.NoStatus {
		return
	}
	t := append(l.text[:0], l.zone.name...)
	if s.forwarded == "" {
		t = strconv.AppendInt(append(t, "; hit; ttl="...), s.ttl, 10)
	} else {
		t = append(append(t, "; fwd="...), s.forwarded...)
		t = strconv.AppendInt(append(t, "; fwd-status="...), int64(s.code), 10)
	}
	if t = append(t, s.more...); s.why != policy.ReasonNone {
		t = append(append(t, "; detail="...), s.why.String()...)
	}
	l.text = t
	h.AddBytes(message.Other, "Cache-Status", t)
}
