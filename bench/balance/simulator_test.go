package balance

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	lb "github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/bench/report"
)

// one returns the scenario of a name.
func one(t *testing.T, name string) Scenario {
	t.Helper()
	all := Scenarios()
	k := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name })
	if k < 0 {
		t.Fatalf("there is no scenario %q", name)
	}
	return all[k]
}

// find returns the contenders of these names.
func find(t *testing.T, names ...string) []Contender {
	t.Helper()
	found, err := Find(names)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func simulate(t *testing.T, o Options) *Table {
	t.Helper()
	table, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestService_means(t *testing.T) {
	for _, text := range []string{"lognormal:10ms:1", "exponential:10ms", "constant:10ms", "pareto:10ms:3",
		"bimodal:5ms:0.05:105ms"} {
		s, err := ParseService(text)
		if err != nil || s.Name != text || s.Mean != 10*time.Millisecond {
			t.Errorf("%s: %v, %v", text, s, err)
			continue
		}
		sum, r := 0.0, stream(1, 1)
		for range 400_000 {
			sum += s.draw(r)
		}
		if got := sum / 400_000; math.Abs(got-0.010) > 0.0002 {
			t.Errorf("%s: draws of %v s on average", text, got)
		}
	}
}

func TestLatencies_areExactToAFifthOfAPercent(t *testing.T) {
	l := newLatencies()
	for k := range 10_000 {
		l.add(int64(k+1) * 100_000) // 0.1 ms to 1 s
	}
	for _, q := range []float64{0.01, 0.5, 0.99, 0.999, 1} {
		if got, want := l.quantile(q), q*1000; math.Abs(got/want-1) > 0.003 {
			t.Errorf("quantile %v: %v ms, not %v", q, got, want)
		}
	}
	if got := newLatencies().quantile(0.5); got != 0 {
		t.Errorf("without latencies: %v", got)
	}
}

// TestWorld_isAQueue holds the simulator against Erlang's formula: with 4 workers, Poisson arrivals, exponential times
// and a load of 0.8, a part of 0.596 waits, for 12.5 ms on average if it waits and each worker needs 10 ms.
func TestWorld_isAQueue(t *testing.T) {
	s := usually([]Scenario{{Name: "M/M/4", Load: 0.8, Service: exponential(10 * time.Millisecond)}})[0]
	for seed := range uint64(3) {
		r := run(&s, &Contender{Method: lb.RoundRobin}, 1, 1, 400_000, time.Microsecond, seed)
		// The time in the system above t is known too; its median and p99 come from bisecting
		// P(T>t) = e^-μt (1 + C (1 - e^-μt(c-1-a)) / (c-1-a)) with C = 0.596, c = 4, a = 3.2, and 0.2 ms of way.
		for _, q := range []struct{ at, got float64 }{{0.5, r.P50}, {0.99, r.P99}} {
			low, high := 0.0, 1000.0
			for range 60 {
				at := (low + high) / 2
				x := at / 10
				if math.Exp(-x)*(1+0.5964*(1-math.Exp(0.2*x))/-0.2) > 1-q.at {
					low = at
				} else {
					high = at
				}
			}
			if want := low + 0.2; math.Abs(q.got/want-1) > 0.06 {
				t.Errorf("seed %d: quantile %v is %.2f ms, not %.2f", seed, q.at, q.got, want)
			}
		}
	}
}

func TestRun_isTheSameForASeed(t *testing.T) {
	o := Options{Scenarios: []Scenario{one(t, "cold join, slow start"), one(t, "GC pauses"), one(t, "flapping")},
		Members: []int{4}, Reactors: []int{4}, Seeds: 2, Scale: 0.02}
	var first, second, other bytes.Buffer
	err := errors.Join(report.WriteJSON(&first, simulate(t, o)), report.WriteJSON(&second, simulate(t, o)))
	if err != nil {
		t.Fatal(err)
	}
	o.Seed = 7
	if err := report.WriteJSON(&other, simulate(t, o)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) || bytes.Equal(first.Bytes(), other.Bytes()) {
		t.Error("two runs with one seed differ, or two with different ones do not")
	}
}

func TestRun_countsEachRequest(t *testing.T) {
	for _, s := range Scenarios() {
		for c := range Contenders() {
			r := run(&s, &Contenders()[c], 5, 3, 2000, 200*time.Microsecond, 1)
			picks := 0
			for _, n := range r.Picks {
				picks += n
			}
			if picks != 2000 || r.Failed > 0 && s.Group != GroupFailing {
				t.Errorf("%s, %s: %d requests, %d failed", s.Name, Contenders()[c].Name, picks, r.Failed)
			}
		}
	}
}

func TestIdeal_avoidsTrouble(t *testing.T) {
	for _, name := range []string{"one 50 × slower, 80 %", "one of 4 fails fast", "one of 4 fails half", "flapping"} {
		s := one(t, name)
		r := runIdeal(&s, 4, 50_000, 1)
		if r.Failed != 0 || s.period() == 0 && r.Picks[0] != 0 {
			t.Errorf("%s: %d failed, picks %v", name, r.Failed, r.Picks)
		}
	}
}

func TestRun_stopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestTable_writesAndReads(t *testing.T) {
	table := simulate(t, Options{Scenarios: []Scenario{one(t, "recovery"), one(t, "one of 4 fails fast")},
		Members: []int{4}, Reactors: []int{1, 2}, Seeds: 1, Scale: 0.01, Keys: true})
	var json, page, text, markdown bytes.Buffer
	if err := errors.Join(report.WriteJSON(&json, table), table.Page(table).Write(&page), table.WriteText(&text, nil),
		table.WriteMarkdown(&markdown, nil)); err != nil {
		t.Fatal(err)
	}
	back, err := Read(&json)
	if err != nil || len(back.Cells) != 4 || len(back.Keys) != 9 {
		t.Fatalf("%v: %+v", err, back)
	}
	if list, added, removed := back.Changes(table); len(list)+len(added)+len(removed) != 0 {
		t.Errorf("a table differs from itself: %v %v %v", list, added, removed)
	}
	for _, outside := range []string{"http:", "https:", "<script", "url("} {
		if at := strings.Index(strings.ReplaceAll(page.String(), "http://www.w3.org/2000/svg", ""), outside); at >= 0 {
			t.Errorf("the page is not by itself: %q", outside)
		}
	}
	if n := strings.Count(page.String(), `<path class="line c`) / 2; n != 10 {
		t.Errorf("%d lines in the plots of a recovery, not 5 methods in 2 plots", n)
	}
	for _, want := range []string{"| ketama | 4 |", "| recovery | 4 | 2 |"} {
		if !strings.Contains(markdown.String(), want) {
			t.Errorf("no %q in\n%s", want, markdown.String())
		}
	}
	if _, err := Read(strings.NewReader("{}")); err == nil {
		t.Error("no error for a table without cells")
	}
}

func TestHashKeys_movesNoKeyNeedlessly(t *testing.T) {
	for _, k := range HashKeys(1) {
		if k.Method == "ketama" && (k.Needless > 0 || k.Joined > 0 || k.Imbalance > 1.4) ||
			k.Method == "maglev" && (k.Needless > 0 || k.Joined > 0.05 || k.Imbalance > 1.1) ||
			k.Method == "ip_hash" && (k.Needless > 0 || k.Joined < 0.5) {
			t.Errorf("%+v", k)
		}
	}
}

// A slow start of the real Set goes by the simulated time: its member has no part that lasts longer or less.
func TestRun_slowStartTakesItsTime(t *testing.T) {
	s := one(t, "back cold, slow start") // away from second 0 to 10 of 40, all of its weight from 20 on
	table := simulate(t, Options{Scenarios: []Scenario{s}, Contenders: find(t, "round_robin"), Members: []int{4},
		Reactors: []int{2}, Seeds: 1, Scale: 0.8})
	for k, p := range table.Cells[0].Methods[0].Series {
		at, want := (float64(k)+0.5)*40/seriesPoints, 1.0
		switch {
		case at < 10:
			want = 0
		case at < 20:
			part := max(math.Floor((at-10)/10*8), 1) / 8 // turns follow in eighths
			want = 4 * part / (3 + part)
		}
		if math.Abs(p.Share-want) > 0.12 {
			t.Errorf("second %.1f: %.2f of its share, not %.2f", at, p.Share, want)
		}
	}
}

func TestScenario_zones(t *testing.T) {
	s := one(t, "3 zones, off")
	var names []string
	for i := range 12 {
		names = append(names, s.zone(i, 12).Name)
	}
	if got := strings.Join(names, ""); got != "aaaaaabbbbcc" {
		t.Errorf("zones %s", got)
	}
	parts, requests := 0.0, 0.0
	for _, z := range s.Zones {
		parts, requests = parts+z.Part, requests+z.Requests
	}
	if math.Abs(parts-1) > 1e-9 || math.Abs(requests-1) > 1e-9 {
		t.Errorf("%v of the backends, %v of the requests", parts, requests)
	}
}
