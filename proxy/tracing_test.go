package proxy_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/trace"
	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// spans keeps records with what they refer to.
type spans struct {
	mu  sync.Mutex
	all []*observe.Record
}

func (s *spans) Append(r *observe.Record) {
	kept := &observe.Record{}
	if rest, err := observe.ReadRecord(observe.AppendRecord(nil, r), kept); err != nil || len(rest) > 0 {
		panic(fmt.Sprint(len(rest), err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, kept)
}

// wait returns n records, and fails where there are others.
func (s *spans) wait(t *testing.T, n int) []*observe.Record {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.all) >= n
	}, "the spans are recorded")
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) != n {
		t.Fatalf("%d records, want %d", len(s.all), n)
	}
	all := s.all
	s.all = nil
	return all
}

// tracing returns a rig whose listener has t, with the records that it makes.
func tracing(
	t *testing.T, c proxy.Tracing, routes func(*engine.Engine) []proxy.Route, filters ...*proxy.Filter,
) (*rig, *spans) {
	t.Helper()
	e := newEngine(t, engine.Options{Reactors: 1})
	to := &spans{}
	c.To = []proxy.AccessLog{to}
	on := &proxy.Listener{Name: "test", Tracing: &c, Redact: observe.NewRedaction([]string{"token"})}
	return serve(t, e, on, session.ServerOptions{H2C: true}, routes(e), filters...), to
}

// versionOne returns a route for /v1/* to an upstream of the addresses.
func versionOne(p *retry.Policy, o upstream.Options, addresses ...string) func(*engine.Engine) []proxy.Route {
	return func(e *engine.Engine) []proxy.Route {
		o.Backends = backend.Of(addresses...)
		return []proxy.Route{{Name: "api", Path: "/v1", To: proxy.To(upstream.New(e, o), &proxy.ToOptions{
			Retry: p, Method: balance.RoundRobin,
		})}}
	}
}

// contexts keeps the Traceparent and the Tracestate of requests.
type contexts struct {
	mu  sync.Mutex
	all []string
}

func (s *contexts) handle(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, strings.Join(append(r.Header["Traceparent"], r.Header["Tracestate"]...), " "))
}

func (s *contexts) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.Join(s.all, "\n")
	s.all = nil
	return text
}

const (
	someTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	someParent = "00f067aa0ba902b7"
	someSpan   = "00-" + someTrace + "-" + someParent + "-01"
)

func askWith(t *testing.T, url string, fields ...string) int {
	t.Helper()
	resp, _ := testutil.Do(t, http.DefaultClient, newGet(t, url, fields))
	return resp.StatusCode
}

// parents returns the Traceparent that an attempt of a recorded request has sent.
func parents(r *observe.Record, attempt int) string {
	s := r.Span
	return fmt.Sprintf("00-%x-%x-%02x", s.Trace, s.Attempts[attempt].ID, s.Flags)
}

// What the request comes with decides on the trace, on the parent and, where the peer's word counts, on the record.
func TestTracing_context(t *testing.T) {
	got := &contexts{}
	origin := newFaulty(t, "h1", got.handle)
	for name, c := range map[string]struct {
		accept   proxy.Acceptance
		share    float64
		fields   []string
		trace    string // of the span; "": a new one
		recorded bool
		passed   string // where nothing is recorded; "": a new trace, not sampled
	}{
		"nothing":              {share: 1, recorded: true},
		"nothing, not sampled": {},
		"a stranger's":         {share: 1, fields: []string{"traceparent", someSpan}, trace: someTrace, recorded: true},
		"a stranger's, unsampled": {fields: []string{"traceparent", someSpan, "tracestate", "a=1"},
			passed: someSpan + " a=1"},
		"accepted": {accept: proxy.AcceptAll, fields: []string{"traceparent", someSpan}, trace: someTrace,
			recorded: true},
		"accepted, not sampled": {accept: proxy.AcceptAll, share: 1,
			fields: []string{"traceparent", someSpan[:53] + "00"}, passed: someSpan[:53] + "00"},
		"twice": {accept: proxy.AcceptAll, fields: []string{"traceparent", someSpan, "traceparent", someSpan}},
		"malformed, with a state": {accept: proxy.AcceptAll,
			fields: []string{"traceparent", "ff" + someSpan[2:], "tracestate", "a=1"}},
		"all zeros": {share: 1, fields: []string{"traceparent", "00-" + strings.Repeat("0", 32) + someSpan[35:]},
			recorded: true},
		"a huge state": {accept: proxy.AcceptAll,
			fields: []string{"traceparent", someSpan, "tracestate", strings.Repeat("a=1,", 2000)}},
	} {
		t.Run(name, func(t *testing.T) {
			rig, records := tracing(t, proxy.Tracing{Accept: c.accept, Sampler: trace.NewSampler(c.share, 0, 1)},
				versionOne(nil, upstream.Options{}, origin.address))
			if status := askWith(t, rig.url+"/v1/a?token=x", c.fields...); status != 200 {
				t.Fatal(status)
			}
			sent := got.take()
			if c.passed != "" {
				if sent != c.passed {
					t.Errorf("%q is sent, want %q", sent, c.passed)
				}
				records.wait(t, 0)
				return
			}
			if !c.recorded {
				if records.wait(t, 0); len(sent) != 55 || sent[53:] != "02" || strings.Contains(sent, someTrace) {
					t.Errorf("%q is sent, want a new trace that is not sampled", sent)
				}
				return
			}
			r := records.wait(t, 1)[0]
			s := r.Span
			if want := parents(r, 0); sent != want || s.Flags&1 == 0 {
				t.Errorf("%q is sent, want %q", sent, want)
			}
			if traced := hex.EncodeToString(s.Trace[:]); c.trace != "" && (traced != c.trace ||
				hex.EncodeToString(s.Parent[:]) != someParent) || string(r.TraceID) != traced {
				t.Errorf("trace %x, parent %x, logged as %s", s.Trace, s.Parent, r.TraceID)
			}
			if s.ID == (trace.ID{}) || s.ID == s.Attempts[0].ID || c.trace == "" && s.Parent != (trace.ID{}) ||
				s.Pattern != "/v1/*" || string(r.Query) != "token=REDACTED" {
				t.Errorf("%+v, %s", s, r.Query)
			}
			a := s.Attempts[0]
			if len(s.Attempts) != 1 || a.Number != 1 || a.Backend != origin.address || a.Status != 200 ||
				a.Error != "" || a.Proto != observe.ProtoHTTP11 || a.Began > a.Ended || a.Ended > r.Dur ||
				a.T.FirstByte <= 0 {
				t.Errorf("%+v, the request took %d", a, r.Dur)
			}
		})
	}
}

// Each attempt is a span: an attempt that fails to connect, an attempt whose answer is replaced, and the last attempt.
func TestTracing_attempts(t *testing.T) {
	got := &contexts{}
	bad := newFaulty(t, "h1", func(w http.ResponseWriter, r *http.Request) {
		got.handle(w, r)
		w.WriteHeader(503)
	})
	good := newFaulty(t, "h1", got.handle)
	refused := refusing(t)
	rig, records := tracing(t, proxy.Tracing{Sampler: trace.NewSampler(1, 0, 1)}, versionOne(on(t, "5xx", "connect"),
		upstream.Options{Retries: 3}, refused, bad.address, good.address))
	for range 6 {
		if status := askWith(t, rig.url+"/v1/a"); status != 200 {
			t.Fatal(status)
		}
	}
	seenBy := map[string]int{}
	sent := map[string]bool{}
	for _, parent := range strings.Split(got.take(), "\n") {
		sent[parent] = true
	}
	for _, r := range records.wait(t, 6) {
		last := len(r.Span.Attempts) - 1
		if last+1 != r.Attempts {
			t.Errorf("%d spans of %d attempts", last+1, r.Attempts)
		}
		for i, a := range r.Span.Attempts {
			if a.Number != i+1 || a.Began > a.Ended || i > 0 && a.Began < r.Span.Attempts[i-1].Ended {
				t.Errorf("attempt %d: %+v", i+1, a)
			}
			want := map[string]string{
				refused: "0 connection_refused", bad.address: "503 ", good.address: "200 ",
			}[a.Backend]
			if is := fmt.Sprint(a.Status, " ", a.Error); is != want || (i == last) != (a.Backend == good.address) {
				t.Errorf("attempt %d of %d at %s: %s", i+1, last+1, a.Backend, is)
			}
			if asked := a.Backend != refused; sent[parents(r, i)] != asked {
				t.Errorf("attempt %d at %s has sent %s: %v", i+1, a.Backend, parents(r, i), !asked)
			}
			seenBy[a.Backend]++
		}
	}
	if seenBy[refused] == 0 || seenBy[bad.address] == 0 || seenBy[good.address] != 6 {
		t.Errorf("attempts: %v", seenBy)
	}
}

// A request that was not sampled is recorded where Always holds. Its backends were told that it is not.
func TestTracing_late(t *testing.T) {
	got := &contexts{}
	origin := newFaulty(t, "h1", func(w http.ResponseWriter, r *http.Request) {
		got.handle(w, r)
		if r.URL.Path == "/v1/bad" {
			w.WriteHeader(500)
		}
	})
	names, err := variables.Scope(lang.Names{})
	if err != nil {
		t.Fatal(err)
	}
	failed, err := names.Condition("status >= 500", lang.Log)
	if err != nil {
		t.Fatal(err)
	}
	name, _ := names.Template("{method} {header.user-agent}", lang.Log)
	tenant, _ := names.Template("{query.tenant}", lang.Log)

	rig, records := tracing(t, proxy.Tracing{
		Sampler: trace.NewSampler(0, 0, 1), Always: []*lang.Condition{failed}, Name: name,
		Attributes:  []proxy.Attribute{{Name: "tenant", Value: tenant}, {Name: "none", Value: tenant}},
		FieldsAsked: []string{"user-agent", "x-none"}, FieldsAnswer: []string{"content-length"},
	}, versionOne(nil, upstream.Options{}, origin.address))
	askWith(t, rig.url+"/v1/good?tenant=a", "User-Agent", "u")
	askWith(t, rig.url+"/v1/bad?tenant=a", "User-Agent", "u")
	askWith(t, rig.url+"/other", "User-Agent", "u")
	r := records.wait(t, 1)[0]
	s := r.Span
	if r.Status != 500 || s.Flags&1 != 0 || len(s.Attempts) != 1 || s.Attempts[0].ID == (trace.ID{}) ||
		!strings.HasSuffix(strings.Split(got.take(), "\n")[1], "-02") {
		t.Errorf("%d, %+v", r.Status, s)
	}
	if string(s.Name) != "GET u" || fmt.Sprintf("%s", s.Attributes) != "[{tenant a} {none a}]" ||
		fmt.Sprintf("%s", s.Request) != "[{user-agent u}]" || fmt.Sprintf("%s", s.Answer) != "[{content-length 0}]" {
		t.Errorf("%s %s %s %s", s.Name, s.Attributes, s.Request, s.Answer)
	}
}

// asksOnce makes a sub-request for each request of a client.
func asksOnce(x *proxy.Exchange) proxy.Verdict {
	if len(x.Request.Get("X-Asked")) > 0 {
		return proxy.Next
	}
	return proxy.Ask(x, &proxy.Sub{Target: "/v1/sub", Prepare: func(h *message.Head) { h.Set("X-Asked", "1") },
		Done: func(x *proxy.Exchange, _ *proxy.Sub) proxy.Verdict { return proxy.Next }})
}

// A sub-request is part of the trace of its parent, and so is what both send.
func TestTracing_subRequest(t *testing.T) {
	got := &contexts{}
	origin := newFaulty(t, "h1", got.handle)
	asking := &proxy.Filter{Name: "asking", Request: asksOnce}
	rig, records := tracing(t, proxy.Tracing{Sampler: trace.NewSampler(1, 0, 1)},
		versionOne(nil, upstream.Options{}, origin.address), asking)
	if status := askWith(t, rig.url+"/v1/a"); status != 200 {
		t.Fatal(status)
	}
	all := records.wait(t, 2)
	sub, whole := all[0], all[1]
	if string(sub.Path) != "/v1/sub" {
		sub, whole = whole, sub
	}
	if sub.Span.Trace != whole.Span.Trace || sub.Span.Parent != whole.Span.ID || whole.Span.Parent != (trace.ID{}) {
		t.Errorf("%+v of %+v", sub.Span, whole.Span)
	}
	if want := parents(sub, 0) + "\n" + parents(whole, 0); got.take() != want {
		t.Errorf("sent is not %s", want)
	}
}

// A second attempt beside the first one, and the first one taken back, are spans.
func TestTracing_hedged(t *testing.T) {
	release := make(chan struct{})
	slow := newFaulty(t, "h1", func(http.ResponseWriter, *http.Request) { <-release })
	fast := newFaulty(t, "h1", func(http.ResponseWriter, *http.Request) {})
	defer close(release)
	policy := on(t, "connect")
	policy.Hedge = &retry.Hedge{After: time.Millisecond}
	rig, records := tracing(t, proxy.Tracing{Sampler: trace.NewSampler(1, 0, 1)},
		versionOne(policy, upstream.Options{}, slow.address, fast.address))
	hedged := 0
	for range 4 {
		if status := askWith(t, rig.url+"/v1/a"); status != 200 {
			t.Fatal(status)
		}
		r := records.wait(t, 1)[0]
		if len(r.Span.Attempts) != r.Attempts {
			t.Errorf("%d spans of %d attempts", len(r.Span.Attempts), r.Attempts)
		}
		if r.Attempts == 2 {
			first, second := r.Span.Attempts[0], r.Span.Attempts[1]
			if hedged++; first.Backend != slow.address || first.Error != "cancelled" || second.Status != 200 ||
				second.Number != 2 || !second.Hedge || first.Hedge || second.Began > first.Ended ||
				first.ID == second.ID {
				t.Errorf("%+v", r.Span.Attempts)
			}
		}
	}
	if hedged == 0 {
		t.Error("no request was hedged")
	}
}

// What a trace costs a warm exchange: nothing is allocated.
func tracingListeners(nowhere proxy.AccessLog) map[string]*proxy.Listener {
	all := map[string]*proxy.Listener{}
	for name, share := range map[string]float64{"not sampled": 0, "sampled": 1} {
		all[name] = &proxy.Listener{Tracing: &proxy.Tracing{
			To: []proxy.AccessLog{nowhere}, Sampler: trace.NewSampler(share, 0, 1),
			Status: []proxy.StatusRange{{From: 500, To: 599}},
		}}
	}
	return all
}

func TestTracing_allocatesNothing(t *testing.T) {
	sink, err := observe.Open(observe.Options{Records: discardRecords{}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sink.Close() }()
	for name, on := range tracingListeners(sink.AccessLog(observe.FormatJSON)) {
		g := warm.New(t, warm.Browser, on)
		if allocs := testutil.Allocs(1000, g.Exchange); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

// discardRecords takes records and forgets them.
type discardRecords struct{}

func (discardRecords) WriteRecords(p []byte) (int, error) { return len(p), nil }

// BenchmarkTracing compares exchanges with and without a trace, on the reactor alone.
func BenchmarkTracing(b *testing.B) {
	sink, err := observe.Open(observe.Options{Records: discardRecords{}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = sink.Close() }()
	plain := warm.New(b, warm.Browser, &proxy.Listener{})
	for name, on := range tracingListeners(sink.AccessLog(observe.FormatJSON)) {
		b.Run(name, func(b *testing.B) { ratio(b, plain, warm.New(b, warm.Browser, on)) })
	}
}

// Backends of a request with sub-requests are told of its trace, recorded or not: one without a Traceparent begins a
// trace of its own.
func TestTracing_subRequestUnsampled(t *testing.T) {
	got := &contexts{}
	origin := newFaulty(t, "h1", got.handle)
	asks := func(name string) *proxy.Filter { return &proxy.Filter{Name: name, Request: asksOnce} }
	rig, records := tracing(t, proxy.Tracing{Sampler: trace.NewSampler(0, 0, 1)},
		versionOne(nil, upstream.Options{}, origin.address), asks("one"), asks("two"))
	if status := askWith(t, rig.url+"/v1/a"); status != 200 {
		t.Fatal(status)
	}
	sent := strings.Split(got.take(), "\n")
	for _, parent := range sent {
		if len(parent) != 55 || parent[:36] != sent[0][:36] || parent[53:] != "02" {
			t.Errorf("%q are sent, want one trace that is not sampled", sent)
		}
	}
	records.wait(t, 0)
	if status := askWith(t, rig.url+"/v1/a", "traceparent", someSpan); status != 200 {
		t.Fatal(status)
	}
	if want := strings.Repeat("\n"+someSpan, 3)[1:]; got.take() != want {
		t.Errorf("a trace that came is not passed on as it came")
	}
}

// A route that records nothing is chosen after a filter has asked: its backend is told of no span that never comes.
func TestTracing_askedBeforeTheRoute(t *testing.T) {
	got := &contexts{}
	origin := newFaulty(t, "h1", got.handle)
	asking := &proxy.Filter{Name: "asking", BeforeRoute: asksOnce}
	one := versionOne(nil, upstream.Options{}, origin.address)
	rig, records := tracing(t, proxy.Tracing{Sampler: trace.NewSampler(1, 0, 1)},
		func(e *engine.Engine) []proxy.Route {
			all := one(e)
			return append(all, proxy.Route{Name: "off", Path: "/off", To: all[0].To, Tracing: &proxy.Tracing{}})
		}, asking)
	if status := askWith(t, rig.url+"/off/a"); status != 200 {
		t.Fatal(status)
	}
	sent := strings.Split(got.take(), "\n")
	if len(sent) != 2 || sent[0][:36] != sent[1][:36] || sent[1][53:] != "02" {
		t.Errorf("%q are sent, want one trace that is not sampled at last", sent)
	}
	if r := records.wait(t, 1)[0]; string(r.Path) != "/v1/sub" {
		t.Errorf("%s is recorded", r.Path)
	}
	if status := askWith(t, rig.url+"/off/a", "traceparent", someSpan, "X-Asked", "1"); status != 200 {
		t.Fatal(status)
	}
	if sent := got.take(); sent != someSpan {
		t.Errorf("%q is sent, want what came", sent)
	}
}

// A span has whole members of a Tracestate: half of one is another one.
func TestTracing_longState(t *testing.T) {
	origin := newFaulty(t, "h1", func(http.ResponseWriter, *http.Request) {})
	rig, records := tracing(t, proxy.Tracing{Sampler: trace.NewSampler(1, 0, 1)},
		versionOne(nil, upstream.Options{}, origin.address))
	for state, want := range map[string]string{
		"a=1": "a=1", strings.Repeat("a", 600): "",
		"a=" + strings.Repeat("1", 510) + ",b=2":            "a=" + strings.Repeat("1", 510),
		"a=1,b=" + strings.Repeat("2", 500) + ",cc=333,d=4": "a=1,b=" + strings.Repeat("2", 500),
	} {
		askWith(t, rig.url+"/v1/a", "traceparent", someSpan, "tracestate", state)
		if got := records.wait(t, 1)[0].Span.State; string(got) != want {
			t.Errorf("%s of %s, want %s", got, state, want)
		}
	}
}

// What the texts of spans need is held by a reactor, not by each of the exchanges that it keeps for the next requests.
func TestTracing_memoryOfTexts(t *testing.T) {
	const together = 64
	release, waiting := make(chan struct{}), make(chan struct{}, together)
	origin := newFaulty(t, "h1", func(http.ResponseWriter, *http.Request) {
		waiting <- struct{}{}
		<-release
	})
	names, err := variables.Scope(lang.Names{})
	if err != nil {
		t.Fatal(err)
	}
	c := proxy.Tracing{Sampler: trace.NewSampler(1, 0, 1)}
	for i := range observe.MembersMax {
		long, _ := names.Template(strings.Repeat("{header.x-long}", 20), lang.Log)
		c.Attributes = append(c.Attributes, proxy.Attribute{Name: fmt.Sprint("a", i), Value: long})
	}
	rig, records := tracing(t, c, versionOne(nil, upstream.Options{}, origin.address))
	held := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := held()
	var asked sync.WaitGroup
	for range together {
		asked.Go(func() { askWith(t, rig.url+"/v1/a", "X-Long", strings.Repeat("x", 3<<10)) })
	}
	for range together {
		<-waiting
	}
	close(release)
	asked.Wait()
	for _, r := range records.wait(t, together) {
		if v := r.Span.Attributes[observe.MembersMax-1].Value; len(v) != 256 {
			t.Fatalf("a text has %d bytes", len(v))
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if grown := int64(held()) - int64(before); grown > 4<<20 {
		t.Errorf("%d requests have left %d KiB", together, grown>>10)
	}
}
