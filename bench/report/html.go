package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/bench/machine"
)

// Plots are drawn in a box of this width, which the page stretches to whatever there is: so they hold no text, and
// their strokes do not scale.
const plotWidth = 1000.0

//go:embed frame.html
var frameText string

//go:embed page.html
var pageText string

var (
	frame        = template.Must(template.New("frame").Parse(frameText))
	pageTemplate = template.Must(Frame().New("page").Parse(pageText))
)

// Frame returns what pages of this kind share: the templates "style", which takes nothing, and "machine", which takes a
// MachineCard.
func Frame() *template.Template { return template.Must(frame.Clone()) }

// MachineCard is the part of a page that tells of the machine.
type MachineCard struct {
	Facts           []machine.Row
	Mitigated, Open []machine.Mitigation
}

// CardOf tells of f.
func CardOf(f *machine.Facts) MachineCard {
	c := MachineCard{Facts: f.Rows()}
	c.Mitigated, c.Open = f.Mitigated()
	return c
}

// page is what page.html shows.
type page struct {
	*Report
	Title      string
	Version    string
	Date       string
	Card       MachineCard
	Overview   []strip
	Axis       []gridLine
	Groups     []group
	Comparison *comparisonPage
}

// group is a heading with its families.
type group struct {
	Name     string
	Families []familyPage
}

// familyPage is one of ours beside its baselines.
type familyPage struct {
	Subject string
	What    string
	Rows    []bar
}

// bar is one result as a bar, with a mark for each sample.
type bar struct {
	Library, What  string
	Ours           bool
	Time           string
	Ratio          string // how many times as long as ours it takes
	Slower         bool   // ours takes longer
	Width          float64
	BoxAt, BoxWide float64 // between the quartiles
	Marks          string  // a path
	Tip            string
	Details        []string
}

// strip is one family in the overview: a dot for each baseline.
type strip struct {
	Subject string
	Dots    []dot
	Best    string
	Slower  bool // than one of the baselines
}

type dot struct {
	X, Y   float64
	Tip    string
	Slower bool
}

// gridLine is a line of the overview's axis.
type gridLine struct {
	X    float64
	Text string
	One  bool
}

// comparisonPage is a Comparison with its plots.
type comparisonPage struct {
	Since, Verdict string
	Notes          []string
	Real, Same     []changeRow // ours
	Baselines      []changeRow
	Scale          string
}

type changeRow struct {
	Name, Times, Text, P, Allocs string
	Class                        string // of the page's style: faster, slower, or soft when it is none
	Ours                         bool
	At, Wide                     float64 // of the bar, from the middle
}

// WriteHTML writes one page that needs nothing else: plots, ratios, the facts of the machine and every number. c is
// what changed since an earlier report; it may be nil.
func (r *Report) WriteHTML(w io.Writer, c *Comparison) error {
	p := page{
		Report: r, Title: "edge-bench micro", Version: r.Machine.Version,
		Date: r.Time.UTC().Format("2 January 2006, 15:04 UTC"), Card: CardOf(&r.Machine),
	}
	families := r.families()
	p.Overview, p.Axis = overview(families)
	for _, f := range families {
		if n := len(p.Groups); n == 0 || p.Groups[n-1].Name != f[0].Group {
			p.Groups = append(p.Groups, group{Name: f[0].Group})
		}
		g := &p.Groups[len(p.Groups)-1]
		g.Families = append(g.Families, familyPage{f[0].subject(), f[0].What, bars(f)})
	}
	if c != nil {
		p.Comparison = c.page()
	}
	return pageTemplate.Execute(w, p)
}

// bars draws a family to one scale, on which a tenth beyond the longest median is seen.
func bars(f []Result) []bar {
	longest := 0.0
	for i := range f {
		longest = max(longest, f[i].NsPerOp)
	}
	scale := plotWidth / max(longest*1.1, 1e-9)
	rows := make([]bar, len(f))
	for i := range f {
		r := &f[i]
		times := r.times()
		q1, q3 := quantile(times, 0.25), quantile(times, 0.75)
		at := func(ns float64) float64 { return math.Round(min(ns*scale, plotWidth)*10) / 10 }
		var marks strings.Builder
		for _, ns := range times {
			_, _ = fmt.Fprintf(&marks, "M%v 3V21", at(ns))
		}
		rows[i] = bar{
			Library: r.library(), What: r.What, Ours: r.Ours(), Time: duration(r.NsPerOp), Width: at(r.NsPerOp),
			BoxAt: at(q1), BoxWide: math.Round(10*(at(q3)-at(q1))) / 10,
			Marks: marks.String(),
			Tip: fmt.Sprintf("%s: median %s, quartiles %s to %s, %d rounds from %s to %s", r.Name, duration(r.NsPerOp),
				duration(q1), duration(q3), len(times), duration(times[0]), duration(times[len(times)-1])),
			Details: details(r),
		}
		if r.Ratio != nil && r.Ratio.Median > 0 {
			rows[i].Ratio, rows[i].Slower = digits(1/r.Ratio.Median)+" ×", r.Ratio.Median > 1
		}
	}
	return rows
}

// details are the other numbers of a result.
func details(r *Result) []string {
	var found []string
	if r.MBPerSec > 0 {
		found = append(found, fmt.Sprintf("%.0f MB/s", r.MBPerSec))
	}
	found = append(found, fmt.Sprintf("%.0f allocs/op", r.Allocs), fmt.Sprintf("%.0f B/op", r.Bytes))
	for _, unit := range slices.Sorted(maps.Keys(r.Extra)) {
		found = append(found, digits(r.Extra[unit])+" "+unit)
	}
	return found
}

// rival reports whether r is a baseline of others that took any time.
func (r *Result) rival() bool { return !r.Ours() && r.Ratio != nil && r.Ratio.Median > 0 }

// overview shows how many times as long as ours each baseline takes, on one logarithmic axis.
func overview(families [][]Result) ([]strip, []gridLine) {
	low, high := 0.8, 2.0
	for _, f := range families {
		for i := range f[1:] {
			if r := &f[1+i]; r.rival() {
				low, high = min(low, 0.9/r.Ratio.Median), max(high, 1.1/r.Ratio.Median)
			}
		}
	}
	x := func(times float64) float64 {
		return math.Round(10*plotWidth*math.Log(times/low)/math.Log(high/low)) / 10
	}
	var strips []strip
	for _, f := range families {
		s := strip{Subject: f[0].subject()}
		nearest, library := math.Inf(1), ""
		for i := range f[1:] {
			r := &f[1+i]
			if !r.rival() {
				continue
			}
			times := 1 / r.Ratio.Median
			s.Dots = append(s.Dots, dot{x(times), 12, digits(times) + " × " + r.library(), times < 1})
			if times < nearest {
				nearest, library = times, r.library()
			}
		}
		if len(s.Dots) == 0 {
			continue
		}
		s.Best, s.Slower = digits(nearest)+" × "+library, nearest < 1
		strips = append(strips, s)
	}
	var axis []gridLine
	for _, v := range gridValues(low, high) {
		axis = append(axis, gridLine{x(v), digitsPlain(v) + "×", v == 1})
	}
	return strips, axis
}

// gridValues are 1, 2, 5, 10 … between low and high, or whole powers of ten when there are too many.
func gridValues(low, high float64) []float64 {
	var all, tens []float64
	for exponent := -6; exponent <= 9; exponent++ {
		for _, m := range []float64{1, 2, 5} {
			v := m * math.Pow(10, float64(exponent))
			if exponent < 0 {
				v = m / math.Pow(10, float64(-exponent))
			}
			if v < low || v > high {
				continue
			}
			all = append(all, v)
			if m == 1 {
				tens = append(tens, v)
			}
		}
	}
	if len(all) > 9 {
		return tens
	}
	return all
}

func digitsPlain(v float64) string { return fmt.Sprintf("%g", v) }

// Percent is where l stands, of the width.
func (l gridLine) Percent() float64 { return l.X * 100 / plotWidth }

// page draws a comparison: ours, in proportion to their baselines where they have any, and the baselines by themselves;
// the larger changes first, to a scale that the largest decides.
func (c *Comparison) page() *comparisonPage {
	p := &comparisonPage{Since: c.since(), Verdict: c.verdict(), Notes: c.Notes()}
	most := 0.05
	for i := range c.Changes {
		if ratio, _, _ := c.Changes[i].judged(); c.Changes[i].Ours {
			most = max(most, min(math.Abs(ratio-1), 1))
		}
	}
	p.Scale = fmt.Sprintf("±%.0f %%", most*100)
	for _, change := range c.sorted() {
		row := change.row(most)
		switch _, _, real := change.judged(); {
		case !change.Ours:
			p.Baselines = append(p.Baselines, row)
		case real:
			p.Real = append(p.Real, row)
		default:
			p.Same = append(p.Same, row)
		}
	}
	return p
}

// row draws a change to a scale of which most is the end.
func (c *Change) row(most float64) changeRow {
	ratio, likely, real := c.judged()
	delta := max(-1, min(1, (ratio-1)/most))
	r := changeRow{
		Name: c.Name, Text: fmt.Sprintf("%+.1f %%", (ratio-1)*100), P: fmt.Sprintf("%.3f", likely), Ours: c.Ours,
		Times: duration(c.Old.Median) + " → " + duration(c.New.Median), Allocs: strings.TrimSpace(c.allocsText()),
		Class: "slower", At: plotWidth / 2, Wide: math.Round(math.Abs(delta) * plotWidth / 2),
	}
	if delta < 0 {
		r.At -= r.Wide
	}
	switch {
	case !real:
		r.Class = "soft"
	case ratio < 1:
		r.Class = "faster"
	}
	return r
}
