package balance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/bench/report"
)

// Name tells the cell from others.
func (c *Cell) Name() string { return fmt.Sprintf("%s, n %d, R %d", c.Scenario, c.Members, c.Reactors) }

// of returns the figures of a method, or nil.
func (c *Cell) of(method string) *Figures {
	for i := range c.Methods {
		if c.Methods[i].Method == method {
			return &c.Methods[i]
		}
	}
	return nil
}

// Summary is how a method did over some cells.
type Summary struct {
	Method   string  `json:"method"`
	Group    string  `json:"group"`
	Members  int     `json:"members"`  // 0: all
	Reactors int     `json:"reactors"` // 0: all
	Cells    int     `json:"cells"`
	P50      float64 `json:"p50"` // geometric means of what is over the ideal's
	P99      float64 `json:"p99"`
	P999     float64 `json:"p99_9"`
	Worst    float64 `json:"worst"` // the highest of p99
	At       string  `json:"at"`
	Failed   float64 `json:"failed"` // the highest part
}

// Summaries returns one line for each group, method, size and number of reactors, the lines for all sizes and numbers
// first.
func (t *Table) Summaries() []Summary {
	var all []Summary
	for _, group := range []string{GroupJudged, GroupFailing, GroupChecked, GroupHeldOut, GroupLimit, GroupPolicy,
		GroupOwn} {
		sizes, reactors := []int{0}, []int{0}
		for i := range t.Cells {
			if c := &t.Cells[i]; c.Group == group {
				sizes, reactors = with(sizes, c.Members), with(reactors, c.Reactors)
			}
		}
		for _, n := range sizes {
			for _, r := range reactors {
				if (n == 0) != (r == 0) || len(sizes) == 1 {
					continue
				}
				for _, method := range t.Methods {
					all = append(all, t.summary(group, method, n, r))
				}
			}
		}
	}
	return all
}

func with(list []int, n int) []int {
	if slices.Contains(list, n) {
		return list
	}
	return append(list, n)
}

func (t *Table) summary(group, method string, members, reactors int) Summary {
	s := Summary{Group: group, Method: method, Members: members, Reactors: reactors}
	for i := range t.Cells {
		c := &t.Cells[i]
		if c.Group != group || members > 0 && (c.Members != members || c.Reactors != reactors) {
			continue
		}
		f := c.of(method)
		s.Cells++
		s.P50 += math.Log(f.P50)
		s.P99 += math.Log(f.P99)
		s.P999 += math.Log(f.P999)
		s.Failed = max(s.Failed, f.Failed)
		if f.P99 > s.Worst {
			s.Worst, s.At = f.P99, c.Name()
		}
	}
	n := float64(max(s.Cells, 1))
	s.P50, s.P99, s.P999 = math.Exp(s.P50/n), math.Exp(s.P99/n), math.Exp(s.P999/n)
	return s
}

// MarshalJSON adds the summaries to the cells.
func (t *Table) MarshalJSON() ([]byte, error) {
	type plain Table
	return json.Marshal(struct {
		*plain
		Summaries []Summary `json:"summaries"`
	}{(*plain)(t), t.Summaries()})
}

// Read takes back what was written as JSON.
func Read(in io.Reader) (*Table, error) {
	t := new(Table)
	if err := json.NewDecoder(in).Decode(t); err != nil {
		return nil, err
	}
	if len(t.Cells) == 0 {
		return nil, fmt.Errorf("no cells in it: is it what edge-bench balance --format json has printed?")
	}
	return t, nil
}

// WriteText writes the tables in columns, and what changed since old, which may be nil.
func (t *Table) WriteText(w io.Writer, old *Table) error {
	return report.WriteText(w, t.partsSince(old)...)
}

// WriteMarkdown writes the same as tables of Markdown.
func (t *Table) WriteMarkdown(w io.Writer, old *Table) error {
	return report.WriteMarkdown(w, t.partsSince(old)...)
}

func (t *Table) partsSince(old *Table) []*report.Table {
	if old == nil {
		return t.parts()
	}
	return append(t.parts(), t.changeParts(old)...)
}

// WriteSVG draws the overview.
func (t *Table) WriteSVG(w io.Writer) error { return t.dots().WriteSVG(w) }

func (t *Table) parts() []*report.Table {
	methods := "\t" + strings.Join(t.Methods, "\t")
	worst := report.NewTable("p99 over the ideal's, geometric mean · worst cell", "scenarios\tn\tR"+methods)
	tails := report.NewTable("p50 · p99.9 over the ideal's, geometric means", "scenarios\tn\tR"+methods)
	for sums := range slices.Chunk(t.Summaries(), len(t.Methods)) {
		a := fmt.Sprintf("%s\t%s\t%s", sums[0].Group, allOr(sums[0].Members), allOr(sums[0].Reactors))
		b := a
		for _, s := range sums {
			a += "\t" + report.Digits(s.P99) + " · " + report.Digits(s.Worst)
			b += "\t" + report.Digits(s.P50) + " · " + report.Digits(s.P999)
		}
		worst.Add("%s", a)
		tails.Add("%s", b)
	}
	parts := []*report.Table{worst, tails}
	for _, columns := range cellColumns {
		p := report.NewTable(columns.title, "scenario\tn\tR"+methods)
		for i := range t.Cells {
			c := &t.Cells[i]
			row, any := fmt.Sprintf("%s\t%d\t%d", c.Scenario, c.Members, c.Reactors), false
			for k := range c.Methods {
				text := columns.of(c, &c.Methods[k])
				any = any || text != ""
				row += "\t" + cmp.Or(text, "–")
			}
			if any {
				p.Add("%s", row)
			}
		}
		if len(p.Rows) > 0 {
			parts = append(parts, p)
		}
	}
	cells := parts[2]
	cells.Head = slices.Insert(cells.Head, 3, "ideal ms")
	for i := range cells.Rows {
		cells.Rows[i] = slices.Insert(cells.Rows[i], 3, fmt.Sprintf("%.0f", t.Cells[i].IdealP99))
	}
	if len(t.Keys) > 0 {
		parts = append(parts, keysPart(t.Keys))
	}
	return parts
}

// cellColumns are the tables with a row for each cell for which one of its methods has a text.
var cellColumns = []struct {
	title string
	of    func(c *Cell, f *Figures) string
}{
	{"p99 over the ideal's", func(_ *Cell, f *Figures) string { return report.Digits(f.P99) }},
	{"of the requests, in per cent: to where the trouble is · failed", func(c *Cell, f *Figures) string {
		if !slices.ContainsFunc(c.Methods, func(f Figures) bool { return f.Share > 0 }) {
			return ""
		}
		return fmt.Sprintf("%.2f · %.2f", 100*f.Share, 100*f.Failed)
	}},
	{"most under way at one well backend, over the average",
		func(_ *Cell, f *Figures) string { return report.Digits(f.Imbalance) }},
	{"most under way at the first backend in a sixtieth of a period, over the average of the others",
		func(_ *Cell, f *Figures) string {
			if f.Crowd == 0 {
				return ""
			}
			return report.Digits(f.Crowd)
		}},
	{"of the requests, in per cent: leave their zone · would by the rule · went to another zone than by the rule",
		func(_ *Cell, f *Figures) string {
			if f.Crossing == nil {
				return ""
			}
			return fmt.Sprintf("%.1f · %.1f · %.1f", 100*f.Crossing.Is, 100*f.Crossing.Rule, 100*f.Crossing.Other)
		}},
	{"p99.9 in ms, where a backend hangs or requests are hedged", func(c *Cell, f *Figures) string {
		if !c.Hangs && f.Hedges == nil {
			return ""
		}
		return fmt.Sprintf("%.0f", f.P999Ms)
	}},
	{"of the requests, in per cent: hedged · late without budget · work of workers in vain",
		func(_ *Cell, f *Figures) string {
			if f.Hedges == nil {
				return ""
			}
			return fmt.Sprintf("%.2f · %.2f · %.1f", 100*f.Hedges.Sent, 100*f.Hedges.Denied, 100*f.Hedges.Wasted)
		}},
}

func allOr(n int) string {
	if n == 0 {
		return "all"
	}
	return fmt.Sprint(n)
}

// changeLeast is the least change of a p99 that is told. The same code gives the same figures, so that any difference
// comes from a change of the code or of the scenarios; smaller ones are of no use to anybody.
const changeLeast = 0.02

// Change is a cell in which a method does otherwise than in an earlier table.
type Change struct {
	Cell, Method string
	Old, New     float64 // p99 over the ideal's
}

func (c *Change) size() float64 { return math.Abs(math.Log(c.New / c.Old)) }

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
			if g := was.of(f.Method); g != nil {
				if change := (Change{c.Name(), f.Method, g.P99, f.P99}); change.size() >= changeLeast {
					list = append(list, change)
				}
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Change) int { return cmp.Compare(b.size(), a.size()) })
	return list, added, slices.Sorted(maps.Keys(before))
}

// changeParts is the changes as a table, and one of the summaries.
func (t *Table) changeParts(old *Table) []*report.Table {
	list, added, removed := t.Changes(old)
	cells := report.NewTable(fmt.Sprintf("p99 over the ideal's, where it changed by %.0f %% or more: "+
		"%d cells; %d are new, %d gone", 100*changeLeast, len(list), len(added), len(removed)),
		"cell\tmethod\twas\tis\tchange")
	for _, c := range list {
		cells.Add("%s\t%s\t%s\t%s\t%+.1f %%", c.Cell, c.Method, report.Digits(c.Old), report.Digits(c.New),
			100*(c.New/c.Old-1))
	}
	sums := report.NewTable("geometric means of p99", "scenarios\tmethod\twas\tis\tworst was\tworst is")
	before := old.Summaries()
	for _, s := range t.Summaries() {
		for _, w := range before {
			if s.Members == 0 && w.Members == 0 && s.Group == w.Group && s.Method == w.Method {
				sums.Add("%s\t%s\t%.3f\t%.3f\t%s\t%s", s.Group, s.Method, w.P99, s.P99, report.Digits(w.Worst),
					report.Digits(s.Worst))
			}
		}
	}
	return []*report.Table{cells, sums}
}
