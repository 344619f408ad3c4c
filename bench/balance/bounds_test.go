package balance

import "testing"

// TestAdaptive_bounds holds the code to what the full run says of it, with room for the noise of short ones. The full
// run is `edge-bench balance`.
func TestAdaptive_bounds(t *testing.T) {
	for _, b := range []struct {
		scenario string
		members  int
		p99      float64 // over the ideal's, at the most
		trouble  float64 // part of the requests to where the trouble is, at the most
	}{
		{"uniform 80 %", 4, 1.06, 0},
		{"uniform 95 %", 100, 1.15, 0},
		{"one 50 × slower, 20 %", 4, 1.06, 0.003},
		{"one 50 × slower, 80 %", 4, 1.10, 0.003},
		{"one 50 × slower, 80 %", 100, 1.06, 0.001},
		{"GC pauses", 4, 1.40, 0},
		{"unequal, weighted", 4, 1.06, 0},
		{"unequal, no weights", 4, 1.25, 0},
		{"bursts", 100, 1.25, 0},
		{"cold join", 4, 1.15, 1},
		{"mixed sizes", 4, 1.08, 0},
		{"one of 4 fails fast", 4, 1.10, 0.005},
		{"one of 4 fails fast", 100, 1.10, 0.005},
		{"two of 4 fail fast", 100, 1.15, 0.005},
		{"one fails, slow service", 4, 1.10, 0.005},
		{"one of 4 fails half", 4, 1.10, 0.005},
		{"long tail", 12, 1.10, 0},
		{"one 15 × slower at times", 12, 1.30, 1},
		{"long polling", 4, 1.30, 0},
	} {
		table := simulate(t, Options{Scenarios: []Scenario{one(t, b.scenario)}, Members: []int{b.members},
			Contenders: find(t, "adaptive"), Reactors: []int{1, 16}, Seeds: 2, Scale: 0.2})
		for i := range table.Cells {
			c := &table.Cells[i]
			if f := c.of("adaptive"); f.P99 > b.p99 || f.Share > b.trouble {
				t.Errorf("%s: p99 is %.2f of the ideal's (at most %.2f), a part of %.4f goes to trouble (%.4f)",
					c.Name(), f.P99, b.p99, f.Share, b.trouble)
			}
		}
	}
}

// TestAdaptive_comesBack: a backend that was 50 times slower has half of its share within 20 s after it is well, and no
// burst of requests on the way there.
func TestAdaptive_comesBack(t *testing.T) {
	table := simulate(t, Options{Scenarios: []Scenario{one(t, "recovery")}, Contenders: find(t, "adaptive"),
		Reactors: []int{1, 64}, Seeds: 2, Scale: 0.5})
	for i := range table.Cells {
		c := &table.Cells[i]
		for k, p := range c.of("adaptive").Series { // one for each second: it is well from second 20 on
			if k >= 40 && k < 60 && p.Share < 0.5 || k > 20 && p.InFlight > 2 {
				t.Errorf("%s, second %d: %.2f of its share, %.2f of what the others have under way",
					c.Name(), k, p.Share, p.InFlight)
			}
		}
	}
}

// TestReactors_drawOtherBackends: with many reactors the totals serve as well as with one, if these do not draw alike.
func TestReactors_drawOtherBackends(t *testing.T) {
	c := simulate(t, Options{Scenarios: []Scenario{one(t, "uniform 95 %")}, Contenders: find(t, "p2c", "p2c-exact"),
		Members: []int{100}, Reactors: []int{64}, Seeds: 1, Scale: 0.3}).Cells[0]
	if ours, exact := c.of("p2c").P99, c.of("p2c-exact").P99; ours > 1.06*exact {
		t.Errorf("p99 with published totals is %.2f of the ideal's, with exact ones %.2f", ours, exact)
	}
}
