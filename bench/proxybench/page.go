package proxybench

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/bench/report"
)

const (
	costsRead = "The processor time for a request as a multiple of what edge takes, in the same round: the median of " +
		"rounds, on a logarithmic scale. To the right of 1× edge costs less."
	barsRead = "A bar is the processor time of the proxy for one request, the median of rounds; the box spans the " +
		"quartiles. The last number is the median of the ratios to edge, each taken within a round, with its quartiles."
)

// beyond is where the scale of a chart ends, at the latest: one slow peer is not to press the others together.
const beyond = 12

// Page shows the costs of all peers, every number and the machine.
func (r *Report) Page() *report.Page {
	p := &report.Page{Title: "edge-bench proxy", Time: r.Time, Machine: &r.Machine, Command: r.Command,
		About: "· load: " + r.Load}
	versions := &report.Table{}
	for _, f := range r.Programs() {
		versions.Add("%s\t%s", f.Name, cmp.Or(f.Version, "–"))
	}
	p.Sections = []report.Section{{ID: "peers", Title: "What was measured", Cards: []report.Card{{Table: versions}}}}
	costs := report.Section{ID: "costs", Title: "What a request costs"}
	if chart := r.Chart(); len(chart.Rows) > 0 {
		costs.Cards = []report.Card{{What: costsRead, Chart: chart}}
	}
	for _, s := range r.Scenarios {
		costs.Cards = append(costs.Cards, s.card())
	}
	costs.Cards = append(costs.Cards, report.Card{Text: []string{barsRead}})
	p.Sections = append(p.Sections, costs)
	return p
}

func (s *ScenarioResult) card() report.Card {
	most := 1e-9
	for _, p := range s.Peers {
		most = max(most, p.CPUPerRequest*1.1)
	}
	table := s.table()
	card := report.Card{Name: s.Name, What: s.What,
		Folds: []report.Fold{{Summary: table.Title, Card: report.Card{
			Table: &report.Table{Head: table.Head, Rows: table.Rows}}}}}
	for _, p := range s.Peers {
		if len(p.Samples) == 0 {
			continue
		}
		costs := make([]float64, len(p.Samples))
		for i, sample := range p.Samples {
			costs[i] = sample.CPUPerRequest
		}
		slices.Sort(costs)
		q1, q3 := report.Quantile(costs, 0.25), report.Quantile(costs, 0.75)
		tip := fmt.Sprintf("%s: median %.2f µs, quartiles %.2f to %.2f", p.Name, p.CPUPerRequest, q1, q3)
		card.Rows = append(card.Rows, report.Row{Name: p.Name, Ours: strings.HasPrefix(p.Name, edgeName),
			Marks: []report.Mark{report.Bar("bar", tip, 0, p.CPUPerRequest/most, 7, 17),
				report.Bar("box", "", q1/most, q3/most, 2, 22)},
			Figures: []report.Figure{{Text: fmt.Sprintf("%.2f µs", p.CPUPerRequest)},
				{Text: fmt.Sprintf("%.2f ×", p.ToEdge.Median)},
				{Text: fmt.Sprintf("%.2f–%.2f", p.ToEdge.Q1, p.ToEdge.Q3), Class: "soft"}}})
	}
	return card
}

// Chart draws a row for each scenario, with the cost of each peer divided by the cost of edge.
func (r *Report) Chart() *report.Chart {
	c := &report.Chart{Title: "Processor time for a request, as a multiple of edge's"}
	scale := report.Log{Low: 0.5, High: 2}
	var names []string
	for _, s := range r.Scenarios {
		for _, p := range s.rivals() {
			scale.Low = min(scale.Low, p.ToEdge.Median/1.1)
			scale.High = max(scale.High, min(p.ToEdge.Median*1.1, beyond))
			if name := program(p.Name); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	c.Axis = scale.Ticks(func(v float64) string { return fmt.Sprintf("%g×", v) })
	for _, name := range names {
		c.Names = append(c.Names, strings.TrimSpace(name+" "+r.numberOf(name)))
	}
	for _, s := range r.Scenarios {
		row := report.ChartRow{Name: s.What}
		for _, p := range s.rivals() {
			name := program(p.Name)
			row.Points = append(row.Points, report.ChartPoint{Name: slices.Index(names, name),
				At: scale.At(p.ToEdge.Median), Text: fmt.Sprintf("%.0f×", p.ToEdge.Median),
				Tip: fmt.Sprintf("%s: %.2f times edge's", name, p.ToEdge.Median)})
		}
		if row.Points != nil {
			c.Rows = append(c.Rows, row)
		}
	}
	return c
}

// rivals are the proxies by others that were measured beside edge. A cost with errors is no result. Where edge itself
// had errors there are no ratios.
func (s *ScenarioResult) rivals() []PeerResult {
	if slices.ContainsFunc(s.Peers, func(p PeerResult) bool { return program(p.Name) == edgeName && p.Errors > 0 }) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(s.Peers), func(p PeerResult) bool {
		none := p.ToEdge.Median == 0 || p.Errors > 0
		switch program(p.Name) {
		case edgeName, beforeName, floorName, "floor-syscall", quicGoName, gtlsName:
			none = true
		}
		return none
	})
}

// program is the name of a peer without what it does beside proxying.
func program(peer string) string {
	name, _, _ := strings.Cut(peer, "+")
	return name
}

var versionNumber = regexp.MustCompile(`\d+\.\d+[\d.]*`)

// numberOf is the number in the version of a program.
func (r *Report) numberOf(name string) string {
	for _, f := range r.Programs() {
		if f.Name == name {
			return versionNumber.FindString(f.Version)
		}
	}
	return ""
}
