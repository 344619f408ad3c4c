package loadreport

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/edge-proxy/edge/bench/load"
	"github.com/edge-proxy/edge/bench/report"
)

// WriteText writes the row of r in words, or a table when there are several, and what changed since old, which may be
// nil.
func (r *Report) WriteText(w io.Writer, old *Report) error {
	notes := append(r.omission(), r.Notes...)
	_, err := fmt.Fprintln(w, r.What)
	if len(r.Rows) == 1 {
		err = errors.Join(err, r.Rows[0].write(w))
	} else {
		err = errors.Join(err, report.WriteText(w, r.table()))
		for i := range r.Rows {
			if f := r.Rows[i].Result.Failure; f != "" {
				notes = append(notes, r.Rows[i].key()+": "+f)
			}
		}
	}
	for _, note := range notes {
		_, _ = fmt.Fprintf(w, "note: %s\n", note)
	}
	if err != nil || old == nil {
		return err
	}
	changes, notes := r.Compare(old)
	_, err = fmt.Fprintf(w, "\ncompared with %s\n  %s\n", report.Since(&old.Machine, old.Time),
		strings.Join(notes, "\n  "))
	return errors.Join(err, report.WriteText(w, changes))
}

// omission is what has to be known of the latencies of closed loops, where r has one.
func (r *Report) omission() []string {
	const note = "closed loop: while the server stalls nothing is sent, so the latencies leave out what stalls do to " +
		"others; "
	switch open := r.having(func(r *Row) bool { return r.Result.Rate > 0 }); len(open) {
	case len(r.Rows):
		return nil
	case 0:
		return []string{note + "--rate counts that"}
	}
	return []string{note + "the open loops count that"}
}

func (r *Row) write(w io.Writer) error {
	t := new(report.Table)
	line := func(name, format string, args ...any) { t.Add("  "+name+"\t"+format, args...) }
	s := r.Result
	seconds := max(s.Elapsed.Seconds(), 1e-9)
	line("requests", "%d in %.2f s, %s/s", s.Requests, s.Elapsed.Seconds(), report.Count(s.PerSecond()))
	line("bytes", "in %s/s, out %s/s", size(float64(s.BytesIn)/seconds), size(float64(s.BytesOut)/seconds))
	l, latency := &s.Latency, ""
	for i, d := range []time.Duration{l.Mean, l.P50, l.P75, l.P90, l.P99, l.P999, l.P9999, l.Max} {
		latency += []string{"mean ", "  p50 ", "  p75 ", "  p90 ", "  p99 ", "  p99.9 ", "  p99.99 ", "  max "}[i] +
			report.Time(d)
	}
	line("latency", "%s", latency)
	if text := statusText(&s.Status); text != "" {
		line("status", "%s", text)
	}
	line("errors", "%s", errorsText(s))
	line("connections", "%d opened, %d of them in place of another", s.Opened, s.Reopened)
	if s.Rate > 0 {
		line("schedule", "%s/s asked for, %s unsent, sent %s late at worst", report.Count(s.Rate), unsentText(s),
			report.Time(s.Late))
	}
	line("this side", "%.2f µs CPU a request, %.0f %% of a CPU",
		s.CPU.Seconds()*1e6/max(float64(s.Requests), 1), 100*s.CPU.Seconds()/seconds)
	return report.WriteText(w, t)
}

func (r *Report) table() *report.Table {
	t := report.NewTable("", "target\tload\trequests/s\tp50\tp90\tp99\tp99.9\tp99.99\tmax\tunsent\terrors\t"+
		"CPU µs/req\tbusy")
	for i := range r.Rows {
		row, s := &r.Rows[i], r.Rows[i].Result
		cpu, busy, unsent := "", "", ""
		if row.CPUPerRequest > 0 {
			cpu, busy = report.Digits(row.CPUPerRequest), fmt.Sprintf("%.0f %%", 100*row.Busy)
		}
		if s.Rate > 0 {
			unsent = unsentText(s)
		}
		l := &s.Latency
		t.Add("%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s", row.Target, row.Load(), report.Count(s.PerSecond()),
			times(l.P50, l.P90, l.P99, l.P999, l.P9999, l.Max), unsent, s.Failed(), cpu, busy)
	}
	return t
}

func times(list ...time.Duration) string {
	var all []string
	for _, d := range list {
		all = append(all, report.Time(d))
	}
	return strings.Join(all, "\t")
}

func statusText(s *load.Status) string {
	var parts []string
	for _, c := range []struct {
		name string
		n    uint64
	}{{"2xx", s.Success}, {"3xx", s.Redirect}, {"4xx", s.ClientError}, {"5xx", s.ServerError}, {"other", s.Other}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", c.name, c.n))
		}
	}
	return strings.Join(parts, ", ")
}

// unsentText marks a row whose latencies tell of less than half of the requests.
func unsentText(s *load.Result) string {
	if s.Unsent > s.Requests {
		return fmt.Sprintf("%d (most: useless)", s.Unsent)
	}
	return fmt.Sprint(s.Unsent)
}

func errorsText(s *load.Result) string {
	e := &s.Errors
	text := "none"
	if e.Connect+e.Read+e.Timeout > 0 {
		text = fmt.Sprintf("connect %d, read %d, timeout %d", e.Connect, e.Read, e.Timeout)
	}
	if s.Failure != "" {
		text += "; the first: " + s.Failure
	}
	return text
}

func size(v float64) string {
	switch {
	case v >= 1<<30:
		return fmt.Sprintf("%.2f GiB", v/(1<<30))
	case v >= 1<<20:
		return fmt.Sprintf("%.1f MiB", v/(1<<20))
	case v >= 1<<10:
		return fmt.Sprintf("%.1f KiB", v/(1<<10))
	}
	return fmt.Sprintf("%.0f B", v)
}
