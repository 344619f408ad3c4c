package backend

import (
	"math"
	"sort"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/base/invariant"
)

// mistakable are the reasons that may be mistakes where many members have one: what checks or requests found out.
const mistakable = Health | Ejected | Unreachable

// spareCapacity is by how much more than their share members can carry: 5 of 7 are enough for all requests (the
// overprovisioning factor of Envoy).
const spareCapacity = 1.4

// order is what a request is picked from, one stage after the other, until one has a member for it.
// Immutable.
//
//	the thresholds of firstStages rise, up to 2^32
type order struct {
	stages      []stage
	firstStages []firstStage // what some or all requests are picked from before that; nil: nothing
	panicking   bool         // some of firstStages have members that do not serve. Those are for first attempts alone
}

// stage is members of one tier to pick from.
type stage struct {
	tier int
	view *balance.View
}

// firstStage is a stage for a part of the requests.
type firstStage struct {
	below uint64 // requests whose number, of 2^32, is less, and not less than in the lead before
	stage
}

// firstStage returns where q begins. Requests of one key begin with one tier, and as few keys as can be move when the
// shares of tiers change. The others are shared out evenly.
func (o *order) firstStage(t *rotation, q *balance.Request) *stage {
	if len(o.firstStages) == 1 {
		return &o.firstStages[0].stage
	}
	const golden = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio: multiples of it are spread evenly (Weyl)
	word := q.Key
	if q.Keyed {
		word = (word ^ word>>31) * golden
		word = (word ^ word>>29) * golden
	} else {
		t.spill += golden
		word = t.spill
	}
	for i := range o.firstStages {
		if word>>32 < o.firstStages[i].below {
			return &o.firstStages[i].stage
		}
	}
	return &o.firstStages[0].stage
}

// arrange makes the order of next, whose tiers are made. mu is held.
func (s *Set) arrange(next *state) {
	o := &next.order
	*o = order{}
	h := healthOf(next)
	for t, one := range next.tiers {
		o.stages = append(o.stages, stage{t, one.view})
		if unweighted(one.view) {
			o.stages = append(o.stages, stage{t, one.view.Weighing(nil)})
		}
	}
	for t, one := range next.tiers {
		if one.spare != one.view {
			o.stages = append(o.stages, stage{t, one.spare.Weighing(nil)})
		}
	}
	shares := h.shares(s.policy.Spill)
	sum := 0.0
	for t, share := range shares {
		view := next.tiers[t].view
		if share > 0 && h.panics(t, s.policy.Panic) {
			view, o.panicking = next.tiers[t].panic, true
		}
		if sum += share; share > 0 {
			o.firstStages = append(o.firstStages, firstStage{uint64(math.Round(sum * (1 << 32))), stage{t, view}})
		}
	}
	if len(o.firstStages) == 1 && !o.panicking {
		o.firstStages = nil // all go by the stages
	}
	for t, one := range next.tiers {
		if o.panicking && h.panics(t, s.policy.Panic) {
			o.stages = append(o.stages, stage{t, one.panic})
			if unweighted(one.panic) {
				o.stages = append(o.stages, stage{t, one.panic.Weighing(nil)})
			}
		}
	}
	s.prepare(o)
	s.notePanic(o.panicking, h)
	o.check()
}

// unweighted reports whether members of v serve that get no turns.
func unweighted(v *balance.View) bool {
	open := 0
	for i := range v.Len() {
		if v.Open(i) {
			open++
		}
	}
	return open > v.Count()
}

// prepare calls Prepare of the methods with the views of o, before a reactor picks from it. mu is held.
func (s *Set) prepare(o *order) {
	for _, m := range s.methods {
		for _, one := range o.stages {
			m.Prepare(one.view)
		}
		for _, one := range o.firstStages {
			m.Prepare(one.view)
		}
	}
}

func (o *order) check() {
	if !invariant.On || len(o.firstStages) == 0 {
		return
	}
	all := o.firstStages
	sorted := sort.SliceIsSorted(all, func(i, k int) bool { return all[i].below < all[k].below })
	invariant.That(sorted && all[len(all)-1].below == 1<<32, "first stages %v", o.firstStages)
}

// tierHealth is how much of a tier serves.
type tierHealth struct {
	open, all   int // weight of the members that serve, and of all that are not drained
	up, members int // the numbers of these
}

// servingPart returns which part of the weight of the tier serves.
func (t *tierHealth) servingPart() float64 {
	if t.all == 0 {
		return 0
	}
	return float64(t.open) / float64(t.all)
}

// counts reports whether m counts among the members of its tier: it does unless it is drained.
func (m *Member) counts() bool { return m.Reasons()&^mistakable&^Names == 0 }

// healths are the healths of all tiers.
type healths []tierHealth

// healthOf returns how much of each tier of now serves.
func healthOf(now *state) healths {
	h := make(healths, len(now.tiers))
	for i, m := range now.members {
		if m == nil || !m.counts() {
			continue
		}
		for t, one := range now.tiers {
			weight := one.view.Weight(i)
			if h[t].all += weight; weight > 0 {
				h[t].members++
			}
			if one.view.Open(i) {
				h[t].open += weight
				h[t].up++
			}
		}
	}
	return h
}

// carries returns how much of all requests the tiers can carry together, above 1 as well.
func (h healths) carries() (sum float64) {
	for i := range h {
		sum += spareCapacity * h[i].servingPart()
	}
	return sum
}

// panics reports whether too few members of a tier serve, while the other tiers cannot help it.
func (h healths) panics(tier int, below float64) bool {
	return h[tier].members > 0 && h[tier].servingPart() < below && h.carries() < 1
}

// shares returns the part of the requests that each tier is to get first. Where tiers do not spill, that is all for the
// first one of which a member serves. Where none does, all are for the first that has members.
func (h healths) shares(spill bool) []float64 {
	shares, left, carried := make([]float64, len(h)), 1.0, min(h.carries(), 1)
	for i := range h {
		switch {
		case carried == 0 && h[i].members > 0, !spill && h[i].open > 0:
			shares[i] = 1
			return shares
		case spill && carried > 0:
			shares[i] = min(left, min(1, spareCapacity*h[i].servingPart())/carried)
			left -= shares[i]
		}
	}
	return shares
}
