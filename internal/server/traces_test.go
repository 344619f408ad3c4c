package server

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// spans is a collector that keeps what it gets: texts stand in it as they are.
type spans struct {
	mu  sync.Mutex
	all strings.Builder // guarded by mu
}

// ServeHTTP takes a batch.
func (s *spans) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.WriteString(r.URL.Path + " " + r.Header.Get("X-Token") + " ")
	_, _ = io.Copy(&s.all, r.Body)
}

// has waits for a text.
func (s *spans) has(t *testing.T, text string) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool { return strings.Contains(s.text(), text) }, text)
}

func (s *spans) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

func collector(t *testing.T) (s *spans, url string) {
	t.Helper()
	s = new(spans)
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return s, h.URL
}

// Listeners and routes are recorded as their keys say, and what is off leaves no trace.
func TestTraces_listenersAndRoutes(t *testing.T) {
	t.Parallel()
	at, url := collector(t)
	s := start(t, Options{}, quiet+`
listeners = [
	{ name = "web", listen = "127.0.0.1:0" },
	{ name = "own", listen = "127.0.0.1:0", tracing = { name = "own {route}", attributes = { listener = "own" } } },
	{ name = "off", listen = "127.0.0.1:0", tracing = false },
]
routes = [
	{ name = "all", pattern = "/*", dest = "hello" },
	{ name = "none", pattern = "/none/*", dest = "hello", tracing = false },
	{ name = "late", pattern = "/late/*", dest = "status:418", tracing.sample = 0, tracing.always = ["418"],
		tracing.name = "late {status}" },
	{ name = "never", pattern = "/never/*", dest = "status:418", tracing = { sample = 0 } },
]
[tracing]
endpoint = %q
headers = { X-Token = "secret7" }
sample = 1
service = "front"
resource = { zone = "eu-1a" }
attributes = { tenant = "{header.x-tenant}" }
request_fields = ["X-Tenant"]
answer_fields = ["content-type"]
`, url)
	const all = "web/a own/b off/c web/none/d web/late/e off/late/f web/never/g"
	for of := range strings.FieldsSeq(all) {
		listener, path, _ := strings.Cut(of, "/")
		get(t, s, listener, "/"+path+"?token=hunter2")
	}
	const name = "edge_export_records_total"
	waitCounter(t, s, 3, name, "traces", "sent")
	got := at.text()
	for text, want := range map[string]bool{
		"/v1/traces secret7 ": true, "\x05front": true, "eu-1a": true, "GET /*": true, "own all": true,
		"late 418": true, "http.response.header.content-type": true, "token=REDACTED": true, "hunter2": false,
		"/none": false, "/never": false, "/c": false, "/f": false, "edge.listener": true,
	} {
		wantEqual(t, strings.Contains(got, text), want, "%q is in %q", text, got)
	}
	for _, result := range []string{"rejected", "failed", "dropped"} {
		wantCounter(t, s, 0, name, result)
	}
}

// A reload keeps the exporter where its keys are the same, and spans of requests before and after it arrive. A new
// endpoint gets spans from then on.
func TestTraces_reload(t *testing.T) {
	t.Parallel()
	first, url := collector(t)
	second, next := collector(t)
	const text = quiet + "http.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"hello\"\n" +
		"[tracing]\nsample = 1\n"
	s := start(t, Options{}, text+"endpoint = %q\n", url)
	out := func() *sink { return s.logs.now[tracesKey] }
	before := out()
	get(t, s, "127.0.0.1:0", "/one")
	apply(t, s, text+"endpoint = %q\nalways = [\"4xx\"]\n", url)
	if out() != before {
		t.Error("another exporter goes to the same place")
	}
	get(t, s, "127.0.0.1:0", "/two")
	apply(t, s, text+"endpoint = %q\n", next)
	get(t, s, "127.0.0.1:0", "/three")
	first.has(t, "/one")
	first.has(t, "/two")
	second.has(t, "/three")
	apply(t, s, "%s", quiet+"http.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"hello\"\n")
	if get(t, s, "127.0.0.1:0", "/four"); out() != nil || strings.Contains(second.text(), "/four") {
		t.Error("there are traces without [tracing]")
	}
	const name = "edge_export_records_total"
	waitCounter(t, s, 3, name, "sent")
}

// Requests go to a collector as logs, too, each with the numbers of its trace and its span.
func TestTraces_logsOfTheSame(t *testing.T) {
	at, url := collector(t)
	s := start(t, Options{}, `
log.output = ["central"]
http.listen = "127.0.0.1:0"
tracing = { endpoint = %q, sample = 1 }
log_sinks.central = { type = "otlp", endpoint = %q }
routes = [{ pattern = "/*", dest = "hello" }]
`, url, url)
	get(t, s, "127.0.0.1:0", "/one?token=hunter2")
	at.has(t, "/v1/logs")
	at.has(t, "/v1/traces")
	at.has(t, "GET /one 200")
	text := at.text()
	if strings.Contains(text, "hunter2") {
		t.Error("a secret is shown")
	}
	_, span, _ := strings.Cut(text, "\n\x10") // the begin of a Span: the numbers of its trace and its own
	if len(span) < 26 || !strings.Contains(text, "J\x10"+span[:16]+"R\x08"+span[18:26]) {
		t.Error("the log record has other numbers")
	}
	const name = "edge_export_records_total"
	for _, signal := range []string{"logs", "traces"} {
		waitCounter(t, s, 1, name, signal, "sent")
	}
}

const tracedBy = `
log.output = []
http = { name = "web", listen = "127.0.0.1:0" }
tracing = { endpoint = "%s", sample = 1 }
routes = [{ pattern = "/*", dest = "status:204" }]
`

// exported returns how many records of traces s has counted, by their fate and together.
func exported(s *Server) (by map[string]uint64, all uint64) {
	by = make(map[string]uint64)
	s.Registry().Each(func(m observe.Sample) {
		if m.Name == "edge_export_records_total" {
			by[m.Labels[0].Value] += uint64(m.Value)
			all += uint64(m.Value)
		}
	})
	return by, all
}

// A collector that takes nothing costs the end of the process two seconds and no more: it is not a failure of the
// server, and each span has its fate counted.
func TestTraces_stopWithoutCollector(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	testutil.Must(t, err)
	defer func() { _ = silent.Close() }()
	s := start(t, Options{}, tracedBy, "http://"+silent.Addr().String())
	const requests = 20
	for range requests {
		get(t, s, "web", "/")
	}
	began := time.Now()
	if err := s.Stop(); err != nil {
		t.Errorf("the end of the server is the failure %v", err)
	}
	if took := time.Since(began); took > serverWait+testutil.Patience/2 {
		t.Errorf("the end took %v", took)
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		by, all := exported(s)
		return by["failed"] == requests && all == requests
	}, "lost spans are counted")
}

// The last spans are sent before the server ends, and spans of requests on both sides of a reload arrive, each where
// the configuration of its request says.
func TestTraces_nothingIsLost(t *testing.T) {
	var counts [2]chan int
	var urls [2]string
	for i := range counts {
		counts[i] = make(chan int, 100)
		c := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			p, _ := io.ReadAll(r.Body)
			counts[i] <- len(regexp.MustCompile(`url.path`).FindAll(p, -1))
		}))
		defer c.Close()
		urls[i] = c.URL
	}
	s := start(t, Options{}, tracedBy, urls[0])
	client := &http.Client{Transport: &http.Transport{}} // one connection
	defer client.CloseIdleConnections()
	const requests = 10
	for i := range urls {
		for range requests {
			getBy(t, client, urlOf(t, s, "web")+"/")
		}
		if i == 0 {
			apply(t, s, "%s", fmt.Sprintf(tracedBy, urls[1]))
		}
	}
	client.CloseIdleConnections()
	testutil.Must(t, s.Stop())
	for i := range counts {
		close(counts[i])
		got := 0
		for n := range counts[i] {
			got += n
		}
		if got != requests {
			t.Errorf("collector %d has %d spans, want %d", i, got, requests)
		}
	}
	if by, all := exported(s); by["sent"] != 2*requests || all != 2*requests {
		t.Errorf("counted %v", by)
	}
}
