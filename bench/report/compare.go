package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/perf/benchmath"

	"github.com/edge-proxy/edge/bench/machine"
)

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
	Old, New float64 // medians, ns
	Ratio    float64 // new through old
	P        float64 // how likely samples that differ so much are when nothing has changed
	Real     bool    // P is below the threshold
	Few      bool    // there are too few samples for any difference to be significant
	Allocs   [2]float64
	Beside   *Beside // nil where the two reports have no baseline of it in common
}

// Beside is how the time of one of ours changed in proportion to its baselines, which ran in the same rounds: what the
// whole machine did meanwhile is not in it.
type Beside struct {
	Ratio float64 // new through old
	P     float64
	Real  bool
}

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
	c.besideBaselines()
	if baselines > 0 {
		c.Drift = math.Exp(logs / float64(baselines))
	}
	return c
}

// besideBaselines fills Beside of the changes of ours.
func (c *Comparison) besideBaselines() {
	before := make(map[string][]Result)
	for _, f := range c.Old.families() {
		before[f[0].Name] = f
	}
	for _, now := range c.New.families() {
		was := before[now[0].Name]
		both := rivals(now)
		maps.DeleteFunc(both, func(name string, _ bool) bool { return !rivals(was)[name] })
		for i := range now {
			k := slices.IndexFunc(was, func(r Result) bool { return r.Name == now[i].Name })
			if k < 0 || !now[i].Ours() {
				continue
			}
			at := slices.IndexFunc(c.Changes, func(c Change) bool { return c.Name == now[i].Name })
			c.Changes[at].Beside = beside(was[k].proportions(was, both), now[i].proportions(now, both))
		}
	}
}

// rivals are the names of the baselines in a family.
func rivals(f []Result) map[string]bool {
	names := make(map[string]bool)
	for i := range f {
		if f[i].rival() {
			names[f[i].Name] = true
		}
	}
	return names
}

func beside(old, new []float64) *Beside {
	if len(old) == 0 || len(new) == 0 {
		return nil
	}
	a := benchmath.NewSample(old, &benchmath.DefaultThresholds)
	b := benchmath.NewSample(new, &benchmath.DefaultThresholds)
	test := benchmath.AssumeNothing.Compare(a, b)
	return &Beside{Ratio: Median(new) / Median(old), P: test.P, Real: test.P < test.Alpha}
}

// proportions are, for each round, the time of r through the geometric mean of the times of the members of f that are
// in.
func (r *Result) proportions(f []Result, in map[string]bool) []float64 {
	var all []float64
	for round, ours := range r.Samples {
		logs, n := 0.0, 0
		for i := range f {
			if !in[f[i].Name] || round >= len(f[i].Samples) || f[i].Samples[round].NsPerOp <= 0 {
				continue
			}
			logs += math.Log(f[i].Samples[round].NsPerOp)
			n++
		}
		if n > 0 && ours.NsPerOp > 0 {
			all = append(all, ours.NsPerOp/math.Exp(logs/float64(n)))
		}
	}
	return all
}

func changeOf(was, now *Result) Change {
	a := benchmath.NewSample(was.times(), &benchmath.DefaultThresholds)
	b := benchmath.NewSample(now.times(), &benchmath.DefaultThresholds)
	test := benchmath.AssumeNothing.Compare(a, b)
	c := Change{
		Name: now.Name, Ours: now.Ours(), Old: Median(was.times()), New: Median(now.times()), P: test.P,
		Real: test.P < test.Alpha, Few: fewest(test.N1, test.N2) >= test.Alpha,
		Allocs: [2]float64{was.Allocs, now.Allocs},
	}
	if c.Old > 0 {
		c.Ratio = c.New / c.Old
	}
	return c
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

// percent is a change in percent, or ~ when it is none.
func percent(ratio float64, real bool) string {
	if !real {
		return "~"
	}
	return fmt.Sprintf("%+.1f %%", (ratio-1)*100)
}

// allocs says how allocations changed, where they did.
func (c *Change) allocs() string {
	if c.Allocs[0] == c.Allocs[1] {
		return ""
	}
	return fmt.Sprintf("allocs/op %v → %v", c.Allocs[0], c.Allocs[1])
}

// judged is what to believe of a change: in proportion to its baselines where it has any.
func (c *Change) judged() (ratio, p float64, real bool) {
	if c.Beside != nil {
		return c.Beside.Ratio, c.Beside.P, c.Beside.Real
	}
	return c.Ratio, c.P, c.Real
}

// sorted are the changes, the largest first.
func (c *Comparison) sorted() []Change {
	all := slices.Clone(c.Changes)
	size := func(c *Change) float64 {
		ratio, _, _ := c.judged()
		return math.Abs(math.Log(ratio))
	}
	slices.SortStableFunc(all, func(a, b Change) int { return cmp.Compare(size(&b), size(&a)) })
	return all
}

// verdict counts the changes of ours, in proportion to their baselines where there are any.
func (c *Comparison) verdict() string {
	faster, slower, same := 0, 0, 0
	for i := range c.Changes {
		switch ratio, _, real := c.Changes[i].judged(); {
		case !c.Changes[i].Ours:
		case !real:
			same++
		case ratio < 1:
			faster++
		default:
			slower++
		}
	}
	return fmt.Sprintf("edge beside its baselines: %d faster, %d slower, %d neither", faster, slower, same)
}

func (c *Comparison) since() string { return Since(&c.Old.Machine, c.Old.Time) }

// Since names an earlier report.
func Since(m *machine.Facts, t time.Time) string {
	name := cmp.Or(m.Version, "an earlier report")
	if !t.IsZero() {
		name += t.UTC().Format(" of 2006-01-02 15:04")
	}
	return name
}

// Notes are what to know before one believes a comparison.
func (c *Comparison) Notes() []string {
	var notes []string
	if c.Drift > 0 {
		notes = append(notes, fmt.Sprintf(
			"the baselines, which nobody has touched, changed by %+.1f %%: that is the machine", (c.Drift-1)*100))
	}
	if c.Old.Machine.Go.Version == "" {
		notes = append(notes, "the old report says nothing of its machine")
	} else {
		notes = append(notes, c.New.Machine.Differences(&c.Old.Machine)...)
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
	for i, names := range [][]string{c.Added, c.Removed} {
		if n := len(names); n > 3 {
			names = []string{fmt.Sprintf("%d, like %s", n, names[0])}
		}
		if len(names) > 0 {
			notes = append(notes, fmt.Sprintf("only in the %s report: %s", []string{"new", "old"}[i],
				strings.Join(names, ", ")))
		}
	}
	return notes
}
