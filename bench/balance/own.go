package balance

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Own is the numbers of a user, which Scenarios makes scenarios of.
type Own struct {
	Members          []int // 4 when nil, or as many as Zones have
	Workers, Weights []int
	Service          string // see ParseService
	Load             float64
	Leave            string // "1" or "1:10:5s": one backend is away for 10 s of each 30 s, then 10 × slower for 5 s
	Slow             string // "1:10": one backend is ten times slower
	Fail             int    // backends that answer 503 at once
	Hang             string // "0.01:500ms": one backend keeps this part of its requests waiting for so long
	Pause            time.Duration
	SlowStart        time.Duration
	Zones            []int // backends of each zone; there is an edge in each, with zones = "prefer"
	ZoneShare        []int // per cent of the requests that come to each, which its edge is told; nil: as many to each
	HedgeAfter       time.Duration
}

// Scenarios returns what o describes, and the same without its Policy where it has one.
func (o *Own) Scenarios() ([]Scenario, error) {
	if !(o.Load > 0 && o.Load < 1) {
		return nil, fmt.Errorf("a load of %v: above 1 a queue grows without end; give a part such as 0.7", o.Load)
	}
	service, err := ParseService(o.Service)
	if err != nil {
		return nil, err
	}
	for _, n := range append(append([]int(nil), o.Workers...), o.Weights...) {
		if n < 1 || n > 65535 {
			return nil, fmt.Errorf("%d workers, or a weight of that: from 1 to 65535", n)
		}
	}
	b := ownScenario{Scenario: Scenario{Name: "own", Group: GroupOwn, Members: o.Members, Workers: o.Workers,
		Weights: o.Weights, Service: service, Load: o.Load}}
	b.say("%v, load %.0f %%", service, 100*o.Load)
	if err := errors.Join(b.place(o), b.leave(o.Leave), b.slow(o.Slow), b.fail(o.Fail), b.hang(o.Hang)); err != nil {
		return nil, err
	}
	for _, n := range b.Members {
		if b.bad < 0 || b.bad >= n {
			return nil, fmt.Errorf("nothing is wrong with one of %d backends at the least", n)
		}
	}
	if o.Pause > 0 {
		b.Troubles = append(b.Troubles, Trouble{Kind: pausing, Part: 1, For: o.Pause.Seconds(),
			Period: 19 * o.Pause.Seconds()})
		b.say("pauses of %v", o.Pause)
	}
	return b.scenarios(o)
}

// ownScenario is a scenario that is being made.
type ownScenario struct {
	Scenario
	what []string
	bad  int // backends that something is wrong with
}

func (b *ownScenario) say(format string, args ...any) {
	b.what = append(b.what, fmt.Sprintf(format, args...))
}

// add has something wrong with count more of the backends.
func (b *ownScenario) add(count int, troubles ...Trouble) {
	for _, t := range troubles {
		t.First, t.Count = b.bad, count
		b.Troubles = append(b.Troubles, t)
	}
	b.bad += count
}

func (b *ownScenario) place(o *Own) error {
	all, requests := 0, 0
	for _, n := range o.Zones {
		if all += n; n < 1 {
			return fmt.Errorf("a zone of %d backends", n)
		}
	}
	for _, n := range o.ZoneShare {
		if requests += n; n < 1 {
			return fmt.Errorf("a zone that gets %d %% of the requests", n)
		}
	}
	switch {
	case b.Members == nil && all > 0:
		b.Members = []int{all}
	case b.Members == nil:
		b.Members = []int{4}
	case all > 0:
		return errors.New("zones say how many backends there are: give no members beside them")
	}
	if o.ZoneShare != nil && (len(o.ZoneShare) != len(o.Zones) || requests != 100) {
		return fmt.Errorf("zone shares %v of zones %v: one for each zone, 100 per cent in all", o.ZoneShare, o.Zones)
	}
	for i, n := range o.Zones {
		z := Zone{Name: fmt.Sprint("zone-", i+1), Part: float64(n) / float64(all), Requests: 1 / float64(len(o.Zones))}
		if o.ZoneShare != nil {
			z.Requests = float64(o.ZoneShare[i]) / 100
		}
		b.Zones = append(b.Zones, z)
	}
	if all > 0 {
		b.say("zones of %v backends", o.Zones)
	}
	return nil
}

// The times of a backend that leaves, in seconds.
const (
	ownPeriod = 30
	ownAway   = 10
)

func (b *ownScenario) leave(text string) error {
	if text == "" {
		return nil
	}
	var count int
	factor, cold := 1.0, time.Duration(0)
	words := strings.Split(text, ":")
	_, err := fmt.Sscan(words[0], &count)
	if len(words) == 3 && err == nil {
		if _, err = fmt.Sscan(words[1], &factor); err == nil {
			cold, err = time.ParseDuration(words[2])
		}
	}
	bad := len(words) == 3 && (factor <= 1 || cold <= 0 || cold > (ownPeriod-ownAway)*time.Second)
	if err != nil || count < 1 || len(words) != 1 && len(words) != 3 || bad {
		return fmt.Errorf("%q leave: 1:10:5s says that one is away for %d s of each %d s, and then 10 × slower for 5 s",
			text, ownAway, ownPeriod)
	}
	b.say("%d of them away for %d s of each %d s", count, ownAway, ownPeriod)
	troubles := []Trouble{{Kind: closed, Period: ownPeriod, For: ownAway}}
	if cold > 0 {
		troubles = append(troubles, Trouble{Kind: warming, Factor: factor, Period: ownPeriod, From: ownAway,
			For: cold.Seconds()})
		b.say("then %g × slower, less and less for %v", factor, cold)
	}
	b.Seconds = 3 * ownPeriod
	b.add(count, troubles...)
	return nil
}

func (b *ownScenario) slow(text string) error {
	if text == "" {
		return nil
	}
	var count int
	var factor float64
	if n, err := fmt.Sscanf(text, "%d:%g", &count, &factor); n != 2 || err != nil || count < 1 || factor <= 1 {
		return fmt.Errorf("%q slow backends: 1:10 says that one is ten times slower", text)
	}
	b.say("%d of them %g × slower", count, factor)
	b.add(count, Trouble{Kind: slower, Factor: factor})
	return nil
}

func (b *ownScenario) fail(count int) error {
	if count > 0 {
		b.say("%d of them fail", count)
		b.add(count, Trouble{Kind: failing})
	}
	return nil
}

func (b *ownScenario) hang(text string) error {
	if text == "" {
		return nil
	}
	var part float64
	first, long, _ := strings.Cut(text, ":")
	d, err := time.ParseDuration(long)
	if n, bad := fmt.Sscan(first, &part); n != 1 || bad != nil || err != nil || !(part > 0 && part < 1) || d <= 0 {
		return fmt.Errorf("%q hang: 0.01:500ms says that one backend keeps 1 %% of its requests waiting so long", text)
	}
	b.say("one of them keeps %g %% of its requests waiting for %v", 100*part, d)
	b.add(1, Trouble{Kind: hanging, Factor: part, For: d.Seconds()})
	return nil
}

// scenarios returns what is made, with the Policy of o and without.
func (b *ownScenario) scenarios(o *Own) ([]Scenario, error) {
	if o.SlowStart < 0 || o.HedgeAfter < 0 {
		return nil, errors.New("a slow start, or a time to hedge, below zero")
	}
	p := Policy{SlowStart: o.SlowStart, Zones: o.Zones != nil, ZoneShare: o.ZoneShare != nil, HedgeAfter: o.HedgeAfter}
	b.What = strings.Join(b.what, ", ")
	list := []Scenario{b.Scenario}
	if p != (Policy{}) {
		list[0].Name = "own, without"
		with := b.Scenario
		with.Policy, with.What = p, b.What+p.words()
		list = append(list, with)
	}
	return usually(list), nil
}

func (p *Policy) words() (text string) {
	if p.SlowStart > 0 {
		text += fmt.Sprintf(", slow_start = %v", p.SlowStart)
	}
	if p.Zones {
		text += ", zones = prefer"
	}
	if p.ZoneShare {
		text += ", zone_share"
	}
	if p.HedgeAfter > 0 {
		text += fmt.Sprintf(", hedge_after = %v", p.HedgeAfter)
	}
	return text
}
