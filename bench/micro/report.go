package micro

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

// Report is all that was measured.
type Report struct {
	Go        string   `json:"go"`
	Arch      string   `json:"arch"`
	Procs     int      `json:"gomaxprocs"`
	Benchtime string   `json:"benchtime"`
	Rounds    int      `json:"rounds"`
	Results   []Result `json:"results"`
}

// Result is a row: an entry with the medians of its samples.
type Result struct {
	Name       string             `json:"name"`
	Group      string             `json:"group"`
	What       string             `json:"what"`
	BaselineOf string             `json:"baseline_of,omitempty"`
	NsPerOp    float64            `json:"ns_per_op"`
	Allocs     float64            `json:"allocs_per_op"`
	Bytes      float64            `json:"bytes_per_op"`
	MBPerSec   float64            `json:"mb_per_s,omitempty"`
	Extra      map[string]float64 `json:"extra,omitempty"`
	Ratio      *Ratio             `json:"ratio,omitempty"` // of a baseline: the time of ours through its own
	Samples    []Sample           `json:"samples"`
}

// Sample is one entry in one round.
type Sample struct {
	N        int                `json:"n"`
	NsPerOp  float64            `json:"ns_per_op"`
	Allocs   float64            `json:"allocs_per_op"`
	Bytes    float64            `json:"bytes_per_op"`
	MBPerSec float64            `json:"mb_per_s,omitempty"`
	Extra    map[string]float64 `json:"extra,omitempty"`
}

// Ratio is the median, with its quartiles, of ratios each taken within a round. Below 1 ours is faster.
type Ratio struct {
	Q1     float64 `json:"q1"`
	Median float64 `json:"median"`
	Q3     float64 `json:"q3"`
}

// sampleOf takes over a result; not ok is a benchmark that failed.
func sampleOf(r testing.BenchmarkResult) (s Sample, ok bool) {
	if r.N == 0 {
		return Sample{}, false
	}
	s = Sample{
		N: r.N, NsPerOp: float64(r.T.Nanoseconds()) / float64(r.N),
		Allocs: float64(r.AllocsPerOp()), Bytes: float64(r.AllocedBytesPerOp()), Extra: r.Extra,
	}
	if r.Bytes > 0 && r.T > 0 {
		s.MBPerSec = float64(r.Bytes) * float64(r.N) / 1e6 / r.T.Seconds()
	}
	return s, true
}

// results makes the rows of f. A round has one sample for each entry of f, in its order.
func (f family) results(rounds [][]Sample) []Result {
	if len(rounds) == 0 {
		return nil
	}
	rows := make([]Result, len(f))
	for i, e := range f {
		r := Result{Name: e.Name, Group: e.Group, What: e.What, BaselineOf: e.BaselineOf}
		for _, round := range rounds {
			r.Samples = append(r.Samples, round[i])
		}
		r.NsPerOp = r.median(func(s Sample) float64 { return s.NsPerOp })
		r.Allocs = r.median(func(s Sample) float64 { return s.Allocs })
		r.Bytes = r.median(func(s Sample) float64 { return s.Bytes })
		r.MBPerSec = r.median(func(s Sample) float64 { return s.MBPerSec })
		for unit := range r.Samples[0].Extra {
			if r.Extra == nil {
				r.Extra = make(map[string]float64)
			}
			r.Extra[unit] = r.median(func(s Sample) float64 { return s.Extra[unit] })
		}
		if i > 0 {
			r.Ratio = ratioOf(rounds, 0, i)
		}
		rows[i] = r
	}
	return rows
}

func (r *Result) median(of func(Sample) float64) float64 {
	values := make([]float64, len(r.Samples))
	for i, s := range r.Samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return quantile(values, 0.5)
}

// ratioOf compares two entries round by round. A round in which the baseline took no time says
// nothing; nil when none is left.
func ratioOf(rounds [][]Sample, ours, baseline int) *Ratio {
	var ratios []float64
	for _, round := range rounds {
		if base := round[baseline].NsPerOp; base > 0 {
			ratios = append(ratios, round[ours].NsPerOp/base)
		}
	}
	if len(ratios) == 0 {
		return nil
	}
	slices.Sort(ratios)
	return &Ratio{Q1: quantile(ratios, 0.25), Median: quantile(ratios, 0.5), Q3: quantile(ratios, 0.75)}
}

// quantile interpolates between the two nearest of sorted, which is not empty.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(math.Floor(at))
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// WriteJSON writes everything, each sample included.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteText writes a table for each group.
func (r *Report) WriteText(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s %s, GOMAXPROCS %d, medians of %d rounds of %s\n",
		r.Go, r.Arch, r.Procs, r.Rounds, r.Benchtime)
	for i := 0; i < len(r.Results) && err == nil; {
		end := i + 1
		for end < len(r.Results) && r.Results[end].Group == r.Results[i].Group {
			end++
		}
		err = writeGroup(w, r.Results[i:end])
		i = end
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
			short(r.NsPerOp), r.Allocs, r.Bytes, speed, ratio, quartiles, r.Name, extras(r.Extra))
	}
	return t.Flush()
}

// short shows three digits of what is small.
func short(ns float64) string {
	switch {
	case ns < 10:
		return fmt.Sprintf("%.2f", ns)
	case ns < 100:
		return fmt.Sprintf("%.1f", ns)
	}
	return fmt.Sprintf("%.0f", ns)
}

func extras(of map[string]float64) string {
	var b strings.Builder
	units := make([]string, 0, len(of))
	for unit := range of {
		units = append(units, unit)
	}
	slices.Sort(units)
	for _, unit := range units {
		_, _ = fmt.Fprintf(&b, "  %s %s", short(of[unit]), unit)
	}
	return b.String()
}
