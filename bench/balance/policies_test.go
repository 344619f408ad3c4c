package balance

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/bench/report"
)

// cellsOf simulates scenarios with so many backends for a short time, and returns the cells by scenario.
func cellsOf(t *testing.T, methods []string, members int, scale float64, names ...string) map[string]*Cell {
	t.Helper()
	o := Options{Contenders: find(t, methods...), Members: []int{members}, Reactors: []int{4}, Seeds: 1, Scale: scale}
	for _, name := range names {
		o.Scenarios = append(o.Scenarios, one(t, name))
	}
	table := simulate(t, o)
	list := make(map[string]*Cell)
	for i := range table.Cells {
		list[table.Cells[i].Scenario] = &table.Cells[i]
	}
	return list
}

// figuresOf returns what one method did, by scenario.
func figuresOf(t *testing.T, method string, members int, scale float64, names ...string) map[string]*Figures {
	t.Helper()
	list := make(map[string]*Figures)
	for name, c := range cellsOf(t, []string{method}, members, scale, names...) {
		list[name] = c.of(method)
	}
	return list
}

// The requests that leave their zone are those of a zone beyond its part of the weight, as docs/balancing.md has it.
// The rule is worked out here once more, by hand, for both halves of the period.
func TestZones_crossByTheRule(t *testing.T) {
	want := map[string]float64{
		"3 zones, off":          (2./3 + 2./3) / 2,
		"3 zones, prefer":       (1./6 + 1./9) / 2, // c has 1/6 of the weight for 1/3 of the requests, then 2/9
		"3 zones, zone_share":   (0 + 1./6) / 2,    // then a has 1/3 of the weight for 1/2 of the requests
		"3 zones, share unsaid": (1./6*1./2 + 1./6*1./3) / 2,
		"2 zones, off":          (1./2 + 1./2) / 2,
		"2 zones, prefer":       (1./6 + 0) / 2,
	}
	names := slices.Collect(maps.Keys(want))
	// A quarter of the usual requests is one period of 20 s.
	for name, cell := range cellsOf(t, []string{"round_robin", "p2c", "adaptive"}, 12, 0.25, names...) {
		for method, off := range map[string]float64{"round_robin": 0.002, "p2c": 0.012, "adaptive": 0.04} {
			c := cell.of(method).Crossing
			if math.Abs(c.Rule-want[name]) > 0.012 || math.Abs(c.Is-c.Rule) > off || c.Other > off {
				t.Errorf("%s, %s: %.4f leave their zone, by the rule %.4f (%.4f by hand); %.4f go elsewhere", name,
					method, c.Is, c.Rule, want[name], c.Other)
			}
		}
	}
}

// Zones cost no latency while each says its part of the requests, or all have the same; where one has more than it says
// its zone is overloaded when it loses backends.
func TestZones_latency(t *testing.T) {
	all := figuresOf(t, "adaptive", 12, 0.25, "3 zones, off", "3 zones, prefer", "3 zones, zone_share",
		"3 zones, share unsaid", "2 zones, prefer")
	for name, f := range all {
		if bad := name == "3 zones, share unsaid"; bad != (f.P99 > 2) || !bad && f.P99 > 1.05 {
			t.Errorf("%s: p99 is %.2f of the ideal's", name, f.P99)
		}
	}
}

// A backend that comes back cold has no more under way than the others with slow_start, and the methods that need it
// get a better p99.
func TestSlowStart_keepsAColdBackendFree(t *testing.T) {
	for _, c := range []struct {
		method            string
		crowd, p99, gains float64 // at the most with slow start; at the least over those without
	}{
		{"adaptive", 1.3, 1.05, 0},
		{"p2c", 1.3, 1.12, 1.05},
		{"least_conn", 1.3, 1.12, 1.05},
		{"round_robin", math.Inf(1), 25, 3},
	} {
		all := figuresOf(t, c.method, 4, 0.3, "back cold", "back cold, slow start")
		plain, slow := all["back cold"], all["back cold, slow start"]
		if slow.Crowd > c.crowd || slow.P99 > c.p99 || plain.P99 < c.gains*slow.P99 {
			t.Errorf("%s: p99 %.2f of the ideal's and %.2f of what the others have under way; without slow start %.2f "+
				"and %.2f", c.method, slow.P99, slow.Crowd, plain.P99, plain.Crowd)
		}
	}
}

// Hedging bounds the tail of a backend that hangs, at the price that its budget allows.
func TestHedge_boundsTheTail(t *testing.T) {
	all := figuresOf(t, "adaptive", 4, 0.3, "1 % hang", "1 % hang, hedged 50 ms", "1 % hang, hedged 100 ms",
		"1 % hang, 80 %, hedged 50 ms", "1 % hang, 80 %, hedged, stops")
	if f := all["1 % hang"]; f.P999Ms < 500 || f.Hedges != nil {
		t.Errorf("without hedging: p99.9 %.0f ms, %+v", f.P999Ms, f.Hedges)
	}
	for name, most := range map[string]struct{ tail, sent, wasted float64 }{
		"1 % hang, hedged 50 ms":        {160, 0.03, 0.15},
		"1 % hang, hedged 100 ms":       {160, 0.008, 0.05},
		"1 % hang, 80 %, hedged 50 ms":  {260, 0.05, 0.15},
		"1 % hang, 80 %, hedged, stops": {160, 0.05, 0.08},
	} {
		f := all[name]
		if h := f.Hedges; f.P999Ms > most.tail || h.Sent > most.sent || h.Wasted > most.wasted || h.Won == 0 {
			t.Errorf("%s: p99.9 %.0f ms, %+v", name, f.P999Ms, h)
		}
	}
	if f := all["1 % hang, 80 %, hedged, stops"]; f.P99 > 1.2 {
		t.Errorf("backends that stop: p99 is %.2f of the ideal's", f.P99)
	}
}

// The models of peers know nothing of a Policy.
func TestPolicy_isNotForPeers(t *testing.T) {
	all := figuresOf(t, "p2c-exact", 12, 0.05, "3 zones, off", "3 zones, prefer")
	if a, b := all["3 zones, off"], all["3 zones, prefer"]; a.P99 != b.P99 || *a.Crossing != *b.Crossing {
		t.Errorf("%+v\n%+v", a, b)
	}
	if f := figuresOf(t, "random-2", 4, 0.05, "1 % hang, hedged 50 ms")["1 % hang, hedged 50 ms"]; f.Hedges != nil {
		t.Errorf("%+v", f.Hedges)
	}
}

// The tables, the page and the JSON have what is special of these scenarios.
func TestTable_showsPolicies(t *testing.T) {
	table := simulate(t, Options{Scenarios: []Scenario{one(t, "2 zones, prefer"), one(t, "back cold, slow start"),
		one(t, "1 % hang, hedged 50 ms")}, Contenders: find(t, "adaptive", "p2c-exact"), Members: []int{4, 12},
		Reactors: []int{2}, Seeds: 1, Scale: 0.02})
	var json, page, markdown bytes.Buffer
	err := errors.Join(report.WriteJSON(&json, table), table.Page(nil).Write(&page),
		table.WriteMarkdown(&markdown, nil))
	if err != nil {
		t.Fatal(err)
	}
	back, err := Read(&json)
	if err != nil || !reflect.DeepEqual(back.Cells, table.Cells) {
		t.Errorf("what is read is not what was written: %v", err)
	}
	// Two methods each: three plots of zones, two of a slow start with 4 and with 12 backends.
	if n := strings.Count(page.String(), `<path class="line c`) / 2; n != 2*3+2*2*2 {
		t.Errorf("%d lines in the plots", n)
	}
	for _, want := range []string{"part of the requests that leaves its zone", "leave their zone, by the rule",
		"% hedged"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, want := range []string{"leave their zone · would by the rule", "most under way at the first backend",
		"p99.9 in ms", "hedged · late without budget", "| 1 % hang, hedged 50 ms | 4 | 2 |"} {
		if !strings.Contains(markdown.String(), want) {
			t.Errorf("no %q in\n%s", want, markdown.String())
		}
	}
}
