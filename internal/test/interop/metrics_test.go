package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// measured is a server with a route to a backend, and one whose name has to be escaped, after some requests.
func measured(t *testing.T) *server.Server {
	t.Helper()
	origin := testutil.ServeHTTP(t, testutil.Listen(t), func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hi")
	})
	s, _ := startServer(t, `
log.output = []
[[listeners]]
name = "web"
listen = "127.0.0.1:0"
[[routes]]
name = "api"
pattern = "/*"
dest = "api"
[[routes]]
name = "a \"b\" \\ é"
pattern = "/none"
dest = "status:404"
[upstreams.api]
backends = [{ address = %q }]
`, origin)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{"/", "/x", "/none"} {
		resp, err := client.Get("http://" + s.Addresses()[0].Addr.String() + path)
		testutil.Must(t, err)
		resp.Body.Close()
	}
	return s
}

func pageOf(t *testing.T, h http.Handler) []byte {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.RemoteAddr = "@"
	h.ServeHTTP(w, r)
	return w.Body.Bytes()
}

// seriesOf names a series as the registry does.
func seriesOf(name string, labels []*dto.LabelPair) string {
	for _, l := range labels {
		name += fmt.Sprintf(" %s=%q", l.GetName(), l.GetValue())
	}
	return name
}

// The parser of client_golang reads the page, with the values that the registry has.
func TestMetrics_readByItsParser(t *testing.T) {
	s := measured(t)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(pageOf(t, s.Metrics())))
	testutil.Must(t, err)
	got := make(map[string]float64)
	for name, f := range families {
		for _, m := range f.Metric {
			switch {
			case m.Counter != nil:
				got[seriesOf(name, m.Label)] = m.Counter.GetValue()
			case m.Gauge != nil:
				got[seriesOf(name, m.Label)] = m.Gauge.GetValue()
			}
		}
		if f.GetHelp() == "" || f.GetType() == dto.MetricType_UNTYPED {
			t.Errorf("%s: type %v, help %q", name, f.GetType(), f.GetHelp())
		}
	}
	n := 0
	s.Registry().Each(func(sample observe.Sample) {
		name := sample.Name
		for _, l := range sample.Labels {
			name += fmt.Sprintf(" %s=%q", l.Name, l.Value)
		}
		v, found := got[name]
		family, _, _ := strings.Cut(name, "_")
		moves := family != "edge" || strings.Contains(name, "loop_")
		switch {
		case sample.Name == "edge_requests_total" || sample.Name == "edge_retries_total": // the registry has sums
		case !found:
			t.Errorf("%s is missing", name)
		case !moves && v != sample.Value && !math.IsNaN(v):
			t.Errorf("%s: %v, want %v", name, v, sample.Value)
		default:
			n++
		}
	})
	if n < 100 {
		t.Errorf("%d series", n)
	}
	want := seriesOf("edge_requests_total", nil) + ` listener="web" route="a \"b\" \\ é" method="GET" code="4xx"`
	if got[want] != 1 {
		t.Errorf("%s: %v", want, got[want])
	}
	h := families["edge_request_duration_seconds"].Metric
	for _, m := range h {
		if m.Label[0].GetValue() == "api" && m.Histogram.GetSampleCount() != 2 || len(m.Histogram.Bucket) != 15 {
			t.Errorf("%v", m)
		}
	}
	if len(h) < 2 {
		t.Errorf("%d histograms", len(h))
	}
}

// tool returns the path of a program that Debian has, or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("there is no %s: apt install prometheus", name)
	}
	return path
}

func packaged(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(testutil.Root(t), "packaging", "prometheus", name)
}

func TestMetrics_promtool(t *testing.T) {
	promtool := tool(t, "promtool")
	run := func(stdin []byte, args ...string) {
		t.Helper()
		cmd := exec.Command(promtool, args...)
		cmd.Stdin = bytes.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil || len(stdin) > 0 && len(out) > 0 {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
	run(pageOf(t, measured(t).Metrics()), "check", "metrics")
	run(nil, "check", "rules", packaged(t, "edge-rules.yml"))
	run(nil, "test", "rules", packaged(t, "edge-rules.test.yml"))
}

// evaluated is what Prometheus says of its rules.
type evaluated struct {
	Data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
}

// A Prometheus reads the page as OpenMetrics, and evaluates the rules.
func TestMetrics_prometheusReadsAndEvaluates(t *testing.T) {
	program := tool(t, "prometheus")
	s := measured(t)
	var openMetrics atomic.Bool
	target := testutil.ServeHTTP(t, testutil.Listen(t), func(w http.ResponseWriter, r *http.Request) {
		openMetrics.Store(observe.ChooseMetricFormat(r.Header.Get("Accept")) == observe.OpenMetrics)
		s.Metrics().ServeHTTP(w, r)
	})
	dir := t.TempDir()
	conf := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 200ms, evaluation_interval: 200ms}\nrule_files: [%q]\n"+
		"scrape_configs: [{job_name: edge, static_configs: [{targets: [%q]}]}]\n",
		packaged(t, "edge-rules.yml"), target)
	testutil.Must(t, os.WriteFile(conf, []byte(text), 0o600))
	addr := testutil.FreeAddr(t)
	testutil.Start(t, testutil.Command{Path: program, Args: []string{"--config.file=" + conf,
		"--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + addr, "--log.level=warn"}})
	ask := func(path string, into any) bool {
		resp, err := http.Get("http://" + addr + path)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return json.NewDecoder(resp.Body).Decode(into) == nil
	}
	has := func(query string) bool {
		var answer struct {
			Data struct{ Result []json.RawMessage }
		}
		return ask("/api/v1/query?query="+url.QueryEscape(query), &answer) && len(answer.Data.Result) > 0
	}
	for _, query := range []string{
		`up == 1`, `edge_requests_total{route="api", code="2xx", method="GET"} == 2`, `edge_build_info`,
		`histogram_quantile(0.5, sum by (le) (edge_request_duration_seconds_bucket))`,
		`route:edge_requests:rate5m{route="api"} >= 0`, `upstream:edge_backend_up:ratio == 1`,
	} {
		testutil.Eventually(t, testutil.Minutes, func() bool { return has(query) }, query)
	}
	var rules evaluated
	testutil.Eventually(t, testutil.Minutes, func() bool {
		n := 0
		ask("/api/v1/rules", &rules)
		for _, g := range rules.Data.Groups {
			for _, r := range g.Rules {
				if r.Health == "ok" {
					n++
				}
			}
		}
		return n == 17
	}, "every rule is evaluated", &rules)
	if !openMetrics.Load() {
		t.Error("Prometheus has not asked for OpenMetrics")
	}
}
