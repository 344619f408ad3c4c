package observe

import (
	"flag"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

var updatePages = flag.Bool("update-pages", false, "write the golden pages of metrics anew")

func TestChooseMetricFormat(t *testing.T) {
	const (
		prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75," +
			"text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
		om = "application/openmetrics-text"
	)
	for accept, want := range map[string]MetricFormat{
		"": PrometheusText, "*/*": PrometheusText, "text/plain": PrometheusText, "text/html, */*;q=0.1": PrometheusText,
		om: OpenMetrics, prometheus: OpenMetrics, om + "; version=1.0.0": OpenMetrics,
		om + `;version="1.0.0"; charset=utf-8`: OpenMetrics,
		om + ";version=2.0.0":                  PrometheusText,
		om + ";version=2.0.0," + om:            OpenMetrics,
		om + ";q=0":                            PrometheusText,
		om + ";q=x":                            PrometheusText,
		om + ";q=NaN":                          PrometheusText,
		om + ";q=0.5,text/plain":               PrometheusText,
		"text/plain;q=0.5," + om + ";q=0.5":    OpenMetrics,
		"TEXT/PLAIN;q=0.1,Application/OpenMetrics-Text;Q=0.2": OpenMetrics,
		",;,;;=": PrometheusText,
	} {
		if got := ChooseMetricFormat(accept); got != want {
			t.Errorf("%q: %v, want %v", accept, got, want)
		}
	}
}

// page has each kind of line, and each text that has to be escaped.
func page(f MetricFormat) *Exposition {
	var r Registry
	r.Counter("edge_a_total", "With \\, a \"quote\"\nand two lines.", Label{"path", `C:\"x"` + "\n\xff\u00e9"}).Add(3)
	r.Counter("edge_a_total", "", Label{"path", "b"}).Add(math.MaxUint64)
	r.Gauge("edge_b_seconds", "A unit.", func() float64 { return 0.25 })
	r.Gauge("edge_c", "None.", func() float64 { return math.Inf(-1) })
	r.Gauges("edge_d", "Those that there are.", func(yield func(float64, ...Label)) {
		yield(math.NaN(), Label{"z", "1"}, Label{"a", ""})
		yield(math.Inf(1), Label{"z", "2"}, Label{"a", ""})
	})
	r.Gauges("edge_e", "There is none.", func(func(float64, ...Label)) {})
	r.Counters("edge_f_total", "Those that there are.", func(yield func(float64, ...Label)) { yield(1e300) })
	bounds := HistogramBounds(0.0005, 1, 2.5)
	e := new(Exposition)
	e.Reset(f)
	r.AppendTo(e)
	e.Family("edge_h_seconds", "A histogram.", KindHistogram)
	e.Histogram(NewHistogramLines("edge_h_seconds", bounds, Label{"route", "x"}), []uint64{1, 0, 2, 3}, 12.5)
	e.Histogram(NewHistogramLines("edge_h_seconds", bounds), []uint64{0, 0, 0, 0}, 0)
	e.End()
	return e
}

func TestExposition_page(t *testing.T) {
	for f, path := range map[MetricFormat]string{
		PrometheusText: "testdata/metrics.golden", OpenMetrics: "testdata/openmetrics.golden",
	} {
		got := page(f).Bytes()
		if *updatePages {
			testutil.Must(t, os.WriteFile(path, got, 0o644))
		}
		want, err := os.ReadFile(path)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s (%v):\n%s", path, err, got)
		}
	}
}

// A page has the values of Each, one by one.
func TestRegistry_appendsWhatEachYields(t *testing.T) {
	var r Registry
	for _, name := range []string{"z_total", "a_total", "m_total"} {
		for _, v := range []string{"2", "1", "10"} {
			r.Counter(name, "x", Label{"n", v}).Add(uint64(len(name) + len(v)))
			r.Counter(name, "x", Label{"n", v}).Add(1)
		}
	}
	for range 2 { // with what was ordered before
		var want []string
		r.Each(func(s Sample) {
			want = append(want, string(appendValue(AppendLine(nil, s.Name, s.Labels...), s.Value)))
		})
		var e Exposition
		r.AppendTo(&e)
		var got []string
		for line := range strings.Lines(string(e.Bytes())) {
			if !strings.HasPrefix(line, "#") {
				got = append(got, strings.TrimSuffix(line, "\n"))
			}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		r.Counter("b_total", "x")
		r.Counter("a_total", "x", Label{"n", "0"})
	}
}

func TestExposition_allocatesNothingAgain(t *testing.T) {
	var r Registry
	for _, v := range []string{"a", "b", "c"} {
		r.Counter("edge_a_total", "x", Label{"n", v}).Add(1)
	}
	lines := NewHistogramLines("edge_h_seconds", HistogramBounds(1, 2))
	counts := []uint64{1, 2, 3}
	var e Exposition
	if n := testutil.Allocs(100, func() {
		e.Reset(OpenMetrics)
		r.AppendTo(&e)
		e.Family("edge_h_seconds", "x", KindHistogram)
		e.Histogram(lines, counts, 1.5)
		e.End()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkExposition_1000Histograms(b *testing.B) {
	bounds := HistogramBounds(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30)
	var all []*HistogramLines
	for i := range 1000 {
		all = append(all, NewHistogramLines("edge_request_duration_seconds", bounds,
			Label{"route", "route-" + string(appendUint(nil, uint64(i)))}))
	}
	counts := []uint64{100000, 5000, 400, 30, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	var e Exposition
	b.ReportAllocs()
	for b.Loop() {
		e.Reset(OpenMetrics)
		for _, h := range all {
			e.Histogram(h, counts, 123.456)
		}
	}
	b.SetBytes(int64(len(e.Bytes())))
}

// OpenMetrics has one family of a name: a counter whose name without _total is that of a gauge has another type there.
func TestExposition_namesakes(t *testing.T) {
	for format, want := range map[MetricFormat]string{
		PrometheusText: "# TYPE edge_connections gauge\n# TYPE edge_connections_total counter\n",
		OpenMetrics:    "# TYPE edge_connections gauge\n# TYPE edge_connections_total unknown\n",
	} {
		e := &Exposition{}
		e.Reset(format)
		e.Family("edge_connections", "Open ones.", KindGauge)
		e.Family("edge_connections_total", "Accepted ones.", KindCounter)
		var types strings.Builder
		for line := range strings.Lines(string(e.Bytes())) {
			if strings.HasPrefix(line, "# TYPE") {
				types.WriteString(line)
			}
		}
		if types.String() != want {
			t.Errorf("%v:\n%s", format, types.String())
		}
	}
}
