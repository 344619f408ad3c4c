package balance

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"

	"github.com/edge-proxy/edge/bench/report"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(report.Frame().New("balance").Parse(pageText))

// page is what page.html shows.
type page struct {
	*Table
	Runs     string
	Overview template.HTML // this package has made it, of escaped names
	Parts    []table
	Changes  []table
	Cards    []card
}

// table is a part as the page shows it.
type table struct {
	Title string
	Head  []string
	Rows  [][]string
}

// card is a scenario with a pool of a size and the most reactors.
type card struct {
	Name, What string
	Bars       []bar
	Plots      []template.HTML // as Overview
}

// bar is a p99. Its width is in percent.
type bar struct {
	Method, Text, Note string
	Ours               bool
	Width              float64
}

// WriteHTML writes one page that needs nothing else. old is an earlier table to compare with; it may be nil.
func (t *Table) WriteHTML(w io.Writer, old *Table) error {
	var overview strings.Builder
	if err := t.WriteSVG(&overview); err != nil {
		return err
	}
	p := page{Table: t, Runs: t.settings(), Overview: template.HTML(overview.String()), Parts: tables(t.parts())}
	if old != nil {
		p.Changes = tables(t.changeParts(old))
	}
	for i := range t.Cells {
		c := &t.Cells[i]
		if i+1 < len(t.Cells) && t.Cells[i+1].Scenario == c.Scenario && t.Cells[i+1].Members == c.Members {
			continue // the one with the most reactors comes after it
		}
		p.Cards = append(p.Cards, t.card(c))
	}
	return pageTemplate.Execute(w, p)
}

// settings says how t was made.
func (t *Table) settings() string {
	return fmt.Sprintf("%d runs of each cell from seed %d on, %g times the usual number of requests, ticks of %d µs",
		t.Seeds, t.Seed, t.Scale, t.TickUs)
}

func tables(parts []part) (list []table) {
	for _, p := range parts {
		list = append(list, table{p.title, p.rows[0], p.rows[1:]})
	}
	return list
}

func (t *Table) card(c *Cell) card {
	d := card{Name: fmt.Sprintf("%s: %d backends, %d reactors", c.Scenario, c.Members, c.Reactors),
		What: fmt.Sprintf("%s; %s; %d requests a run; the ideal's p99 is %.0f ms", c.Group, c.What,
			c.Requests, c.IdealP99)}
	most := 1.5
	for i := range c.Methods {
		most = max(most, min(c.Methods[i].P99, svgMax))
	}
	for i := range c.Methods {
		f := &c.Methods[i]
		b := bar{Method: f.Method, Text: report.Short(f.P99), Ours: i == 0,
			Width: math.Round(1000*math.Log(min(max(f.P99, 1), svgMax)*1.02)/math.Log(most*1.02)) / 10}
		b.Note = fmt.Sprintf("p99 %.0f ms, seeds %s to %s; p50 %s, p99.9 %s", f.P99Ms, report.Short(f.P99Low),
			report.Short(f.P99High), report.Short(f.P50), report.Short(f.P999))
		if f.Share > 0 {
			b.Note += fmt.Sprintf("; %.2f %% to where the trouble is", 100*f.Share)
		}
		b.Note += f.policyNote()
		if f.Failed > 0 {
			b.Note += fmt.Sprintf("; %.2f %% failed", 100*f.Failed)
		}
		d.Bars = append(d.Bars, b)
	}
	d.Plots = plots(c, t.Methods[:min(len(t.Methods), 5)])
	return d
}

// policyNote says what zones and hedges do.
func (f *Figures) policyNote() (note string) {
	if c := f.Crossing; c != nil {
		note = fmt.Sprintf("; %.1f %% leave their zone, by the rule %.1f %%", 100*c.Is, 100*c.Rule)
	}
	if h := f.Hedges; h != nil {
		note += fmt.Sprintf("; p99.9 %.0f ms, %.2f %% hedged, %.2f %% late without budget, %.1f %% of the work in vain",
			f.P999Ms, 100*h.Sent, 100*h.Denied, 100*h.Wasted)
	}
	return note
}

// plots draws what comes and goes in a cell.
func plots(c *Cell, methods []string) (list []template.HTML) {
	if c.Period == 0 {
		return nil
	}
	add := func(title string, most float64, of func(Point) float64) {
		list = append(list, template.HTML(seriesSVG(c, methods, title, most, of)))
	}
	add("requests that the first backend gets, over its fair share", seriesMax,
		func(p Point) float64 { return p.Share })
	if c.Members <= 64 {
		add("under way at the first backend, over the average of the others", seriesMax,
			func(p Point) float64 { return p.InFlight })
	}
	if c.Methods[0].Crossing != nil {
		add("part of the requests that leaves its zone", 1, func(p Point) float64 { return p.Crossing })
	}
	return list
}
