package balance

import (
	"cmp"
	"slices"
	"time"
)

var (
	small  = []int{4, 100}
	usual  = lognormal(10*time.Millisecond, 1)
	fours  = []int{4}
	equals = []int{1}
)

// usually fills in what a scenario does not say: backends of four workers and equal weights.
func usually(list []Scenario) []Scenario {
	for i := range list {
		s := &list[i]
		s.Group = cmp.Or(s.Group, GroupJudged)
		if s.Workers == nil {
			s.Workers = fours
		}
		if s.Weights == nil {
			s.Weights = equals
		}
		if s.Members == nil {
			s.Members = small
		}
		if s.Service.draw == nil {
			s.Service = usual
		}
	}
	return list
}

// Scenarios returns what the bars of the project are about, backends that fail, what was held out, long polling, and
// what policies do.
func Scenarios() []Scenario {
	list := append(judged(), failures()...)
	return usually(slices.Concat(list, checked(), heldOut(), limits(), policies()))
}

// judged is the scenarios that the constants of adaptive were chosen on.
func judged() []Scenario {
	thousand := []int{4, 100, 1000}
	slow := func(factor float64) []Trouble { return []Trouble{{Kind: slower, Factor: factor}} }
	join := []Trouble{{Kind: closed, Period: 30, For: 10}, {Kind: slower, Factor: 5, Period: 30, From: 10, For: 5}}
	return []Scenario{
		{Name: "uniform 30 %", What: "equal backends", Load: 0.3},
		{Name: "uniform 80 %", What: "equal backends", Load: 0.8, Members: thousand},
		{Name: "uniform 95 %", What: "equal backends, 95 % busy", Load: 0.95},
		{Name: "one 50 × slower, 20 %", What: "one backend needs 50 × the time", Load: 0.2, Troubles: slow(50)},
		{Name: "one 50 × slower, 80 %", What: "the same, and the rest is 80 % busy", Load: 0.8, Troubles: slow(50),
			Members: thousand},
		{Name: "one 2 × slower", What: "one backend needs twice the time", Load: 0.8, Troubles: slow(2)},
		{Name: "GC pauses", What: "each backend stands still for 150 ms, once in 4 s on average", Load: 0.7,
			Troubles: []Trouble{{Kind: pausing, Part: 1, Period: 4, For: 0.15}}, OfAll: true},
		{Name: "unequal, weighted", What: "2 to 8 workers, weights as the workers", Load: 0.8,
			Workers: []int{2, 4, 4, 8}, Weights: []int{1, 2, 2, 4}},
		{Name: "unequal, no weights", What: "2 to 8 workers, all of one weight", Load: 0.7, Workers: []int{2, 4, 4, 8}},
		{Name: "bursts", What: "150 % for 100 ms, twice a second", Load: 0.62,
			Wave: Wave{Period: 0.5, High: 0.1, Factor: 1.5 / 0.62}},
		{Name: "cold join", What: "a backend joins each 30 s and is 5 × slower for 5 s", Load: 0.7,
			Troubles: join, Seconds: 60},
		{Name: "cold join, slow start", What: "the same with 10 s of slow start", Load: 0.7, Seconds: 60,
			Troubles: join, Policy: Policy{SlowStart: 10 * time.Second}},
		{Name: "recovery", What: "one backend is 50 × slower for 20 s of each minute", Load: 0.7, OfAll: true,
			Troubles: []Trouble{{Kind: slower, Factor: 50, Period: 60, For: 20}}, Members: fours, Seconds: 300},
		{Name: "stall of 2 s", What: "one backend stands still for 2 s of each 20 s", Load: 0.7,
			Troubles: []Trouble{{Kind: stalled, Period: 20, From: 10, For: 2}}, Seconds: 40},
		{Name: "mixed sizes", What: "one request of ten needs 82 ms, the others 2 ms", Load: 0.7,
			Service: bimodal(2*time.Millisecond, 0.1, 82*time.Millisecond)},
	}
}

// failures is what attracts requests by failing fast.
func failures() []Scenario {
	return []Scenario{
		{Name: "one of 4 fails fast", Group: GroupFailing, What: "a quarter answers 503 in 0.1 ms", Load: 0.7,
			Troubles: []Trouble{{Kind: failing, Part: 0.25}}},
		{Name: "two of 4 fail fast", Group: GroupFailing, What: "half of them answer 503 in 0.1 ms", Load: 0.7,
			Troubles: []Trouble{{Kind: failing, Part: 0.5}}},
		{Name: "one fails, slow service", Group: GroupFailing, What: "64 workers each, one answers 503 in 0.1 ms",
			Load: 0.8, Service: lognormal(time.Second, 0.7), Workers: []int{64}, Members: fours,
			Troubles: []Trouble{{Kind: failing, Part: 0.25}}},
		{Name: "one of 4 fails half", Group: GroupFailing, What: "one answers 503 to half of its requests", Load: 0.7,
			Troubles: []Trouble{{Kind: failing, Factor: 0.5}}},
		{Name: "flapping", Group: GroupFailing, What: "one answers 503 in 0.1 ms for 1 s of each 5 s", Load: 0.7,
			Troubles: []Trouble{{Kind: failing, Period: 5, For: 1}}, Seconds: 30},
	}
}

// checked is the scenarios that were held out first.
func checked() []Scenario {
	odd := []int{7, 33}
	list := []Scenario{
		{Name: "Pareto", What: "service times of α = 2.2", Load: 0.7, Service: pareto(10*time.Millisecond, 2.2)},
		{Name: "bimodal", What: "one request of 200 needs 0.5 s, the others 5 ms", Load: 0.6,
			Service: bimodal(5*time.Millisecond, 0.005, 500*time.Millisecond)},
		{Name: "constant", What: "each request needs 10 ms", Load: 0.85, Service: constant(10 * time.Millisecond)},
		{Name: "diurnal", What: "the load goes from 30 to 90 % and back each minute", Load: 0.6,
			Wave: Wave{Period: 60, Factor: 1.5}, Seconds: 60},
		{Name: "one 8 × slower", What: "of 10 workers each, exponential", Load: 0.75,
			Service: exponential(20 * time.Millisecond), Workers: []int{10},
			Troubles: []Trouble{{Kind: slower, Factor: 8}}},
		{Name: "two 20 × slower, Pareto", What: "for 10 s of each 40 s", Load: 0.6, Seconds: 80,
			Service:  pareto(10*time.Millisecond, 2.2),
			Troubles: []Trouble{{Kind: slower, Factor: 20, First: 0, Part: 0.3, Period: 40, For: 10}}},
		{Name: "one worker each", What: "lognormal, σ 1.5", Load: 0.6, Workers: []int{1},
			Service: lognormal(10*time.Millisecond, 1.5)},
		{Name: "unequal, weighted otherwise", What: "1 to 16 workers, weights as the workers", Load: 0.75,
			Workers: []int{16, 1, 3, 6, 2}, Weights: []int{16, 1, 3, 6, 2}},
	}
	for i := range list {
		list[i].Group, list[i].Members = GroupChecked, odd
	}
	return list
}

// heldOut is the scenarios that nothing was chosen by: they tell what the constants are worth elsewhere.
func heldOut() []Scenario {
	odd := []int{5, 12, 50}
	restart := func(i int) []Trouble {
		from := float64(10 * i)
		return []Trouble{{Kind: closed, First: i, Period: 40, From: from, For: 4},
			{Kind: slower, First: i, Factor: 3, Period: 40, From: from + 4, For: 3}}
	}
	list := []Scenario{
		{Name: "long tail", What: "lognormal, σ 2, 8 workers", Load: 0.6, Workers: []int{8},
			Service: lognormal(10*time.Millisecond, 2)},
		{Name: "two kinds", What: "one request of 20 needs 200 ms, the others 20 ms", Load: 0.75,
			Service: bimodal(20*time.Millisecond, 0.05, 200*time.Millisecond)},
		{Name: "rolling restart", What: "three backends in turn: closed for 4 s, then 3 × slower for 3 s", Load: 0.5,
			Troubles: append(append(restart(0), restart(1)...), restart(2)...), Seconds: 80},
		{Name: "steps", What: "85 % for 10 s, then 20 % for 20 s", Load: 0.4167, Seconds: 60,
			Wave: Wave{Period: 30, High: 10, Factor: 2.04}},
		{Name: "two generations", What: "two of five backends need 3 × the time, weights are equal", Load: 0.6,
			Service: exponential(5 * time.Millisecond), Troubles: []Trouble{{Kind: slower, Factor: 3, Part: 0.4}}},
		{Name: "pauses, Pareto", What: "each backend stands still for 1 s, once in 30 s on average", Load: 0.6,
			Service: pareto(20*time.Millisecond, 2.5), OfAll: true, Seconds: 60,
			Troubles: []Trouble{{Kind: pausing, Part: 1, Period: 30, For: 1}}},
		{Name: "one 15 × slower at times", What: "for 3 s of each 20 s, 2 workers each, exponential", Load: 0.7,
			Service: exponential(8 * time.Millisecond), Workers: []int{2}, Seconds: 60,
			Troubles: []Trouble{{Kind: slower, Factor: 15, Period: 20, From: 5, For: 3}}},
		{Name: "day and night, mixed sizes", What: "one request of 50 needs 0.3 s, the others 3 ms", Load: 0.5,
			Service: bimodal(3*time.Millisecond, 0.02, 300*time.Millisecond), Wave: Wave{Period: 40, Factor: 1.6},
			Seconds: 80},
	}
	for i := range list {
		list[i].Group, list[i].Members = GroupHeldOut, odd
	}
	return list
}

// limits is where the latency of a head says nothing of how loaded a backend is.
func limits() []Scenario {
	return []Scenario{
		{Name: "long polling", Group: GroupLimit, Load: 0.7, Polls: 0.3, PollWait: 2 * time.Second, Seconds: 60,
			What: "three requests of ten wait for an event, for 2 s on average"},
		{Name: "long polling alone", Group: GroupLimit, Load: 0.05, Polls: 0.95, PollWait: 5 * time.Second,
			Seconds: 60, What: "19 requests of 20 wait for an event, for 5 s on average", Members: fours},
	}
}
