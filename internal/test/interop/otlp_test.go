package interop

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	collectlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collecttrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlpcommon "go.opentelemetry.io/proto/otlp/common/v1"
	otlplogs "go.opentelemetry.io/proto/otlp/logs/v1"
	otlptrace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // the server takes it
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/observe/otlp"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// collector takes batches by HTTP, and keeps the bodies.
type collector struct {
	bodies  [][]byte
	headers []http.Header
	address *url.URL
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var from io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			from = z
		}
		p, err := io.ReadAll(from)
		if err != nil {
			t.Error(err)
		}
		c.bodies, c.headers = append(c.bodies, p), append(c.headers, r.Header.Clone())
	}))
	t.Cleanup(s.Close)
	c.address, _ = url.Parse(s.URL + "/v1/x")
	return c
}

// export sends records to c and returns its batches.
func (c *collector) export(t *testing.T, o otlp.Options, records ...*observe.Record) [][]byte {
	t.Helper()
	o.Endpoint = c.address
	o.Version = "1.2.3"
	o.Resource = []observe.Field{{Name: "service.name", Value: "edge"}, {Name: "host.name", Value: "a\xffb"}}
	e := otlp.New(o)
	defer e.Close()
	var frames []byte
	for _, r := range records {
		frames = observe.AppendRecord(frames, r)
	}
	if n, err := e.WriteRecords(frames); n != len(frames) || err != nil {
		t.Fatalf("%d of %d, %v", n, len(frames), err)
	}
	bodies := c.bodies
	c.bodies = nil
	return bodies
}

// spans returns the spans of records as the generated structs have them.
func (c *collector) spans(t *testing.T, o otlp.Options, records ...*observe.Record) (all []*otlptrace.Span) {
	t.Helper()
	o.Signal = otlp.Traces
	for _, body := range c.export(t, o, records...) {
		var m collecttrace.ExportTraceServiceRequest
		testutil.Must(t, proto.Unmarshal(body, &m))
		group := m.ResourceSpans[0]
		wantAttributes(t, "the resource", group.Resource.Attributes, map[string]any{
			"service.name": "edge", "host.name": "a\uFFFDb"})
		scoped := group.ScopeSpans[0]
		if scoped.Scope.Name != "github.com/edge-proxy/edge" || scoped.Scope.Version != "1.2.3" {
			t.Errorf("scope %v", scoped.Scope)
		}
		all = append(all, scoped.Spans...)
	}
	return all
}

// logs is spans for log records.
func (c *collector) logs(t *testing.T, records ...*observe.Record) (all []*otlplogs.LogRecord) {
	t.Helper()
	return logsOf(t, c.export(t, otlp.Options{Signal: otlp.Logs}, records...))
}

func logsOf(t *testing.T, bodies [][]byte) (all []*otlplogs.LogRecord) {
	t.Helper()
	for _, body := range bodies {
		var m collectlogs.ExportLogsServiceRequest
		testutil.Must(t, proto.Unmarshal(body, &m))
		all = append(all, m.ResourceLogs[0].ScopeLogs[0].LogRecords...)
	}
	return all
}

// valueOf returns a string, int64, float64, bool or []string.
func valueOf(t *testing.T, v *otlpcommon.AnyValue) any {
	t.Helper()
	switch v := v.Value.(type) {
	case *otlpcommon.AnyValue_StringValue:
		return v.StringValue
	case *otlpcommon.AnyValue_IntValue:
		return v.IntValue
	case *otlpcommon.AnyValue_DoubleValue:
		return v.DoubleValue
	case *otlpcommon.AnyValue_BoolValue:
		return v.BoolValue
	case *otlpcommon.AnyValue_ArrayValue:
		var all []string
		for _, one := range v.ArrayValue.Values {
			all = append(all, one.GetStringValue())
		}
		return fmt.Sprintf("%q", all)
	}
	t.Errorf("a value of type %T", v.Value)
	return nil
}

func attributesOf(t *testing.T, list []*otlpcommon.KeyValue) map[string]any {
	t.Helper()
	m := make(map[string]any)
	for _, a := range list {
		if _, twice := m[a.Key]; twice {
			t.Errorf("%s is there twice", a.Key)
		}
		m[a.Key] = valueOf(t, a.Value)
	}
	return m
}

func wantAttributes(t *testing.T, what string, list []*otlpcommon.KeyValue, want map[string]any) {
	t.Helper()
	got := attributesOf(t, list)
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if got[key] != want[key] {
			t.Errorf("%s: %s is %#v, want %#v", what, key, got[key], want[key])
		}
	}
	for key := range want {
		if _, ok := got[key]; !ok {
			t.Errorf("%s: %s is missing", what, key)
		}
	}
}

var (
	traceID  = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	spanID   = [8]byte{1, 1, 1, 1, 1, 1, 1, 1}
	parentID = [8]byte{2, 2, 2, 2, 2, 2, 2, 2}
)

// fullRecord has every member that a span shows.
func fullRecord() *observe.Record {
	return &observe.Record{
		Time: 1764208800_000000000, ID: [16]byte{0xab}, Listener: "https", ClientIP: netip.MustParseAddr("203.0.113.7"),
		Proto: observe.ProtoHTTP2, Method: []byte("GET"), Host: []byte("shop.example:8443"), Path: []byte("/a/b"),
		Query: []byte("q=1&token=REDACTED"), Route: "api", Upstream: "pool", Backend: "[2001:db8::1]:8080",
		Status: 502, Reason: "backend:connect", BytesIn: 5, BytesOut: 7, Dur: 3e9, Attempts: 2,
		Cache:     observe.CacheUse{Status: "miss"},
		UserAgent: []byte("curl/8"), Referer: []byte("https://x/"), TLSVersion: "TLS 1.3", TLSGroup: "X25519",
		GRPC: true, GRPCStatus: 14, RequestID: []byte("given-1"),
		Fields:  []observe.Field{{Name: "retry", Value: "connect"}, {Name: "user", Value: "ann"}},
		Members: []observe.Member{{Name: "tenant", Value: []byte("t1")}},
		Span: &observe.Span{
			Trace: traceID, ID: spanID, Parent: parentID, Flags: 3, State: []byte("a=b"), Pattern: "/a/*",
			Secured: true, Peer: netip.MustParseAddrPort("10.0.0.9:4711"), Error: "connection_refused",
			Target:     []byte("/sent?x=2"),
			Attributes: []observe.Member{{Name: "app.tenant", Value: []byte("t\xff1")}},
			Request:    []observe.Member{{Name: "accept", Value: []byte("a")}, {Name: "accept", Value: []byte("b")}},
			Answer:     []observe.Member{{Name: "content-type", Value: []byte("text/plain")}},
			Attempts: []observe.Attempt{
				{
					ID: [8]byte{3}, Began: 1e9, Ended: 2e9, Number: 1, Backend: "one.internal:80",
					Error: "connection_timeout", T: observe.Timings{Queue: 1e6, Connect: 2e6}, DNS: 3e6,
				},
				{
					ID: [8]byte{4}, Began: 2e9, Ended: 3e9, Number: 2, Backend: "[2001:db8::1]:8080", Secured: true,
					Proto: observe.ProtoHTTP11, Status: 404, Reused: true, Hedge: true,
					T: observe.Timings{TLS: 4e6, FirstByte: 5e6, Body: 6e6},
				},
			},
		},
	}
}

// serverWant is what a span of fullRecord has, and its log record as well.
func serverWant() map[string]any {
	return map[string]any{
		"http.request.method": "GET", "url.path": "/a/b", "url.scheme": "https", "url.query": "q=1&token=REDACTED",
		"http.route": "/a/*", "http.response.status_code": int64(502), "error.type": "connection_refused",
		"network.protocol.version": "2", "client.address": "203.0.113.7", "network.peer.address": "10.0.0.9",
		"network.peer.port": int64(4711), "server.address": "shop.example", "server.port": int64(8443),
		"user_agent.original": "curl/8", "http.request.header.accept": `["a" "b"]`,
		"http.response.header.content-type": `["text/plain"]`, "edge.request_id": "given-1", "edge.listener": "https",
		"edge.route": "api", "edge.upstream": "pool", "edge.reason": "backend:connect", "edge.attempts": int64(2),
		"edge.retry": "connect", "edge.grpc_status": int64(14), "edge.cache": "miss", "edge.tls_group": "X25519",
		"app.tenant": "t\uFFFD1",
	}
}

// Each member of a record is where the conventions have it, and nothing else is there.
func TestOTLP_spans(t *testing.T) {
	c := newCollector(t)
	for _, o := range []otlp.Options{{Header: http.Header{"Authorization": {"Bearer x"}}}, {Gzip: true}} {
		spans := c.spans(t, o, fullRecord())
		if len(spans) != 3 {
			t.Fatalf("%d spans", len(spans))
		}
		server, first, second := spans[0], spans[1], spans[2]
		wantAttributes(t, "SERVER", server.Attributes, serverWant())
		wantAttributes(t, "CLIENT 1", first.Attributes, map[string]any{
			"http.request.method": "GET", "url.full": "http://one.internal:80/sent?x=2",
			"server.address": "one.internal", "server.port": int64(80), "error.type": "connection_timeout",
			"edge.queue": .001, "edge.connect": .002, "edge.dns": .003, "edge.reused": false,
		})
		wantAttributes(t, "CLIENT 2", second.Attributes, map[string]any{
			"http.request.method": "GET", "url.full": "https://[2001:db8::1]:8080/sent?x=2",
			"server.address": "2001:db8::1", "server.port": int64(8080), "network.peer.address": "2001:db8::1",
			"network.peer.port": int64(8080), "network.protocol.version": "1.1",
			"http.response.status_code": int64(404), "error.type": "404", "http.request.resend_count": int64(1),
			"edge.tls": .004, "edge.first_byte": .005, "edge.body": .006, "edge.reused": true, "edge.hedged": true,
		})
		const began = 1764208800_000000000
		for i, s := range spans {
			ids := [][8]byte{spanID, {3}, {4}}
			parents := [][8]byte{parentID, spanID, spanID}
			kind := []otlptrace.Span_SpanKind{2, 3, 3}
			flags := []uint32{0x303, 0x103, 0x103}
			starts, ends := []uint64{began, began + 1e9, began + 2e9}, []uint64{began + 3e9, began + 2e9, began + 3e9}
			if !bytes.Equal(s.TraceId, traceID[:]) || !bytes.Equal(s.SpanId, ids[i][:]) ||
				!bytes.Equal(s.ParentSpanId, parents[i][:]) || s.TraceState != "a=b" || s.Kind != kind[i] ||
				s.Flags != flags[i] || s.StartTimeUnixNano != starts[i] || s.EndTimeUnixNano != ends[i] ||
				s.Name != []string{"GET /a/*", "GET", "GET"}[i] ||
				s.Status.GetCode() != otlptrace.Status_STATUS_CODE_ERROR {
				t.Errorf("span %d: %v", i, s)
			}
		}
	}
	h := c.headers[0]
	if h.Get("Authorization") != "Bearer x" || h.Get("Content-Type") != "application/x-protobuf" ||
		h.Get("User-Agent") != "edge/1.2.3" {
		t.Errorf("%v", h)
	}
}

// What changes with the request: change makes a record of fullRecord, and want has what differs, nil where an
// attribute is gone.
func TestOTLP_serverSpanRules(t *testing.T) {
	c := newCollector(t)
	ok := func(r *observe.Record) { r.Status, r.Span.Error, r.Reason = 200, "", "" }
	for _, one := range []struct {
		name   string
		change func(r *observe.Record)
		span   string // its name
		failed bool
		want   map[string]any
	}{
		{"a good answer", ok, "GET /a/*", false, map[string]any{"http.response.status_code": int64(200),
			"error.type": nil, "edge.reason": nil}},
		{"503 of a backend", func(r *observe.Record) { r.Status, r.Span.Error = 503, "" }, "GET /a/*", true,
			map[string]any{"http.response.status_code": int64(503), "error.type": "503"}},
		{"404 of the proxy is the client's fault", func(r *observe.Record) {
			r.Status, r.Span.Error, r.Span.Pattern, r.Route = 404, "destination_not_found", "", ""
		}, "GET", false, map[string]any{"http.response.status_code": int64(404), "error.type": nil, "http.route": nil,
			"edge.route": nil}},
		{"a fault after a good head", func(r *observe.Record) {
			r.Status, r.Span.Error = 200, "http_response_incomplete"
		}, "GET /a/*", true, map[string]any{"http.response.status_code": int64(200),
			"error.type": "http_response_incomplete"}},
		{"an unknown method", func(r *observe.Record) { ok(r); r.Method = []byte("get") }, "HTTP /a/*", false,
			map[string]any{"http.response.status_code": int64(200), "error.type": nil, "edge.reason": nil,
				"http.request.method": "_OTHER", "http.request.method_original": "get"}},
		{"a name of its own", func(r *observe.Record) { r.Span.Name = []byte("buy \xff") }, "buy \uFFFD", true, nil},
		{"a default port of https", func(r *observe.Record) { r.Host = []byte("[::1]") }, "GET /a/*", true,
			map[string]any{"server.address": "::1", "server.port": int64(443)}},
		{"a default port of http", func(r *observe.Record) { r.Host, r.Span.Secured = []byte("h:"), false }, "GET /a/*",
			true, map[string]any{"server.address": "h:", "server.port": int64(80), "url.scheme": "http"}},
		{"a Unix socket", func(r *observe.Record) { r.Span.Peer, r.ClientIP = netip.AddrPort{}, netip.Addr{} },
			"GET /a/*", true, map[string]any{"network.peer.address": nil, "network.peer.port": nil,
				"client.address": nil}},
		{"an IPv4 address that came mapped", func(r *observe.Record) {
			r.ClientIP = netip.MustParseAddr("::ffff:192.0.2.1")
		}, "GET /a/*", true, map[string]any{"client.address": "192.0.2.1"}},
		{"no number of its own", func(r *observe.Record) { r.RequestID = nil }, "GET /a/*", true,
			map[string]any{"edge.request_id": "ab000000000000000000000000000000"}},
		{"control characters", func(r *observe.Record) { r.Path = []byte("/\x00\n\x80") }, "GET /a/*", true,
			map[string]any{"url.path": "/\x00\n\uFFFD"}},
	} {
		t.Run(one.name, func(t *testing.T) {
			r, want := fullRecord(), serverWant()
			one.change(r)
			for key, v := range one.want {
				if want[key] = v; v == nil {
					delete(want, key)
				}
			}
			s := c.spans(t, otlp.Options{}, r)[0]
			wantAttributes(t, one.name, s.Attributes, want)
			if failed := s.Status.GetCode() == 2; failed != one.failed || s.Name != one.span {
				t.Errorf("%q, %v", s.Name, s.Status)
			}
		})
	}
}

// The trace that begins here has no remote parent, and a clock set back makes no span of negative length.
func TestOTLP_rootAndClock(t *testing.T) {
	r := fullRecord()
	r.Span.Parent, r.Span.State, r.Dur = [8]byte{}, nil, -5
	r.Span.Attempts[0].Ended = 0
	spans := newCollector(t).spans(t, otlp.Options{}, r)
	if s := spans[0]; len(s.ParentSpanId) != 0 || s.Flags != 0x103 || s.TraceState != "" {
		t.Errorf("%v", s)
	}
	for _, s := range spans {
		if s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("%v", s)
		}
	}
}

// The URL of an attempt, and the address of its backend.
func TestOTLP_backends(t *testing.T) {
	c := newCollector(t)
	for _, one := range []struct {
		backend, target, url, address string
		port                          any
		peer                          any
	}{
		{"10.0.0.1:8080", "/x", "http://10.0.0.1:8080/x", "10.0.0.1", int64(8080), "10.0.0.1"},
		{"api.internal", "", "http://api.internal/a/b?q=1&token=REDACTED", "api.internal", int64(80), nil},
		{"node1:81", "*", "http://node1:81", "node1", int64(81), nil},
		{"/run/app.sock", "/x", "http://shop.example:8443/x", "/run/app.sock", nil, nil},
	} {
		r := fullRecord()
		r.Span.Attempts = r.Span.Attempts[:1]
		r.Span.Attempts[0].Backend = one.backend
		if r.Span.Target = []byte(one.target); one.target == "" {
			r.Span.Target = nil
		}
		got := attributesOf(t, c.spans(t, otlp.Options{}, r)[1].Attributes)
		if got["url.full"] != one.url || got["server.address"] != one.address || got["server.port"] != one.port ||
			got["network.peer.address"] != one.peer {
			t.Errorf("%s: %v", one.backend, got)
		}
	}
}

// A log record has what its span has, and more; without a span what the record itself knows.
func TestOTLP_logs(t *testing.T) {
	c := newCollector(t)
	alone := fullRecord()
	alone.Span, alone.TraceID, alone.ClientPort = nil, []byte("0af7651916cd43dd8448eb211c80319c"), 99
	alone.Status, alone.Reason = 404, "client:gone"
	line := fullRecord()
	line.Line.Text, line.Status = []byte("my line"), 200
	tcp := &observe.Record{Time: 5, Proto: observe.ProtoTCP, Listener: "db", ClientIP: netip.MustParseAddr("10.0.0.1"),
		ClientPort: 9, Upstream: "sql", Status: 200, Dur: 1e9, BytesIn: 1, BytesOut: 2}
	refused := &observe.Record{Time: 5, Proto: observe.ProtoHTTP11, ClientIP: netip.MustParseAddr("10.0.0.1"),
		Status: 400, Reason: "client:h1"}
	all := c.logs(t, fullRecord(), alone, line, tcp, refused)
	want := serverWant()
	maps.Copy(want, map[string]any{"edge.duration": 3.0, "edge.bytes_in": int64(5), "edge.bytes_out": int64(7),
		"edge.backend": "[2001:db8::1]:8080", "edge.referer": "https://x/", "edge.user": "ann", "tenant": "t1"})
	wantAttributes(t, "a log record", all[0].Attributes, want)
	for _, key := range []string{"http.route", "app.tenant", "http.request.header.accept",
		"http.response.header.content-type", "error.type"} {
		delete(want, key)
	}
	maps.Copy(want, map[string]any{"http.response.status_code": int64(404), "edge.reason": "client:gone",
		"network.peer.address": "203.0.113.7", "network.peer.port": int64(99)})
	wantAttributes(t, "one without a span", all[1].Attributes, want)
	wantAttributes(t, "one of TCP", all[3].Attributes, map[string]any{
		"network.transport": "tcp", "client.address": "10.0.0.1", "network.peer.address": "10.0.0.1",
		"network.peer.port": int64(9), "edge.request_id": strings.Repeat("0", 32), "edge.listener": "db",
		"edge.upstream": "sql", "edge.duration": 1.0, "edge.bytes_in": int64(1), "edge.bytes_out": int64(2)})
	wantAttributes(t, "one of no request", all[4].Attributes, map[string]any{ // which TLS may have brought
		"http.request.method": "_OTHER", "http.response.status_code": int64(400), "network.protocol.version": "1.1",
		"client.address": "10.0.0.1", "edge.request_id": strings.Repeat("0", 32), "edge.reason": "client:h1",
		"edge.duration": 0.0, "edge.bytes_in": int64(0), "edge.bytes_out": int64(0)})
	for i, w := range []struct {
		body, severity string
		number         otlplogs.SeverityNumber
		trace          string
		span           bool
		flags          uint32
	}{
		{"GET /a/b 502", "ERROR", 17, string(traceID[:]), true, 3},
		{"GET /a/b 404", "WARN", 13, "\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c", false, 0},
		{"my line", "INFO", 9, string(traceID[:]), true, 3},
		{"TCP db 200", "INFO", 9, "", false, 0},
		{"- 400", "WARN", 13, "", false, 0},
	} {
		l := all[i]
		if l.Body.GetStringValue() != w.body || l.SeverityText != w.severity || l.SeverityNumber != w.number ||
			string(l.TraceId) != w.trace || (len(l.SpanId) == 8) != w.span || l.Flags != w.flags ||
			l.TimeUnixNano == 0 || l.ObservedTimeUnixNano == 0 {
			t.Errorf("%v", l)
		}
	}
}

// Lines of slog come as log records, whatever is in them, and lines of others as bodies.
func TestOTLP_events(t *testing.T) {
	c := newCollector(t)
	e := otlp.New(otlp.Options{Signal: otlp.Logs, Endpoint: c.address})
	defer e.Close()
	var lines bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	began := time.Now()
	log.With("n", 3, "f", 1.5, "on", true, "none", nil, "list", []int{1, 2}).WithGroup("g").Log(t.Context(),
		slog.LevelError+1, "bad \xff", "deep", slog.GroupValue(slog.String("er", "x")))
	log.Debug("quiet")
	lines.WriteString("panic: no JSON\n\n{\"msg\":7}\n")
	if n, err := e.Write(lines.Bytes()); n != lines.Len() || err != nil {
		t.Fatal(n, err)
	}
	if got := e.Counts(); got != (otlp.Counts{Sent: 4}) {
		t.Errorf("%+v", got)
	}
	all := logsOf(t, c.bodies)
	wantAttributes(t, "an event", all[0].Attributes, map[string]any{
		"edge.n": int64(3), "edge.f": 1.5, "edge.on": true, "edge.list": "[1,2]", "edge.g.deep.er": "x"})
	for i, w := range []struct {
		body, severity string
		number         otlplogs.SeverityNumber
	}{
		{"bad \uFFFD", "ERROR+1", 18}, {"quiet", "DEBUG", 5}, {"panic: no JSON", "INFO", 9}, {`{"msg":7}`, "INFO", 9},
	} {
		l := all[i]
		at := time.Unix(0, int64(l.TimeUnixNano))
		if l.Body.GetStringValue() != w.body || l.SeverityText != w.severity || l.SeverityNumber != w.number ||
			at.Before(began.Truncate(0)) || at.After(time.Now()) {
			t.Errorf("%v", l)
		}
	}
}

// Lines of any bytes, and objects with any texts, each are a log record that decodes.
func TestOTLP_randomEvents(t *testing.T) {
	c := newCollector(t)
	e := otlp.New(otlp.Options{Signal: otlp.Logs, Endpoint: c.address})
	defer e.Close()
	g := &gen{rand.New(rand.NewPCG(rand.Uint64(), 2))}
	var lines bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&lines, nil))
	const n = 1200
	for range n / 2 {
		log.WithGroup(g.text()).Info(g.text(), g.text(), g.Int64(), g.text(), g.Float64(), g.text(), g.text())
		lines.WriteString("{" + strings.ReplaceAll(g.text(), "\n", "") + "\n")
	}
	if _, err := e.Write(lines.Bytes()); err != nil {
		t.Fatal(err)
	}
	if got := len(logsOf(t, c.bodies)); got != n || e.Counts() != (otlp.Counts{Sent: n}) {
		t.Errorf("%d of %d, %+v", got, n, e.Counts())
	}
}

// known are the attributes of the stable conventions that a span or a log record may have.
var known = regexp.MustCompile(`(?s)^(edge\..*|error\.type|url\.(scheme|path|query|full)|server\.(address|port)|` +
	`client\.address|network\.(peer\.(address|port)|protocol\.version|transport)|user_agent\.original|http\.route|` +
	`http\.(request\.(method|method_original|resend_count)|response\.status_code)|http\.re(quest|sponse)\.header\..*)$`)

// Random records, with bytes of all values in their texts, give messages that decode, with all attributes that the
// conventions require and no others.
func TestOTLP_randomRecords(t *testing.T) {
	c := newCollector(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := &gen{rand.New(rand.NewPCG(seed, 1))}
	for range testutil.Rounds(40) {
		var records []*observe.Record
		spans := 0
		for range 25 {
			r := g.record()
			records = append(records, r)
			spans += 1 + len(r.Span.Attempts)
		}
		all := c.spans(t, otlp.Options{Gzip: g.IntN(2) == 0}, records...)
		if len(all) != spans {
			t.Fatalf("%d spans of %d", len(all), spans)
		}
		for _, s := range all {
			required := []string{"http.request.method", "url.scheme"}
			if s.Kind == otlptrace.Span_SPAN_KIND_CLIENT {
				required = []string{"http.request.method", "url.full", "server.address"}
			}
			checkNames(t, s.Attributes, required)
			for _, a := range s.Attributes {
				if s.Kind == otlptrace.Span_SPAN_KIND_SERVER && !otlp.HasAttribute(a.Key) {
					t.Fatalf("a configuration may have %q too", a.Key)
				}
			}
			if s.Name == "" || len(s.TraceId) != 16 || len(s.SpanId) != 8 || s.EndTimeUnixNano < s.StartTimeUnixNano {
				t.Fatalf("%v", s)
			}
		}
		for _, l := range c.logs(t, records...) {
			checkNames(t, l.Attributes, []string{"http.request.method", "edge.duration"})
		}
	}
}

func checkNames(t *testing.T, list []*otlpcommon.KeyValue, required []string) {
	t.Helper()
	have := make(map[string]bool)
	for _, a := range list {
		have[a.Key] = true
		if !known.MatchString(a.Key) {
			t.Fatalf("%q is no name", a.Key)
		}
	}
	for _, key := range required {
		if !have[key] {
			t.Fatalf("%s is missing in %v", key, list)
		}
	}
}

// gen makes random records.
type gen struct{ *rand.Rand }

func (g *gen) bytes() []byte {
	p := make([]byte, g.IntN([]int{2, 20, 130, 300}[g.IntN(4)]))
	for i := range p {
		p[i] = "ab/:?[]% \x00"[g.IntN(10)]
		if g.IntN(4) == 0 {
			p[i] = byte(g.Uint32())
		}
	}
	return p
}

func (g *gen) text() string { return string(g.bytes()) }

func (g *gen) fields() (f []observe.Field) {
	for range g.IntN(6) {
		f = append(f, observe.Field{Name: "edge." + g.text(), Value: g.text()})
	}
	return f
}

func (g *gen) members() (m []observe.Member) {
	for _, f := range g.fields() {
		m = append(m, observe.Member{Name: f.Name, Value: []byte(f.Value)})
	}
	return m
}

func (g *gen) record() *observe.Record {
	number := func() int64 { return int64(g.Uint64()) >> g.IntN(64) }
	addr := func() netip.Addr {
		return []netip.Addr{{}, netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("fe80::1"),
			netip.MustParseAddr("::ffff:1.2.3.4")}[g.IntN(4)]
	}
	r := &observe.Record{
		Time: g.Int64N(1 << 60), Listener: g.text(), ClientIP: addr(), ClientPort: uint16(g.Uint32()),
		Proto: []uint8{observe.ProtoHTTP10, observe.ProtoHTTP11, observe.ProtoHTTP2, 0}[g.IntN(4)], Method: g.bytes(),
		Host: g.bytes(), Path: g.bytes(), Query: g.bytes(), Route: g.text(), Upstream: g.text(), Backend: g.text(),
		Status: g.IntN(700), Reason: g.text(), BytesIn: number(), BytesOut: number(), Dur: number() >> 3,
		Attempts: int(number()), UserAgent: g.bytes(), Referer: g.bytes(), TLSGroup: g.text(), GRPC: true,
		GRPCStatus: int(number()), TraceID: g.bytes(), RequestID: g.bytes(), Fields: g.fields(),
	}
	r.Cache.Status, r.Line.Text = g.text(), g.bytes()
	s := &observe.Span{
		State: g.bytes(), Name: g.bytes(), Pattern: g.text(), Peer: netip.AddrPortFrom(addr(), uint16(g.Uint32())),
		Error: g.text(), Target: g.bytes(), Request: g.members(), Answer: g.members(), Attributes: g.members(),
		Secured: g.IntN(2) == 0,
	}
	for range g.IntN(4) {
		s.Attempts = append(s.Attempts, observe.Attempt{
			Began: number() >> 3, Ended: number() >> 3, Number: g.IntN(5), Backend: "h" + g.text(), Status: g.IntN(700),
			Error: g.text(), T: observe.Timings{Queue: number(), TLS: number()}, DNS: number(), Proto: 11,
		})
	}
	r.Span = s
	return r
}

// grpcCollector is a collector by grpc-go whose answers are written down.
type grpcCollector struct {
	collecttrace.UnimplementedTraceServiceServer
	answers []error // nil: two of the spans are rejected
	calls   atomic.Int32
	spans   atomic.Int32
	token   atomic.Value
}

func (g *grpcCollector) Export(ctx context.Context, r *collecttrace.ExportTraceServiceRequest) (
	*collecttrace.ExportTraceServiceResponse, error) {
	n := int(g.calls.Add(1))
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		g.token.Store(strings.Join(md.Get("x-token"), ","))
	}
	if err := g.answers[min(n, len(g.answers))-1]; err != nil {
		return nil, err
	}
	for _, group := range r.ResourceSpans {
		g.spans.Add(int32(len(group.ScopeSpans[0].Spans)))
	}
	return &collecttrace.ExportTraceServiceResponse{PartialSuccess: &collecttrace.ExportTracePartialSuccess{
		RejectedSpans: 2, ErrorMessage: "too old"}}, nil
}

// retryInfo is a status that says when to come back.
func retryInfo(code codes.Code, after time.Duration) error {
	s, err := status.New(code, "busy \u00e4").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	if err != nil {
		panic(err)
	}
	return s.Err()
}

// What a server of gRPC answers, and what becomes of a batch of three records.
func TestOTLP_gRPC(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	creds, err := credentials.NewServerTLSFromFile(keys.cert, keys.key)
	testutil.Must(t, err)
	soon, part := 20*time.Millisecond, otlp.Counts{Sent: 1, Rejected: 2}
	for _, one := range []struct {
		name    string
		answers []error
		calls   int32
		want    otlp.Counts
		says    string
	}{
		{"partial success", []error{nil}, 1, part, "too old"},
		{"unavailable", []error{retryInfo(codes.Unavailable, soon), nil}, 2, part, "too old"},
		{"no pause is named", []error{status.Error(codes.Aborted, ""), nil}, 2, part, "too old"},
		{"exhausted, with a time", []error{retryInfo(codes.ResourceExhausted, soon), nil}, 2, part,
			"too old"},
		{"exhausted", []error{status.Error(codes.ResourceExhausted, "quota")}, 1, otlp.Counts{Failed: 3}, "8: quota"},
		{"an hour", []error{retryInfo(codes.Unavailable, time.Hour)}, 1, otlp.Counts{Failed: 3}, "14: busy \u00e4"},
		{"refused", []error{status.Error(codes.PermissionDenied, "no 100%")}, 1, otlp.Counts{Failed: 3}, "7: no 100%"},
		{"invalid", []error{retryInfo(codes.InvalidArgument, soon)}, 1, otlp.Counts{Failed: 3}, "3: busy"},
	} {
		for _, way := range []string{"plain", "plain gzip", "tls", "tls gzip"} {
			t.Run(one.name+" "+way, func(t *testing.T) {
				g := &grpcCollector{answers: one.answers}
				var opts []grpc.ServerOption
				o := otlp.Options{Signal: otlp.Traces, GRPC: true, Gzip: strings.HasSuffix(way, "gzip"),
					Header: http.Header{"X-Token": {"secret"}}, Endpoint: &url.URL{Scheme: "http"}}
				if strings.HasPrefix(way, "tls") {
					opts = append(opts, grpc.Creds(creds))
					o.TLS, o.Endpoint.Scheme = &tls.Config{RootCAs: keys.pool}, "https"
				}
				s := grpc.NewServer(opts...)
				collecttrace.RegisterTraceServiceServer(s, g)
				o.Endpoint.Host = serveOn(t, s)
				e := otlp.New(o)
				defer e.Close()
				var frames []byte
				for range 3 {
					frames = observe.AppendRecord(frames, fullRecord())
				}
				n, err := e.WriteRecords(frames)
				if n != len(frames) || err == nil || !strings.Contains(err.Error(), one.says) {
					t.Errorf("%d, %v", n, err)
				}
				if got := e.Counts(); got != one.want || g.calls.Load() != one.calls || g.token.Load() != "secret" {
					t.Errorf("%+v, %d calls, token %v", got, g.calls.Load(), g.token.Load())
				}
				if sent := one.want.Failed == 0; sent != (g.spans.Load() == 9) {
					t.Errorf("%d spans came", g.spans.Load())
				}
			})
		}
	}
}

// Ping says what a server of gRPC says, and a server without the service.
func TestOTLP_gRPCPing(t *testing.T) {
	g := &grpcCollector{answers: []error{nil, status.Error(codes.Unauthenticated, "who")}}
	s := grpc.NewServer()
	collecttrace.RegisterTraceServiceServer(s, g)
	at := &url.URL{Scheme: "http", Host: serveOn(t, s)}
	e := otlp.New(otlp.Options{Signal: otlp.Traces, GRPC: true, Gzip: true, Endpoint: at})
	defer e.Close()
	if err := e.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := e.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "16: who") {
		t.Error(err)
	}
	logs := otlp.New(otlp.Options{Signal: otlp.Logs, GRPC: true, Endpoint: at})
	defer logs.Close()
	if err := logs.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "12: ") {
		t.Error(err)
	}
}
