package micro

import (
	"context"
	"errors"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/message"
)

func BenchmarkMicro(b *testing.B) {
	for _, e := range Entries() {
		b.Run(e.Name, func(b *testing.B) {
			b.ReportAllocs()
			e.Bench(b)
		})
	}
}

func TestEntries_areWellFormed(t *testing.T) {
	seen := make(map[string]bool)
	for _, e := range Entries() {
		if e.Name == "" || e.Group == "" || e.What == "" || e.Bench == nil {
			t.Errorf("%q lacks something: %+v", e.Name, e)
		}
		if seen[e.Name] {
			t.Errorf("%q is there twice", e.Name)
		}
		seen[e.Name] = true
	}
	for _, f := range families(Entries()) {
		if len(f) == 1 {
			t.Errorf("%q has no baseline", f[0].Name)
		}
	}
}

func TestRun_runsEveryEntryOnce(t *testing.T) {
	o, want := Options{Benchtime: "1x", Count: 1}, len(Entries())
	if testing.Short() {
		o.Pattern, want = someWorkloads(8)
	}
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(report.Results); got != want {
		t.Fatalf("%d results of %d entries", got, want)
	}
	for _, r := range report.Results {
		if len(r.Samples) != 1 || r.Samples[0].N != 1 || r.NsPerOp < 0 || (r.Ratio == nil) != (r.BaselineOf == "") {
			t.Errorf("%+v", r)
		}
	}
	var text, page strings.Builder
	if err := report.WriteText(&text, nil); err != nil || strings.Count(text.String(), "\n") < len(report.Results) {
		t.Errorf("%v\n%s", err, text.String())
	}
	if err := report.Page(nil).Write(&page); err != nil || strings.Count(page.String(), "<svg") < len(report.Results) {
		t.Errorf("%v\n%s", err, page.String())
	}
}

// someWorkloads matches each of so many workloads, with all its contenders, and tells how many entries these are.
func someWorkloads(each int) (pattern *regexp.Regexp, entries int) {
	var all []string
	for _, e := range Entries() {
		if workload := path.Dir(e.Name); !slices.Contains(all, workload) {
			all = append(all, workload)
		}
	}
	var some []string
	for i := 0; i < len(all); i += each {
		some = append(some, regexp.QuoteMeta(all[i]))
	}
	pattern = regexp.MustCompile("^(" + strings.Join(some, "|") + ")/[^/]*$")
	for _, e := range Entries() {
		if pattern.MatchString(e.Name) {
			entries++
		}
	}
	return pattern, entries
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

func TestRun_keepsWholeRoundsWhenInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var steps []Step
	report, err := Run(ctx, Options{
		Pattern: regexp.MustCompile("crc32/"), Benchtime: "1x", Count: 5,
		Progress: func(s Step) {
			if steps = append(steps, s); len(steps) == 5 {
				stop()
			}
		},
	})
	if !errors.Is(err, context.Canceled) || report == nil || len(report.Results) != 2 {
		t.Fatalf("got %+v, %v", report, err)
	}
	for _, r := range report.Results {
		if len(r.Samples) != 2 {
			t.Errorf("%s has %d samples, want those of 2 whole rounds", r.Name, len(r.Samples))
		}
	}
	if want := (Step{Name: "crc32/short/edge", Round: 3, Rounds: 5, Done: 4, Steps: 10}); steps[4] != want {
		t.Errorf("the last step is %+v, want %+v", steps[4], want)
	}
}

func TestFamily_reportsAFailure(t *testing.T) {
	f := family{{Name: "broken", Bench: func(b *testing.B) { b.Fatal("on purpose") }}}
	_, err := f.measure(t.Context(), Options{Count: 1}, new(Step))
	if err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("got %v", err)
	}
}

func TestChoose(t *testing.T) {
	entries := []Entry{
		{Name: "a/edge"}, {Name: "a/x"}, {Name: "a/y"}, {Name: "b/edge"}, {Name: "b/x"},
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
