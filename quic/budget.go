package quic

import "github.com/edge-proxy/edge/internal/base/budget"

// abuse is a kind of useless work that is bounded by a leaky bucket.
type abuse uint8

const (
	idleFrames abuse = iota
	keyUpdates

	abuseCount
)

// budgets say what each kind of abuse may cost, and how the connection ends above it.
var budgets = [abuseCount]budget.Rule[Stats, Error]{
	// PING, MAX_… that raise nothing, packets of PADDING alone: each costs us a packet to open and one to acknowledge.
	idleFrames: budget.NewRule(10_000, 1_000, errIdleFrames, func(s *Stats) *uint64 { return &s.IdleFrames }),
	// Each makes us derive keys.
	keyUpdates: budget.NewRule(10, 1, errKeyUpdates, func(s *Stats) *uint64 { return &s.KeyUpdates }),
}
