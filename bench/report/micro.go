package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
)

// WriteText writes a table for each group, and what changed since old, which may be nil.
func (r *Report) WriteText(w io.Writer, old *Report) error {
	_, err := fmt.Fprintf(w, "%s, medians of %d rounds of %s\n", &r.Machine, r.Rounds, r.Benchtime)
	var tables []*Table
	for _, rows := range r.groups() {
		t := NewTable(rows[0].Group, "\tns/op\tallocs/op\tB/op\tMB/s\tedge ÷ it\t(quartiles)\t")
		for _, r := range rows {
			speed, ratio, quartiles := "", "", ""
			if r.MBPerSec > 0 {
				speed = fmt.Sprintf("%.0f", r.MBPerSec)
			}
			if r.Ratio != nil {
				ratio = fmt.Sprintf("%.3f", r.Ratio.Median)
				quartiles = fmt.Sprintf("%.3f–%.3f", r.Ratio.Q1, r.Ratio.Q3)
			}
			t.Add("%s\t%s\t%.0f\t%.0f\t%s\t%s\t%s\t%s", r.Name, Digits(r.NsPerOp), r.Allocs, r.Bytes, speed, ratio,
				quartiles, strings.Join(r.extras(), "  "))
		}
		tables = append(tables, t)
	}
	if err == nil {
		err = WriteText(w, tables...)
	}
	if err == nil {
		_, err = fmt.Fprintln(w, "\nbelow 1 under edge ÷ it: edge is faster")
	}
	if err != nil || old == nil {
		return err
	}
	return r.Compare(old).writeText(w)
}

// extras are the numbers that only some benchmarks have.
func (r *Result) extras() (found []string) {
	for _, unit := range slices.Sorted(maps.Keys(r.Extra)) {
		found = append(found, Digits(r.Extra[unit])+" "+unit)
	}
	return found
}

// writeText writes what changed, and what speaks against comparing.
func (c *Comparison) writeText(w io.Writer) error {
	_, err := fmt.Fprintf(w, "\ncompared with %s: %s\n  %s\n", c.since(), c.verdict(), strings.Join(c.Notes(), "\n  "))
	t := NewTable("", "\told ns/op\tnew ns/op\tchange\tp\tbeside baselines\tp\t")
	for _, change := range c.Changes {
		beside, p := "", ""
		if b := change.Beside; b != nil {
			beside, p = percent(b.Ratio, b.Real), fmt.Sprintf("%.3f", b.P)
		}
		t.Add("%s\t%s\t%s\t%s\t%.3f\t%s\t%s\t%s", change.Name, Digits(change.Old), Digits(change.New),
			percent(change.Ratio, change.Real), change.P, beside, p, change.allocs())
	}
	if err != nil {
		return err
	}
	return WriteText(w, t)
}

// WriteBenchstat writes the text of go test -bench, which benchstat and other tools read. What is known of the machine
// stands above it, as configuration.
func (r *Report) WriteBenchstat(w io.Writer) error {
	var b strings.Builder
	for _, line := range [][2]string{
		{"goos", runtime.GOOS}, {"goarch", r.Machine.Go.Arch}, {"pkg", "github.com/edge-proxy/edge/bench/micro"},
		{"cpu", r.Machine.CPU.Model}, {"kernel", r.Machine.Kernel}, {"go", r.Machine.Go.Version},
		{"commit", r.Machine.Version},
	} {
		if line[1] != "" {
			fmt.Fprintf(&b, "%s: %s\n", line[0], line[1])
		}
	}
	procs := ""
	if n := r.Machine.Go.MaxProcs; n > 1 {
		procs = fmt.Sprintf("-%d", n)
	}
	for _, result := range r.Results {
		for _, s := range result.Samples {
			fmt.Fprintf(&b, "BenchmarkMicro/%s%s\t%d\t%v ns/op", result.Name, procs, s.N, s.NsPerOp)
			if s.MBPerSec > 0 {
				fmt.Fprintf(&b, "\t%.2f MB/s", s.MBPerSec)
			}
			for _, unit := range slices.Sorted(maps.Keys(s.Extra)) {
				fmt.Fprintf(&b, "\t%v %s", s.Extra[unit], unit)
			}
			fmt.Fprintf(&b, "\t%v B/op\t%v allocs/op\n", s.Bytes, s.Allocs)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// The notes of a page.
const (
	changesWhat = "Bars show how ours changed in proportion to their baselines, which ran in the same rounds: what " +
		"the whole machine did meanwhile is not in them. They go to ±%.0f %%; left is faster."
	overviewWhat = "Each dot is a baseline, by the median of ratios that were each taken within one round; the axis " +
		"is logarithmic. To the right of 1× edge is faster. On the right stands the baseline that comes nearest."
	barsRead = "A bar is the median time of one operation; the box spans the quartiles, and each mark is one round. " +
		"Bars of one card have one scale, which begins at zero. The last number says how many times as long as edge " +
		"it takes."
	roundsRead = "In each round edge and its baselines ran in turn, and each ratio was taken within a round, so a " +
		"clock that changes slows down both sides of it. A loop of one function keeps its data and its branches " +
		"warm, as a server does not."
)

// Page shows ratios, every number and the machine, and what changed since old, which may be nil.
func (r *Report) Page(old *Report) *Page {
	p := &Page{Title: "edge-bench micro", Time: r.Time, Machine: &r.Machine, Command: r.Command,
		About: fmt.Sprintf("· %d rounds of %s", r.Rounds, r.Benchtime)}
	if old != nil {
		p.Sections = append(p.Sections, r.Compare(old).section())
	}
	families := r.families()
	if card := overview(families); len(card.Rows) > 0 {
		p.Sections = append(p.Sections, Section{"overview", "How many times as long the others take", []Card{card}})
	}
	for _, f := range families {
		if n := len(p.Sections); n == 0 || p.Sections[n-1].Title != f[0].Group {
			p.Sections = append(p.Sections, Section{Title: f[0].Group})
		}
		s := &p.Sections[len(p.Sections)-1]
		s.Cards = append(s.Cards, familyCard(f))
	}
	p.Sections = append(p.Sections, Section{"reading", "How to read it",
		[]Card{{Text: []string{barsRead, roundsRead}}}})
	return p
}

// familyCard draws a family to one scale, on which a tenth beyond the longest median is seen.
func familyCard(f []Result) Card {
	longest := 1e-9
	for i := range f {
		longest = max(longest, f[i].NsPerOp*1.1)
	}
	numbers := &Table{}
	card := Card{Name: f[0].subject(), What: f[0].What,
		Folds: []Fold{{"what the others do, and their other numbers", Card{Table: numbers}}}}
	for i := range f {
		r := &f[i]
		times := r.times()
		q1, q3 := Quantile(times, 0.25), Quantile(times, 0.75)
		var rounds strings.Builder
		for _, ns := range times {
			fmt.Fprintf(&rounds, "M%v 3V21", place(ns/longest))
		}
		tip := fmt.Sprintf("%s: median %s, quartiles %s to %s, %d rounds from %s to %s", r.Name, Nanos(r.NsPerOp),
			Nanos(q1), Nanos(q3), len(times), Nanos(times[0]), Nanos(times[len(times)-1]))
		ratio := Figure{}
		if r.Ratio != nil && r.Ratio.Median > 0 {
			ratio = Figure{Digits(1/r.Ratio.Median) + " ×", slowerIf(r.Ratio.Median > 1)}
		}
		card.Rows = append(card.Rows, Row{Name: r.library(), What: r.What, Ours: r.Ours(),
			Marks: []Mark{Bar("bar", tip, 0, r.NsPerOp/longest, 7, 17), Bar("box", "", q1/longest, q3/longest, 2, 22),
				{Class: "rounds", Path: rounds.String()}},
			Figures: []Figure{{Text: Nanos(r.NsPerOp)}, ratio}})
		details := fmt.Sprintf("%.0f allocs/op, %.0f B/op", r.Allocs, r.Bytes)
		if r.MBPerSec > 0 {
			details = fmt.Sprintf("%.0f MB/s, %s", r.MBPerSec, details)
		}
		numbers.Add("%s\t%s\t%s", r.library(), r.What, strings.Join(append([]string{details}, r.extras()...), ", "))
	}
	return card
}

func slowerIf(slower bool) string {
	if slower {
		return "slower"
	}
	return ""
}

// overview shows how many times as long as ours each baseline takes, on one logarithmic axis.
func overview(families [][]Result) Card {
	scale := Log{0.8, 2}
	for _, f := range families {
		for i := range f {
			if r := &f[i]; r.rival() {
				scale = Log{min(scale.Low, 0.9/r.Ratio.Median), max(scale.High, 1.1/r.Ratio.Median)}
			}
		}
	}
	card := Card{What: overviewWhat, Axis: scale.Ticks(func(v float64) string { return fmt.Sprintf("%g×", v) })}
	var grid []Mark
	for _, t := range card.Axis {
		class := "grid"
		if t.Text == "1×" {
			class = "one"
		}
		grid = append(grid, Mark{Class: class, Path: fmt.Sprintf("M%v 0V24", t.Place())})
	}
	for _, f := range families {
		row := Row{Name: f[0].subject(), Marks: slices.Clone(grid)}
		nearest := math.Inf(1)
		for i := range f {
			if r := &f[i]; r.rival() {
				times := 1 / r.Ratio.Median
				text := Digits(times) + " × " + r.library()
				row.Marks = append(row.Marks, Mark{"dot " + slowerIf(times < 1),
					fmt.Sprintf("M%v 12h0", place(scale.At(times))), text})
				if times < nearest {
					nearest, row.Figures = times, []Figure{{text, slowerIf(times < 1)}}
				}
			}
		}
		if row.Figures != nil {
			card.Rows = append(card.Rows, row)
		}
	}
	return card
}

// section draws a comparison: ours, in proportion to their baselines where they have any, and the baselines by
// themselves; the larger changes first, to a scale that the largest decides.
func (c *Comparison) section() Section {
	most := 0.05
	for i := range c.Changes {
		if ratio, _, _ := c.Changes[i].judged(); c.Changes[i].Ours {
			most = max(most, min(math.Abs(ratio-1), 1))
		}
	}
	var significant, same, baselines []Row
	for _, change := range c.sorted() {
		row := change.row(most)
		switch _, _, real := change.judged(); {
		case !change.Ours:
			baselines = append(baselines, row)
		case real:
			significant = append(significant, row)
		default:
			same = append(same, row)
		}
	}
	card := Card{What: fmt.Sprintf(changesWhat, most*100), Text: []string{c.verdict() + "."}, Notes: c.Notes(),
		Rows: significant}
	if len(significant) == 0 {
		card.Text = append(card.Text, "No change is significant.")
	}
	if n := len(same); n > 0 {
		card.Folds = append(card.Folds, Fold{fmt.Sprintf("%d without a significant change", n), Card{Rows: same}})
	}
	if n := len(baselines); n > 0 {
		card.Folds = append(card.Folds, Fold{fmt.Sprintf("the times of %d baselines by themselves", n),
			Card{Rows: baselines}})
	}
	return Section{"changes", "Compared with " + c.since(), []Card{card}}
}

// row draws a change to a scale of which most is the end.
func (c *Change) row(most float64) Row {
	ratio, likely, real := c.judged()
	class := "slower"
	switch {
	case !real:
		class = "soft"
	case ratio < 1:
		class = "faster"
	}
	to := 0.5 + (ratio-1)/most/2
	return Row{Name: c.Name, Ours: c.Ours, Note: c.allocs(),
		Marks: []Mark{{Class: "one", Path: "M500 0V24"},
			Bar("bar "+class, percent(ratio, true), min(to, 0.5), max(to, 0.5), 7, 17)},
		Figures: []Figure{{percent(ratio, true), class}, {Text: Nanos(c.Old) + " → " + Nanos(c.New)},
			{fmt.Sprintf("p %.3f", likely), "soft"}}}
}
