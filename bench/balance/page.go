package balance

import (
	"fmt"
	"math"
	"slices"

	"github.com/edge-proxy/edge/bench/report"
)

// shownMost is how many times the ideal's a plot shows at the most.
const shownMost = 100

// Page shows all tables with plots, and what changed since old, which may be nil.
func (t *Table) Page(old *Table) *report.Page {
	p := &report.Page{Title: "edge-bench balance",
		Leads: []string{"Balancing, simulated: the code of edge beside models of others' rules, over an ideal queue."},
		About: fmt.Sprintf("%d runs of each cell from seed %d on, %g times the usual requests, ticks of %d µs",
			t.Seeds, t.Seed, t.Scale, t.TickUs),
		Notes: []string{"The ideal is one line of requests before all backends. It gives each to an idle worker, and " +
			"none to a backend that fails, stands still or is 5 × slower.",
			"Figures are over the ideal's with the same requests, so that 1 is the best that there is. Cells with " +
				"backends that fail count the requests that were served: those that failed stand beside.",
			"A retry, an ejection or a health check would help every method: there is none here."},
		Sections: []report.Section{{Title: "Overview", Cards: []report.Card{{Dots: t.dots()}}}},
	}
	if old != nil {
		for _, part := range t.changeParts(old) {
			p.Sections = append(p.Sections, report.Section{Title: part.Title, Cards: []report.Card{{Table: part}}})
		}
	}
	scenarios, numbers := report.Section{ID: "scenarios", Title: "Scenarios"}, report.Card{}
	for i := range t.Cells {
		c := &t.Cells[i]
		if i+1 < len(t.Cells) && t.Cells[i+1].Scenario == c.Scenario && t.Cells[i+1].Members == c.Members {
			continue // the one with the most reactors comes after it
		}
		scenarios.Cards = append(scenarios.Cards, t.card(c))
	}
	for _, part := range t.parts() {
		numbers.Folds = append(numbers.Folds, report.Fold{Summary: part.Title, Card: report.Card{Table: part}})
	}
	p.Sections = append(p.Sections, scenarios,
		report.Section{ID: "numbers", Title: "The numbers", Cards: []report.Card{numbers}})
	return p
}

// card draws a scenario with a pool of a size.
func (t *Table) card(c *Cell) report.Card {
	notes := new(report.Table)
	d := report.Card{Name: fmt.Sprintf("%s: %d backends, %d reactors", c.Scenario, c.Members, c.Reactors),
		What: fmt.Sprintf("%s; %s; %d requests a run; the ideal's p99 is %.0f ms", c.Group, c.What,
			c.Requests, c.IdealP99),
		Folds: []report.Fold{{Summary: "more", Card: report.Card{Table: notes}}}}
	most := 1.5
	for i := range c.Methods {
		most = max(most, min(c.Methods[i].P99, shownMost))
	}
	for i := range c.Methods {
		f := &c.Methods[i]
		note := fmt.Sprintf("p99 %.0f ms, seeds %s to %s; p50 %s, p99.9 %s", f.P99Ms, report.Digits(f.P99Low),
			report.Digits(f.P99High), report.Digits(f.P50), report.Digits(f.P999))
		if f.Share > 0 {
			note += fmt.Sprintf("; %.2f %% to where the trouble is", 100*f.Share)
		}
		if c := f.Crossing; c != nil {
			note += fmt.Sprintf("; %.1f %% leave their zone, by the rule %.1f %%", 100*c.Is, 100*c.Rule)
		}
		if h := f.Hedges; h != nil {
			note += fmt.Sprintf("; p99.9 %.0f ms, %.2f %% hedged, %.2f %% late without budget, "+
				"%.1f %% of the work in vain", f.P999Ms, 100*h.Sent, 100*h.Denied, 100*h.Wasted)
		}
		if f.Failed > 0 {
			note += fmt.Sprintf("; %.2f %% failed", 100*f.Failed)
		}
		notes.Add("%s\t%s", f.Method, note)
		width := math.Log(min(max(f.P99, 1), shownMost)*1.02) / math.Log(most*1.02)
		d.Rows = append(d.Rows, report.Row{Name: f.Method, Ours: i == 0,
			Marks:   []report.Mark{report.Bar("bar", note, 0, width, 3, 21)},
			Figures: []report.Figure{{Text: report.Digits(f.P99)}}})
	}
	if c.Period > 0 {
		d.Plots = plots(c)
	}
	return d
}

// plots draws what comes and goes in a cell, by the first five methods.
func plots(c *Cell) (list []*report.Plot) {
	number := func(v float64) string { return fmt.Sprintf("%g", v) }
	add := func(title string, most float64, of func(Point) float64) {
		p := &report.Plot{Title: title, X: report.Ticks(c.Period, number), XName: "s", Y: report.Ticks(most, number)}
		for k, f := range c.Methods[:min(len(c.Methods), 5)] {
			if len(f.Series) == 0 {
				continue
			}
			l := p.Line(f.Method, fmt.Sprintf("c%d", k), 1)
			for i, point := range f.Series {
				l.Add((float64(i)+0.5)/float64(len(f.Series)), of(point)/most,
					f.Method+": "+report.Digits(of(point)))
			}
		}
		list = append(list, p)
	}
	const shares = 2.5 // times the fair share at the most
	add("requests that the first backend gets, over its fair share", shares, func(p Point) float64 { return p.Share })
	if c.Members <= 64 {
		add("under way at the first backend, over the average of the others", shares,
			func(p Point) float64 { return p.InFlight })
	}
	if c.Methods[0].Crossing != nil {
		add("part of the requests that leaves its zone", 1, func(p Point) float64 { return p.Crossing })
	}
	return list
}

// dots draws the p99 of each method in each cell of the judged scenarios, or of all when there are none of these.
func (t *Table) dots() *report.Dots {
	cells := slices.DeleteFunc(slices.Clone(t.Cells), func(c Cell) bool { return c.Group != GroupJudged })
	if len(cells) == 0 {
		cells = t.Cells
	}
	d := &report.Dots{Title: fmt.Sprintf("p99 over that of an ideal queue, one dot for each of %d cells", len(cells)),
		Figures: "geometric mean · worst", Scale: []float64{1, 1.1, 1.2, 1.5, 2, 5, 10, 30, shownMost},
		// The root of the logarithm has room for small differences, and the great ones still fit.
		At: func(v float64) float64 {
			return math.Sqrt(math.Log(min(max(v, 1), shownMost)) / math.Log(shownMost))
		}}
	for _, method := range t.Methods {
		row := report.DotRow{Name: method}
		logs, worst := 0.0, 0.0
		for i := range cells {
			p99 := cells[i].of(method).P99
			logs, worst = logs+math.Log(p99), max(worst, p99)
			row.Values = append(row.Values, p99)
			row.Tips = append(row.Tips, cells[i].Name()+": "+report.Digits(p99))
		}
		row.Mean = math.Exp(logs / float64(len(cells)))
		row.Figure = report.Digits(row.Mean) + " · " + report.Digits(worst)
		d.Rows = append(d.Rows, row)
	}
	return d
}
