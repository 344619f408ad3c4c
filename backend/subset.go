package backend

import (
	"cmp"
	"math/bits"
	"slices"
)

// Subset says which members of each tier a process uses, where there are many processes and many members: not each of
// them has to connect to each member. The zero value: all.
type Subset struct {
	Size int // how many; 0: all

	// Index is the number of this process among Of, from 0 on: the subsets of processes of different numbers overlap as
	// little as can be, and all members are in about as many (Ringsteady, ACM Queue 2022). Of 0: there are no numbers.
	// Then the members are the ones of the highest hash with Instance: some are in more subsets than others.
	Index, Of int
	Instance  uint64 // stays the same when the process starts again
}

// choose returns the members of list that are to be members. mu is held.
func (s *Set) choose(list []candidate) []candidate {
	if p := &s.policy; p.Zones == ZonesOnly && p.Zone != "" {
		list = slices.DeleteFunc(list, func(c candidate) bool { return c.Zone != p.Zone })
	}
	sub := &s.policy.Subset
	if sub.Size == 0 {
		s.indices = [tiersMax][]ID{}
		return list
	}
	chosen := make(map[ID]bool)
	for tier := range s.indices {
		var ids []ID
		for _, c := range list {
			if c.tier() == tier {
				ids = append(ids, c.id)
			}
		}
		s.indices[tier] = number(s.indices[tier], ids)
		for _, id := range sub.of(s.indices[tier]) {
			chosen[id] = true
		}
	}
	return slices.DeleteFunc(list, func(c candidate) bool { return !chosen[c.id] })
}

// number returns ids in an order in which as few as can be have another place than in old: the last ones take the
// places of those that are gone. New ones come in the order of their names.
func number(old, ids []ID) []ID {
	present := make(map[ID]bool, len(ids))
	for _, id := range ids {
		present[id] = true
	}
	var added, list []ID
	for _, id := range old {
		list = append(list, id)
		if !present[id] {
			list[len(list)-1] = ID{Copy: -1}
		}
		delete(present, id)
	}
	for _, id := range ids {
		if present[id] {
			added = append(added, id)
		}
	}
	slices.SortFunc(added, func(a, b ID) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), a.Addr.IP.Compare(b.Addr.IP), cmp.Compare(a.Addr.Path, b.Addr.Path),
			cmp.Compare(a.Copy, b.Copy))
	})
	for i := 0; i < len(list); i++ {
		for len(list) > i && list[i].Copy < 0 {
			if len(added) > 0 {
				list[i], added = added[0], added[1:]
			} else {
				list[i], list = list[len(list)-1], list[:len(list)-1]
			}
		}
	}
	return append(list, added...)
}

// of returns the subset of ids, which are in the order of their indices.
func (s *Subset) of(ids []ID) []ID {
	if len(ids) <= s.Size {
		return ids
	}
	if s.Of == 0 {
		ids = slices.Clone(ids)
		slices.SortFunc(ids, func(a, b ID) int { return cmp.Compare(s.hash(b), s.hash(a)) })
		return ids[:s.Size]
	}
	// Index i stands at the reverse of its bits on a circle: each new one is in the middle of the widest gap.
	places := make([]int, len(ids))
	for i := range places {
		places[i] = i
	}
	slices.SortFunc(places, func(a, b int) int { return cmp.Compare(reversed(a), reversed(b)) })
	first, _ := slices.BinarySearchFunc(places, reversed(s.Index), func(a int, at uint32) int {
		return cmp.Compare(reversed(a), at)
	})
	list := make([]ID, s.Size)
	for k := range list {
		list[k] = ids[places[(first+k)%len(places)]]
	}
	return list
}

// reversed returns where index i stands on a circle of 2^32.
func reversed(i int) uint32 { return bits.Reverse32(uint32(i)) }

// hash is FNV-1a of an identity, mixed with the instance (SplitMix64).
func (s *Subset) hash(id ID) uint64 {
	h := uint64(14695981039346656037) + uint64(id.Copy)
	for _, b := range id.Name + "|" + id.Addr.Path + id.Addr.IP.String() {
		h = (h ^ uint64(b)) * 1099511628211
	}
	h ^= s.Instance * 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
