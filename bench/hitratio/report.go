package hitratio

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
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

// WriteJSON writes the cells and the summaries.
func (t *Table) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		*Table
		Summaries []Summary `json:"summaries"`
	}{t, t.Summaries()})
}

// WriteText writes the cells and the summaries in columns.
func (t *Table) WriteText(w io.Writer) error {
	rows := t.rows(false)
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, field := range row {
			widths[i] = max(widths[i], len(field))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, field := range row {
			if i == 0 {
				fmt.Fprintf(&b, "%-*s", widths[i], field)
			} else {
				fmt.Fprintf(&b, "  %*s", widths[i], field)
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteMarkdown writes the same as a table, with the best of each cell in bold.
func (t *Table) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	for i, row := range t.rows(true) {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			b.WriteString("|---|" + strings.Repeat("---:|", len(row)-1) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// rows has a head, a row for each cell, and three rows for each group.
func (t *Table) rows(bold bool) [][]string {
	rows := [][]string{append(append([]string{"workload@entries"}, t.Policies...), "optimum")}
	for _, c := range t.Cells {
		row := []string{c.Name()}
		for _, hits := range c.Hits {
			field := fmt.Sprintf("%.1f", hits)
			if bold && field == fmt.Sprintf("%.1f", c.Best()) {
				field = "**" + field + "**"
			}
			row = append(row, field)
		}
		rows = append(rows, append(row, fmt.Sprintf("%.1f", c.Optimum)))
	}
	sums := t.Summaries()
	for len(sums) > 0 {
		group := sums[:len(t.Policies)]
		sums = sums[len(t.Policies):]
		of := fmt.Sprintf(", %s, %d cells", group[0].Group, group[0].Cells)
		mean, regret, worst := []string{"mean" + of}, []string{"regret" + of}, []string{"worst" + of}
		for _, s := range group {
			mean = append(mean, fmt.Sprintf("%.2f", s.Mean))
			regret = append(regret, fmt.Sprintf("%.2f", s.Regret))
			worst = append(worst, fmt.Sprintf("%.1f", s.Worst))
		}
		rows = append(rows, append(mean, ""), append(regret, ""), append(worst, ""))
	}
	return rows
}
