package balance

import "time"

// policies is what zones, slow start and hedging do, each beside the same without.
func policies() []Scenario {
	list := append(append(zoned(), backCold()...), hedged()...)
	for i := range list {
		list[i].Group = GroupPolicy
	}
	return list
}

// zoned is zones of unequal size, each with an edge. Half of the backends of the first zone are down for 10 s of each
// 20 s.
func zoned() []Scenario {
	three := func(a, b, c float64) []Zone { return []Zone{{"a", 1. / 2, a}, {"b", 1. / 3, b}, {"c", 1. / 6, c}} }
	even, sized := three(1./3, 1./3, 1./3), three(1./2, 1./3, 1./6)
	two := []Zone{{"a", 2. / 3, 1. / 2}, {"b", 1. / 3, 1. / 2}}
	prefer, share := Policy{Zones: true}, Policy{Zones: true, ZoneShare: true}
	list := []Scenario{
		{Name: "3 zones, off", What: "1/2, 1/3 and 1/6 of the backends, as many requests in each", Zones: even},
		{Name: "3 zones, prefer", What: "the same with zones = prefer", Zones: even, Policy: prefer},
		{Name: "3 zones, zone_share", What: "1/2, 1/3 and 1/6 of backends and requests", Zones: sized, Policy: share},
		{Name: "3 zones, share unsaid", What: "the same without zone_share", Zones: sized, Policy: prefer},
		{Name: "2 zones, off", What: "2/3 and 1/3 of the backends, as many requests in each", Zones: two},
		{Name: "2 zones, prefer", What: "the same with zones = prefer", Zones: two, Policy: prefer},
	}
	for i := range list {
		s := &list[i]
		s.Load, s.Members, s.Seconds = 0.7, []int{12, 24}, 80
		s.What += "; half of the first zone's are down for 10 s of each 20 s"
		s.Troubles = []Trouble{{Kind: closed, Part: s.Zones[0].Part / 2, Period: 20, From: 10, For: 10}}
	}
	return list
}

// backCold is a backend that was away, and whose caches are empty.
func backCold() []Scenario {
	cold := func(factor float64) []Trouble {
		return []Trouble{{Kind: closed, Period: 40, For: 10},
			{Kind: warming, Factor: factor, Period: 40, From: 10, For: 10}}
	}
	slow := Policy{SlowStart: 10 * time.Second}
	list := []Scenario{
		{Name: "back cold", What: "a backend comes back each 40 s, 10 × slower, and less and less so for 10 s",
			Troubles: cold(10)},
		{Name: "back cold, slow start", What: "the same with slow_start = 10s", Troubles: cold(10), Policy: slow},
		{Name: "back very cold", What: "the same, 50 × slower at first", Troubles: cold(50)},
		{Name: "back very cold, slow start", What: "the same with slow_start = 10s", Troubles: cold(50), Policy: slow},
	}
	for i := range list {
		list[i].Load, list[i].Members, list[i].Seconds = 0.7, []int{4, 12}, 80
	}
	return list
}

// hedged is a backend that hangs now and then.
func hedged() []Scenario {
	after := func(d time.Duration) Policy { return Policy{HedgeAfter: d} }
	const first = "one backend of four keeps 1 % of its requests waiting for 500 ms"
	const early = "the same with hedge_after = 50ms"
	list := []Scenario{
		{Name: "1 % hang", What: first, Load: 0.5},
		{Name: "1 % hang, hedged 50 ms", What: early, Load: 0.5, Policy: after(50 * time.Millisecond)},
		{Name: "1 % hang, hedged 100 ms", What: "the same with hedge_after = 100ms", Load: 0.5,
			Policy: after(100 * time.Millisecond)},
		{Name: "1 % hang, 80 %", What: first + ", at a load of 80 %", Load: 0.8},
		{Name: "1 % hang, 80 %, hedged 50 ms", What: early, Load: 0.8, Policy: after(50 * time.Millisecond)},
		{Name: "1 % hang, 80 %, hedged, stops", Load: 0.8, Policy: after(50 * time.Millisecond), Stops: true,
			What: early + ", and backends that stop with what is taken back"},
	}
	for i := range list {
		s := &list[i]
		s.Members, s.OfAll, s.Seconds = fours, true, 60
		s.Troubles = []Trouble{{Kind: hanging, Factor: 0.01, For: 0.5}}
	}
	return list
}
