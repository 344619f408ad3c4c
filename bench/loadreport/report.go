package loadreport

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/edge-proxy/edge/bench/load"
	"github.com/edge-proxy/edge/bench/machine"
	"github.com/edge-proxy/edge/bench/report"
)

// Report is all that was measured by one command.
type Report struct {
	Time    time.Time     `json:"time"` // when it began
	Machine machine.Facts `json:"machine"`
	Command string        `json:"command"`         // line
	What    string        `json:"what"`            // which requests, over how many connections
	Notes   []string      `json:"notes,omitempty"` // what to know before one believes it
	Rows    []Row         `json:"rows"`
}

// Row is one run.
type Row struct {
	Target  string       `json:"target"`            // what was asked
	Percent int          `json:"percent,omitempty"` // of the rate of the closed loop; 0: none was known
	Result  *load.Result `json:"result"`
	// CPUPerRequest is the processor time of the target in µs, 0 where it is not known. Busy is the share of one
	// processor.
	CPUPerRequest float64 `json:"cpu_us_per_request,omitempty"`
	Busy          float64 `json:"busy,omitempty"`
}

var errNoRows = errors.New("no rows in it: is it what edge-bench URL --json, or edge-bench self --json, has printed?")

// Read takes back what was written as JSON.
func Read(in io.Reader) (*Report, error) {
	r := new(Report)
	if err := json.NewDecoder(in).Decode(r); err != nil {
		return nil, err
	}
	if len(r.Rows) == 0 {
		return nil, errNoRows
	}
	for i := range r.Rows {
		if r.Rows[i].Result == nil {
			return nil, fmt.Errorf("row %d has no result", i)
		}
	}
	return r, nil
}

// Load names the load of r.
func (r *Row) Load() string {
	switch {
	case r.Result.Rate == 0:
		return "closed loop"
	case r.Percent > 0:
		return fmt.Sprintf("open, %d %%", r.Percent)
	}
	return "open loop"
}

// key names r among the rows of its report, and in other ones.
func (r *Row) key() string {
	if r.Percent == 0 && r.Result.Rate > 0 {
		return fmt.Sprintf("%s at %s/s", r.Target, report.Count(r.Result.Rate))
	}
	return r.Target + ", " + r.Load()
}

// Compare tells what changed from old to r, a row for each that both have, and what to know of it. Where both have but
// one these are compared.
func (r *Report) Compare(old *Report) (changes *report.Table, notes []string) {
	changes = new(report.Table)
	before := make(map[string]*Row)
	for i := range old.Rows {
		before[old.Rows[i].key()] = &old.Rows[i]
	}
	for i := range r.Rows {
		now := &r.Rows[i]
		was := before[now.key()]
		if len(r.Rows) == 1 && len(old.Rows) == 1 {
			was = &old.Rows[0]
		}
		if was != nil {
			changes.Rows = append(changes.Rows, now.since(was))
		}
	}
	notes = []string{"one run beside one run: how much of a change is chance is not known"}
	if len(changes.Rows) == 0 {
		notes = []string{"the reports have no row in common"}
	}
	if r.What != old.What {
		notes = append(notes, "not the same load: "+old.What)
	}
	return changes, append(notes, r.Machine.Differences(&old.Machine)...)
}

// measure is one number of a row that is compared.
type measure struct {
	name string
	of   func(r *Row) float64
	text func(v float64) string
}

// measures are all that are compared. Times are ns.
var measures = []measure{
	{"requests/s", func(r *Row) float64 { return r.Result.PerSecond() }, report.Count},
	{"p50", func(r *Row) float64 { return float64(r.Result.Latency.P50) }, report.Nanos},
	{"p99", func(r *Row) float64 { return float64(r.Result.Latency.P99) }, report.Nanos},
	{"p99.9", func(r *Row) float64 { return float64(r.Result.Latency.P999) }, report.Nanos},
	{"CPU µs/request", func(r *Row) float64 { return r.CPUPerRequest }, report.Digits},
}

// since is each measure of both reports, before and now.
func (r *Row) since(old *Row) []string {
	row := []string{r.key()}
	for _, m := range measures {
		if was, now := m.of(old), m.of(r); was != 0 && now != 0 {
			row = append(row, fmt.Sprintf("%s %s → %s  %+.1f %%", m.name, m.text(was), m.text(now), 100*(now/was-1)))
		}
	}
	return row
}
