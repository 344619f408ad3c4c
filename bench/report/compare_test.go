package report

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// scaled is sampled with the times of one result times by.
func scaled(name string, by float64) *Report {
	r := sampled()
	for i := range r.Results {
		if r.Results[i].Name != name {
			continue
		}
		for k := range r.Results[i].Samples {
			r.Results[i].Samples[k].NsPerOp *= by
		}
	}
	return r
}

func (c *Comparison) change(name string) *Change {
	i := slices.IndexFunc(c.Changes, func(c Change) bool { return c.Name == name })
	return &c.Changes[i]
}

func TestCompare_findsWhatChanged(t *testing.T) {
	c := scaled("parse/small/edge", 0.5).Compare(sampled())
	faster, same := c.change("parse/small/edge"), c.change("parse/small/nethttp")
	if !faster.Ours || faster.P >= 0.05 || percent(faster.Ratio, faster.Real) != "-50.0 %" {
		t.Errorf("half the time: %+v", faster)
	}
	if same.Real || same.Ratio != 1 || percent(same.Ratio, same.Real) != "~" || same.Ours {
		t.Errorf("the same time: %+v", same)
	}
	if got := c.verdict(); got != "edge beside its baselines: 1 faster, 0 slower, 2 neither" {
		t.Error(got)
	}
	var b strings.Builder
	if err := c.writeText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"compared with v1.2-3-gabc of 2026-11-21 19:00: edge beside its baselines: 1 faster, 0 slower, 2 neither\n",
		"the baselines, which nobody has touched, changed by +0.0 %",
		"5.50  -50.0 %  0.008           -50.0 %  0.008\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

// Two times the mean, but all over the place: five rounds of noise are no change.
func TestCompare_doesNotBelieveNoise(t *testing.T) {
	old, now := sampled(), sampled()
	for i, ns := range []float64{10, 40, 12, 11, 45} {
		now.Results[0].Samples[i].NsPerOp = ns
	}
	if c := now.Compare(old).change("parse/small/edge"); c.Real {
		t.Errorf("%+v", c)
	}
}

func TestCompare_tellsTheDriftOfTheBaselines(t *testing.T) {
	now := sampled()
	for i := range now.Results {
		for k := range now.Results[i].Samples {
			now.Results[i].Samples[k].NsPerOp *= 1.25
		}
	}
	c := now.Compare(sampled())
	if c.Drift < 1.2499 || c.Drift > 1.2501 {
		t.Errorf("all took 1.25 times as long, the drift is %v", c.Drift)
	}
	ours := c.change("parse/small/edge")
	if !ours.Real || ours.Beside == nil || ours.Beside.Real || math.Abs(ours.Beside.Ratio-1) > 1e-9 {
		t.Errorf("a machine that slowed down: %+v, beside its baselines %+v", ours, ours.Beside)
	}
	if got := c.verdict(); got != "edge beside its baselines: 0 faster, 0 slower, 3 neither" {
		t.Error(got)
	}
}

// A baseline that only one of the reports has is no measure.
func TestCompare_takesTheBaselinesThatBothHave(t *testing.T) {
	old, now := sampled(), sampled()
	old.Results = old.Results[:1]
	if c := now.Compare(old); c.change("parse/small/edge").Beside != nil {
		t.Errorf("%+v", c.Changes)
	}
	now = sampled()
	now.Results = append(now.Results[:2:2], Result{
		Name: "parse/small/new", BaselineOf: "parse/small/edge", Samples: timesOf(1, 1, 1, 1, 1),
		Ratio: &Spread{11, 11, 11},
	})
	if b := now.Compare(sampled()).change("parse/small/edge").Beside; b == nil || b.Ratio != 1 {
		t.Errorf("%+v", b)
	}
}

func TestCompare_notesWhatSpeaksAgainstIt(t *testing.T) {
	old, now := sampled(), sampled()
	old.Results = old.Results[1:]
	for i := range old.Results {
		old.Results[i].Samples = old.Results[i].Samples[:2]
	}
	old.Results[0].Name = "gone/edge"
	old.Machine.Kernel, old.Machine.Version, old.Benchtime = "5.10", "", "20ms"
	notes := strings.Join(now.Compare(old).Notes(), "\n")
	for _, want := range []string{
		"not the same machine: kernel: 6.18; there 5.10", "benchtime is 1s, and was 20ms", "with so few rounds",
		"only in the new report: parse/small/edge, parse/small/nethttp", "only in the old report: gone/edge",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("%q is not in\n%s", want, notes)
		}
	}
	old.Machine.Go.Version = ""
	if notes := strings.Join(now.Compare(old).Notes(), "\n"); !strings.Contains(notes, "says nothing of its machine") {
		t.Error(notes)
	}
	if since := now.Compare(old).since(); since != "an earlier report of 2026-11-21 19:00" {
		t.Error(since)
	}
}

func TestCompare_tellsAllocations(t *testing.T) {
	now := sampled()
	now.Results[0].Allocs = 3
	var b strings.Builder
	if err := now.Compare(sampled()).writeText(&b); err != nil || !strings.Contains(b.String(), "allocs/op 1 → 3") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestFewest(t *testing.T) {
	// 2 of the orders in which 3 and 3, 4 and 4 samples can come: 20, 70.
	if a, b := fewest(3, 3), fewest(4, 4); a != 0.1 || b < 0.0285 || b > 0.0286 {
		t.Errorf("%v, %v", a, b)
	}
}
