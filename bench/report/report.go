package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/bench/machine"
)

// Report is all that was measured in one run.
type Report struct {
	Time      time.Time     `json:"time"` // when it began
	Machine   machine.Facts `json:"machine"`
	Command   string        `json:"command,omitempty"` // line
	Benchtime string        `json:"benchtime"`         // for each benchmark and round
	Rounds    int           `json:"rounds"`
	Results   []Result      `json:"results"` // each of ours followed by its baselines
}

// Result is one benchmark with the medians of its samples.
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
	Ratio      *Spread            `json:"ratio,omitempty"` // of a baseline: the time of ours through its own
	Samples    []Sample           `json:"samples"`
}

// Sample is one benchmark in one round.
type Sample struct {
	N        int                `json:"n"`
	NsPerOp  float64            `json:"ns_per_op"`
	Allocs   float64            `json:"allocs_per_op"`
	Bytes    float64            `json:"bytes_per_op"`
	MBPerSec float64            `json:"mb_per_s,omitempty"`
	Extra    map[string]float64 `json:"extra,omitempty"`
}

// SampleOf takes over a result; not ok is a benchmark that failed. A benchmark that reports a ns/op of its own, such as
// a percentile, is about that.
func SampleOf(r testing.BenchmarkResult) (s Sample, ok bool) {
	if r.N == 0 {
		return Sample{}, false
	}
	s = Sample{
		N: r.N, NsPerOp: float64(r.T.Nanoseconds()) / float64(r.N),
		Allocs: float64(r.AllocsPerOp()), Bytes: float64(r.AllocedBytesPerOp()), Extra: r.Extra,
	}
	if own, ok := r.Extra["ns/op"]; ok {
		s.NsPerOp, s.Extra = own, maps.Clone(r.Extra)
		delete(s.Extra, "ns/op")
	}
	if r.Bytes > 0 && r.T > 0 {
		s.MBPerSec = float64(r.Bytes) * float64(r.N) / 1e6 / r.T.Seconds()
	}
	return s, true
}

// Fill gives family, one of ours and its baselines, the samples of rounds, with medians and ratios. A round has one
// sample for each of family, in its order; without a round there is no result.
func Fill(family []Result, rounds [][]Sample) []Result {
	if len(rounds) == 0 {
		return nil
	}
	for i := range family {
		r := &family[i]
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
	}
	return family
}

// Read takes back what WriteJSON wrote of a Report.
func Read(in io.Reader) (*Report, error) {
	r := new(Report)
	if err := json.NewDecoder(in).Decode(r); err != nil {
		return nil, err
	}
	if len(r.Results) == 0 {
		return nil, errors.New("no results in it: is it what edge-bench micro --json has printed?")
	}
	for _, result := range r.Results {
		if result.Name == "" || len(result.Samples) == 0 {
			return nil, fmt.Errorf("the result %q has no samples", result.Name)
		}
	}
	return r, nil
}

// families are the results of r, each of ours with its baselines.
func (r *Report) families() [][]Result {
	return chunks(r.Results, func(_, now *Result) bool { return now.BaselineOf == "" })
}

// groups are the results of r, each heading with what is below it.
func (r *Report) groups() [][]Result {
	return chunks(r.Results, func(before, now *Result) bool { return before.Group != now.Group })
}

// chunks cuts results where begins says that another one begins.
func chunks(results []Result, begins func(before, now *Result) bool) [][]Result {
	var cut [][]Result
	from := 0
	for i := range results {
		if i > 0 && begins(&results[i-1], &results[i]) {
			cut, from = append(cut, results[from:i]), i
		}
	}
	if from < len(results) {
		cut = append(cut, results[from:])
	}
	return cut
}

// Ours reports whether r is a function of edge, or a variant of one: the last part of its name says so.
func (r *Result) Ours() bool { return r.BaselineOf == "" || strings.HasPrefix(r.library(), "edge") }

// rival reports whether r is a baseline of others that took any time.
func (r *Result) rival() bool { return !r.Ours() && r.Ratio != nil && r.Ratio.Median > 0 }

// library is the last part of the name: edge, or what it is compared with.
func (r *Result) library() string { return r.Name[strings.LastIndexByte(r.Name, '/')+1:] }

// subject is the name without the library.
func (r *Result) subject() string { return strings.TrimSuffix(r.Name, "/"+r.library()) }

// times are the samples' times, ascending.
func (r *Result) times() []float64 {
	return slices.Sorted(slices.Values(r.values(func(s Sample) float64 { return s.NsPerOp })))
}

func (r *Result) median(of func(Sample) float64) float64 { return Median(r.values(of)) }

func (r *Result) values(of func(Sample) float64) []float64 {
	values := make([]float64, len(r.Samples))
	for i, s := range r.Samples {
		values[i] = of(s)
	}
	return values
}

// ratioOf compares two entries round by round. A round in which the baseline took no time says
// nothing; nil when none is left. Below 1 ours is faster.
func ratioOf(rounds [][]Sample, ours, baseline int) *Spread {
	var ratios []float64
	for _, round := range rounds {
		if base := round[baseline].NsPerOp; base > 0 {
			ratios = append(ratios, round[ours].NsPerOp/base)
		}
	}
	if len(ratios) == 0 {
		return nil
	}
	spread := SpreadOf(ratios)
	return &spread
}
