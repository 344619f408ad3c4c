package interop

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	collecttrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlptrace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// spanStore is a collector of several services, which keeps their spans.
type spanStore struct {
	endpoint string

	mu    sync.Mutex
	spans map[string][]*otlptrace.Span // by service.name
}

func newSpanStore(t *testing.T) *spanStore {
	s := &spanStore{spans: make(map[string][]*otlptrace.Span)}
	s.endpoint = "http://" + testutil.ServeHTTP(t, testutil.Listen(t), func(w http.ResponseWriter, r *http.Request) {
		var m collecttrace.ExportTraceServiceRequest
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = proto.Unmarshal(body, &m)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, group := range m.ResourceSpans {
			name, _ := attributesOf(t, group.Resource.Attributes)["service.name"].(string)
			for _, scoped := range group.ScopeSpans {
				s.spans[name] = append(s.spans[name], scoped.Spans...)
			}
		}
	})
	return s
}

// of returns the spans of a kind that a service has sent, and its spans of other kinds.
func (s *spanStore) of(service string, kind otlptrace.Span_SpanKind) (all, others []*otlptrace.Span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.spans[service] {
		if one.Kind == kind {
			all = append(all, one)
		} else {
			others = append(others, one)
		}
	}
	return all, others
}

// startServer starts what text configures for the length of a test. stop ends it before, with all that it has to send.
func startServer(t *testing.T, format string, args ...any) (s *server.Server, stop func()) {
	t.Helper()
	c, rep := config.Parse("test.toml", fmt.Appendf(nil, format, args...))
	if !rep.OK() {
		t.Fatalf("%s", rep.JSON())
	}
	s, err := server.New(c, server.Options{})
	testutil.Must(t, err)
	stop = sync.OnceFunc(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	testutil.Must(t, s.Start())
	return s, stop
}

// hop is an edge that sends all requests on, with keys of [tracing].
func (s *spanStore) hop(t *testing.T, service, to, keys string) (addr string, stop func()) {
	t.Helper()
	e, stop := startServer(t, `
log.output = []
listeners = [{ name = "web", listen = "127.0.0.1:0", tracing = { most = "1000000/s" } }]
upstreams.next.backends = [{ address = %q }]
routes = [{ name = "all", pattern = "/*", dest = "next" }]
[tracing]
endpoint = %q
service = %q
%s`, to, s.endpoint, service, keys)
	return e.Addresses()[0].Addr.String(), stop
}

// program is a server with the SDK of OpenTelemetry, whose spans it keeps.
type program struct {
	addr  string
	spans *tracetest.InMemoryExporter

	mu     sync.Mutex
	flags  map[trace.TraceID]bool // what the caller has decided
	recent map[trace.TraceID]bool // what the program has
}

func newProgram(t *testing.T, by sdktrace.Sampler) *program {
	p := &program{spans: tracetest.NewInMemoryExporter(), flags: make(map[trace.TraceID]bool),
		recent: make(map[trace.TraceID]bool)}
	sdk := sdktrace.NewTracerProvider(sdktrace.WithSampler(by), sdktrace.WithSyncer(p.spans),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "program"))))
	tracer := sdk.Tracer("interop")
	p.addr = testutil.ServeHTTP(t, testutil.Listen(t), func(_ http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		asked := trace.SpanContextFromContext(ctx)
		_, span := tracer.Start(ctx, "answer", trace.WithSpanKind(trace.SpanKindServer))
		span.End()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.flags[asked.TraceID()], p.recent[asked.TraceID()] = asked.IsSampled(), span.SpanContext().IsSampled()
	})
	return p
}

// askOften makes n requests by several clients.
func askOften(t *testing.T, addr string, n int) {
	const clients = 8
	var wait sync.WaitGroup
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: testutil.Patience}
	for i := range clients {
		wait.Go(func() {
			for range (n + i) / clients {
				resp, err := client.Get("http://" + addr + "/a")
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Error(resp.Status)
				}
			}
		})
	}
	wait.Wait()
}

// Two hops of edge and a program with the SDK have the same share, and each decides by itself: of no trace do they have
// parts only.
func TestTracing_decisionsAgree(t *testing.T) {
	n := testutil.Rounds(10_000)
	if soak() {
		n = 10_000
	}
	s, p := newSpanStore(t), newProgram(t, sdktrace.TraceIDRatioBased(0.1))
	const keys = "sample = 0.1\naccept = \"none\"\n"
	second, stopSecond := s.hop(t, "second", p.addr, keys)
	first, stopFirst := s.hop(t, "first", second, keys)
	askOften(t, first, n)
	stopFirst()
	stopSecond()
	if len(p.recent) != n {
		t.Fatalf("%d traces of %d requests", len(p.recent), n)
	}
	want := make(map[string]bool)
	for id, recorded := range p.recent {
		if p.flags[id] != recorded {
			t.Errorf("%v: the second edge says %v, the program %v", id, p.flags[id], recorded)
		}
		if recorded {
			want[string(id[:])] = true
		}
	}
	// Six standard deviations, which are 0.3 · √n.
	if off := float64(len(want)) - 0.1*float64(n); off*off > 36*0.09*float64(n) {
		t.Errorf("%d of %d are recorded", len(want), n)
	}
	t.Logf("%d of %d traces are recorded", len(want), n)
	for _, service := range []string{"first", "second"} {
		got := make(map[string]bool)
		all, tried := s.of(service, otlptrace.Span_SPAN_KIND_SERVER)
		for _, span := range all {
			got[string(span.TraceId)] = true
		}
		if !maps.Equal(got, want) || len(all) != len(want) || len(tried) != len(want) {
			t.Errorf("%s: %d spans of %d traces, and %d attempts, want %d", service, len(all), len(got), len(tried),
				len(want))
		}
	}
	if have := len(p.spans.GetSpans()); have != len(want) {
		t.Errorf("%d spans of the program, want %d", have, len(want))
	}
}

// The first hop decides, and those after it take its word: the spans of each trace are one chain.
func TestTracing_chain(t *testing.T) {
	n := testutil.Rounds(200)
	s, p := newSpanStore(t), newProgram(t, sdktrace.ParentBased(sdktrace.NeverSample()))
	second, stopSecond := s.hop(t, "second", p.addr, "sample = 0\naccept = \"all\"\n")
	first, stopFirst := s.hop(t, "first", second, "sample = 0.5\n")
	askOften(t, first, n)
	stopFirst()
	stopSecond()

	ended := p.spans.GetSpans()
	byFirst := slices.Concat(s.of("first", otlptrace.Span_SPAN_KIND_SERVER))
	all := slices.Concat(s.of("second", otlptrace.Span_SPAN_KIND_SERVER))
	all = append(all, byFirst...)
	t.Logf("%d of %d traces are recorded", len(ended), n)
	if len(all) != 4*len(ended) {
		t.Errorf("%d spans of edge, want %d", len(all), 4*len(ended))
	}
	byID := make(map[string]*otlptrace.Span)
	for _, span := range all {
		byID[string(span.SpanId)] = span
	}
	for _, last := range ended {
		wantName, _ := last.Resource.Set().Value("service.name")
		id, parent := last.SpanContext.TraceID(), last.Parent.SpanID()
		at, chain := byID[string(parent[:])], "program "+wantName.AsString()
		if !last.Parent.IsRemote() {
			t.Error("the parent of the program's span is no remote one")
		}
		for ; at != nil; at = byID[string(at.ParentSpanId)] {
			service := "second"
			if slices.Contains(byFirst, at) {
				service = "first"
			}
			chain += fmt.Sprintf(", %s %s %q", service, strings.TrimPrefix(at.Kind.String(), "SPAN_KIND_"), at.Name)
			if !bytes.Equal(at.TraceId, id[:]) || at.Flags&1 == 0 {
				t.Errorf("a span of %v is %v", id, at)
			}
			if at.Name == "GET /*" && service == "first" && len(at.ParentSpanId) > 0 {
				t.Errorf("the root has the parent %x", at.ParentSpanId)
			}
		}
		if want := `program program, second CLIENT "GET", second SERVER "GET /*", first CLIENT "GET", ` +
			`first SERVER "GET /*"`; chain != want {
			t.Fatalf("%s, want %s", chain, want)
		}
	}
}
