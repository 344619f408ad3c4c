package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/exchange/meter"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/server/metrics"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/message"
)

// scrape returns the page of metrics as a Prometheus on this machine gets it.
func scrape(t *testing.T, s *Server) string {
	t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.RemoteAddr = "@"
	w := httptest.NewRecorder()
	s.Metrics().ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("status %d", w.Code)
	}
	return w.Body.String()
}

func TestServer_metrics(t *testing.T) {
	s := start(t, Options{}, quiet+web+`
routes = [{ pattern = "/*", dest = "status:200" }]
`)
	get(t, s, "web", "/")
	wantSeries(t, scrape(t, s), `edge_listener_requests_total{listener="web"} 1`)
	wantNoErr(t, s.Stop())
	scrape(t, s) // still tells
}

// values are the numbers of a page, by line.
func values(t *testing.T, page string) map[string]float64 {
	t.Helper()
	all := make(map[string]float64)
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64)
		if _, twice := all[line[:i]]; err != nil || twice {
			t.Fatalf("line %q: %v, the second time: %v", line, err, twice)
		}
		all[line[:i]] = v
	}
	return all
}

// reloaded is a configuration with one of each.
func reloaded(listener, route, upstream, addr, more string) string {
	return fmt.Sprintf(`
[[listeners]]
name = %q
listen = "127.0.0.1:0"
[[routes]]
name = %q
pattern = "/*"
dest = %q
[upstreams.%s]
backends = [{ address = %q }]
%s`, listener, route, upstream, upstream, addr, more)
}

// Whatever reloads take away, no counter falls: neither while requests run, nor when the last of them have ended.
func TestServer_countersNeverFall(t *testing.T) {
	one, _ := origin(t, "one")
	two, _ := origin(t, "two")
	configs := []string{
		reloaded("web", "a", "api", one, ""),
		reloaded("web", "b", "api", two, "health_check.interval = \"1s\"\n"),
		reloaded("renamed", "a", "other", one, "breaker.max_requests = 100\n"),
	}
	s := start(t, Options{}, quiet+"%s", configs[0])
	asked, stop := load(t, urlOf(t, s, "web"), 200)
	before := make(map[string]float64)
	look := func(when string) map[string]float64 {
		now := values(t, scrapeNow(s))
		for line, v := range before {
			name, _, _ := strings.Cut(line, "{")
			counts := strings.HasSuffix(name, "_total") || strings.HasSuffix(name, "_bucket")
			if counts && now[line] < v {
				t.Errorf("%s: %s fell from %v to %v", when, line, v, now[line])
			}
		}
		before = now
		return now
	}
	for i := range 12 {
		apply(t, s, quiet+"%s", configs[i%len(configs)])
		for range 5 {
			look(fmt.Sprintf("reload %d", i))
		}
	}
	stop()
	testutil.Eventually(t, testutil.Patience, func() bool {
		sum := 0.0
		for line, v := range look("after the load") {
			if strings.HasPrefix(line, "edge_requests_total{") {
				sum += v
			}
		}
		return int64(sum) == asked.Load()
	}, "each request is counted once")
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	for _, e := range s.ledger.entries {
		if !e.used && e.left < s.ledger.rounds-2 && e.over == nil {
			t.Error("what is over is followed still")
		}
	}
}

// A reload that waits for names delays nobody who reads the metrics.
func TestServer_metricsWhileAReloadLasts(t *testing.T) {
	s := start(t, Options{}, quiet+"http.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:200\"")
	before := values(t, scrape(t, s))
	s.mu.Lock() // as a reload has it
	defer s.mu.Unlock()
	after := values(t, scrapeNow(s))
	const ticks = "edge_loop_ticks_total"
	if after[ticks] <= before[ticks] || len(after) != len(before) {
		t.Errorf("%v ticks and %d lines, before %v and %d", after[ticks], len(after), before[ticks], len(before))
	}
}

// Names that clients make up are no labels: neither hosts nor paths nor methods add a line.
func TestServer_madeUpNamesAddNothing(t *testing.T) {
	s := start(t, Options{}, quiet+web+`
routes = [{ name = "all", host = "*.test", methods = ["GET", "MADE", "X-1", "X-2"], dest = "status:204" }]
`)
	c := &http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	url := urlOf(t, s, "web")
	ask := func(method, host, path string) { askBy(t, c, method, url+path, "Host: "+host) }
	lines := func() int { return len(values(t, scrapeNow(s))) }
	for _, method := range []string{"GET", "MADE"} {
		ask(method, "a.test", "/")
		ask(method, "a.elsewhere", "/")
	}
	before := lines()
	for i := range 3000 {
		method, domain := [...]string{"GET", "X-1", "X-2"}[i%3], [...]string{"test", "elsewhere"}[i%2]
		ask(method, fmt.Sprintf("h%d.%s", i, domain), fmt.Sprintf("/p%d?q=%d", i, i))
	}
	wantEqual(t, lines(), before, "lines")
	wantCounter(t, s, 3004, "edge_requests_total")
}

// scrapeNow returns a page of what is counted now, whatever others were given before.
func scrapeNow(s *Server) string {
	s.ledger.gather(false)
	var e observe.Exposition
	s.counters.Registry.AppendTo(&e)
	return string(e.Bytes())
}

// What a page costs all goroutines together, event loops among them, when each of 1 000 routes had requests.
func BenchmarkServer_page1000Routes(b *testing.B) {
	var text strings.Builder
	text.WriteString(quiet + "global.worker_threads = 2\nhttp.listen = \"127.0.0.1:0\"\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "[[routes]]\nname = \"route-%d\"\npattern = \"/r%d\"\ndest = \"status:204\"\n", i, i)
	}
	cfg, rep := config.Parse("test.toml", []byte(text.String()))
	if !rep.OK() {
		b.Fatal(rep.Errors)
	}
	s, err := New(cfg, Options{})
	testutil.Must(b, err)
	defer s.Stop() //nolint:errcheck // it logs to nowhere
	testutil.Must(b, s.Start())
	by := s.traffic.Listener("http")
	var all []*meter.Route
	for i := range 1000 {
		all = append(all, s.traffic.Route(fmt.Sprintf("route-%d", i), false))
	}
	var e observe.Exposition
	spent := int64(0)
	for b.Loop() {
		s.onReactors(func(r *engine.Reactor) {
			for i, one := range all {
				for _, status := range [...]int{200, 304, 404, 503} {
					one.Count(r.Index(), by, message.VerbGet, status, int64(i)*1e6)
				}
			}
		})
		began := warm.CPUTime(b)
		s.ledger.gather(false)
		e.Reset(observe.OpenMetrics)
		s.counters.Registry.AppendTo(&e)
		spent += warm.CPUTime(b) - began
	}
	b.ReportMetric(float64(spent)/float64(b.N)/1e6, "cpu-ms/page")
	b.ReportMetric(float64(len(e.Bytes())), "B/page")
}

// Connections of an address that a reload takes away are counted as long as they are there.
func TestMetrics_connectionsOfAddressesThatAreGone(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	o := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(begun)
		<-end
	}))
	testutil.CloseServer(t, o)
	const file = quiet + `
upstreams.default.backends = [{ address = %q }]
listeners = [{ name = "web", listen = "unix:%s" }]
`
	before, after := testutil.SocketPath(t), testutil.SocketPath(t)
	addr := o.Listener.Addr().String()
	s := start(t, Options{}, file, addr, before)
	client := over("unix", before)
	defer client.CloseIdleConnections()
	answered := make(chan error, 1)
	go func() {
		resp, err := client.Get("http://edge.test/")
		if err == nil {
			resp.Body.Close()
		}
		answered <- err
	}()
	<-begun
	for range 2 {
		wantCounter(t, s, 1, "edge_connections", "web")
		apply(t, s, file, addr, after)
	}
	close(end)
	wantNoErr(t, <-answered)
	waitCounter(t, s, 0, "edge_connections", "web")
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	if n := len(s.ledger.ports["web"]); n != 1 {
		t.Errorf("%d addresses are followed, want 1", n)
	}
}

// OpenMetrics wants a name for each family: a gauge edge_x and a counter edge_x_total have the same one. Values of a
// histogram must have names that are no family's.
func TestMetrics_familiesHaveNamesOfTheirOwn(t *testing.T) {
	families, all := make(map[string]string), everyMetric(t)
	for name, m := range all {
		family := name
		if m.kind == "counter" && name != "edge_connections_total" { // whose type is unknown there
			family = strings.TrimSuffix(name, "_total")
		}
		if other := families[family]; other != "" {
			t.Errorf("%s and %s are one family", name, other)
		}
		families[family] = name
	}
	for family, name := range families {
		for _, suffix := range []string{"_total", "_created", "_bucket", "_sum", "_count"} {
			base, cut := strings.CutSuffix(family, suffix)
			if of := families[base]; cut && of != "" && all[of].kind != "gauge" { // whose samples have no suffix
				t.Errorf("%s may be a sample of %s", name, of)
			}
		}
	}
}

func TestMetrics_versionOfTheConfiguration(t *testing.T) {
	const file = quiet + "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"
	if n := counter(start(t, Options{Version: func() int { return 7 }}, file), "edge_config_version"); n != 7 {
		t.Errorf("version %v, want 7", n)
	}
	s := start(t, Options{}, file)
	apply(t, s, file)
	wantCounter(t, s, 2, "edge_config_version")
}

// What conditions and templates cost, and what becomes of the files of lists, is counted, over reloads too.
func TestMetrics_language(t *testing.T) {
	t.Parallel()
	dir, tables := t.TempDir(), language.NewTables()
	list := filepath.Join(dir, "list.txt")
	rename(t, list, "10.0.0.0/8\n10.0.0.1\n")
	load := func(more string) *config.Config {
		t.Helper()
		cfg := parseBy(t, config.Options{Tables: tables}, quiet+fmt.Sprintf(`
global.worker_threads = 2
lists.net = { file = "%s", refresh = "100ms" }
lists.still.values = ["10.0.0.0/8"]
listeners = [{ name = "web", listen = "127.0.0.1:0" }]
routes = [{ pattern = "/*", dest = "status:204" }]
[maps.net]
values = { a = "b" }
%s
[[rules]]
when = 'path ~ "^/[a-z]+(/x[0-9]+)*$"'
headers.response = { X-Many = '{replace(header.x, "a", "01234567890123456789012345678901234567890123456789")}' }
`, list, more))
		return cfg
	}
	s := serve(t, load(""), Options{})
	page := func(want ...string) bool {
		page := scrape(t, s)
		for _, line := range want {
			if !strings.Contains(page, line) {
				return false
			}
		}
		return true
	}
	askFor(t, "GET", urlOf(t, s, "web")+"/abc/x17", "X: "+strings.Repeat("a", 2000))
	testutil.Eventually(t, testutil.Patience, func() bool {
		return page("edge_texts_cut_total 1\n", "edge_regex_tables 1\n", `edge_list_entries{kind="list",name="net"} 2`,
			`edge_list_entries{kind="list",name="still"} 1`, `edge_list_entries{kind="map",name="net"} 1`,
			`edge_list_refreshes_total{kind="list",name="still",result="unchanged"} 0`)
	}, "what the request has cost is counted")
	const failed = `edge_list_refreshes_total{kind="list",name="net",result="failed"} `
	rename(t, list, "nonsense\n")
	testutil.Eventually(t, testutil.Patience, func() bool { return !page(failed + "0\n") }, "a failure is counted")
	rename(t, list, "10.0.0.0/8\n")
	testutil.Eventually(t, testutil.Patience, func() bool {
		return page(`edge_list_entries{kind="list",name="net"} 1`) &&
			!page(`edge_list_refreshes_total{kind="list",name="net",result="changed"} 0`+"\n")
	}, "the new content is counted")
	mustApply(t, s, load("[lists.more]\nvalues = '10.0.0.1'"))
	testutil.Eventually(t, testutil.Patience, func() bool { // a page is as old as 200 ms
		return page(`edge_list_entries{kind="list",name="more"} 1`, "edge_texts_cut_total 1\n")
	}, "the new list is there")
	if page(failed + "0\n") {
		t.Error("a reload has forgotten the failure")
	}
}

// setAll sets every number of a struct of counters to 1.
func setAll(v reflect.Value) {
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.Kind() == reflect.Struct:
			setAll(f)
		case f.CanUint():
			f.SetUint(1)
		default:
			f.SetInt(1)
		}
	}
}

// Every row of TLS, HTTP/2 and HTTP/3 is in the registry from the start, under its labels, and moves with its counter.
func TestRegistry_rowsAppearAndMove(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	s := start(t, Options{}, "%s%s%s[upstreams.api]\nprotocol = \"h2\"\nbackends = [{ address = \"127.0.0.1:1\" }]\n"+
		"[[routes]]\npattern = \"/\"\ndest = \"api\"\n", quiet, secured(t, ca, dir), withH3)
	values := func() map[string]float64 {
		m := make(map[string]float64)
		s.counters.Registry.Each(func(o observe.Sample) {
			id := o.Name
			for _, l := range o.Labels {
				id += " " + l.Name + "=" + l.Value
			}
			m[id] = o.Value
		})
		return m
	}
	s.Registry()
	before := values()
	now := metrics.NewSample()
	setAll(reflect.ValueOf(now.Listener("web")).Elem())
	setAll(reflect.ValueOf(now.Upstream("api")).Elem())
	setAll(reflect.ValueOf(&now.TLS).Elem())
	now.AddMembers("api", backend.Stats{Panics: 1, Panicking: 1})
	for i := range now.Handshakes {
		for v := range now.Handshakes[i] {
			for g := range now.Handshakes[i][v] {
				now.Handshakes[i][v][g] = [...]uint64{1, 1}
			}
		}
	}
	s.counters.Show(now)
	moved := 0
	for id, after := range values() {
		if !strings.Contains(id, "_tls_") && !strings.HasPrefix(id, "edge_listener_") &&
			!strings.HasPrefix(id, "edge_upstream_") && !strings.HasPrefix(id, "edge_quic_") ||
			strings.Contains(id, "ticket_rotations") || id == "edge_tls_lends_buffers" {
			continue
		}
		gauge := strings.HasPrefix(id, "edge_upstream_connections") || strings.HasPrefix(id, "edge_upstream_waiting")
		if moved++; after <= before[id] && !gauge {
			t.Errorf("%s: %v, then %v", id, before[id], after)
		}
	}
	if least := 150; moved < least {
		t.Errorf("%d series, want at least %d", moved, least)
	}
}

// Over both sides of HTTP/2: what clients, the proxy and backends do to streams is counted on either side, and a reload
// that takes the upstream away takes no count back.
func TestRegistry_countsStreamsOnBothSides(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	cert, key := ca.Issue(t, nil, "backend.example.org")
	begun := make(chan struct{}, 1)
	o := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/reset":
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/wait":
			begun <- struct{}{}
			<-r.Context().Done()
		}
	}))
	o.EnableHTTP2 = true
	o.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
	o.StartTLS()
	defer o.Close()
	listener := secured(t, ca, dir)
	s := start(t, Options{}, "%s%s[upstreams.api]\nprotocol = \"h2\"\nbackends = [{ address = %q }]\n"+
		"tls = { sni = \"backend.example.org\", ca = %q }\n[[routes]]\npattern = \"/*\"\ndest = \"api\"\n",
		quiet, listener, o.Listener.Addr().String(), filepath.Join(dir, "ca.pem"))
	c, url := asHTTPS(t, ca, true), secureURL(t, s)
	for range 3 {
		if status, body := getBy(t, c, url+"/"); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	if resp, err := c.Get(url + "/reset"); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	req, _ := http.NewRequestWithContext(ctx, "GET", url+"/wait", nil)
	if resp, err := c.Do(req); err == nil {
		resp.Body.Close()
		t.Error("answered")
	}
	check := func(what string, labels ...string) {
		t.Helper()
		testutil.Eventually(t, testutil.Patience, func() bool { return counter(s, what, labels...) >= 1 }, what, labels)
	}
	check("edge_listener_h2_resets_total", "web", "client")
	check("edge_listener_h2_resets_total", "web", "proxy")
	check("edge_upstream_h2_resets_total", "api", "proxy")
	check("edge_upstream_h2_resets_total", "api", "backend")
	check("edge_upstream_connections", "api", "shared")
	for _, side := range []string{"edge_listener_h2_streams_total", "edge_upstream_h2_streams_total"} {
		wantCounter(t, s, 5, side)
	}
	o.Config.SetKeepAlivesEnabled(false) // GOAWAY after the next answer, which may have to be asked for twice
	getBy(t, c, url+"/")
	check("edge_upstream_h2_gone_away_total", "api")
	before := counter(s, "edge_upstream_h2_streams_total")
	apply(t, s, "%s%s%s", quiet, listener, all200)
	if n := counter(s, "edge_upstream_h2_streams_total"); n != before || n < 6 {
		t.Errorf("%v streams after the reload, %v before", n, before)
	}
}

func TestRegistry_countsFaultsOfClients(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	s := start(t, Options{}, "%s%s%s", quiet, secured(t, ca, dir), all200)
	conn, err := tls.Dial("tcp", secureURL(t, s)[len("https://"):], &tls.Config{
		RootCAs: ca.Pool, ServerName: "example.org", NextProtos: []string{"h2"},
	})
	testutil.Must(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is no frame at all")
	waitCounter(t, s, 1, "edge_listener_h2_faults_total", "web")
}

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
	testutil.Must(t, err)
	all := everyMetric(t)
	const head = "## All metrics\n\n"
	text, got, found := strings.Cut(string(page), head)
	want := table(all)
	if *updateDocs {
		testutil.Must(t, os.WriteFile(path, []byte(text+head+want), 0o644))
	} else if !found || got != want {
		t.Errorf("the table of %s is another one: go test ./internal/server -run Docs -update", path)
		for line := range strings.Lines(want) {
			wantPart(t, got, line, "the table")
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
		testutil.Must(t, err)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			testutil.Must(t, err)
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
