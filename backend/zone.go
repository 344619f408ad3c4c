package backend

// Zones says what becomes of members in other zones.
type Zones uint8

// What becomes of them, in the order of the words of a configuration.
const (
	ZonesOff    Zones = iota // nothing: zones mean nothing
	ZonesPrefer              // they get what the members of this zone cannot carry
	ZonesOnly                // they are no members
)

// localLeast is how many members have to serve in a zone for it to be preferred: one alone could fail.
const localLeast = 2

// placeZones gives the members of a tier their parts by their zones. mu is held.
func (s *Set) placeZones(tier int, members []*Member) {
	var parts map[string]float64
	if s.policy.Zones == ZonesPrefer && s.policy.Zone != "" {
		weights, local, open, all := make(map[string]float64), 0, 0, 0
		for _, m := range members {
			if m == nil {
				continue
			}
			weights[m.zone] += 0 // a zone without members has clients
			if m.tier == tier && m.counts() {
				all += m.weight
			}
			if m.tier == tier && m.Reasons() == 0 {
				open += m.weight
				if weights[m.zone] += float64(m.weight); m.zone == s.policy.Zone {
					local++
				}
			}
		}
		// In a panic all members get requests, also where a whole zone does not serve.
		if local >= localLeast && float64(open) >= s.policy.Panic*float64(all) {
			parts = zoneParts(weights, s.policy.Zone, s.policy.ZoneShare)
		}
	}
	for _, m := range members {
		if m == nil || m.tier != tier {
			continue
		}
		part := 1.0
		if parts != nil {
			part = parts[m.zone]
		}
		if m.parts[partZone] != part {
			m.parts[partZone] = part
			s.publishPart(m)
		}
	}
}

// zoneParts returns which part of their weight members take, by zone, of the requests of a process in zone own. The
// largest part is 1. weights are the weights of the members that serve. share is the part of all requests that
// processes in own get; 0: all zones get as many. No process is outside of any zone, "".
//
// Own members get all of the requests, or as many as are their part of the weight of all. The rest goes to the zones
// that have more weight than requests, in proportion to that surplus. When the processes of all zones do so, all
// members get requests in proportion to their weights.
func zoneParts(weights map[string]float64, own string, share float64) map[string]float64 {
	zones, all := 0, 0.0
	for zone, weight := range weights {
		if all += weight; zone != "" {
			zones++
		}
	}
	other := 1 / float64(max(zones, 1))
	if share == 0 || zones == 1 {
		share = other
	} else {
		other = (1 - share) / float64(zones-1)
	}
	const noise = 1e-9 // of sums that are equal but for their rounding
	local, surplus, sum := weights[own]/all/share, make(map[string]float64), 0.0
	if local > 1-noise {
		local = 1
	}
	for zone, weight := range weights {
		have := other
		if zone == "" {
			have = 0
		}
		if more := weight/all - have; zone != own && more > noise {
			surplus[zone] = more
			sum += more
		}
	}
	most, parts := 0.0, make(map[string]float64)
	for zone, weight := range weights {
		switch {
		case weight == 0:
		case zone == own:
			parts[zone] = local / weight
		case sum > 0:
			parts[zone] = (1 - local) * surplus[zone] / sum / weight
		}
		most = max(most, parts[zone])
	}
	for zone := range parts {
		parts[zone] /= most
	}
	return parts
}

// Shares returns the part of the requests that each member gets first while none has anything to do, by slot.
func (s *Set) Shares() []float64 {
	now := s.now.Load()
	list, first := make([]float64, len(now.members)), now.firstStages
	for k := 0; first == nil && k < len(now.stages); k++ {
		if one := now.stages[k]; one.view.Count() > 0 {
			first = []firstStage{{1 << 32, one}}
		}
	}
	before := uint64(0)
	for _, one := range first {
		for i := range list {
			list[i] += float64(one.below-before) / (1 << 32) * one.view.Share(i)
		}
		before = one.below
	}
	return list
}
