package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/perf/benchfmt"

	"github.com/edge-proxy/edge/bench/machine"
)

// timesOf makes samples of times.
func timesOf(times ...float64) []Sample {
	samples := make([]Sample, len(times))
	for i, ns := range times {
		samples[i] = Sample{N: 1000 + i, NsPerOp: ns, Allocs: 1, Bytes: 16}
	}
	return samples
}

// sampled is a report of two families, one with everything a sample can have.
func sampled() *Report {
	parse := []Result{
		{Name: "parse/small/edge", Group: "parse a head", What: "in place"},
		{Name: "parse/small/nethttp", Group: "parse a head", What: "a <copy> & more", BaselineOf: "parse/small/edge"},
	}
	timer := []Result{
		{Name: "timer/edge", Group: "timers", What: "arm"},
		{Name: "timer/edge-slots", Group: "timers", What: "by index", BaselineOf: "timer/edge"},
		{Name: "timer/runtime", Group: "timers", What: "Reset", BaselineOf: "timer/edge"},
	}
	rounds := func(columns ...[]Sample) (rounds [][]Sample) {
		for i := range columns[0] {
			var round []Sample
			for _, c := range columns {
				round = append(round, c[i])
			}
			rounds = append(rounds, round)
		}
		return rounds
	}
	ours := timesOf(10, 11, 12, 10.5, 11.5)
	for i := range ours {
		ours[i].MBPerSec, ours[i].Extra = 400, map[string]float64{"cpu-ns/op": 9.5, "touched/op": 2}
	}
	return &Report{
		Time: time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC),
		Machine: machine.Facts{
			CPU: machine.CPU{Model: "Test CPU", Threads: 2}, Kernel: "6.18",
			Go: machine.Go{Version: "go1.26", Arch: "amd64", MaxProcs: 2}, Version: "v1.2-3-gabc",
		},
		Benchtime: "1s", Rounds: 5, Command: "edge-bench micro --run 'parse|timer'",
		Results: append(Fill(parse, rounds(ours, timesOf(100, 110, 120, 105, 115))),
			Fill(timer, rounds(timesOf(1.5, 1.5, 1.5, 1.5, 1.5), timesOf(3, 3, 3, 3, 3), timesOf(1, 1, 1, 1, 1)))...),
	}
}

func TestFill_takesMediansAndRatios(t *testing.T) {
	rows := Fill([]Result{{Name: "ours"}, {Name: "base", BaselineOf: "ours"}}, [][]Sample{
		{{NsPerOp: 1, Allocs: 0, Extra: map[string]float64{"cpu-ns/op": 5}}, {NsPerOp: 2, Allocs: 7}},
		{{NsPerOp: 9, Allocs: 1, Extra: map[string]float64{"cpu-ns/op": 7}}, {NsPerOp: 9, Allocs: 7}},
		{{NsPerOp: 2, Allocs: 0, Extra: map[string]float64{"cpu-ns/op": 6}}, {NsPerOp: 8, Allocs: 7}},
	})
	ours, base := rows[0], rows[1]
	if ours.NsPerOp != 2 || ours.Allocs != 0 || ours.Extra["cpu-ns/op"] != 6 || ours.Ratio != nil {
		t.Errorf("ours: %+v", ours)
	}
	if base.NsPerOp != 8 || base.Allocs != 7 || base.Ratio == nil || base.Ratio.Median != 0.5 {
		t.Errorf("baseline: %+v", base)
	}
	if rows := Fill([]Result{{Name: "ours"}}, nil); rows != nil {
		t.Errorf("without a round there is %+v", rows)
	}
}

func TestRatioOf_comparesWithinARound(t *testing.T) {
	for _, c := range []struct {
		name   string
		rounds [][2]float64 // ours, baseline
		want   *Spread
	}{
		{"one round", [][2]float64{{10, 100}}, &Spread{0.1, 0.1, 0.1}},
		{"a machine that slows down", [][2]float64{{10, 100}, {20, 200}, {40, 400}}, &Spread{0.1, 0.1, 0.1}},
		{"an outlier of ours", [][2]float64{{10, 100}, {10, 100}, {10, 100}, {10, 100}, {900, 100}},
			&Spread{0.1, 0.1, 0.1}},
		{"an even number", [][2]float64{{1, 1}, {3, 1}}, &Spread{1.5, 2, 2.5}},
		{"quartiles", [][2]float64{{5, 1}, {1, 1}, {4, 1}, {2, 1}, {3, 1}}, &Spread{2, 3, 4}},
		{"a baseline without time", [][2]float64{{10, 0}, {10, 20}}, &Spread{0.5, 0.5, 0.5}},
		{"nothing to compare with", [][2]float64{{10, 0}}, nil},
	} {
		var rounds [][]Sample
		for _, r := range c.rounds {
			rounds = append(rounds, []Sample{{NsPerOp: r[0]}, {NsPerOp: r[1]}})
		}
		got := ratioOf(rounds, 0, 1)
		if (got == nil) != (c.want == nil) || got != nil && !got.near(*c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func (r Spread) near(to Spread) bool {
	return max(math.Abs(r.Q1-to.Q1), math.Abs(r.Median-to.Median), math.Abs(r.Q3-to.Q3)) < 1e-9
}

func TestSampleOf_failed(t *testing.T) {
	if _, ok := SampleOf(testing.BenchmarkResult{}); ok {
		t.Error("a benchmark that failed has a sample")
	}
	s, ok := SampleOf(testing.BenchmarkResult{N: 4, T: 2 * time.Second, Bytes: 1_000_000})
	if !ok || s.NsPerOp != 5e8 || s.MBPerSec != 2 {
		t.Errorf("%+v", s)
	}
}

// A benchmark may be about another time than the mean.
func TestSampleOf_ownTime(t *testing.T) {
	extra := map[string]float64{"ns/op": 7000, "p99-ns": 900}
	s, ok := SampleOf(testing.BenchmarkResult{N: 4, T: 2 * time.Second, Extra: extra})
	if !ok || s.NsPerOp != 7000 || len(s.Extra) != 1 || s.Extra["p99-ns"] != 900 || len(extra) != 2 {
		t.Errorf("%+v of %v", s, extra)
	}
}

func TestText_hasATableForEachGroup(t *testing.T) {
	var b strings.Builder
	if err := sampled().WriteText(&b, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Test CPU, 2 threads, Linux 6.18, go1.26 amd64, GOMAXPROCS 2, medians of 5 rounds of 1s\n", "\nparse a head\n",
		"\ntimers\n", "11.0          1    16   400", " 9.50 cpu-ns/op  2.00 touched/op\n", "0.100  0.100–0.100\n",
		"\n\nbelow 1 under edge ÷ it: edge is faster\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	if n := strings.Count(b.String(), "edge ÷ it"); n != 2+1 {
		t.Errorf("%d tables of 2 groups:\n%s", n, b.String())
	}
}

func TestJSON_isReadBack(t *testing.T) {
	var b bytes.Buffer
	want := sampled()
	if err := WriteJSON(&b, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
}

func TestRead_refuses(t *testing.T) {
	for _, text := range []string{"", "[]", "{}", `{"results":[{"name":"a"}]}`, `{"results":[{"samples":[{}]}]}`,
		"BenchmarkA 1 2 ns/op"} {
		if r, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%q: %+v", text, r)
		}
	}
}

// benchstat reads its input with the package that reads it here.
func TestBenchstat_isReadByBenchfmt(t *testing.T) {
	r := sampled()
	var b bytes.Buffer
	if err := r.WriteBenchstat(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	samples := make(map[string][]float64)
	in := benchfmt.NewReader(&b, "out")
	for in.Scan() {
		result, ok := in.Result().(*benchfmt.Result)
		if !ok {
			t.Fatalf("%v in\n%s", in.Result(), text)
		}
		name := strings.TrimSuffix(strings.TrimPrefix(string(result.Name.Full()), "Micro/"), "-2")
		ns, ok := result.Value("sec/op")
		if !ok {
			t.Fatalf("%s has no time: %+v", name, result.Values)
		}
		samples[name] = append(samples[name], ns*1e9)
		for key, want := range map[string]string{"cpu": "Test CPU", "kernel": "6.18", "commit": "v1.2-3-gabc",
			"goarch": "amd64", "pkg": "github.com/edge-proxy/edge/bench/micro"} {
			if got := result.GetConfig(key); got != want {
				t.Errorf("%s: %s is %q, want %q", name, key, got, want)
			}
		}
		if name == "parse/small/edge" {
			for unit, want := range map[string]float64{"B/s": 400e6, "B/op": 16, "allocs/op": 1, "touched/op": 2} {
				if got, _ := result.Value(unit); got != want {
					t.Errorf("%s of %s is %v, want %v", unit, name, got, want)
				}
			}
		}
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	for _, want := range r.Results {
		got := samples[want.Name]
		if len(got) != len(want.Samples) {
			t.Fatalf("%s has %d samples, want %d", want.Name, len(got), len(want.Samples))
		}
		for i, s := range want.Samples {
			if math.Abs(got[i]-s.NsPerOp) > 1e-6 {
				t.Errorf("%s: %v ns, want %v", want.Name, got[i], s.NsPerOp)
			}
		}
	}
}

func TestWriteText_alignsColumns(t *testing.T) {
	table := NewTable("title", "name\tn\t÷\twhat")
	table.Add("a\t%d\t%s\tb", 12345, "–")
	table.Add("µ long\t1\t10.5\tsome words")
	var text, markdown strings.Builder
	if err := errors.Join(WriteText(&text, table), WriteMarkdown(&markdown, table)); err != nil {
		t.Fatal(err)
	}
	want := "\ntitle\n\nname        n     ÷  what\na       12345     –  b\nµ long      1  10.5  some words\n"
	if text.String() != want {
		t.Errorf("%s", &text)
	}
	want = "\ntitle:\n\n| name | n | ÷ | what |\n|---|---:|---:|---:|\n" +
		"| a | 12345 | – | b |\n| µ long | 1 | 10.5 | some words |\n"
	if markdown.String() != want {
		t.Errorf("%s", &markdown)
	}
}

func TestSpreadOf(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{2, 1}, Spread{1.25, 1.5, 1.75}},
		{[]float64{5, 1, 4, 2, 3}, Spread{2, 3, 4}},
		{[]float64{4, 3, 2, 1}, Spread{1.75, 2.5, 3.25}},
	} {
		values := slices.Clone(c.values)
		if got := SpreadOf(values); !got.near(c.want) || !slices.Equal(values, c.values) {
			t.Errorf("%v: got %v, want %v", c.values, got, c.want)
		}
	}
}

func TestNanos(t *testing.T) {
	for ns, want := range map[float64]string{
		0: "0.00 ns", 1.4: "1.40 ns", 9.996: "10.0 ns", 99.97: "100 ns", 999.4: "999 ns", 999.6: "1.00 µs",
		12345: "12.3 µs", 2.5e6: "2.50 ms", 3e9: "3.00 s", 4e12: "4000 s",
	} {
		if got := Nanos(ns); got != want {
			t.Errorf("%v ns is %q, want %q", ns, got, want)
		}
	}
}

// What a program reads has the names that it had.
func TestJSON_keepsItsNames(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, sampled()); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Benchtime string
		Rounds    int
		Machine   struct {
			CPU struct{ Model string }
			Go  struct{ Gomaxprocs int }
		}
		Results []struct {
			Name       string
			BaselineOf string  `json:"baseline_of"`
			NsPerOp    float64 `json:"ns_per_op"`
			Ratio      *struct{ Median float64 }
			Samples    []struct{ N int }
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	second := got.Results[1]
	if got.Benchtime != "1s" || got.Rounds != 5 || got.Machine.CPU.Model != "Test CPU" ||
		got.Machine.Go.Gomaxprocs != 2 {
		t.Errorf("%+v", got)
	}
	if second.BaselineOf != "parse/small/edge" || second.NsPerOp != 110 || second.Ratio == nil ||
		len(second.Samples) != 5 {
		t.Errorf("%+v", second)
	}
}
