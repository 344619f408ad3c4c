package backend

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/edge-proxy/edge/backend/balance"
)

func TestZoneParts(t *testing.T) {
	for _, c := range []struct {
		name    string
		weights map[string]float64
		share   float64
		want    map[string]float64 // of the requests of a process in zone a
	}{
		{"equal", map[string]float64{"a": 3, "b": 3, "c": 3}, 0, map[string]float64{"a": 1}},
		{"one zone", map[string]float64{"a": 3}, 0, map[string]float64{"a": 1}},
		{"more here", map[string]float64{"a": 6, "b": 3}, 0, map[string]float64{"a": 1}},
		{"less here", map[string]float64{"a": 2, "b": 4, "c": 6}, 0, map[string]float64{"a": .5, "c": .5}},
		{"none there", map[string]float64{"a": 4, "b": 0}, 0, map[string]float64{"a": 1}},
		{"clients without members", map[string]float64{"a": 3, "b": 3, "c": 0}, 0, map[string]float64{"a": 1}},
		{"unknown zones", map[string]float64{"a": 2, "b": 2, "": 4}, 0, map[string]float64{"a": .5, "": .5}},
		{"much traffic here", map[string]float64{"a": 5, "b": 5}, 0.75, map[string]float64{"a": 2. / 3, "b": 1. / 3}},
		{"little traffic here", map[string]float64{"a": 5, "b": 5}, 0.25, map[string]float64{"a": 1}},
	} {
		parts, sum := zoneParts(c.weights, "a", c.share), 0.0
		for zone, part := range parts {
			sum += part * c.weights[zone]
		}
		for zone, weight := range c.weights {
			if got := parts[zone] * weight / sum; math.Abs(got-c.want[zone]) > 1e-9 {
				t.Errorf("%s: zone %q gets %.3f, not %.3f", c.name, zone, got, c.want[zone])
			}
		}
	}
}

// zoned makes a set of members of equal weight, so many in each of the zones a, b, c and so on.
func zoned(p Policy, members ...int) *Set {
	var list []Spec
	for z, n := range members {
		for i := range n {
			list = append(list, Spec{Address: fmt.Sprintf("10.0.%d.%d:80", z, i), Zone: string(rune('a' + z))})
		}
	}
	s := NewSet()
	s.SetPolicy(p)
	s.Update(list)
	return s
}

// Processes in all zones send each member as much, whatever its zone, and as little as can be to other zones.
func TestView_zonesAddUp(t *testing.T) {
	r := reactor(t)
	for _, members := range [][]int{{4, 4, 4}, {4, 2, 6}, {10, 3, 2}, {2, 9}, {5, 7, 3, 2}} {
		for method, off := range map[*balance.Method]float64{
			balance.RoundRobin: 0.02, balance.Random: 0.15, balance.Adaptive: 0.02,
		} {
			const picks = 4000
			total, all, abroad := map[string]float64{}, 0, 0.0
			for z := range members {
				own := string(rune('a' + z))
				s := zoned(Policy{Zones: ZonesPrefer, Zone: own}, members...)
				v := s.View(1, method)
				for range picks {
					m := v.Pick(r, nil)
					if total[m.Address()]++; m.zone != own {
						abroad++
					}
				}
				all = len(s.Members())
			}
			want, leaves := float64(picks*len(members))/float64(all), 0.0
			for address, n := range total {
				if math.Abs(n/want-1) > off {
					t.Errorf("%v, %s: %s gets %.3f times its share", members, method.Name, address, n/want)
				}
			}
			for _, n := range members {
				leaves += max(0, 1/float64(len(members))-float64(n)/float64(all))
			}
			if got := abroad / picks / float64(len(members)); math.Abs(got-leaves) > 0.02 || len(total) != all {
				t.Errorf("%v, %s: %.3f leave their zone, not %.3f; %d members of %d", members, method.Name, got, leaves,
					len(total), all)
			}
		}
	}
}

// The same for random weights, by the parts alone.
func TestZoneParts_addUpProperty(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		weights, all := map[string]float64{}, 0.0
		for z := range 1 + rng.IntN(5) {
			weights[string(rune('a'+z))] = float64(1 + rng.IntN(20))
		}
		if zones := len(weights); rng.IntN(3) == 0 && zones > 1 {
			weights[""] = float64(rng.IntN(20))
		}
		traffic, share := map[string]float64{}, 0.0
		for zone, w := range weights {
			if all += w; zone != "" {
				share++
			}
		}
		for own := range weights {
			if own == "" {
				continue
			}
			parts, sum := zoneParts(weights, own, 0), 0.0
			for zone, w := range weights {
				sum += parts[zone] * w
			}
			for zone, w := range weights {
				traffic[zone] += parts[zone] * w / sum / share
			}
		}
		for zone, w := range weights {
			if math.Abs(traffic[zone]-w/all) > 1e-6 {
				t.Fatalf("%v: zone %q gets %.4f, not %.4f", weights, zone, traffic[zone], w/all)
			}
		}
	}
}

func TestView_zonePreferred(t *testing.T) {
	s, r := zoned(Policy{Zones: ZonesPrefer, Zone: "a"}, 3, 3), reactor(t)
	v, all := s.View(1, balance.RoundRobin), s.Members()
	zones := func(n int) (own int) {
		for range n {
			if v.Pick(r, nil).zone == "a" {
				own++
			}
		}
		return own
	}
	if n := zones(60); n != 60 {
		t.Errorf("%d of 60 stay", n)
	}
	var q balance.Request
	var order string
	for m := v.Pick(r, &q); m != nil; m = v.Pick(r, &q) {
		order += m.zone
		q.Tried.Add(m.Slot())
	}
	if order != "aaabbb" {
		t.Errorf("attempts go to the zones %s", order)
	}
	if all[0].Down(Health); zones(500) != 400 { // 2 of 5 members for half of the requests
		t.Errorf("%d of 500 stay where 2 of 5 members are", zones(500))
	}
	if all[1].Down(Health); zones(400) != 100 {
		t.Error("one alone is preferred")
	}
	if s.SetPolicy(Policy{Zones: ZonesPrefer, Zone: "nowhere"}); zones(400) != 100 {
		t.Error("a zone without members changes something")
	}
	s.SetPolicy(Policy{Zones: ZonesOnly, Zone: "b"})
	if zones(30) != 0 || len(s.Members()) != 3 {
		t.Errorf("%d members", len(s.Members()))
	}
	s.SetPolicy(Policy{Zones: ZonesOnly})
	if len(s.Members()) != 6 {
		t.Errorf("%d members where the zone is not known", len(s.Members()))
	}
}

// Keys stay where they are, whatever the zones.
func TestView_zonesMoveNoKey(t *testing.T) {
	s, r := zoned(Policy{}, 3, 5), reactor(t)
	v := s.View(1, balance.Ketama)
	for pass, p := range []Policy{{}, {Zones: ZonesPrefer, Zone: "a"}, {Zones: ZonesPrefer, Zone: "b"}} {
		s.SetPolicy(p)
		for k := range uint64(500) {
			q := balance.Request{Key: k * 77_777_777, Keyed: true}
			other := s.now.Load().tiers[0].view.Weighing(nil)
			if m := v.Pick(r, &q); m.Slot() != balance.Ketama.New(0, 1).Pick(other, nil, &q) {
				t.Fatalf("pass %d: key %d moves", pass, k)
			}
		}
	}
}
