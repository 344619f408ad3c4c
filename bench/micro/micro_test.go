package micro

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"math"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/observe"
)

func BenchmarkMicro(b *testing.B) {
	for _, e := range Entries() {
		b.Run(e.Name, e.Bench)
	}
}

func TestEntries_areWellFormed(t *testing.T) {
	baselines := make(map[string]int)
	for _, e := range Entries() {
		if e.BaselineOf == "" {
			baselines[e.Name] = 0
		}
	}
	seen := make(map[string]bool)
	for _, e := range Entries() {
		if e.Name == "" || e.Group == "" || e.What == "" || e.Bench == nil {
			t.Errorf("%q lacks something: %+v", e.Name, e)
		}
		if seen[e.Name] {
			t.Errorf("%q is there twice", e.Name)
		}
		seen[e.Name] = true
		if e.BaselineOf == "" {
			continue
		}
		if _, ours := baselines[e.BaselineOf]; !ours {
			t.Errorf("%q is the baseline of %q, which is none of ours", e.Name, e.BaselineOf)
		}
		baselines[e.BaselineOf]++
	}
	for name, n := range baselines {
		if n == 0 {
			t.Errorf("%q has no baseline", name)
		}
	}
}

func TestRun_runsEveryEntryOnce(t *testing.T) {
	report, err := Run(t.Context(), Options{Benchtime: "1x", Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(report.Results), len(Entries()); got != want {
		t.Fatalf("%d results of %d entries", got, want)
	}
	for _, r := range report.Results {
		if len(r.Samples) != 1 || r.Samples[0].N != 1 || r.NsPerOp < 0 || (r.Ratio == nil) != (r.BaselineOf == "") {
			t.Errorf("%+v", r)
		}
	}
	var text, asJSON strings.Builder
	if err := report.WriteText(&text); err != nil || strings.Count(text.String(), "\n") < len(report.Results) {
		t.Errorf("%v\n%s", err, text.String())
	}
	if err := report.WriteJSON(&asJSON); err != nil || !json.Valid([]byte(asJSON.String())) {
		t.Errorf("%v\n%s", err, asJSON.String())
	}
}

func TestRun_refuses(t *testing.T) {
	for name, o := range map[string]Options{
		"a pattern that nothing matches": {Pattern: regexp.MustCompile("^nosuch$")},
		"a benchtime that is none":       {Benchtime: "soon"},
	} {
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// stopper is told what runs, and ends the run when that is said for the nth time.
type stopper struct {
	left int
	stop context.CancelFunc
}

func (s *stopper) Write(p []byte) (int, error) {
	if s.left--; s.left == 0 {
		s.stop()
	}
	return len(p), nil
}

func TestRun_keepsWholeRoundsWhenInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	report, err := Run(ctx, Options{
		Pattern: regexp.MustCompile("seam/"), Benchtime: "1x", Count: 5, Log: &stopper{left: 5, stop: stop},
	})
	if !errors.Is(err, context.Canceled) || report == nil || len(report.Results) != 2 {
		t.Fatalf("got %+v, %v", report, err)
	}
	for _, r := range report.Results {
		if len(r.Samples) != 2 {
			t.Errorf("%s has %d samples, want those of 2 whole rounds", r.Name, len(r.Samples))
		}
	}
}

func TestFamily_reportsAFailure(t *testing.T) {
	f := family{{Name: "broken", Bench: func(b *testing.B) { b.Fatal("on purpose") }}}
	if _, err := f.measure(t.Context(), Options{Count: 1}); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("got %v", err)
	}
}

func TestChoose(t *testing.T) {
	entries := []Entry{
		{Name: "a/edge"}, {Name: "a/x", BaselineOf: "a/edge"}, {Name: "a/y", BaselineOf: "a/edge"},
		{Name: "b/edge"}, {Name: "b/x", BaselineOf: "b/edge"},
	}
	for pattern, want := range map[string]string{
		"":       "a/edge a/x a/y | b/edge b/x",
		"^a/":    "a/edge a/x a/y",
		"b/edge": "b/edge b/x",
		"x$":     "a/edge a/x | b/edge b/x",
		"a/y":    "a/edge a/y",
	} {
		families, err := choose(entries, regexp.MustCompile(pattern))
		if err != nil {
			t.Error(err)
		}
		var got []string
		for _, f := range families {
			var names []string
			for _, e := range f {
				names = append(names, e.Name)
			}
			got = append(got, strings.Join(names, " "))
		}
		if got := strings.Join(got, " | "); got != want {
			t.Errorf("%q: got %s, want %s", pattern, got, want)
		}
	}
}

func TestRatioOf_comparesWithinARound(t *testing.T) {
	for _, c := range []struct {
		name   string
		rounds [][2]float64 // ours, baseline
		want   *Ratio
	}{
		{"one round", [][2]float64{{10, 100}}, &Ratio{0.1, 0.1, 0.1}},
		{"a machine that slows down", [][2]float64{{10, 100}, {20, 200}, {40, 400}}, &Ratio{0.1, 0.1, 0.1}},
		{"an outlier of ours", [][2]float64{{10, 100}, {10, 100}, {10, 100}, {10, 100}, {900, 100}},
			&Ratio{0.1, 0.1, 0.1}},
		{"an even number", [][2]float64{{1, 1}, {3, 1}}, &Ratio{1.5, 2, 2.5}},
		{"quartiles", [][2]float64{{5, 1}, {1, 1}, {4, 1}, {2, 1}, {3, 1}}, &Ratio{2, 3, 4}},
		{"a baseline without time", [][2]float64{{10, 0}, {10, 20}}, &Ratio{0.5, 0.5, 0.5}},
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

func (r Ratio) near(to Ratio) bool {
	return max(math.Abs(r.Q1-to.Q1), math.Abs(r.Median-to.Median), math.Abs(r.Q3-to.Q3)) < 1e-9
}

func TestResults_areMedians(t *testing.T) {
	f := family{{Name: "ours"}, {Name: "base", BaselineOf: "ours"}}
	rows := f.results([][]Sample{
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
}

// What is compared has to be the same work: all are given the same input.
func TestInputs_areWhatTheEntriesSay(t *testing.T) {
	var d h1.Decoder
	var h message.Head
	d.InitRequests(nil)
	for _, c := range []struct {
		name        string
		in          []byte
		bytes, most int
		fields      int
	}{
		{"small", smallHead, 40, 60, 1},
		{"browser", browserHead, 600, 700, 12},
	} {
		n, event, _, err := d.Next(c.in, &h)
		if n != len(c.in) || event != h1.HeadDone|h1.End || err != nil {
			t.Errorf("%s: %d of %d bytes, %v, %v", c.name, n, len(c.in), event, err)
		}
		if len(c.in) < c.bytes || len(c.in) > c.most || len(h.Fields) != c.fields {
			t.Errorf("%s: %d bytes, %d fields", c.name, len(c.in), len(h.Fields))
		}
	}
}

func TestRecord_isTheSameForAllLogs(t *testing.T) {
	var e observe.Encoder
	ours, slogs := fieldsOf(t, e.AppendJSON(nil, record())), new(bytes.Buffer)
	logRecord(slog.New(slog.NewJSONHandler(slogs, nil)), record())
	encoded, err := json.Marshal(lineOf(record()))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"slog": slogs.Bytes(), "encoding/json": encoded} {
		got := fieldsOf(t, b)
		delete(got, "msg")   // slog insists on these two
		delete(got, "level") //
		delete(got, "time")  // the time of the call, and of the record
		want := maps.Clone(ours)
		delete(want, "time")
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s writes %v, want %v", name, got, want)
		}
	}
}

func fieldsOf(t *testing.T, b []byte) (fields map[string]any) {
	t.Helper()
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err, string(b))
	}
	return fields
}
