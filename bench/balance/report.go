package balance

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

// Summaries returns one line for each group, method, size and number of reactors, those of all sizes and numbers first.
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

// WriteJSON writes the cells and the summaries. Read takes it back.
func (t *Table) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(struct {
		*Table
		Summaries []Summary `json:"summaries"`
	}{t, t.Summaries()})
}

// Read takes back what WriteJSON wrote.
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

// WriteText writes the tables in columns.
func (t *Table) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, p := range t.parts() {
		p.text(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteMarkdown writes the same as tables of Markdown.
func (t *Table) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	for _, p := range t.parts() {
		fmt.Fprintf(&b, "\n%s:\n\n", p.title)
		for i, row := range p.rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
			if i == 0 {
				b.WriteString("|---|" + strings.Repeat("---:|", len(row)-1) + "\n")
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// part is one of the tables: a row of names, then rows of figures.
type part struct {
	title string
	rows  [][]string
}

// text writes p in columns.
func (p *part) text(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s\n\n", p.title)
	widths := make([]int, len(p.rows[0]))
	for _, row := range p.rows {
		for i, field := range row {
			widths[i] = max(widths[i], len([]rune(field)))
		}
	}
	for _, row := range p.rows {
		for i, field := range row {
			pad := strings.Repeat(" ", widths[i]-len([]rune(field)))
			if i == 0 {
				b.WriteString(field + pad)
			} else {
				b.WriteString("  " + pad + field)
			}
		}
		b.WriteByte('\n')
	}
}

func (t *Table) parts() []part {
	head := func(first ...string) [][]string { return [][]string{append(first, t.Methods...)} }
	worst := part{"p99 over the ideal's, geometric mean · worst cell", head("scenarios", "n", "R")}
	tails := part{"p50 · p99.9 over the ideal's, geometric means", head("scenarios", "n", "R")}
	sums := t.Summaries()
	for len(sums) > 0 {
		row := []string{sums[0].Group, allOr(sums[0].Members), allOr(sums[0].Reactors)}
		a, b := row, append([]string(nil), row...)
		for i := range t.Methods {
			s := &sums[i]
			a = append(a, report.Short(s.P99)+" · "+report.Short(s.Worst))
			b = append(b, report.Short(s.P50)+" · "+report.Short(s.P999))
		}
		worst.rows, tails.rows = append(worst.rows, a), append(tails.rows, b)
		sums = sums[len(t.Methods):]
	}
	cells := part{"p99 over the ideal's", head("scenario", "n", "R", "ideal ms")}
	shares := part{"of the requests, in per cent: to where the trouble is · failed", head("scenario", "n", "R")}
	balance := part{"most under way at one well backend, over the average", head("scenario", "n", "R")}
	for i := range t.Cells {
		c := &t.Cells[i]
		name := []string{c.Scenario, fmt.Sprint(c.Members), fmt.Sprint(c.Reactors)}
		x := append(append([]string(nil), name...), fmt.Sprintf("%.0f", c.IdealP99))
		y, z := append([]string(nil), name...), append([]string(nil), name...)
		trouble := false
		for k := range c.Methods {
			f := &c.Methods[k]
			x = append(x, report.Short(f.P99))
			y = append(y, fmt.Sprintf("%.2f · %.2f", 100*f.Share, 100*f.Failed))
			z = append(z, report.Short(f.Imbalance))
			trouble = trouble || f.Share > 0
		}
		cells.rows, balance.rows = append(cells.rows, x), append(balance.rows, z)
		if trouble {
			shares.rows = append(shares.rows, y)
		}
	}
	parts := []part{worst, tails, cells}
	if len(shares.rows) > 1 {
		parts = append(parts, shares)
	}
	parts = append(append(parts, balance), t.policyParts()...)
	if len(t.Keys) > 0 {
		parts = append(parts, keysPart(t.Keys))
	}
	return parts
}

// policyParts is the tables of what comes and goes, of zones and of hedges: those that have a cell.
func (t *Table) policyParts() (parts []part) {
	add := func(title string, of func(c *Cell, f *Figures) string) {
		p := part{title, [][]string{append([]string{"scenario", "n", "R"}, t.Methods...)}}
		for i := range t.Cells {
			c := &t.Cells[i]
			row, any := []string{c.Scenario, fmt.Sprint(c.Members), fmt.Sprint(c.Reactors)}, false
			for k := range c.Methods {
				text := of(c, &c.Methods[k])
				any = any || text != ""
				row = append(row, cmp.Or(text, "–"))
			}
			if any {
				p.rows = append(p.rows, row)
			}
		}
		if len(p.rows) > 1 {
			parts = append(parts, p)
		}
	}
	add("most under way at the first backend in a sixtieth of a period, over the average of the others",
		func(c *Cell, f *Figures) string {
			if f.Crowd == 0 {
				return ""
			}
			return report.Short(f.Crowd)
		})
	add("of the requests, in per cent: leave their zone · would by the rule · went to another zone than by the rule",
		func(c *Cell, f *Figures) string {
			if f.Crossing == nil {
				return ""
			}
			return fmt.Sprintf("%.1f · %.1f · %.1f", 100*f.Crossing.Is, 100*f.Crossing.Rule, 100*f.Crossing.Other)
		})
	add("p99.9 in ms, where a backend hangs or requests are hedged", func(c *Cell, f *Figures) string {
		if !c.Hangs && f.Hedges == nil {
			return ""
		}
		return fmt.Sprintf("%.0f", f.P999Ms)
	})
	add("of the requests, in per cent: hedged · late without budget · work of workers in vain",
		func(c *Cell, f *Figures) string {
			if f.Hedges == nil {
				return ""
			}
			return fmt.Sprintf("%.2f · %.2f · %.1f", 100*f.Hedges.Sent, 100*f.Hedges.Denied, 100*f.Hedges.Wasted)
		})
	return parts
}

func allOr(n int) string {
	if n == 0 {
		return "all"
	}
	return fmt.Sprint(n)
}
