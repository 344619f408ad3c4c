package proxy

import (
	"github.com/edge-proxy/edge/internal/forward"
	"github.com/edge-proxy/edge/internal/match/regex"
)

// Stats are the counters of a Proxy on one reactor, or of all.
type Stats struct {
	Exchanges    uint64
	Answered     [6]uint64 // final answers by the first digit of their status
	Own          uint64    // answers of the proxy's own, faults among them
	Cut          uint64    // answers that were cut off because the backend failed after the head
	ClientGone   uint64    // exchanges whose client left
	LateResumes  uint64    // Resume of an exchange that was over or not parked
	Panics       uint64    // filters and handlers that panicked
	Shed         uint64    // refused under memory pressure or because the offload pool was full
	ShedRequests uint64    // refused because backends had as many requests as they may
	ShedAdaptive uint64    // refused because backends take no more at present
	ShedPending  uint64    // refused because too many waited for a backend
	TooLarge     uint64    // request bodies above the listener's limit
	Tunnels      uint64    // exchanges that became tunnels
	TunnelsIdle  uint64    // tunnels closed because nothing came through them
	Expired      uint64    // exchanges that took longer than Route.Timeout
	InterimsLost uint64    // 1xx heads above the limit of an exchange
	Refused      uint64    // requests that the session refused
	Loops        uint64    // requests that went in circles
	Logs         LogStats
	Language     Language
	Subs         uint64 // sub-requests
	BodiesCut    uint64 // requests with a member that may be in a part of the body that was not read: see lang.Body
	SubsDropped  uint64 // sub-requests without a parent that were not made
	Active       int
	forward.Stats
}

// Hedges are the counters of second attempts.
type Hedges = forward.Hedges

// LogStats counts the exchanges of listeners and routes that have an access log.
type LogStats struct {
	Written  uint64 // that were given to it
	Sampled  uint64 // that were not, by LogChoice.Sample
	Unwanted uint64 // that were not, by LogChoice.When
	Unlogged uint64 // that were not, by Unlog
}

// Language are counters of the evaluations of conditions and templates.
type Language struct {
	Cut      uint64      // see lang.State.Cut
	Patterns regex.Stats // of regular expressions
}
