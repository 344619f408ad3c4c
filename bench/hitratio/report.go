package hitratio

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/bench/report"
)

// Summary is how one policy did over some cells. Regret is how many points it lies below the best policy of a cell.
type Summary struct {
	Policy string  `json:"policy"`
	Group  string  `json:"group"` // GroupReal … GroupMix, or "all"
	Cells  int     `json:"cells"`
	Mean   float64 `json:"mean"`   // of the hit ratios, in per cent
	Regret float64 `json:"regret"` // mean regret, in points
	Worst  float64 `json:"worst"`  // greatest regret, in points
	At     string  `json:"at"`     // the cell of the greatest regret
}

// GroupAll is the group of a Summary of all cells.
const GroupAll = "all"

// Name is workload@size.
func (c Cell) Name() string { return fmt.Sprintf("%s@%d", c.Workload, c.Size) }

// Best is the highest hit ratio of all policies.
func (c Cell) Best() float64 { return slices.Max(c.Hits) }

// Summaries returns one line for each policy and each group that t has, all cells first.
func (t *Table) Summaries() []Summary {
	var all []Summary
	for _, group := range []string{GroupAll, GroupReal, GroupZipf, GroupDrift, GroupMix} {
		for i, policy := range t.Policies {
			s := Summary{Policy: policy, Group: group}
			for _, c := range t.Cells {
				if group != GroupAll && group != c.Group {
					continue
				}
				regret := c.Best() - c.Hits[i]
				s.Cells++
				s.Mean += c.Hits[i]
				s.Regret += regret
				if regret > s.Worst || s.At == "" {
					s.Worst, s.At = regret, c.Name()
				}
			}
			if s.Cells > 0 {
				s.Mean /= float64(s.Cells)
				s.Regret /= float64(s.Cells)
				all = append(all, s)
			}
		}
	}
	return all
}

// MarshalJSON adds the summaries to the cells.
func (t *Table) MarshalJSON() ([]byte, error) {
	type plain Table
	return json.Marshal(struct {
		*plain
		Summaries []Summary `json:"summaries"`
	}{(*plain)(t), t.Summaries()})
}

// WriteText writes the cells and the summaries in columns.
func (t *Table) WriteText(w io.Writer) error { return report.WriteText(w, t.table(false)) }

// WriteMarkdown writes the same as a table, with the best of each cell in bold.
func (t *Table) WriteMarkdown(w io.Writer) error { return report.WriteMarkdown(w, t.table(true)) }

// table has a row for each cell, and three rows for each group.
func (t *Table) table(bold bool) *report.Table {
	table := report.NewTable("", "workload@entries\t"+strings.Join(t.Policies, "\t")+"\toptimum")
	for _, c := range t.Cells {
		row, best := c.Name(), fmt.Sprintf("%.1f", c.Best())
		for _, hits := range c.Hits {
			field := fmt.Sprintf("%.1f", hits)
			if bold && field == best {
				field = "**" + field + "**"
			}
			row += "\t" + field
		}
		table.Add("%s\t%.1f", row, c.Optimum)
	}
	for group := range slices.Chunk(t.Summaries(), len(t.Policies)) {
		of := fmt.Sprintf(", %s, %d cells", group[0].Group, group[0].Cells)
		mean, regret, worst := "mean"+of, "regret"+of, "worst"+of
		for _, s := range group {
			mean += fmt.Sprintf("\t%.2f", s.Mean)
			regret += fmt.Sprintf("\t%.2f", s.Regret)
			worst += fmt.Sprintf("\t%.1f", s.Worst)
		}
		for _, row := range []string{mean, regret, worst} {
			table.Add("%s\t", row)
		}
	}
	return table
}

// WriteSVG draws the regret of each policy in each cell, as one file without references, for light and dark pages.
func (t *Table) WriteSVG(w io.Writer) error {
	const most = 90 // points of regret at the right edge
	d := report.Dots{Figures: "mean regret · worst", Scale: []float64{0, 1, 2, 5, 10, 20, 40, 80},
		Title: fmt.Sprintf("Points of hit ratio below the best policy, one dot for each of %d cells", len(t.Cells)),
		// A root: small differences matter, and the great ones still fit.
		At: func(v float64) float64 { return math.Sqrt(min(v, most) / most) }}
	sums := t.Summaries()[:len(t.Policies)] // the sums of all cells
	for i, s := range sums {
		row := report.DotRow{Name: s.Policy, Mean: s.Regret, Figure: fmt.Sprintf("%.2f · %.1f", s.Regret, s.Worst)}
		for _, c := range t.Cells {
			regret := c.Best() - c.Hits[i]
			row.Values = append(row.Values, regret)
			row.Tips = append(row.Tips, fmt.Sprintf("%s: %.1f", c.Name(), regret))
		}
		d.Rows = append(d.Rows, row)
	}
	slices.SortStableFunc(d.Rows, func(a, b report.DotRow) int { return cmp.Compare(a.Mean, b.Mean) })
	return d.WriteSVG(w)
}
