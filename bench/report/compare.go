package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/perf/benchmath"
)

// confidence is that of the intervals of a comparison.
const confidence = 0.95

// Comparison is what changed from one report to another.
type Comparison struct {
	Old, New *Report
	Changes  []Change // of what both have, in the order of New
	Added    []string // what only New has
	Removed  []string // what only Old has
	// Drift is the geometric mean of the baselines' new times through the old ones: nobody has changed them, so that it
	// is what the machine did meanwhile. 0 when there is no baseline.
	Drift float64
}

// Change is how the time of one benchmark changed.
type Change struct {
	Name     string
	Ours     bool
	Old, New Estimate
	Ratio    float64 // of the medians, new through old
	P        float64 // how likely samples that differ so much are when nothing has changed
	Real     bool    // P is below the threshold
	Few      bool    // there are too few samples for any difference to be significant
	Allocs   [2]float64
}

// Estimate is a median with its interval of confidence, which is endless where there are few samples. ns.
type Estimate struct{ Median, Low, High float64 }

// Compare tells what changed from old to r. Whether a change is one is decided by the test of Mann and Whitney, which
// supposes nothing about how times are distributed, at p < 0.05.
func (r *Report) Compare(old *Report) *Comparison {
	c := &Comparison{Old: old, New: r}
	before := make(map[string]*Result)
	for i := range old.Results {
		before[old.Results[i].Name] = &old.Results[i]
	}
	logs, baselines := 0.0, 0
	for i := range r.Results {
		now := &r.Results[i]
		was := before[now.Name]
		if was == nil {
			c.Added = append(c.Added, now.Name)
			continue
		}
		delete(before, now.Name)
		change := changeOf(was, now)
		c.Changes = append(c.Changes, change)
		if !change.Ours && change.Ratio > 0 {
			logs += math.Log(change.Ratio)
			baselines++
		}
	}
	for i := range old.Results {
		if name := old.Results[i].Name; before[name] != nil {
			c.Removed = append(c.Removed, name)
		}
	}
	if baselines > 0 {
		c.Drift = math.Exp(logs / float64(baselines))
	}
	return c
}

func changeOf(was, now *Result) Change {
	a := benchmath.NewSample(was.times(), &benchmath.DefaultThresholds)
	b := benchmath.NewSample(now.times(), &benchmath.DefaultThresholds)
	test := benchmath.AssumeNothing.Compare(a, b)
	c := Change{
		Name: now.Name, Ours: now.Ours(), Old: estimate(a), New: estimate(b), P: test.P,
		Real: test.P < test.Alpha, Few: fewest(test.N1, test.N2) >= test.Alpha,
		Allocs: [2]float64{was.Allocs, now.Allocs},
	}
	if c.Old.Median > 0 {
		c.Ratio = c.New.Median / c.Old.Median
	}
	return c
}

func estimate(s *benchmath.Sample) Estimate {
	sum := benchmath.AssumeNothing.Summary(s, confidence)
	return Estimate{sum.Center, sum.Lo, sum.Hi}
}

// fewest is the least p that samples of these sizes can have: all of one are below all of the other, which two of the
// orders in which they can come are.
func fewest(n1, n2 int) float64 {
	orders := 1.0
	for i := 1; i <= n2; i++ {
		orders *= float64(n1+i) / float64(i)
	}
	return 2 / orders
}

// Text is the change in percent, or ~ when it is none.
func (c *Change) Text() string {
	if !c.Real {
		return "~"
	}
	return fmt.Sprintf("%+.1f %%", (c.Ratio-1)*100)
}

func (c *Change) allocsText() string {
	if c.Allocs[0] == c.Allocs[1] {
		return ""
	}
	return fmt.Sprintf("  allocs/op %v → %v", c.Allocs[0], c.Allocs[1])
}

// sorted are the changes of one kind, the largest first.
func (c *Comparison) sorted(keep func(*Change) bool) []Change {
	var kept []Change
	for i := range c.Changes {
		if keep(&c.Changes[i]) {
			kept = append(kept, c.Changes[i])
		}
	}
	size := func(c Change) float64 { return math.Abs(math.Log(c.Ratio)) }
	slices.SortStableFunc(kept, func(a, b Change) int {
		switch x, y := size(a), size(b); {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	return kept
}

// verdict counts the changes of ours.
func (c *Comparison) verdict() string {
	faster, slower, same := 0, 0, 0
	for i := range c.Changes {
		switch change := &c.Changes[i]; {
		case !change.Ours:
		case !change.Real:
			same++
		case change.Ratio < 1:
			faster++
		default:
			slower++
		}
	}
	return fmt.Sprintf("edge: %d faster, %d slower, %d neither", faster, slower, same)
}

// since names the old report.
func (c *Comparison) since() string {
	name := c.Old.Machine.Version
	if name == "" {
		name = "an earlier report"
	}
	if !c.Old.Time.IsZero() {
		name += c.Old.Time.UTC().Format(" of 2006-01-02 15:04")
	}
	return name
}

// Notes are what to know before one believes a comparison.
func (c *Comparison) Notes() []string {
	var notes []string
	if c.Drift > 0 {
		notes = append(notes, fmt.Sprintf(
			"the baselines, which nobody has changed, take %+.1f %%: so much is the machine", (c.Drift-1)*100))
	}
	switch {
	case c.Old.Machine.Go.Version == "":
		notes = append(notes, "the old report says nothing of its machine")
	default:
		for _, d := range c.New.Machine.Differences(&c.Old.Machine) {
			notes = append(notes, "not the same machine: "+d)
		}
	}
	if c.Old.Benchtime != c.New.Benchtime {
		notes = append(notes, fmt.Sprintf("benchtime is %s, and was %s", c.New.Benchtime, c.Old.Benchtime))
	}
	if slices.ContainsFunc(c.Changes, func(c Change) bool { return c.Few }) {
		notes = append(notes, "with so few rounds no change can be significant: take at least 4, better 10")
	}
	if n := float64(len(c.Changes)) * benchmath.DefaultThresholds.CompareAlpha; n >= 1 {
		notes = append(notes, fmt.Sprintf("of %d comparisons about %.0f show a change by chance", len(c.Changes), n))
	}
	for _, only := range []struct {
		where string
		names []string
	}{{"new", c.Added}, {"old", c.Removed}} {
		if names := only.names; len(names) > 3 {
			notes = append(notes, fmt.Sprintf("%d are only in the %s report, like %s", len(names), only.where,
				names[0]))
		} else if len(names) > 0 {
			notes = append(notes, fmt.Sprintf("only in the %s report: %s", only.where, strings.Join(names, ", ")))
		}
	}
	return notes
}
