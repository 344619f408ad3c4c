package backend

import "time"

// Policy says how the members of a Set share the requests, beyond the method of balancing. The zero value: each takes
// all of its weight while it serves.
type Policy struct {
	// SlowStart is how long a member takes to get all of its requests, when it serves again or joins while others of
	// its tier serve; 0: it gets them at once. It begins with a tenth of its weight. Where the members that start have
	// more than half of the weight of those that serve, all of them get all. Methods that hash do not look at it.
	SlowStart time.Duration

	// Spill lets the tiers share the requests while less than 5/7 of the weight of the first one serves: what a tier
	// cannot carry goes to the next. Without it a tier gets requests where no member of the tiers before it can.
	Spill bool

	// Panic is the part of the weight of a tier, 0 to 1, below which its members are picked whether they serve or not:
	// those that do could hardly carry all requests, and the checks may be wrong. It does not hold while the other
	// tiers can carry them. Members that are drained, that an operator has taken out or that have no address are not
	// picked. Further attempts of a request go to members that serve, as long as there are some. 0: never.
	Panic float64

	// Zones says whether members in Zone, where this process runs, are preferred to others. A Zone "" is unknown: then
	// Zones means nothing.
	Zones Zones
	Zone  string

	// ZoneShare is the part of all requests to the service, from 0 to 1, that processes in Zone get; 0: as many as
	// processes of any other zone.
	ZoneShare float64

	// Subset limits this process to some of the members. Others are no members.
	Subset Subset
}

// SetPolicy puts p into effect. Members that start slowly go on as p says.
func (s *Set) SetPolicy(p Policy) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.policy == p {
		return
	}
	s.policy = p
	s.mergeLists()
	if p.SlowStart <= 0 {
		s.endSlowStarts(func(*Member) bool { return true })
	}
	s.rebuildTiers(1<<tiersMax - 1)
}
