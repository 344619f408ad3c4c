package proxybench

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is all that was measured.
type Report struct {
	Machine   Machine           `json:"machine"`
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
	ToFloor           Spread        `json:"to_floor"`  // ratios within a round
	ToNginx           Spread        `json:"to_nginx"`  // zero where nginx was not measured
	ToBefore          Spread        `json:"to_before"` // zero without Options.Before
	P50               time.Duration `json:"p50_ns"`
	P99               time.Duration `json:"p99_ns"`
	Memory            Memory        `json:"memory"` // of the round that took most
	Errors            uint64        `json:"errors"` // of all rounds
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
		Memory:            m,
		Errors:            seen.errors,
		Detail:            seen.detail,
	}
}

// summarize takes the samples of one peer out of rounds.
func summarize(name string, rounds []round) PeerResult {
	p := PeerResult{Name: name}
	var rates, costs, busy, p50s, p99s, toFloor, toNginx, toBefore []float64
	for _, this := range rounds {
		s, ok := this[name]
		if !ok {
			continue
		}
		p.Samples = append(p.Samples, s)
		rates = append(rates, s.RequestsPerSecond)
		costs = append(costs, s.CPUPerRequest)
		busy = append(busy, s.Busy)
		p50s = append(p50s, float64(s.P50))
		p99s = append(p99s, float64(s.P99))
		toFloor = append(toFloor, s.CPUPerRequest/this[floorName].CPUPerRequest)
		if n, ok := this[nginxName]; ok {
			toNginx = append(toNginx, s.CPUPerRequest/n.CPUPerRequest)
		}
		if b, ok := this[beforeName]; ok {
			toBefore = append(toBefore, s.CPUPerRequest/b.CPUPerRequest)
		}
		p.Errors += s.Errors
		if s.Memory.RSS > p.Memory.RSS {
			p.Memory = s.Memory
		}
		if s.Detail != "" {
			p.Detail = s.Detail
		}
	}
	p.RequestsPerSecond, p.CPUPerRequest, p.Busy = median(rates), median(costs), median(busy)
	p.P50, p.P99 = time.Duration(median(p50s)), time.Duration(median(p99s))
	p.ToFloor, p.ToNginx, p.ToBefore = spreadOf(toFloor), spreadOf(toNginx), spreadOf(toBefore)
	return p
}

// WriteText prints r for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s · %s, %d CPUs · %s · load: %s\n", r.Machine.Kernel, r.Machine.Arch,
		r.Machine.CPU, r.Machine.CPUs, r.Machine.Go, r.Machine.Load)
	for _, p := range r.Peers {
		if p.Version != "" {
			fmt.Fprintf(&b, "  %-9s %s\n", p.Name, p.Version)
		}
	}
	for _, s := range r.Scenarios {
		s.writeText(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const columns = "peer\treq/s\tCPU µs/req\t÷ floor\t[q1–q3]\t÷ nginx\t÷ before [q1–q3]\tbusy\tp50\tp99\t" +
	"RSS MiB\tpeak\terrors\t"

func (s *ScenarioResult) writeText(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s: %s (%d rounds kept of %d run, %d asked)\n", s.Name, s.What,
		s.RoundsKept, s.RoundsRun, s.RoundsAsked)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, columns)
	for _, p := range s.Peers {
		if len(p.Samples) == 0 {
			_, _ = fmt.Fprintf(t, "%s\tfailed\t\t\t\t\t\t\t\t\t\t\t\t\n", p.Name)
			continue
		}
		toNginx, toBefore := "–", "–"
		if p.ToNginx.Median > 0 {
			toNginx = fmt.Sprintf("%.2f", p.ToNginx.Median)
		}
		if b := p.ToBefore; b.Median > 0 {
			toBefore = fmt.Sprintf("%.3f [%.3f–%.3f]", b.Median, b.Q1, b.Q3)
		}
		_, _ = fmt.Fprintf(t, "%s\t%.0f\t%.2f\t%.2f\t[%.2f–%.2f]\t%s\t%s\t%.0f%%\t%s\t%s\t%.1f\t%.1f\t%d\t\n",
			p.Name, p.RequestsPerSecond, p.CPUPerRequest, p.ToFloor.Median, p.ToFloor.Q1, p.ToFloor.Q3, toNginx,
			toBefore, 100*p.Busy, micros(p.P50), micros(p.P99), mib(p.Memory.RSS), mib(p.Memory.Peak), p.Errors)
	}
	_ = t.Flush()
	for _, p := range s.Peers {
		if p.Errors > 0 {
			fmt.Fprintf(b, "  %s: %s\n", p.Name, p.Detail)
		}
	}
}

// micros prints d; wrk has no percentile for some pipelined runs and says 0.
func micros(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%dµs", d.Microseconds())
	}
	return fmt.Sprintf("%.1fms", d.Seconds()*1000)
}

func mib(kib int) float64 { return float64(kib) / 1024 }

// WriteJSON writes r for machines.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
