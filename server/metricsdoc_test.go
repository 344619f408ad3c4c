package server

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

var updateDocs = flag.Bool("update", false, "write the table of docs/metrics.md anew")

// metric is a family of metrics as a page shows it.
type metric struct{ kind, help, labels string }

// ofTheProcess are the metrics of the error log, of the admin surface and of [sentry], which the program registers.
var ofTheProcess = map[string]metric{
	"edge_admin_connections": {"gauge", "Open connections to the addresses of [admin] and [metrics].", ""},
	"edge_admin_requests_total": {"counter", "Requests that the addresses of [admin] and [metrics] have answered.",
		"`code`, `method`"},
	"edge_error_log_dropped_total": {"counter", "Lines of the error log dropped since it was not read.", ""},
	"edge_error_log_lost_total":    {"counter", "Lines of the error log that its output refused.", ""},
	"edge_sentry_events_total": {"counter", "Events for Sentry: those that it has taken, that it did not take, or " +
		"that found no room or were too many for it.", "`result`"},
}

// everyMetric returns the metrics of a server that has one of everything.
func everyMetric(t *testing.T) map[string]metric {
	t.Helper()
	addr, _ := origin(t, "one")
	s := start(t, Options{StateDir: t.TempDir()}, `
log.output = [%q]
metrics.hosts = 10
tracing.endpoint = "http://127.0.0.1:1"
filters.note.type = "test_note"
filters.limit = { type = "rate_limit", rate = "1000/s" }
destinations.default = { type = "test_greet", text = "hello" }
filters.small.type = "compress"
defaults.filters = ["note", "limit", "small"]
lists.office = "10.0.0.0/8"
routes = [
	{ name = "api", pattern = "/*", dest = "api" },
	{ name = "any", pattern = "/any/*", dest = "http://{query:to}", allow_dest = ["http://*.svc.internal:8080"] },
	{ pattern = "/later", dest = "later", cache = true },
]
[[listeners]]
name = "web"
listen = "127.0.0.1:0"
proxy_protocol.from = ["192.0.2.0/24"]
limits.connections_per_client = 1000
[[listeners]]
name = "secure"
listen = "127.0.0.1:0"
tls = true
protocols = ["h1", "h2", "h3"]
[[certificates]]
cert = "internal"
[[tls.rules]]
when = 'tls.sni == "none.example"'
deny = true
[services.db]
type = "tcp"
listen = "127.0.0.1:0"
dest = "api"
[upstreams.api]
backends = [{ address = %q }]
outlier.errors = 5
breaker.max_requests = 100
health_check = { interval = "1h", agent = { port = 1 } }
[upstreams.later]
protocol = "h2"
backends = [{ address = %q }]
`, filepath.Join(t.TempDir(), "access.log"), addr, addr)
	get(t, s, "web", "/")
	all := maps.Clone(ofTheProcess)
	readPage(all, scrape(t, s))
	return all
}

// readPage adds the metrics of a page.
func readPage(all map[string]metric, page string) {
	for line := range strings.Lines(page) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		name, text, _ := strings.Cut(strings.TrimPrefix(rest, " "), " ")
		switch kind + " " + name[:min(len(name), 4)] {
		case "# HELP":
			name, text, _ = strings.Cut(text, " ")
			all[name] = metric{help: text}
		case "# TYPE":
			name, text, _ = strings.Cut(text, " ")
			m := all[name]
			m.kind = text
			all[name] = m
		}
	}
	for line := range strings.Lines(page) {
		name, rest, labelled := strings.Cut(line, "{")
		if !labelled || strings.HasPrefix(line, "#") {
			continue
		}
		var labels []string
		for _, l := range regexp.MustCompile(`([a-z_]+)="(?:[^"\\]|\\.)*"`).FindAllStringSubmatch(rest, -1) {
			if l[1] != "le" {
				labels = append(labels, "`"+l[1]+"`")
			}
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, cut := strings.CutSuffix(name, suffix); cut && all[base].kind == "histogram" {
				name = base
			}
		}
		m := all[name]
		m.labels = strings.Join(labels, ", ")
		all[name] = m
	}
}

// table is the last part of docs/metrics.md.
func table(all map[string]metric) string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | what it says |\n|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m := all[name]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, m.kind, cmp.Or(m.labels, "–"), m.help)
	}
	return b.String()
}

// Every metric stands in docs/metrics.md, with its type, its labels and what it says; no other one is named there.
func TestDocs_everyMetric(t *testing.T) {
	path := filepath.Join(testutil.Root(t), "docs", "metrics.md")
	page, err := os.ReadFile(path)
	try(t, err)
	all := everyMetric(t)
	const head = "## All metrics\n\n"
	text, got, found := strings.Cut(string(page), head)
	want := table(all)
	if *updateDocs {
		try(t, os.WriteFile(path, []byte(text+head+want), 0o644))
	} else if !found || got != want {
		t.Errorf("the table of %s is another one: go test ./server -run Docs -update", path)
		for line := range strings.Lines(want) {
			if !strings.Contains(got, line) {
				t.Errorf("it lacks %s", line)
			}
		}
	}
	checkNames(t, path, text, all)
}

// Rules and boards ask for metrics that there are.
func TestPackaging_namesMetricsThatThereAre(t *testing.T) {
	all := everyMetric(t)
	n := 0
	for _, pattern := range []string{"prometheus/*.y*ml", "grafana/*.json"} {
		paths, err := filepath.Glob(filepath.Join(testutil.Root(t), "packaging", pattern))
		try(t, err)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			try(t, err)
			n++
			checkNames(t, path, string(text), all)
		}
	}
	if n < 2 {
		t.Errorf("%d files", n)
	}
}

var metricName = regexp.MustCompile(`\b(?:edge|go|process)_[a-z0-9_]+\b`)

// checkNames fails for each name in text that looks like one of a metric and is none. Those with a colon are of series
// that rules record.
func checkNames(t *testing.T, path, text string, all map[string]metric) {
	t.Helper()
	for _, at := range metricName.FindAllStringIndex(text, -1) {
		name := text[at[0]:at[1]]
		if strings.HasPrefix(text[at[1]:], ":") || strings.HasSuffix(text[:at[0]], ":") {
			continue
		}
		base := name
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if b, cut := strings.CutSuffix(name, suffix); cut && all[b].kind == "histogram" {
				base = b
			}
		}
		if _, known := all[base]; !known {
			t.Errorf("%s: there is no metric %s", path, name)
		}
	}
}
