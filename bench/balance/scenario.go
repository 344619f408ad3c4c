package balance

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// The groups of scenarios.
const (
	GroupJudged  = "judged"   // what the bars are about
	GroupFailing = "failing"  // backends that answer 503 at once
	GroupChecked = "checked"  // held out at first; the clip of answers was chosen after a look at these
	GroupHeldOut = "held out" // one constant was chosen by these: how fast latency grows
	GroupLimit   = "limit"    // where adaptive is not the method to use
	GroupPolicy  = "policy"   // zones, slow start and hedging, beside the same without
	GroupOwn     = "own"      // a user's numbers
)

// Scenario is a pool of backends, the requests that come, and what goes wrong.
// Immutable.
type Scenario struct {
	Name     string
	Group    string
	What     string
	Members  []int   // the sizes of the pool that it is run with
	Workers  []int   // requests that a backend serves at a time; repeated over the pool
	Weights  []int   // repeated over the pool
	Service  Service // of a request
	Load     float64 // part of what the backends can serve to which nothing happens
	OfAll    bool    // Load is a part of what all of them can serve
	Wave     Wave
	Troubles []Trouble
	Polls    float64       // part of the requests that wait for an event, without a worker
	PollWait time.Duration // how long these wait, exponential
	Seconds  float64       // simulated at the least, unless these are too many requests
	Zones    []Zone        // each with an edge of its own; nil: one edge, and no zones
	Policy   Policy
	Stops    bool // a backend does not go on with a request that is taken back
}

// Wave is a rate of requests that goes up and down. The zero value is a constant one.
type Wave struct {
	Period float64 // s; 0: there is none
	High   float64 // s of each period in which the rate is Factor times its mean; 0: a sine
	Factor float64 // above 1
}

// at returns the rate at a time, as a part of the mean one.
func (w Wave) at(ns int64) float64 {
	switch t := math.Mod(float64(ns)/1e9, max(w.Period, 1e-9)); {
	case w.Period == 0:
		return 1
	case w.High == 0:
		return 1 + (w.Factor-1)*math.Sin(2*math.Pi*t/w.Period)
	case t < w.High:
		return w.Factor
	}
	return (w.Period - w.High*w.Factor) / (w.Period - w.High)
}

// The kinds of trouble.
const (
	slower  = "slower"  // requests take Factor times as long
	warming = "warming" // the same, and Factor falls to 1 evenly in For seconds
	failing = "failing" // 503 after 0.1 ms, to a part Factor of the requests, or to all when it is 0
	stalled = "stalled" // no worker does anything
	pausing = "pausing" // stalled for For seconds at random moments, Every seconds apart on average
	hanging = "hanging" // a part Factor of the requests takes For seconds more and needs no worker; it lasts
	closed  = "closed"  // the proxy has been told that it is not there
)

// Trouble is what happens to Count of the backends, or to a Part of them, one at least.
type Trouble struct {
	Kind   string
	First  int // the backend that it begins with
	Count  int
	Part   float64 // of the backends; it counts when Count is 0
	Factor float64
	Period float64 // s; 0: it lasts
	From   float64 // s after the begin of each period
	For    float64 // s
}

// hits returns the backends that t happens to: from first to below last.
func (t *Trouble) hits(members int) (first, last int) {
	return t.First, min(t.First+max(1, t.Count, int(t.Part*float64(members))), members)
}

func (t *Trouble) active(ns int64) bool {
	if t.Period == 0 {
		return true
	}
	at := math.Mod(float64(ns)/1e9, t.Period)
	return at >= t.From && at < t.From+t.For
}

// part returns how much of For has passed at a time at which it is active.
func (t *Trouble) part(ns int64) float64 {
	return (math.Mod(float64(ns)/1e9, t.Period) - t.From) / t.For
}

// troubled returns how many backends something happens to.
func (s *Scenario) troubled(members int) int {
	most := 0
	for i := range s.Troubles {
		if s.Troubles[i].Kind != pausing {
			_, last := s.Troubles[i].hits(members)
			most = max(most, last)
		}
	}
	return most
}

// rate returns the requests a second.
func (s *Scenario) rate(members int) float64 {
	from := s.troubled(members)
	if s.OfAll {
		from = 0
	}
	workers := 0
	for i := from; i < members; i++ {
		workers += s.Workers[i%len(s.Workers)]
	}
	work := s.Service.Mean.Seconds() * (1 - s.Polls)
	return s.Load * float64(workers) / work
}

// The requests of a run.
const (
	requestsLeast = 120_000
	requestsMost  = 400_000
)

func (s *Scenario) requests(members int, scale float64) int {
	return int(min(max(requestsLeast, s.rate(members)*s.Seconds), requestsMost) * scale)
}

// period returns the period of what happens, in seconds; 0 when nothing comes and goes.
func (s *Scenario) period() float64 {
	for i := range s.Troubles {
		if t := &s.Troubles[i]; t.Period > 0 && t.Kind != pausing {
			return t.Period
		}
	}
	return 0
}

func (s *Scenario) hangs() bool {
	return slices.ContainsFunc(s.Troubles, func(t Trouble) bool { return t.Kind == hanging })
}

// pauses returns when a backend does nothing, in order, up to a time.
func (s *Scenario) pauses(i, members int, until int64, r *rand.Rand) (list []span) {
	for k := range s.Troubles {
		t := &s.Troubles[k]
		first, last := t.hits(members)
		if i < first || i >= last {
			continue
		}
		switch t.Kind {
		case stalled:
			for at := t.From; int64(at*1e9) < until; at += t.Period {
				list = append(list, span{int64(at * 1e9), int64((at + t.For) * 1e9)})
			}
		case pausing:
			for at := t.Period * r.ExpFloat64(); int64(at*1e9) < until; at += t.For + t.Period*r.ExpFloat64() {
				list = append(list, span{int64(at * 1e9), int64((at + t.For) * 1e9)})
			}
		}
	}
	return list
}

// span is a time from to before until, in ns.
type span struct{ from, until int64 }
