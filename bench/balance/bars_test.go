package balance

import (
	"os"
	"testing"
)

// TestBars is the full run, held against what the project promises of it. EDGE_SOAK=1 asks for it: it takes minutes.
func TestBars(t *testing.T) {
	if os.Getenv("EDGE_SOAK") == "" {
		t.Skip("EDGE_SOAK is not set")
	}
	table := simulate(t, Options{Contenders: find(t, "adaptive", "p2c-exact"), Reactors: []int{1, 4, 16, 64}})
	judged := table.summary(GroupJudged, "adaptive", 0, 0)
	if judged.P99 > 1.06 || judged.Worst > 1.35 {
		t.Errorf("p99 over the ideal's: %.3f, worst %.2f (%s)", judged.P99, judged.Worst, judged.At)
	}
	for i := range table.Cells {
		c := &table.Cells[i]
		ours, p2c := c.of("adaptive"), c.of("p2c-exact")
		if ours.P99 > 1.05*p2c.P99 && c.Group == GroupJudged {
			t.Errorf("%s: p99 %.2f, that of p2c with exact totals is %.2f", c.Name(), ours.P99, p2c.P99)
		}
		if ours.Failed > 0.005 {
			t.Errorf("%s: %.2f %% of the requests reach backends that fail", c.Name(), 100*ours.Failed)
		}
	}
	for _, group := range []string{GroupChecked, GroupHeldOut} {
		ours, p2c := table.summary(group, "adaptive", 0, 0), table.summary(group, "p2c-exact", 0, 0)
		if ours.P99 > p2c.P99 || ours.Worst > p2c.Worst {
			t.Errorf("%s: p99 %.2f, worst %.2f, those of p2c are %.2f and %.2f", group,
				ours.P99, ours.Worst, p2c.P99, p2c.Worst)
		}
	}
}
