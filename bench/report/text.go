package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteText writes a table for each group.
func (r *Report) WriteText(w io.Writer) error {
	g := r.Machine.Go
	_, err := fmt.Fprintf(w, "%s, %s %s, GOMAXPROCS %d, medians of %d rounds of %s\n",
		r.Machine.CPU.Model, g.Version, g.Arch, g.MaxProcs, r.Rounds, r.Benchtime)
	for _, rows := range r.groups() {
		if err == nil {
			err = writeGroup(w, rows)
		}
	}
	if err == nil {
		_, err = fmt.Fprintln(w, "\nbelow 1 under edge ÷ it: edge is faster")
	}
	return err
}

func writeGroup(w io.Writer, rows []Result) error {
	if _, err := fmt.Fprintf(w, "\n%s\n", rows[0].Group); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "ns/op\tallocs/op\tB/op\tMB/s\tedge ÷ it\t(quartiles)\t  \t")
	for _, r := range rows {
		speed, ratio, quartiles := "", "", ""
		if r.MBPerSec > 0 {
			speed = fmt.Sprintf("%.0f", r.MBPerSec)
		}
		if r.Ratio != nil {
			ratio = fmt.Sprintf("%.3f", r.Ratio.Median)
			quartiles = fmt.Sprintf("%.3f–%.3f", r.Ratio.Q1, r.Ratio.Q3)
		}
		// A cell that no tab ends is no column: names stand on the left at the end of the line.
		_, _ = fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%s\t%s\t%s\t  \t%s%s\n",
			Short(r.NsPerOp), r.Allocs, r.Bytes, speed, ratio, quartiles, r.Name, extras(r.Extra))
	}
	return t.Flush()
}

// WriteText writes what changed, and what speaks against comparing.
func (c *Comparison) WriteText(w io.Writer) error {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "\ncompared with %s: %s\n", c.since(), c.verdict())
	for _, note := range c.Notes() {
		_, _ = fmt.Fprintf(&b, "  %s\n", note)
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "old ns/op\tnew ns/op\tchange\tp\tbeside baselines\tp\t  \t")
	for _, change := range c.Changes {
		p := ""
		if change.Beside != nil {
			p = fmt.Sprintf("%.3f", change.Beside.P)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%.3f\t%s\t%s\t  \t%s%s\n", Short(change.Old.Median),
			Short(change.New.Median), change.Text(), change.P, change.Beside.Text(), p, change.Name,
			change.allocsText())
	}
	_ = t.Flush()
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteBenchstat writes the text of go test -bench, which benchstat and other tools read. What is known of the machine
// stands above it, as configuration.
func (r *Report) WriteBenchstat(w io.Writer) error {
	var b strings.Builder
	line := func(key, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(&b, "%s: %s\n", key, value)
		}
	}
	line("goos", runtime.GOOS)
	line("goarch", r.Machine.Go.Arch)
	line("pkg", "github.com/edge-proxy/edge/bench/micro")
	line("cpu", r.Machine.CPU.Model)
	line("kernel", r.Machine.Kernel)
	line("go", r.Machine.Go.Version)
	line("commit", r.Machine.Version)
	procs := ""
	if n := r.Machine.Go.MaxProcs; n > 1 {
		procs = fmt.Sprintf("-%d", n)
	}
	for _, result := range r.Results {
		for _, s := range result.Samples {
			_, _ = fmt.Fprintf(&b, "BenchmarkMicro/%s%s\t%d\t%v ns/op", result.Name, procs, s.N, s.NsPerOp)
			if s.MBPerSec > 0 {
				_, _ = fmt.Fprintf(&b, "\t%.2f MB/s", s.MBPerSec)
			}
			for _, unit := range slices.Sorted(maps.Keys(s.Extra)) {
				_, _ = fmt.Fprintf(&b, "\t%v %s", s.Extra[unit], unit)
			}
			_, _ = fmt.Fprintf(&b, "\t%v B/op\t%v allocs/op\n", s.Bytes, s.Allocs)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Short writes three digits of a number below 1000.
func Short(ns float64) string {
	switch {
	case ns < 10:
		return fmt.Sprintf("%.2f", ns)
	case ns < 100:
		return fmt.Sprintf("%.1f", ns)
	}
	return fmt.Sprintf("%.0f", ns)
}

// duration is ns with three digits and a unit.
func duration(ns float64) string {
	for _, unit := range []string{"ns", "µs", "ms"} {
		if ns < 999.5 {
			return digits(ns) + " " + unit
		}
		ns /= 1000
	}
	return digits(ns) + " s"
}

// digits are three of them, or all before the point.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case a < 9.995:
		return fmt.Sprintf("%.2f", v)
	case a < 99.95:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func extras(of map[string]float64) string {
	var b strings.Builder
	for _, unit := range slices.Sorted(maps.Keys(of)) {
		_, _ = fmt.Fprintf(&b, "  %s %s", Short(of[unit]), unit)
	}
	return b.String()
}
