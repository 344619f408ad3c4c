package interop

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	otlptrace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/observe/otlp"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// kinds are the requests of TestTracing_kinds, by the word in their X-Kind.
var kinds = map[string]struct {
	path    string                           // of a plain GET
	ask     func(c *caller, r *http.Request) // otherwise; nil: the GET
	status  []int                            // in the log
	failure string                           // error.type of the request
	alone   bool                             // there is no attempt at a backend
}{
	"plain":   {path: "/ok/a?x=1&token=secret", status: []int{200}},
	"body":    {path: "/ok/b", ask: (*caller).post, status: []int{200}},
	"head":    {path: "/ok/c", ask: (*caller).head, status: []int{200}},
	"old":     {path: "/ok/d", ask: (*caller).old, status: []int{200}},
	"h2":      {path: "/h2/a", status: []int{200}},
	"404":     {path: "/ok/404", status: []int{404}},
	"500":     {path: "/ok/500", status: []int{500}, failure: "500"},
	"retry":   {path: "/retry/a", status: []int{200}},
	"hedge":   {path: "/hedge/a", status: []int{200}},
	"refused": {path: "/refused", status: []int{502}, failure: "connection_refused"},
	"closed":  {path: "/closed", status: []int{502}, failure: "connection_terminated"},
	"cut":     {path: "/ok/cut", ask: (*caller).cut, status: []int{200}, failure: "http_response_incomplete"},
	"slow":    {path: "/slow", status: []int{504}, failure: "http_response_timeout"},
	"none": {path: "/none", status: []int{503}, failure: "destination_unavailable",
		alone: true},
	"denied":             {path: "/denied/a", status: []int{403}, alone: true},
	"no route":           {path: "/nowhere", status: []int{404}, alone: true},
	"redirect":           {path: "/moved", status: []int{308}, alone: true},
	"cached":             {path: "/cached", ask: (*caller).cached, status: []int{200}},
	"websocket":          {path: "/ws", ask: (*caller).tunnel, status: []int{101}},
	"leaves":             {path: "/hang/head", ask: (*caller).leave, status: []int{499}},
	"leaves in the body": {path: "/hang/body", ask: (*caller).leave, status: []int{200}},
	"call":               {ask: (*caller).call, status: []int{200}},
	"failed call":        {ask: (*caller).call, status: []int{200}},
}

const remoteParent = "00f067aa0ba902b7"

// caller makes requests of all kinds.
type caller struct {
	*testing.T
	plain, secure string
	clients       []*http.Client
	rpc           testgrpc.TestServiceClient
	asked         atomic.Int64

	began sync.Map // X-Number: a channel that is closed when a backend has the request
	told  sync.Map // numbers of spans in the Traceparent that backends got
	given sync.Map // numbers of traces that began before edge

	resent, takenBack int // attempts
}

// connect makes the clients, for the addresses without TLS and with it.
func (c *caller) connect(plain, secure string, side *tls.Config) {
	c.plain, c.secure = plain, secure
	for _, protocol := range []string{"http", "https", "h2c", "h2"} {
		transport := &http.Transport{TLSClientConfig: side.Clone(), Protocols: new(http.Protocols),
			MaxIdleConnsPerHost: 64}
		transport.Protocols.SetHTTP1(strings.HasPrefix(protocol, "http"))
		transport.Protocols.SetUnencryptedHTTP2(protocol == "h2c")
		transport.Protocols.SetHTTP2(protocol == "h2")
		c.Cleanup(transport.CloseIdleConnections)
		c.clients = append(c.clients, &http.Client{Transport: transport, Timeout: testutil.Patience,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }})
	}
	c.rpc = callClient(c.T, plain)
}

// one makes a request of a kind.
func (c *caller) one(kind string) {
	k := kinds[kind]
	r, err := http.NewRequest("GET", c.base(0)+k.path, nil)
	if err != nil {
		c.Error(err)
		return
	}
	n := c.asked.Add(1)
	r.Header.Set("X-Kind", kind)
	r.Header.Set("X-Number", fmt.Sprint(n))
	if n%3 == 0 {
		id := fmt.Sprintf("%016x%016x", rand.Uint64()|1, rand.Uint64())
		c.given.Store(id, true)
		r.Header.Set("Traceparent", fmt.Sprintf("00-%s-%s-%02x", id, remoteParent, n%2))
	}
	if k.ask == nil {
		k.ask = (*caller).get
	}
	k.ask(c, r)
}

// base is the beginning of URLs for client i.
func (c *caller) base(i int) string {
	if i%2 == 1 {
		return "https://" + c.secure
	}
	return "http://" + c.plain
}

// send sends r by one of the clients.
func (c *caller) send(r *http.Request) (*http.Response, error) {
	i := rand.IntN(len(c.clients))
	r.URL.Scheme, r.URL.Host, _ = strings.Cut(c.base(i), "://")
	r.Host = r.URL.Host
	return c.clients[i].Do(r)
}

// get sends r and reads the whole answer.
func (c *caller) get(r *http.Request) {
	resp, err := c.send(r)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if err != nil {
		c.Errorf("%v: %v", r.Header, err)
	}
}

func (c *caller) post(r *http.Request) {
	r.Method, r.Body = "POST", io.NopCloser(strings.NewReader(strings.Repeat("x", 10_000)))
	c.get(r)
}

func (c *caller) head(r *http.Request) {
	r.Method = "HEAD"
	c.get(r)
}

func (c *caller) cached(r *http.Request) {
	r.URL.Path += fmt.Sprint("/", rand.IntN(8))
	c.get(r)
}

// cut reads an answer that ends before its end.
func (c *caller) cut(r *http.Request) {
	resp, err := c.send(r)
	if err != nil {
		c.Error(err)
		return
	}
	defer resp.Body.Close() //nolint:errcheck // it has failed
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		c.Error("the answer is whole")
	}
}

// old sends r by HTTP/1.0.
func (c *caller) old(r *http.Request) {
	conn, err := net.Dial("tcp", c.plain)
	if err != nil {
		c.Error(err)
		return
	}
	defer conn.Close() //nolint:errcheck // it is over
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: old.example\r\n", r.URL.Path)
	_ = r.Header.Write(conn)
	_, _ = io.WriteString(conn, "\r\n")
	_ = conn.SetDeadline(time.Now().Add(testutil.Patience))
	if got, err := io.ReadAll(conn); err != nil || !strings.Contains(string(got), " 200 ") {
		c.Errorf("%q, %v", got, err)
	}
}

// tunnel has a WebSocket echo a message, and ends it.
func (c *caller) tunnel(r *http.Request) {
	ctx, cancel := context.WithTimeout(context.Background(), testutil.Patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, r.URL.String(), &websocket.DialOptions{
		HTTPHeader: r.Header, HTTPClient: c.clients[0]})
	if err != nil {
		c.Error(err)
		return
	}
	defer ws.CloseNow() //nolint:errcheck // it has been closed
	err = ws.Write(ctx, websocket.MessageText, []byte("hi"))
	if err == nil {
		_, _, err = ws.Read(ctx)
	}
	if err == nil {
		err = ws.Close(websocket.StatusNormalClosure, "")
	}
	if err != nil {
		c.Error(err)
	}
}

// leave goes away when a backend has got r.
func (c *caller) leave(r *http.Request) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	began := make(chan struct{})
	c.began.Store(r.Header.Get("X-Number"), began)
	go func() {
		<-began
		if strings.HasSuffix(r.URL.Path, "head") {
			cancel()
		}
	}()
	resp, err := c.send(r.WithContext(ctx))
	if err != nil {
		return
	}
	cancel()
	_ = resp.Body.Close()
}

// call is a call of gRPC.
func (c *caller) call(r *http.Request) {
	ctx, cancel := context.WithTimeout(context.Background(), testutil.Patience)
	defer cancel()
	for name, values := range r.Header {
		ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(name), values[0])
	}
	in, want := &testgrpc.SimpleRequest{}, codes.OK
	if r.Header.Get("X-Kind") == "failed call" {
		want = codes.PermissionDenied
		in.ResponseStatus = &testgrpc.EchoStatus{Code: int32(want), Message: "no"}
	}
	if _, err := c.rpc.UnaryCall(ctx, in); status.Code(err) != want {
		c.Error(err)
	}
}

// backends are what the routes of TestTracing_kinds lead to, by the names of upstreams.
func (c *caller) backends() map[string]string {
	h := http.HandlerFunc(c.serve)
	one, two, h2 := httptest.NewServer(h), httptest.NewServer(h), httptest.NewUnstartedServer(h)
	h2.Config.Protocols = new(http.Protocols)
	h2.Config.Protocols.SetUnencryptedHTTP2(true)
	h2.Start()
	c.Cleanup(one.Close)
	c.Cleanup(two.Close)
	c.Cleanup(h2.Close)
	closing := testutil.Serve(c, func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_ = conn.Close()
	}).Addr()
	list := func(all ...any) string {
		text := ""
		for _, addr := range all {
			text += fmt.Sprintf("{ address = \"%v\" },", addr)
		}
		return "backends = [" + text + "]\n"
	}
	ok := one.Listener.Addr()
	return map[string]string{
		"ok": list(ok), "h2": list(h2.Listener.Addr()) + "protocol = \"h2\"\n",
		"rpc": list(serveGRPC(c.T)) + "protocol = \"h2\"\n",
		"retry": list(closing, ok, testutil.FreeAddr(c)) + "load_balancing = \"round_robin\"\n" +
			"retry = { attempts = 2, on = [\"connect\", \"reset\"], budget = \"off\" }\n",
		"hedge": list(ok, two.Listener.Addr()) + "load_balancing = \"round_robin\"\n" +
			"retry = { hedge_after = \"5ms\" }\n",
		"refused": list(testutil.FreeAddr(c)) + "retry.attempts = 0\n",
		"closed":  list(closing) + "retry.attempts = 0\n",
		"slow":    list(ok) + "timeouts.first_byte = \"20ms\"\nretry.attempts = 0\n",
		"none":    fmt.Sprintf("backends = [{ address = %q, weight = 0 }]\n", ok),
	}
}

// serve answers as a backend.
func (c *caller) serve(w http.ResponseWriter, r *http.Request) {
	if parent := r.Header.Get("Traceparent"); len(parent) == 55 && parent[54]&1 != 0 {
		c.told.Store(parent[36:52], true)
	} else {
		c.Errorf("a backend has got %q", parent)
	}
	if ch, ok := c.began.LoadAndDelete(r.Header.Get("X-Number")); ok {
		close(ch.(chan struct{}))
	}
	_, _ = io.Copy(io.Discard, r.Body)
	switch r.URL.Path {
	case "/ws":
		if ws, err := websocket.Accept(w, r, nil); err == nil {
			if kind, text, err := ws.Read(r.Context()); err == nil {
				_ = ws.Write(r.Context(), kind, text)
			}
			_, _, _ = ws.Read(r.Context())
			_ = ws.CloseNow()
		}
	case "/hang/body":
		// A FIN of HTTP/1 may be a half close once the answer has begun: the next bytes tell that the client has left.
		for tick := time.NewTicker(5 * time.Millisecond); r.Context().Err() == nil; <-tick.C {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
		}
	case "/hang/head", "/slow":
		<-r.Context().Done()
	case "/hedge/a":
		select {
		case <-r.Context().Done():
		case <-time.After(time.Duration(rand.IntN(40)) * time.Millisecond):
		}
	case "/ok/404", "/ok/500":
		w.WriteHeader(map[string]int{"/ok/404": 404, "/ok/500": 500}[r.URL.Path])
	case "/ok/cut":
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "x")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	default:
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "well")
	}
}

// kindsConf has the routes for kinds, with a listener and the log.
const kindsConf = `
log.output = [%[1]q]
log.fields = { kind = "{header.x-kind}" }
[tracing]
endpoint = %[2]q
sample = 1
most = "1000000/s"
service = "kinds"
request_fields = ["x-kind"]
answer_fields = ["content-type"]
[[listeners]]
name = "plain"
listen = "127.0.0.1:0"
protocols = ["h1", "h2"]
[[listeners]]
name = "secure"
listen = "127.0.0.1:0"
tls = true
protocols = ["h1", "h2"]
[[certificates]]
cert = %[3]q
key = %[4]q
[[rules]]
when = 'path ~ "^/denied/"'
deny = 403
[[routes]]
name = "files"
pattern = "/cached/*"
dest = "ok"
cache = true
[[routes]]
name = "calls"
pattern = "/grpc.testing.TestService/*"
dest = "rpc"
grpc = true
[[routes]]
name = "moved"
pattern = "/moved"
dest = "redirect:https://other.example/"
`

// kindsRoutes are further routes of kindsConf, by patterns: the upstreams that they lead to.
var kindsRoutes = map[string]string{
	"/ok/*": "ok", "/ws": "ok", "/hang/*": "ok", "/h2/*": "h2", "/retry/*": "retry", "/hedge/*": "hedge",
	"/refused": "refused", "/closed": "closed", "/slow": "slow", "/none": "none",
}

// logged is a line of the log.
type logged struct {
	ID         string
	Trace      string `json:"trace_id"`
	Kind       string
	Listener   string
	Method     string
	Path       string
	Query      string
	Route      string
	Upstream   string
	Cache      string
	Reason     string
	Retry      string
	Hedge      string
	Status     int
	Attempts   int
	GRPCStatus *int    `json:"grpc_status"`
	Millis     float64 `json:"dur_ms"`
}

// readLog returns the lines of a log when there are n.
func readLog(t *testing.T, path string, n int) (lines []logged) {
	t.Helper()
	var text []byte
	testutil.Eventually(t, testutil.Patience, func() bool {
		text, _ = os.ReadFile(path)
		return strings.Count(string(text), "\n") >= n
	}, "the log has all requests")
	for line := range strings.Lines(string(text)) {
		var l logged
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		lines = append(lines, l)
	}
	if len(lines) != n {
		t.Fatalf("%d lines of %d requests", len(lines), n)
	}
	return lines
}

// Requests of all kinds are spans that say what the log says of them.
func TestTracing_kinds(t *testing.T) {
	s, keys, path := newSpanStore(t), newKeys(t), filepath.Join(t.TempDir(), "access.log")
	c := &caller{T: t}
	text := fmt.Sprintf(kindsConf, path, s.endpoint, keys.cert, keys.key)
	for pattern, to := range kindsRoutes {
		text += fmt.Sprintf("[[routes]]\nname = \"to %s\"\npattern = %q\ndest = %q\n", pattern, pattern, to)
	}
	for name, keys := range c.backends() {
		text += fmt.Sprintf("[upstreams.%s]\n%s", name, keys)
	}
	e, stop := startServer(t, "%s", text)
	c.connect(e.Addresses()[0].Addr.String(), e.Addresses()[1].Addr.String(),
		&tls.Config{RootCAs: keys.pool, ServerName: "localhost"})
	n := testutil.Rounds(1000)
	names, next := slices.Sorted(maps.Keys(kinds)), atomic.Int64{}
	var running sync.WaitGroup
	for range 16 {
		running.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				c.one(names[i%len(names)])
			}
		})
	}
	running.Wait()
	lines := readLog(t, path, n)
	sent := func() float64 {
		return counterOf(e, "edge_export_records_total", observe.Label{Name: "signal", Value: "traces"},
			observe.Label{Name: "result", Value: "sent"})
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return sent() >= float64(n) }, "all records are sent")
	stop()
	if v := sent(); v != float64(n) {
		t.Errorf("%v records are sent, want %d", v, n)
	}
	if v := counterOf(e, "edge_export_records_total"); v != float64(n) {
		t.Errorf("%v records in all, want %d", v, n)
	}
	servers, clients := s.of("kinds", otlptrace.Span_SPAN_KIND_SERVER)
	compare(c, lines, servers, clients)
	t.Logf("%d requests, %d attempts, %d after the first, %d taken back", n, len(clients), c.resent, c.takenBack)
	if n == 1000 && (c.resent == 0 || c.takenBack == 0) {
		t.Error("there are no retries, or no hedges")
	}
}

// compare compares spans with the lines of the log.
func compare(c *caller, lines []logged, servers, clients []*otlptrace.Span) {
	byID, below, all := make(map[string]*otlptrace.Span), make(map[string][]*otlptrace.Span), make(map[string]bool)
	for _, span := range servers {
		id, _ := attributesOf(c.T, span.Attributes)["edge.request_id"].(string)
		if byID[id] != nil {
			c.Errorf("two spans of %s", id)
		}
		byID[id] = span
	}
	for _, span := range clients {
		parent := string(span.ParentSpanId)
		below[parent] = append(below[parent], span)
		all[hex.EncodeToString(span.SpanId)] = true
	}
	for number := range c.told.Range {
		if !all[number.(string)] {
			c.Errorf("a backend was told of the span %v, which did not come", number)
		}
	}
	seen := 0
	for _, l := range lines {
		span := byID[l.ID]
		if span == nil {
			c.Errorf("there is no span of %+v", l)
			continue
		}
		tries := below[string(span.SpanId)]
		seen += len(tries)
		c.checkServer(l, span)
		c.checkTries(l, span, tries)
	}
	if seen != len(clients) || len(servers) != len(lines) {
		c.Errorf("%d of %d attempts have a parent; %d requests, %d logged", seen, len(clients), len(servers),
			len(lines))
	}
}

// checkServer checks the span of a request.
func (c *caller) checkServer(l logged, s *otlptrace.Span) {
	k, a := kinds[l.Kind], attributesOf(c.T, s.Attributes)
	if !slices.Contains(k.status, l.Status) || a["http.response.status_code"] != int64(l.Status) {
		c.Errorf("the status is %v: %+v", a["http.response.status_code"], l)
	}
	failed, failure := s.Status.GetCode() == otlptrace.Status_STATUS_CODE_ERROR, ""
	if a["error.type"] != nil {
		failure = a["error.type"].(string)
	}
	if failed != (failure != "") || failure != k.failure {
		c.Errorf("error.type is %q, want %q; status %v: %+v", failure, k.failure, s.Status, l)
	}
	want := map[string]any{"edge.listener": l.Listener, "edge.route": l.Route, "edge.upstream": l.Upstream,
		"edge.reason": l.Reason, "edge.cache": l.Cache, "edge.retry": l.Retry, "edge.hedge": l.Hedge,
		"http.request.method": l.Method, "url.path": l.Path, "url.query": l.Query}
	want["http.request.header.x-kind"] = fmt.Sprintf("%q", []string{l.Kind})
	if l.GRPCStatus != nil {
		want["edge.grpc_status"] = int64(*l.GRPCStatus)
	}
	if l.Attempts > 1 {
		want["edge.attempts"] = int64(l.Attempts)
	}
	for key, v := range want {
		if v == "" {
			v = nil
		}
		if a[key] != v {
			c.Errorf("%s is %#v, want %#v: %+v", key, a[key], v, l)
		}
	}
	for key := range a {
		if !otlp.HasAttribute(key) {
			c.Errorf("%s is no name for a request", key)
		}
	}
	parent := ""
	if _, given := c.given.Load(l.Trace); given {
		parent = remoteParent
	}
	if hex.EncodeToString(s.TraceId) != l.Trace || hex.EncodeToString(s.ParentSpanId) != parent || s.Flags&1 == 0 {
		c.Errorf("%x, parent %x, flags %x: %+v", s.TraceId, s.ParentSpanId, s.Flags, l)
	}
	took := float64(s.EndTimeUnixNano-s.StartTimeUnixNano) / 1e6
	if off := took - l.Millis; off < -.01 || off > .01 {
		c.Errorf("it took %v ms: %+v", took, l)
	}
}

// checkTries checks the spans of the attempts of a request: there are as many as the log counts, those that were taken
// back among them. An answer of edge itself, or of its cache, has none.
func (c *caller) checkTries(l logged, server *otlptrace.Span, tries []*otlptrace.Span) {
	want := l.Attempts
	if kinds[l.Kind].alone {
		want = 0
	}
	if len(tries) != want {
		c.Errorf("%d attempts, want %d: %+v", len(tries), want, l)
	}
	for i, s := range tries {
		a := attributesOf(c.T, s.Attributes)
		for key := range a {
			if !otlp.HasAttribute(key) && key != "url.full" && key != "http.request.resend_count" {
				c.Errorf("%s is no name for an attempt", key)
			}
		}
		if s.StartTimeUnixNano < server.StartTimeUnixNano || s.EndTimeUnixNano > server.EndTimeUnixNano {
			c.Errorf("%v is not within %v: %+v", s, server, l)
		}
		status, _ := a["http.response.status_code"].(int64)
		failed := s.Status.GetCode() == otlptrace.Status_STATUS_CODE_ERROR
		if failed != (a["error.type"] != nil) || status >= 400 && !failed || strings.Contains(s.Name, "/") ||
			string(s.TraceId) != string(server.TraceId) {
			c.Errorf("%v: %+v", s, l)
		}
		failure, _ := a["error.type"].(string)
		if want := cmp.Or(kinds[l.Kind].failure, map[string]string{"404": "404"}[l.Kind]); i == len(tries)-1 &&
			want != failure && a["edge.hedged"] == nil && failure != "cancelled" {
			c.Errorf("error.type of an attempt is %q, want %q: %+v", failure, want, l)
		}
		if a["http.request.resend_count"] != nil {
			c.resent++
		}
		if failure == "cancelled" {
			c.takenBack++
		}
	}
}

// counterOf returns the sum of the counters of s with these labels.
func counterOf(s *server.Server, name string, labels ...observe.Label) (v float64) {
	s.Registry().Each(func(sample observe.Sample) {
		for _, l := range labels {
			if !slices.Contains(sample.Labels, l) {
				return
			}
		}
		if sample.Name == name {
			v += sample.Value
		}
	})
	return v
}
