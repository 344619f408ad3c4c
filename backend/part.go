package backend

import (
	"math"
	"slices"
	"time"

	"github.com/edge-proxy/edge/internal/invariant"
)

// PartOf is what has a member take only a part of its weight. Each has one writer.
type PartOf uint8

// What takes parts of weights, beside the slow start of Policy.
const (
	partStart    PartOf = iota // slow start
	partZone                   // its zone; the largest one of a tier is 1
	PartAgent                  // what the backend says of itself
	PartOperator               // what an operator says
	partCount
)

// parts are the parts of its weight that a member takes, 0 to 1 each. Their product counts.
type parts [partCount]float64

// whole is the parts of a member that takes all of its weight.
var whole = parts{1, 1, 1, 1}

// product returns the part that is left of all.
func (p *parts) product() float64 {
	part := 1.0
	for _, one := range p {
		part *= one
	}
	return part
}

// How often what turns and draws go by is made anew.
const (
	startSteps   = 32 // of a slow start, for methods that look at load
	startTurns   = 8  // of a slow start, for turns and draws
	startLeast   = 0.1
	renewalPause = 10 * time.Millisecond // at the least, for parts
)

// pace is what a Set has to do at a time.
// Guarded by Set.mu.
//
//	m in starting, once  <=>  m.started is not zero
//	starting or stale  =>  due is not zero
type pace struct {
	starting []*Member        // those whose started is not zero
	step     time.Time        // when they take their next step
	stale    uint8            // tiers in which parts have changed: a set of bits
	timer    *time.Timer      // calls Set.keepPace; nil: never armed
	due      time.Time        // when it does; zero: it does not
	clock    func() time.Time // of a simulation; nil: that of the system
}

// Simulate has s go by clock, not by the time of the system, in all that its Policy does by and by. s arms no timer
// then: keep does what has become due, and is to be called whenever time has passed. It is for simulations and benches,
// which call it before anything else uses s.
func (s *Set) Simulate(clock func() time.Time) (keep func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pace.clock = clock
	return s.keepPace
}

// time returns the time that slow starts go by. mu is held.
func (p *pace) time() time.Time {
	if p.clock != nil {
		return p.clock()
	}
	return time.Now()
}

// SetPart has m take a part of its weight, from 0 to 1, until the next call for the same of; parts for several of them
// are multiplied. It reports whether that is news. Methods that look at load follow at once, turns and draws within 10
// ms. Requests whose key leads to m still come, as do those that no other member can have: a Reason keeps them away.
// A member that joins takes all of its weight.
func (m *Member) SetPart(of PartOf, part float64) (changed bool) {
	s := m.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if part = min(max(part, 0), 1); m.gone || m.parts[of] == part {
		return false
	}
	m.parts[of] = part
	s.scale(m)
	s.pace.stale |= 1 << m.tier
	s.arm(s.pace.time().Add(renewalPause))
	return true
}

// Part returns the part of its weight that m takes now, from 0 to 1.
func (m *Member) Part() float64 {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	return m.parts.product()
}

// Of returns the part that the last SetPart for the same of has given m: 1 without one.
func (of PartOf) Of(m *Member) float64 {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	return m.parts[of]
}

// start has m, which serves from now on, take its weight by and by. mu is held.
func (s *Set) start(m *Member) {
	if s.policy.SlowStart <= 0 || !m.started.IsZero() {
		return
	}
	m.started = s.pace.time()
	m.parts[partStart] = startLeast
	s.pace.starting = append(s.pace.starting, m)
	s.scale(m)
	if p := &s.pace; len(p.starting) == 1 {
		p.step = m.started.Add(s.startStep())
	}
	s.arm(s.pace.step)
}

// startStep returns the time between two steps of a slow start.
func (s *Set) startStep() time.Duration { return max(s.policy.SlowStart/startSteps, renewalPause) }

// endStart has m take all of its weight, as far as it starts slowly. mu is held.
func (s *Set) endStart(m *Member) {
	if m.started.IsZero() {
		return
	}
	s.endStarts(func(other *Member) bool { return other == m })
}

// endStarts does so with those that start slowly for which ends returns true. mu is held.
func (s *Set) endStarts(ends func(m *Member) bool) {
	s.pace.starting = slices.DeleteFunc(s.pace.starting, func(m *Member) bool {
		if !ends(m) {
			return false
		}
		m.started = time.Time{}
		m.parts[partStart] = 1
		if !m.gone {
			s.scale(m)
		}
		return true
	})
}

// endCrowdedStart ends the slow start of a tier in which those that start have more than half of the weight: the others
// would get all of its requests meanwhile. mu is held.
func (s *Set) endCrowdedStart(tier int, members []*Member) {
	if len(s.pace.starting) == 0 {
		return
	}
	starting, open := 0, 0
	for _, m := range members {
		if m == nil || m.tier != tier || m.Reasons() != 0 {
			continue
		}
		if open += m.weight; !m.started.IsZero() {
			starting += m.weight
		}
	}
	if 2*starting <= open {
		return
	}
	s.endStarts(func(m *Member) bool { return m.tier == tier })
}

// arm has keepPace called at a time, or before. mu is held.
func (s *Set) arm(at time.Time) {
	p := &s.pace
	if !p.due.IsZero() && !at.Before(p.due) {
		return
	}
	p.due = at
	if p.clock != nil {
		return // the simulation calls keepPace
	}
	if p.timer == nil {
		p.timer = time.AfterFunc(time.Until(at), s.keepPace)
		return
	}
	p.timer.Reset(time.Until(at))
}

// keepPace makes tiers anew in which parts have changed, after the next step of slow starts if that is due.
func (s *Set) keepPace() {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.pace
	now := p.time()
	if p.due.IsZero() || now.Before(p.due) {
		return // it was armed again meanwhile
	}
	p.due = time.Time{}
	if len(p.starting) > 0 && !now.Before(p.step) {
		s.stepStarts(now)
	}
	if p.stale != 0 {
		s.renew(p.stale)
		p.stale = 0
	}
	if len(p.starting) > 0 {
		s.arm(p.step)
	}
	s.checkPace()
}

// checkPace panics when an invariant of pace does not hold. mu is held.
func (s *Set) checkPace() {
	if !invariant.On {
		return
	}
	p, starting := &s.pace, 0
	for _, m := range s.now.Load().members {
		if m != nil && !m.started.IsZero() {
			starting++
			invariant.That(slices.Contains(p.starting, m), "a member starts slowly, and nothing goes on with that")
		}
	}
	invariant.That(len(p.starting) == starting, "%d members start slowly, not %d", starting, len(p.starting))
	invariant.That(starting == 0 && p.stale == 0 || !p.due.IsZero(), "nobody goes on with slow starts")
}

// stepStarts goes on with slow starts. mu is held.
func (s *Set) stepStarts(now time.Time) {
	p := &s.pace
	p.step = now.Add(s.startStep())
	s.endStarts(func(m *Member) (ends bool) {
		steps := math.Floor(startSteps * float64(now.Sub(m.started)) / float64(s.policy.SlowStart))
		part := min(max(startLeast, steps/startSteps), 1)
		if turnPart(part) != turnPart(m.parts[partStart]) {
			p.stale |= 1 << m.tier
		}
		if m.parts[partStart] = part; steps < startSteps {
			s.scale(m)
		}
		return steps >= startSteps
	})
}

// scale has the methods that look at load know the part that m takes. mu is held.
func (s *Set) scale(m *Member) { s.loads.Scale(m.slot, max(m.parts.product(), partLeast)) }

// partLeast stands for a part of 0, where there has to be one.
const partLeast = 1.0 / (1 << 16)

// turnPart returns what turns and draws make of a part of a slow start: it changes by eighths.
func turnPart(part float64) float64 { return max(math.Floor(startTurns*part), 1) / startTurns }

// turnPart returns the part of its weight by which m gets turns. set.mu is held.
func (m *Member) turnPart() float64 {
	p := m.parts
	p[partStart] = turnPart(p[partStart])
	return p.product()
}

// weightsOf returns what turns and draws of a tier go by, by slot; nil: the weights of its members. Set.mu is held.
func weightsOf(tier int, members []*Member) []uint32 {
	scaled := func(m *Member) bool { return m != nil && m.tier == tier && m.parts != whole }
	if !slices.ContainsFunc(members, scaled) {
		return nil
	}
	shares := make([]float64, len(members))
	for i, m := range members {
		if m != nil && m.tier == tier {
			shares[i] = float64(m.weight) * m.turnPart()
		}
	}
	return integers(shares)
}

// Weights as integers: small ones if they can be exact, since the cycle of turns is as long as their sum.
const (
	factorMost = 128     // that exact ones are multiplied by
	largest    = 1 << 20 // of those that are not exact
)

// integers returns weights in the proportions of shares. Above 0 stays above 0.
func integers(shares []float64) []uint32 {
	const off = 1e-6
	weights, odd := make([]uint32, len(shares)), 0
	for factor := 1.0; factor <= factorMost; factor++ {
		// Of thousands, one share may need a factor that there is not: it alone is tried with all of them.
		if x := shares[odd] * factor; math.Abs(x-math.Round(x)) > off {
			continue
		}
		if odd = multiply(weights, shares, factor, off); odd < 0 {
			return weights
		}
	}
	multiply(weights, shares, largest/max(slices.Max(shares), partLeast), 1)
	return weights
}

// multiply makes weights the shares times a factor. It returns the index of the first that is further than that from an
// integer, where it ends, else -1.
func multiply(weights []uint32, shares []float64, factor, off float64) (odd int) {
	for i, share := range shares {
		x := share * factor
		if weights[i] = uint32(x + 0.5); share > 0 && weights[i] == 0 {
			weights[i] = 1
		}
		if math.Abs(float64(weights[i])-x) > off {
			return i
		}
	}
	return -1
}
