package upstream

import (
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/base/tally"
)

// Stats are the counters of an Upstream on one reactor, or of all.
type Stats struct {
	Taken       uint64 // exchanges that got an idle connection
	Dialed      uint64 // exchanges that got a fresh one
	DialFailed  uint64 // connections that were never established
	PassedOver  uint64 // addresses that could not be reached in time: see backend.Member.PassOver
	Unasked     uint64 // connections closed because bytes came before the first request
	Surplus     uint64 // connections closed because bytes came after the end of an answer
	Stale       uint64 // parked connections found closed or readable when they were to be taken
	Evicted     uint64 // parked connections closed because the pool was full
	TooOld      uint64 // connections closed because of Options.Lifetime
	WornOut     uint64 // connections closed because of Options.Requests
	Idle        int    // parked now
	Connections int    // open now, parked ones among them

	Wanted     uint64 // idle connections asked of other reactors
	TakenOver  uint64 // exchanges, among Taken, that got one of another reactor
	Given      uint64 // connections given to another reactor
	LateGives  uint64 // connections that came from another reactor when no exchange waited any more
	LostGives  uint64 // connections that did not survive the way, or were not parked when they came late
	WantsLate  uint64 // exchanges that went on because another reactor did not answer in time
	WantsEmpty uint64 // answers of another reactor that had none to give after all

	Shared   int    // HTTP/2 connections among Connections
	GoneAway uint64 // HTTP/2 connections that the backend let end
	Yielded  uint64 // connections that cannot be moved, closed for an exchange that waits on another reactor
	H2       h2.Stats

	Queued        uint64 // exchanges that waited because of Options.PerBackend
	QueueFull     uint64 // exchanges refused because of Options.Queue
	QueueTimeouts uint64 // exchanges refused because of Options.QueueTimeout
	Waiting       int    // exchanges that wait now, for a connection or for a slot
}

// Add adds o to s.
func (s *Stats) Add(o *Stats) { tally.Add(s, o) }
