package loadreport

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/bench/report"
)

// Plots are drawn in a box of this width and height, which the page stretches to whatever there is: so they hold no
// text, and their strokes do not scale.
const plotSide = 1000.0

//go:embed page.html
var pageText string

var pageTemplate = template.Must(report.Frame().New("load").Parse(pageText))

// page is what page.html shows.
type page struct {
	*Report
	Title, Date string
	Card        report.MachineCard
	Columns     []string
	Table       [][]string
	ByLoad      *plot // nil: no more than one rate
	Curves      *plot
	Know        []string // before one believes it
	Changes     *changes
}

// changes is a Comparison as the page shows it.
type changes struct {
	Since string
	Notes []string
	Rows  []changeRow
}

type changeRow struct {
	Name  string
	Cells []changeCell
}

type changeCell struct{ Name, Text string }

// plot is lines on two axes.
type plot struct {
	Lines []line
	X, Y  []tick
	XName string
	Label string // all of it in words
}

// line is one line of a plot, with a mark at each point.
type line struct {
	Name  string
	Class string // of the page's style: it tells the color
	Faint float64
	Path  string
	Marks []mark
}

type mark struct {
	X, Y float64
	Tip  string
}

// tick is a line across a plot. At is its place in percent.
type tick struct {
	At   float64
	Text string
}

// WriteHTML writes one page that needs nothing else. c is what changed since an earlier report; it may be nil.
func (r *Report) WriteHTML(w io.Writer, c *Comparison) error {
	p := page{
		Report: r, Title: "edge-bench", Date: r.Time.UTC().Format("2 January 2006, 15:04 UTC"),
		Card: report.CardOf(&r.Machine), Columns: columns(), ByLoad: r.byLoad(), Curves: r.curves(),
		Know: append(r.omission(), r.Notes...),
	}
	for i := range r.Rows {
		p.Table = append(p.Table, r.Rows[i].cells())
	}
	if c != nil {
		p.Changes = c.page()
	}
	return pageTemplate.Execute(w, p)
}

func (c *Comparison) page() *changes {
	p := &changes{Since: c.since(), Notes: c.Notes}
	for i := range c.Changes {
		row := changeRow{Name: c.Changes[i].Name}
		for k := range measures {
			if text := c.Changes[i].text(&measures[k]); text != "" {
				row.Cells = append(row.Cells, changeCell{measures[k].name, text})
			}
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

// quantiles are the lines of the plot by load, for each target.
var quantiles = []struct {
	name string
	of   func(r *Row) time.Duration
}{
	{"p50", func(r *Row) time.Duration { return r.Result.Latency.P50 }},
	{"p99", func(r *Row) time.Duration { return r.Result.Latency.P99 }},
	{"p99.9", func(r *Row) time.Duration { return r.Result.Latency.P999 }},
}

// byLoad plots latencies by the rate that was asked for: the rows of open loops.
func (r *Report) byLoad() *plot {
	var open []*Row
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Result.Rate > 0 && row.Result.Requests > 0 {
			open = append(open, row)
		}
	}
	y := scaleOf(open, func(r *Row) []time.Duration {
		return []time.Duration{r.Result.Latency.P50, r.Result.Latency.P999}
	})
	most, rates := 0.0, make(map[float64]bool)
	for _, row := range open {
		most = max(most, row.Result.Rate)
		rates[row.Result.Rate] = true
	}
	if len(rates) < 2 {
		return nil
	}
	p := &plot{Y: y.ticks(), XName: "requests a second"}
	step := niceStep(most)
	for v := 0.0; v <= most; v += step {
		p.X = append(p.X, tick{round(v / most * 100), count(v)})
	}
	names := targets(open)
	for _, target := range names {
		for _, q := range quantiles {
			l := line{Name: target + " " + q.name, Class: class(names, target, q.name), Faint: 1}
			for _, row := range open {
				if row.Target == target {
					l.add(row.Result.Rate/most*plotSide, y.at(q.of(row)),
						fmt.Sprintf("%s at %s/s: %s", l.Name, count(row.Result.Rate), micros(q.of(row))))
				}
			}
			p.Lines = append(p.Lines, l)
		}
	}
	p.describe()
	return p
}

// curves plots the distribution of each row: the share of requests that took longer, on a logarithmic axis.
func (r *Report) curves() *plot {
	var all []*Row
	for i := range r.Rows {
		if len(r.Rows[i].Result.Latency.Curve) > 0 {
			all = append(all, &r.Rows[i])
		}
	}
	if len(all) == 0 {
		return nil
	}
	nines := 2.0 // the decades of the axis
	for _, row := range all {
		nines = max(nines, math.Log10(float64(row.Result.Requests)))
	}
	y := scaleOf(all, func(r *Row) []time.Duration {
		return []time.Duration{r.Result.Latency.Curve[0].Value, r.Result.Latency.Max}
	})
	p := &plot{Y: y.ticks(), XName: "percent of the requests took no longer"}
	for k, text := range []string{"0", "90", "99", "99.9", "99.99", "99.999", "99.9999"} {
		if float64(k) <= nines {
			p.X = append(p.X, tick{round(float64(k) / nines * 100), text})
		}
	}
	names := targets(all)
	for _, row := range all {
		l := line{Name: row.key(), Class: class(names, row.Target, "p99"), Faint: 1}
		if row.Percent > 0 {
			l.Faint = 0.25 + 0.75*float64(row.Percent)/100
		} else if row.Result.Rate == 0 && len(all) > 1 {
			l.Class = class(names, row.Target, "closed")
		}
		for _, at := range row.Result.Latency.Curve {
			if at.Share < 1 {
				l.add(min(-math.Log10(1-at.Share)/nines, 1)*plotSide, y.at(at.Value),
					fmt.Sprintf("%s: %.6g %% within %s", l.Name, at.Share*100, micros(at.Value)))
			}
		}
		p.Lines = append(p.Lines, l)
	}
	p.describe()
	return p
}

func targets(rows []*Row) []string {
	var names []string
	for _, row := range rows {
		if !slices.Contains(names, row.Target) {
			names = append(names, row.Target)
		}
	}
	return names
}

// class is the color of a target, the last of which is what the report is about, and a stroke.
func class(targets []string, target, stroke string) string {
	c := "b"
	if target == targets[len(targets)-1] {
		c = "a"
	}
	return c + " " + strings.ReplaceAll(stroke, ".", "")
}

func (l *line) add(x, y float64, tip string) {
	x, y = round(x), round(y)
	step := "L"
	if l.Path == "" {
		step = "M"
	}
	l.Path += fmt.Sprintf("%s%v %v", step, x, y)
	l.Marks = append(l.Marks, mark{x, y, tip})
}

// describe says in words what the last mark of each line says.
func (p *plot) describe() {
	var parts []string
	for _, l := range p.Lines {
		if n := len(l.Marks); n > 0 {
			parts = append(parts, l.Marks[n-1].Tip)
		}
	}
	p.Label = strings.Join(parts, "; ")
}

// scale is a logarithmic axis of time.
type scale struct{ low, high float64 }

func scaleOf(rows []*Row, ends func(r *Row) []time.Duration) scale {
	s := scale{math.Inf(1), 0}
	for _, row := range rows {
		for _, d := range ends(row) {
			s.low, s.high = min(s.low, float64(d)), max(s.high, float64(d))
		}
	}
	s.low = max(s.low, 1)
	if s.low >= s.high {
		s.low, s.high = 1, max(s.high, 10)
	}
	s.low, s.high = s.low/1.3, s.high*1.3
	return s
}

// at is where d stands, from the top.
func (s scale) at(d time.Duration) float64 {
	return plotSide * (1 - math.Log(max(float64(d), s.low)/s.low)/math.Log(s.high/s.low))
}

// ticks are 1, 2 and 5 times the powers of ten, or these alone where there would be many.
func (s scale) ticks() []tick {
	var all, tens []tick
	for decade := 1.0; decade <= s.high; decade *= 10 {
		for _, m := range []float64{1, 2, 5} {
			v := m * decade
			if v < s.low || v > s.high {
				continue
			}
			t := tick{round(s.at(time.Duration(v)) / plotSide * 100), axisTime(time.Duration(v))}
			if all = append(all, t); m == 1 {
				tens = append(tens, t)
			}
		}
	}
	if len(all) > 9 {
		return tens
	}
	return all
}

// axisTime writes a round time as short as can be.
func axisTime(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%g s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%g ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%g µs", d.Seconds()*1e6)
}

// niceStep cuts an axis to most into four to ten parts.
func niceStep(most float64) float64 {
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, part := range []float64{1, 2, 5, 10} {
		if most*part/step >= 4 {
			return step / part
		}
	}
	return step
}

func round(v float64) float64 { return math.Round(v*10) / 10 }

// Place is where t stands in the box of a plot.
func (t tick) Place() float64 { return round(t.At * plotSide / 100) }
