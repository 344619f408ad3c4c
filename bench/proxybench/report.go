package proxybench

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/edge-proxy/edge/bench/machine"
	"github.com/edge-proxy/edge/bench/report"
)

// Report is all that was measured.
type Report struct {
	Time      time.Time         `json:"time"`              // when it began
	Command   string            `json:"command,omitempty"` // line
	Machine   machine.Facts     `json:"machine"`
	Load      string            `json:"load_generator"`
	Peers     []PeerFacts       `json:"peers"`
	Scenarios []*ScenarioResult `json:"scenarios"`
}

// PeerFacts name what a peer is.
type PeerFacts struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

// ScenarioResult is a table of the report.
type ScenarioResult struct {
	Name        string       `json:"name"`
	What        string       `json:"what"`
	Beside      string       `json:"beside,omitempty"` // the peer without a cache
	RoundsAsked int          `json:"rounds_asked"`
	RoundsRun   int          `json:"rounds_run"`
	RoundsKept  int          `json:"rounds_kept"` // whose floor was steady
	Peers       []PeerResult `json:"peers"`

	rounds []round // the kept ones
}

// Sample is one peer in one round.
type Sample struct {
	CPUPerRequest     float64       `json:"cpu_us_per_request"`
	RequestsPerSecond float64       `json:"requests_per_second"`
	Busy              float64       `json:"busy"` // share of the proxy's core
	P50               time.Duration `json:"p50_ns"`
	P99               time.Duration `json:"p99_ns"`
	P999              time.Duration `json:"p999_ns,omitempty"` // 0: the load does not tell
	Memory            Memory        `json:"memory"`
	Errors            uint64        `json:"errors"`
	Detail            string        `json:"detail,omitempty"`
}

// PeerResult is a row: what remains of a peer's samples. Times are medians over the rounds.
type PeerResult struct {
	Name              string        `json:"name"`
	RequestsPerSecond float64       `json:"requests_per_second"`
	CPUPerRequest     float64       `json:"cpu_us_per_request"`
	Busy              float64       `json:"busy"`
	ToFloor           report.Spread `json:"to_floor"`  // ratios within a round
	ToNginx           report.Spread `json:"to_nginx"`  // zero where nginx was not measured
	ToBefore          report.Spread `json:"to_before"` // zero without Options.Before
	ToEdge            report.Spread `json:"to_edge"`   // zero where edge was not measured
	ToBeside          report.Spread `json:"to_beside"` // zero where ScenarioResult.Beside was not measured
	P50               time.Duration `json:"p50_ns"`
	P99               time.Duration `json:"p99_ns"`
	P999              time.Duration `json:"p999_ns,omitempty"` // 0: the load does not tell
	Memory            Memory        `json:"memory"`            // of the round that took most
	Errors            uint64        `json:"errors"`            // of all rounds
	Detail            string        `json:"detail,omitempty"`
	Samples           []Sample      `json:"samples"`
}

func newSample(began, ended reading, m Memory, seen loadResult) Sample {
	requests := float64(ended.requests - began.requests)
	cpu, elapsed := (ended.cpu - began.cpu), ended.at.Sub(began.at)
	return Sample{
		CPUPerRequest:     float64(cpu) / float64(time.Microsecond) / requests,
		RequestsPerSecond: requests / elapsed.Seconds(),
		Busy:              float64(cpu) / float64(elapsed),
		P50:               seen.p50,
		P99:               seen.p99,
		P999:              seen.p999,
		Memory:            m,
		Errors:            seen.errors,
		Detail:            seen.detail,
	}
}

// summarize takes the samples of one peer out of rounds.
func summarize(name, beside string, rounds []round) PeerResult {
	p := PeerResult{Name: name}
	to := map[string][]float64{}
	var toBeside []float64
	for _, this := range rounds {
		s, ok := this[name]
		if !ok {
			continue
		}
		p.Samples = append(p.Samples, s)
		for _, other := range []string{floorName, nginxName, beforeName, edgeName} {
			if o, ok := this.of(other); ok {
				to[other] = append(to[other], s.CPUPerRequest/o.CPUPerRequest)
			}
		}
		if o, ok := this[beside]; ok {
			toBeside = append(toBeside, s.CPUPerRequest/o.CPUPerRequest)
		}
		p.Errors += s.Errors
		if s.Memory.RSS > p.Memory.RSS {
			p.Memory = s.Memory
		}
		p.Detail = cmp.Or(s.Detail, p.Detail)
	}
	p.RequestsPerSecond = median(p.Samples, func(s Sample) float64 { return s.RequestsPerSecond })
	p.CPUPerRequest = median(p.Samples, func(s Sample) float64 { return s.CPUPerRequest })
	p.Busy = median(p.Samples, func(s Sample) float64 { return s.Busy })
	p.P50 = median(p.Samples, func(s Sample) time.Duration { return s.P50 })
	p.P99 = median(p.Samples, func(s Sample) time.Duration { return s.P99 })
	p.P999 = median(p.Samples, func(s Sample) time.Duration { return s.P999 })
	p.ToFloor, p.ToNginx = report.SpreadOf(to[floorName]), report.SpreadOf(to[nginxName])
	p.ToBefore, p.ToBeside = report.SpreadOf(to[beforeName]), report.SpreadOf(toBeside)
	p.ToEdge = report.SpreadOf(to[edgeName])
	return p
}

// of is the sample of a program: as the scenario has it, where one names what it does beside proxying.
func (r round) of(program string) (Sample, bool) {
	for _, with := range features {
		if s, ok := r[program+with]; ok {
			return s, true
		}
	}
	s, ok := r[program]
	return s, ok
}

func median[S any, N ~int64 | ~float64](samples []S, of func(s S) N) N {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = float64(of(s))
	}
	return N(report.Median(values))
}

// steady tells for each floor whether it lies within tolerance of the median of all. Where none does
// (an even number of them can lie around the median on both sides) there is nothing to choose by.
func steady(floors []float64, tolerance float64) (keep []bool, kept int) {
	m := report.Median(floors)
	keep = make([]bool, len(floors))
	for i, f := range floors {
		if keep[i] = math.Abs(f-m) <= tolerance*m; keep[i] {
			kept++
		}
	}
	return keep, kept
}

// Programs are the peers, each program once.
func (r *Report) Programs() (once []PeerFacts) {
	for _, p := range r.Peers {
		p.Name = program(p.Name)
		if !slices.Contains(once, p) {
			once = append(once, p)
		}
	}
	return once
}

// WriteText prints r for people.
func (r *Report) WriteText(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s · load: %s\n", &r.Machine, r.Load)
	for _, p := range r.Programs() {
		if p.Version != "" {
			_, _ = fmt.Fprintf(w, "  %-9s %s\n", p.Name, p.Version)
		}
	}
	for _, s := range r.Scenarios {
		err = errors.Join(err, report.WriteText(w, s.table()))
		for _, p := range s.Peers {
			if p.Errors > 0 {
				_, _ = fmt.Fprintf(w, "  %s: %s\n", p.Name, p.Detail)
			}
		}
	}
	return err
}

func (s *ScenarioResult) table() *report.Table {
	beside := ""
	if s.Beside != "" {
		beside = "\t÷ " + s.Beside + " [q1–q3]"
	}
	t := report.NewTable(fmt.Sprintf("%s: %s (%d rounds kept of %d run, %d asked)", s.Name, s.What, s.RoundsKept,
		s.RoundsRun, s.RoundsAsked), "peer\treq/s\tCPU µs/req\t÷ floor\t[q1–q3]\t÷ nginx\t÷ before [q1–q3]\tbusy\t"+
		"p50\tp99\tp99.9\tRSS MiB\tpeak\terrors"+beside)
	for _, p := range s.Peers {
		if len(p.Samples) == 0 {
			t.Add("%s\tfailed", p.Name)
			continue
		}
		toNginx, toBefore, toBeside, p999 := "–", "–", "", "–"
		if p.ToNginx.Median > 0 {
			toNginx = fmt.Sprintf("%.2f", p.ToNginx.Median)
		}
		if b := p.ToBefore; b.Median > 0 {
			toBefore = fmt.Sprintf("%.3f [%.3f–%.3f]", b.Median, b.Q1, b.Q3)
		}
		if p.P999 > 0 {
			p999 = report.Time(p.P999)
		}
		if b := p.ToBeside; s.Beside != "" && b.Median == 0 {
			toBeside = "\t–"
		} else if s.Beside != "" {
			toBeside = fmt.Sprintf("\t%.3f [%.3f–%.3f]", b.Median, b.Q1, b.Q3)
		}
		t.Add("%s\t%.0f\t%.2f\t%.2f\t[%.2f–%.2f]\t%s\t%s\t%.0f%%\t%s\t%s\t%s\t%.1f\t%.1f\t%d%s", p.Name,
			p.RequestsPerSecond, p.CPUPerRequest, p.ToFloor.Median, p.ToFloor.Q1, p.ToFloor.Q3, toNginx, toBefore,
			100*p.Busy, report.Time(p.P50), report.Time(p.P99), p999, float64(p.Memory.RSS)/1024,
			float64(p.Memory.Peak)/1024, p.Errors, toBeside)
	}
	return t
}
