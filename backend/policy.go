package backend

import "time"

// Policy says how the members of a Set share the requests, beyond the method of balancing. The zero value: each takes
// all of its weight while it serves.
type Policy struct {
	// SlowStart is how long a member takes to get all of its requests, when it serves again or joins while others of
	// its tier serve; 0: it gets them at once. It begins with a tenth of its weight. Where the members that start have
	// more than half of the weight of those that serve, all of them get all. Methods that hash do not look at it.
	SlowStart time.Duration
}

// SetPolicy has s go by p from now on. Members that start slowly go on as p says.
func (s *Set) SetPolicy(p Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.policy == p {
		return
	}
	s.policy = p
	if s.policy.SlowStart > 0 {
		return
	}
	tiers := uint8(0)
	for len(s.pace.starting) > 0 {
		m := s.pace.starting[0]
		s.endStart(m)
		tiers |= 1 << m.tier
	}
	s.renew(tiers)
}
