package balance

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/bench/report"
)

// changeLeast is the least change of a p99 that is told. The same code gives the same figures, so that any difference
// comes from a change of the code or of the scenarios; smaller ones are of no use to anybody.
const changeLeast = 0.02

// Change is a cell in which a method does otherwise than in an earlier table.
type Change struct {
	Cell, Method string
	Old, New     float64 // p99 over the ideal's
}

// Changes returns what differs from old, the greatest change first, and the cells that only one of them has.
func (t *Table) Changes(old *Table) (list []Change, added, removed []string) {
	before := make(map[string]*Cell)
	for i := range old.Cells {
		before[old.Cells[i].Name()] = &old.Cells[i]
	}
	for i := range t.Cells {
		c := &t.Cells[i]
		was := before[c.Name()]
		if was == nil {
			added = append(added, c.Name())
			continue
		}
		delete(before, c.Name())
		for k := range c.Methods {
			f := &c.Methods[k]
			if g := was.of(f.Method); g != nil && math.Abs(math.Log(f.P99/g.P99)) >= changeLeast {
				list = append(list, Change{c.Name(), f.Method, g.P99, f.P99})
			}
		}
	}
	removed = slices.Sorted(maps.Keys(before))
	slices.SortStableFunc(list, func(a, b Change) int {
		x, y := math.Abs(math.Log(a.New/a.Old)), math.Abs(math.Log(b.New/b.Old))
		switch {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	return list, added, removed
}

// changeParts is the changes as a table, and one of the summaries.
func (t *Table) changeParts(old *Table) []part {
	list, added, removed := t.Changes(old)
	cells := part{fmt.Sprintf("p99 over the ideal's, where it changed by %.0f %% or more: "+
		"%d cells; %d are new, %d gone", 100*changeLeast, len(list), len(added), len(removed)),
		[][]string{{"cell", "method", "was", "is", "change"}}}
	for _, c := range list {
		cells.rows = append(cells.rows, []string{c.Cell, c.Method, report.Short(c.Old), report.Short(c.New),
			fmt.Sprintf("%+.1f %%", 100*(c.New/c.Old-1))})
	}
	sums := part{"geometric means of p99", [][]string{{"scenarios", "method", "was", "is", "worst was", "worst is"}}}
	before := old.Summaries()
	for _, s := range t.Summaries() {
		for _, w := range before {
			if s.Members == 0 && w.Members == 0 && s.Group == w.Group && s.Method == w.Method {
				sums.rows = append(sums.rows, []string{s.Group, s.Method, fmt.Sprintf("%.3f", w.P99),
					fmt.Sprintf("%.3f", s.P99), report.Short(w.Worst), report.Short(s.Worst)})
			}
		}
	}
	return []part{cells, sums}
}

// WriteChanges writes what differs from old.
func (t *Table) WriteChanges(w io.Writer, old *Table) error {
	var b strings.Builder
	for _, p := range t.changeParts(old) {
		p.text(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
