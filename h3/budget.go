package h3

import "github.com/edge-proxy/edge/internal/base/budget"

// abuse is a kind of useless work that is bounded by a leaky bucket.
type abuse uint8

const (
	rapidReset abuse = iota
	madeYouReset
	unknownFlood
	priorityFlood
	emptyFlood

	abuseCount
)

// budgets say what each kind of abuse may cost, and how the connection ends above it.
var budgets = [abuseCount]budget.Rule[Stats, Error]{
	// CVE-2023-44487: a stream is opened and reset at once, and costs us a request each time. The head of an answer
	// pays for one.
	rapidReset: budget.NewRule(400, 40, errRapidReset, func(s *Stats) *uint64 { return &s.RapidReset }),
	// CVE-2025-8671: the same attack, with a reset that the peer makes us send.
	madeYouReset: budget.NewRule(200, 20, errMadeYouReset, func(s *Stats) *uint64 { return &s.MadeYouReset }),
	// Frames and streams of unknown types, and frames that change nothing.
	unknownFlood:  budget.NewRule(1000, 100, errUnknownFlood, func(s *Stats) *uint64 { return &s.UnknownFlood }),
	priorityFlood: budget.NewRule(1000, 100, errPriorityFlood, func(s *Stats) *uint64 { return &s.PriorityFlood }),
	// DATA frames without content. Those with content pay for one each.
	emptyFlood: budget.NewRule(100, 10, errEmptyFlood, func(s *Stats) *uint64 { return &s.EmptyFlood }),
}

// spend takes one of the budget of k, and returns the fault when that is not allowed.
func (c *Conn) spend(k abuse) *Error { return budgets[k].Charge(&c.buckets[k], &c.arena.Stats, c.now) }
