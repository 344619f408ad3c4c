package backend

import (
	"math"
	"slices"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// PartOf is a reason for which a member takes only a part of its weight. Each has one writer.
type PartOf uint8

// What takes parts of weights, beside the slow start of Policy.
const (
	partStart    PartOf = iota // slow start
	partZone                   // its zone; the largest one of a tier is 1
	PartAgent                  // what the backend says of itself
	PartOperator               // what an operator says
	partCount
)

// weightParts are the parts of its weight that a member takes, 0 to 1 each. Their product counts.
type weightParts [partCount]float64

// fullWeight is the parts of a member that takes all of its weight.
var fullWeight = weightParts{1, 1, 1, 1}

func (p *weightParts) product() float64 {
	part := 1.0
	for _, one := range p {
		part *= one
	}
	return part
}

// How often what turns and draws go by is made anew.
const (
	slowStartSteps = 32 // of a slow start, for methods that look at load
	slowStartTurns = 8  // of a slow start, for turns and draws
	slowStartLeast = 0.1
	renewalPause   = 10 * time.Millisecond // at the least, for parts
)

// schedule is what a Set does later, and when.
// Guarded by Set.mu.
//
//	m in starting, once  <=>  m.started is not zero
//	starting or stale  =>  due is not zero
type schedule struct {
	starting   []*Member        // those whose started is not zero
	step       time.Time        // when they take their next step
	staleTiers uint8            // tiers in which parts have changed: a set of bits
	timer      *time.Timer      // calls Set.keepPace; nil: never armed
	due        time.Time        // when it does; zero: it does not
	clock      func() time.Time // of a simulation; nil: the system's
}

// Simulate makes clock the time of s, in place of the time of the system, in all that its Policy does by and by. s
// arms no timer then: keep does what has become due, and is to be called whenever time has passed. It is for
// simulations and benches, which call it before anything else uses s.
func (s *Set) Simulate(clock func() time.Time) (keep func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schedule.clock = clock
	return s.runSchedule
}

// now returns the time that slow starts go by. mu is held.
func (p *schedule) now() time.Time {
	if p.clock != nil {
		return p.clock()
	}
	return time.Now()
}

// SetPart sets which part of its weight m takes, from 0 to 1, until the next call for the same of; parts for several
// of them are multiplied. It reports whether that is news. Methods that look at load follow at once, turns and draws
// within 10 ms. Requests whose key leads to m still come, as do those that no other member can have: a Reason keeps
// them away. A member that joins takes all of its weight.
func (m *Member) SetPart(of PartOf, part float64) (changed bool) {
	s := m.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if part = min(max(part, 0), 1); m.gone || m.parts[of] == part {
		return false
	}
	m.parts[of] = part
	s.publishPart(m)
	s.schedule.staleTiers |= 1 << m.tier
	s.scheduleAt(s.schedule.now().Add(renewalPause))
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

// beginSlowStart begins the slow start of m, which serves from now on: it takes its weight by and by. mu is held.
func (s *Set) beginSlowStart(m *Member) {
	if s.policy.SlowStart <= 0 || !m.started.IsZero() {
		return
	}
	m.started = s.schedule.now()
	m.parts[partStart] = slowStartLeast
	s.schedule.starting = append(s.schedule.starting, m)
	s.publishPart(m)
	if p := &s.schedule; len(p.starting) == 1 {
		p.step = m.started.Add(s.slowStartStep())
	}
	s.scheduleAt(s.schedule.step)
}

func (s *Set) slowStartStep() time.Duration {
	return max(s.policy.SlowStart/slowStartSteps, renewalPause)
}

// endSlowStart ends the slow start of m, if it has one. mu is held.
func (s *Set) endSlowStart(m *Member) {
	if m.started.IsZero() {
		return
	}
	s.endSlowStarts(func(other *Member) bool { return other == m })
}

// endSlowStarts does so with those that start slowly for which ends returns true. mu is held.
func (s *Set) endSlowStarts(ends func(m *Member) bool) {
	s.schedule.starting = slices.DeleteFunc(s.schedule.starting, func(m *Member) bool {
		if !ends(m) {
			return false
		}
		m.started = time.Time{}
		m.parts[partStart] = 1
		if !m.gone {
			s.publishPart(m)
		}
		return true
	})
}

// endCrowdedSlowStart ends the slow start of a tier in which those that start have more than half of the weight: the
// others would get all of its requests meanwhile. mu is held.
func (s *Set) endCrowdedSlowStart(tier int, members []*Member) {
	if len(s.schedule.starting) == 0 {
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
	s.endSlowStarts(func(m *Member) bool { return m.tier == tier })
}

// scheduleAt sets the timer that calls runSchedule at a time, or before. mu is held.
func (s *Set) scheduleAt(at time.Time) {
	p := &s.schedule
	if !p.due.IsZero() && !at.Before(p.due) {
		return
	}
	p.due = at
	if p.clock != nil {
		return // the simulation calls runSchedule
	}
	if p.timer == nil {
		p.timer = time.AfterFunc(time.Until(at), s.runSchedule)
		return
	}
	p.timer.Reset(time.Until(at))
}

// runSchedule makes tiers anew in which parts have changed, after the next step of slow starts if that is due.
func (s *Set) runSchedule() {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.schedule
	now := p.now()
	if p.due.IsZero() || now.Before(p.due) {
		return // it was armed again meanwhile
	}
	p.due = time.Time{}
	if len(p.starting) > 0 && !now.Before(p.step) {
		s.stepSlowStarts(now)
	}
	if p.staleTiers != 0 {
		s.rebuildTiers(p.staleTiers)
		p.staleTiers = 0
	}
	if len(p.starting) > 0 {
		s.scheduleAt(p.step)
	}
	s.checkSchedule()
}

// checkSchedule panics when an invariant of schedule does not hold. mu is held.
func (s *Set) checkSchedule() {
	if !invariant.On {
		return
	}
	p, starting := &s.schedule, 0
	for _, m := range s.now.Load().members {
		if m != nil && !m.started.IsZero() {
			starting++
			invariant.That(slices.Contains(p.starting, m), "a member starts slowly, and nothing goes on with that")
		}
	}
	invariant.That(len(p.starting) == starting, "%d members start slowly, not %d", starting, len(p.starting))
	invariant.That(starting == 0 && p.staleTiers == 0 || !p.due.IsZero(), "nobody goes on with slow starts")
}

// stepSlowStarts goes on with slow starts. mu is held.
func (s *Set) stepSlowStarts(now time.Time) {
	p := &s.schedule
	p.step = now.Add(s.slowStartStep())
	s.endSlowStarts(func(m *Member) (ends bool) {
		steps := math.Floor(slowStartSteps * float64(now.Sub(m.started)) / float64(s.policy.SlowStart))
		part := min(max(slowStartLeast, steps/slowStartSteps), 1)
		if inEighths(part) != inEighths(m.parts[partStart]) {
			p.staleTiers |= 1 << m.tier
		}
		if m.parts[partStart] = part; steps < slowStartSteps {
			s.publishPart(m)
		}
		return steps >= slowStartSteps
	})
}

// publishPart tells the methods that look at load the part that m takes. mu is held.
func (s *Set) publishPart(m *Member) { s.loads.Scale(m.slot, max(m.parts.product(), partLeast)) }

// partLeast stands for a part of 0, where there has to be one.
const partLeast = 1.0 / (1 << 16)

// inEighths returns what turns and draws make of a part of a slow start: it changes by eighths.
func inEighths(part float64) float64 { return max(math.Floor(slowStartTurns*part), 1) / slowStartTurns }

// partForTurns returns the part of its weight by which m gets turns. set.mu is held.
func (m *Member) partForTurns() float64 {
	p := m.parts
	p[partStart] = inEighths(p[partStart])
	return p.product()
}

// weightsOf returns what turns and draws of a tier go by, by slot; nil: the weights of its members. Set.mu is held.
func weightsOf(tier int, members []*Member) []uint32 {
	scaled := func(m *Member) bool { return m != nil && m.tier == tier && m.parts != fullWeight }
	if !slices.ContainsFunc(members, scaled) {
		return nil
	}
	shares := make([]float64, len(members))
	for i, m := range members {
		if m != nil && m.tier == tier {
			shares[i] = float64(m.weight) * m.partForTurns()
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
