package loadreport

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/edge-proxy/edge/bench/report"
)

// Page shows the rows of r with plots, and what changed since old, which may be nil.
func (r *Report) Page(old *Report) *report.Page {
	p := &report.Page{Title: "edge-bench", Leads: []string{r.What}, Time: r.Time, Machine: &r.Machine,
		Command: r.Command, Notes: append(r.omission(), r.Notes...)}
	add := func(id, title string, card report.Card) {
		p.Sections = append(p.Sections, report.Section{ID: id, Title: title, Cards: []report.Card{card}})
	}
	if old != nil {
		changes, notes := r.Compare(old)
		add("changes", "Compared with "+report.Since(&old.Machine, old.Time), report.Card{Notes: notes, Table: changes})
	}
	if plot := r.byLoad(); plot != nil {
		add("load", "Latency by load", report.Card{Plots: []*report.Plot{plot},
			What: "An open loop: each request has its time, and its latency counts from then, sent or not."})
	}
	if plot := r.curves(); plot != nil {
		add("curves", "How latencies are distributed", report.Card{Plots: []*report.Plot{plot},
			What: "To the right the slow ones: each step is a tenth of the requests that are left."})
	}
	add("numbers", "The numbers", report.Card{Table: r.table()})
	return p
}

// byLoad plots latencies by the rate that was asked for, the rows of open loops; nil where there is no more than one
// rate.
func (r *Report) byLoad() *report.Plot {
	open := r.having(func(r *Row) bool { return r.Result.Rate > 0 && r.Result.Requests > 0 })
	y := scaleOf(open, func(r *Row) (low, high time.Duration) { return r.Result.Latency.P50, r.Result.Latency.P999 })
	most, rates := 0.0, make(map[float64]bool)
	for _, row := range open {
		most = max(most, row.Result.Rate)
		rates[row.Result.Rate] = true
	}
	if len(rates) < 2 {
		return nil
	}
	p := &report.Plot{X: report.Ticks(most, report.Count), Y: y.Ticks(timeText), XName: "requests a second"}
	names := targets(open)
	for _, target := range names {
		for _, q := range measures[1:4] {
			faint, dotted := 1.0, q.name == "p99.9"
			if q.name == "p50" {
				faint = 0.5
			}
			l := p.Line(target+" "+q.name, class(names, target, dotted), faint)
			for _, row := range open {
				if v := q.of(row); row.Target == target {
					l.Add(row.Result.Rate/most, y.At(v),
						fmt.Sprintf("%s at %s/s: %s", l.Name, report.Count(row.Result.Rate), report.Nanos(v)))
				}
			}
		}
	}
	return p
}

// curves plots the distribution of each row: the share of requests that took longer, on a logarithmic axis.
func (r *Report) curves() *report.Plot {
	all := r.having(func(r *Row) bool { return len(r.Result.Latency.Curve) > 0 })
	if len(all) == 0 {
		return nil
	}
	nines := 2.0 // the decades of the axis
	for _, row := range all {
		nines = max(nines, math.Log10(float64(row.Result.Requests)))
	}
	y := scaleOf(all, func(r *Row) (low, high time.Duration) {
		return r.Result.Latency.Curve[0].Value, r.Result.Latency.Max
	})
	p := &report.Plot{Y: y.Ticks(timeText), XName: "percent of the requests took no longer"}
	for k, text := range []string{"0", "90", "99", "99.9", "99.99", "99.999", "99.9999"} {
		if float64(k) <= nines {
			p.X = append(p.X, report.Tick{At: float64(k) / nines, Text: text})
		}
	}
	names := targets(all)
	for _, row := range all {
		faint := 1.0
		if row.Percent > 0 {
			faint = 0.25 + 0.75*float64(row.Percent)/100
		}
		l := p.Line(row.key(), class(names, row.Target, row.Result.Rate == 0 && len(all) > 1), faint)
		for _, at := range row.Result.Latency.Curve {
			if at.Share < 1 {
				l.Add(-math.Log10(1-at.Share)/nines, y.At(float64(at.Value)),
					fmt.Sprintf("%s: %.6g %% within %s", l.Name, at.Share*100, report.Time(at.Value)))
			}
		}
	}
	return p
}

func (r *Report) having(what func(r *Row) bool) (rows []*Row) {
	for i := range r.Rows {
		if what(&r.Rows[i]) {
			rows = append(rows, &r.Rows[i])
		}
	}
	return rows
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
func class(targets []string, target string, dotted bool) string {
	c := "c4"
	if target == targets[len(targets)-1] {
		c = "c0"
	}
	if dotted {
		c += " dotted"
	}
	return c
}

// scaleOf is a scale of time on which the ends of all rows have a place.
func scaleOf(rows []*Row, ends func(r *Row) (low, high time.Duration)) report.Log {
	s := report.Log{Low: math.Inf(1)}
	for _, row := range rows {
		low, high := ends(row)
		s.Low, s.High = min(s.Low, float64(low)), max(s.High, float64(high))
	}
	if s.Low = max(s.Low, 1); s.Low >= s.High {
		s.Low, s.High = 1, max(s.High, 10)
	}
	return report.Log{Low: s.Low / 1.3, High: s.High * 1.3}
}

// timeText writes a round time as short as can be.
func timeText(v float64) string { return time.Duration(v).String() }
