package loadreport

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/edge-proxy/edge/bench/load"
)

// WriteText writes the row of r in words, or a table when there are several.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "%s\n", r.What)
	if len(r.Rows) == 1 {
		r.Rows[0].write(&b)
	} else {
		r.writeTable(&b)
	}
	for _, note := range append(r.omission(), r.Notes...) {
		_, _ = fmt.Fprintf(&b, "note: %s\n", note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// omission is what has to be known of the latencies of closed loops, where r has one.
func (r *Report) omission() []string {
	const note = "closed loop: while the server stalls nothing is sent, so the latencies leave out what stalls do to " +
		"others; "
	closed, instead := false, "--rate counts that"
	for i := range r.Rows {
		if r.Rows[i].Result.Rate == 0 {
			closed = true
		} else {
			instead = "the open loops count that"
		}
	}
	if !closed {
		return nil
	}
	return []string{note + instead}
}

// write writes one row in words.
func (r *Row) write(b *strings.Builder) {
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(b, "  %-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	s := r.Result
	seconds := max(s.Elapsed.Seconds(), 1e-9)
	line("requests", "%d in %.2f s, %s/s", s.Requests, s.Elapsed.Seconds(), count(s.PerSecond()))
	line("bytes", "in %s/s, out %s/s", size(float64(s.BytesIn)/seconds), size(float64(s.BytesOut)/seconds))
	l := &s.Latency
	line("latency", "mean %s  p50 %s  p75 %s  p90 %s  p99 %s  p99.9 %s  p99.99 %s  max %s", micros(l.Mean),
		micros(l.P50), micros(l.P75), micros(l.P90), micros(l.P99), micros(l.P999), micros(l.P9999), micros(l.Max))
	if text := statusText(&s.Status); text != "" {
		line("status", "%s", text)
	}
	line("errors", "%s", errorsText(s))
	line("connections", "%d opened, %d of them in place of another", s.Opened, s.Reopened)
	if s.Rate > 0 {
		line("schedule", "%s/s asked for, %s unsent, sent %s late at worst", count(s.Rate), unsentText(s),
			micros(s.Late))
	}
	line("this side", "%.2f µs CPU a request, %.0f %% of a CPU",
		s.CPU.Seconds()*1e6/max(float64(s.Requests), 1), 100*s.CPU.Seconds()/seconds)
}

// writeTable writes a line for each row.
func (r *Report) writeTable(b *strings.Builder) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, cell := range append(columns(), "") {
		_, _ = fmt.Fprint(t, cell, "\t")
	}
	for i := range r.Rows {
		_, _ = fmt.Fprintln(t)
		for _, cell := range append(r.Rows[i].cells(), "") {
			_, _ = fmt.Fprint(t, cell, "\t")
		}
	}
	_, _ = fmt.Fprintln(t)
	_ = t.Flush()
	for i := range r.Rows {
		if f := r.Rows[i].Result.Failure; f != "" {
			_, _ = fmt.Fprintf(b, "note: %s: %s\n", r.Rows[i].key(), f)
		}
	}
}

// columns are the heads of a table of rows.
func columns() []string {
	return []string{"target", "load", "requests/s", "p50", "p90", "p99", "p99.9", "p99.99", "max", "unsent", "errors",
		"CPU µs/req", "busy"}
}

// cells are a row of a table.
func (r *Row) cells() []string {
	s := r.Result
	l := &s.Latency
	cpu, busy := "", ""
	if r.CPUPerRequest > 0 {
		cpu, busy = fmt.Sprintf("%.2f", r.CPUPerRequest), fmt.Sprintf("%.0f %%", 100*r.Busy)
	}
	unsent := ""
	if s.Rate > 0 {
		unsent = unsentText(s)
	}
	return []string{
		r.Target, r.Load(), count(s.PerSecond()), micros(l.P50), micros(l.P90), micros(l.P99), micros(l.P999),
		micros(l.P9999), micros(l.Max), unsent, fmt.Sprint(s.Failed()), cpu, busy,
	}
}

// WriteText writes what changed.
func (c *Comparison) WriteText(w io.Writer) error {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "\ncompared with %s\n", c.since())
	for _, note := range c.Notes {
		_, _ = fmt.Fprintf(&b, "  %s\n", note)
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for i := range c.Changes {
		change := &c.Changes[i]
		_, _ = fmt.Fprintf(t, "  %s\t", change.Name)
		for k := range measures {
			if text := change.text(&measures[k]); text != "" {
				_, _ = fmt.Fprintf(t, "%s %s\t", measures[k].name, text)
			}
		}
		_, _ = fmt.Fprintln(t)
	}
	_ = t.Flush()
	_, err := io.WriteString(w, b.String())
	return err
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

// count writes a number with the digits that matter.
func count(v float64) string {
	switch {
	case v >= 1e5:
		return fmt.Sprintf("%.0fk", v/1e3)
	case v >= 1e4:
		return fmt.Sprintf("%.1fk", v/1e3)
	case v >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// size writes a number of bytes.
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

// micros writes a time with three digits.
func micros(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2fs", d.Seconds())
	case d >= 100*time.Millisecond:
		return fmt.Sprintf("%.0fms", d.Seconds()*1e3)
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", d.Seconds()*1e3)
	case d >= time.Millisecond:
		return fmt.Sprintf("%.2fms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.0fµs", d.Seconds()*1e6)
}

func nanos(v float64) string { return micros(time.Duration(v)) }
