package proxy_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// readRig is a proxy whose route reads n bytes of a body, before an origin that sends the body back.
func readRig(t *testing.T, n int, filters ...*proxy.Filter) *rig {
	t.Helper()
	o := newFaulty(t, "h1", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		w.Header()["X-Got"] = []string{fmt.Sprint(r.ContentLength, len(body), err, r.Header["Expect"])}
		w.Write(body)
	})
	return newRig(t, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{Name: "read", To: to(e, o.address), ReadBody: n}}
	}, filters...)
}

// A filter of the route sees as much of the body as the route reads, and the origin gets all of it as it was sent.
func TestReadBody(t *testing.T) {
	saw := make(chan string, 1)
	rig := readRig(t, 1000, &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		begin, whole := x.Body()
		saw <- fmt.Sprintf("%d %v%s", len(begin), whole, strings.Trim(string(begin), "ab"))
		return proxy.Next
	}})
	h1 := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Hour}}
	t.Cleanup(h1.CloseIdleConnections)
	for protocol, client := range map[string]*http.Client{"HTTP/1": h1, "HTTP/2": testutil.H2C(t)} {
		for _, c := range []struct {
			size     int
			measured bool
			expect   string
			saw      string
		}{
			{0, true, "", "0 true"},
			{1, true, "", "1 true"},
			{999, false, "", "999 true"},
			{1000, true, "", "1000 true"},
			{1001, true, "", "1000 false"},
			{1001, false, "", "1000 false"},
			{300_000, true, "", "1000 false"},
			{300_000, false, "", "1000 false"},
			{500, true, "100-continue", "500 true"},
			{300_000, false, "100-continue", "1000 false"},
		} {
			sent := strings.Repeat("ab", c.size/2) + strings.Repeat("a", c.size%2)
			var body io.Reader = strings.NewReader(sent)
			if !c.measured {
				body = struct{ io.Reader }{body}
			}
			req, _ := http.NewRequest("POST", rig.url, body)
			if c.expect != "" {
				req.Header.Set("Expect", c.expect)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatalf("%s %+v: %v", protocol, c, err)
			}
			got, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			length := c.size
			if !c.measured {
				length = -1
			}
			want := fmt.Sprint(length, c.size, nil, []string(nil))
			if s := <-saw; s != c.saw || string(got) != sent || resp.Header.Get("X-Got") != want {
				t.Errorf("%s %+v: the filter saw %s; %d bytes came back, the origin got %s, want %s", protocol, c, s,
					len(got), resp.Header.Get("X-Got"), want)
			}
		}
	}
	rig.settled(t)
}

// What a client does before enough of its body is here costs the backend nothing: no route is led to, nothing is held.
func TestReadBody_badBodies(t *testing.T) {
	rig := readRig(t, 1000, &proxy.Filter{Request: func(*proxy.Exchange) proxy.Verdict {
		t.Error("a filter of the route was asked")
		return proxy.Next
	}})
	const head = "POST / HTTP/1.1\r\nHost: h\r\n"
	for name, sent := range map[string]string{
		"a chunk that is none":     head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
		"a bad trailer":            head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n(: b\r\n\r\n",
		"a chunk that is too long": head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
	} {
		w := testutil.Dial(t, rig.addr())
		w.Send(sent)
		if got := w.ReadHead(); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, sent := range []string{"Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"} {
		w := testutil.Dial(t, rig.addr())
		w.Send(head + sent)
		testutil.Eventually(t, testutil.Patience, func() bool { return rig.stats().Active > 0 }, "the head is here")
		w.Reset()
		rig.settled(t)
	}
}

// A body that does not come is answered as any other, and the backend is not asked.
func TestReadBody_late(t *testing.T) {
	s := setTunnel(t, stageOptions{
		route:   proxy.Route{ReadBody: 1000},
		session: session.ServerOptions{BodyTimeout: 50 * time.Millisecond},
	})
	for i, expect := range []string{"", "Expect: 100-continue\r\n"} {
		down := s.client()
		down.Send("POST / HTTP/1.1\r\nHost: h\r\n" + expect + "Content-Length: 5\r\n\r\n")
		if expect != "" {
			down.ReadHead()
		}
		down.Send("abc")
		s.wantStatus(down, "POST", 408, "edge; error=http_request_error")
		s.log.want(t, i+1, 408, "client:request_body")
	}
}

// The begin of a body holds until the exchange ends, whatever is done with the rest of it meanwhile: it waits for a
// parked filter, a worker looks at the begin as more comes, filters change what goes on.
func TestReadBody_holdsToTheEnd(t *testing.T) {
	want := func(x *proxy.Exchange, when string) {
		begin, whole := x.Body()
		if len(begin) != 1000 || whole || bytes.Trim(begin, "a") != nil {
			t.Errorf("%s: %d bytes, whole: %v, %q", when, len(begin), whole, bytes.Trim(begin, "a"))
		}
	}
	looks := func(when string) func(*proxy.Exchange) proxy.Verdict {
		return func(x *proxy.Exchange) proxy.Verdict {
			for range 100 { // a worker, beside the reactor
				want(x, when)
			}
			return proxy.Next
		}
	}
	ends := &proxy.Filter{Log: func(x *proxy.Exchange, _ *observe.Record) { want(x, "log") }}
	for name, filters := range map[string][]*proxy.Filter{
		"on the reactor": {{Request: looks("request"), Response: looks("response")}},
		"on a worker": {{Request: looks("request"), Response: looks("response"),
			Blocking: proxy.PhaseRequest | proxy.PhaseResponse}},
		"parked": {{Request: func(x *proxy.Exchange) proxy.Verdict {
			ref := x.Ref()
			time.AfterFunc(2*time.Millisecond, func() { ref.Resume(proxy.Next) })
			return proxy.Park
		}, Response: looks("response")}},
		"with a filter of bodies": {{Request: looks("request"), Response: looks("response"),
			Blocking:    proxy.PhaseRequest,
			RequestBody: upper}},
	} {
		rig := readRig(t, 1000, append(filters, ends)...)
		body := strings.Repeat("a", 1000) + strings.Repeat("b", 400_000)
		for range 5 {
			resp, got := rig.post(t, "/", body)
			if resp.StatusCode != 200 || !strings.EqualFold(got, body) {
				t.Errorf("%s: %s, %d bytes", name, resp.Status, len(got))
			}
		}
		rig.settled(t)
	}
}

// A second attempt goes where the same body leads, and has it whole.
func TestReadBody_attempts(t *testing.T) {
	keys := make(chan string, 3)
	o := newFaulty(t, "h1", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Attempt") == "" {
			w.WriteHeader(503)
		}
		w.Write(body)
	})
	opened := &proxy.Filter{Connected: func(x *proxy.Exchange) {
		v := proxy.View(x)
		key, err := scope(t).Template(`{json(body, "k")}`, lang.Content)
		testutil.Must(t, err)
		keys <- string(key.Append(nil, v))
		if x.Attempts() == 1 {
			x.Request.Set("X-Attempt", "2") // for the next one
		}
	}}
	rig := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
		u := upstream.New(e, upstream.Options{Backends: backend.Of(o.address)})
		return []proxy.Route{{To: proxy.To(u, &proxy.ToOptions{Retry: on(t, "503")}), ReadBody: 16}}
	}, opened)
	body := `{"k":"v","more":"` + strings.Repeat("x", 30_000) + `"}`
	w := testutil.Dial(t, rig.addr())
	w.Send(fmt.Sprintf("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	resp, got := w.ReadResponse("PUT")
	if first, second := <-keys, <-keys; resp.StatusCode != 200 || got != body || first != "v" || second != "v" {
		t.Error(resp.Status, len(got), first, second)
	}
}

// A call of gRPC is read as any other body, and rules and filters of bodies see what its backend gets.
func TestReadBody_calls(t *testing.T) {
	o := newFaulty(t, "h2", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("X-Got", fmt.Sprintf("%d: %q", r.ContentLength, body))
	})
	saw, filtered := make(chan string, 1), make(chan string, 10)
	rig := newRig(t, func(e *engine.Engine) []proxy.Route {
		u := upstream.New(e, upstream.Options{Backends: backend.Of(o.address), Protocol: upstream.H2})
		return []proxy.Route{
			{Path: "/read", To: proxy.To(u, nil), ReadBody: 16, GRPC: proxy.On, Filters: []*proxy.Filter{{
				RequestBody: func(x *proxy.Exchange, in []byte, end bool) proxy.Verdict {
					x.Emit(in)
					filtered <- string(in)
					return proxy.Next
				},
			}}},
			{Path: "/whole", To: proxy.To(u, nil), ReadBody: 16, BufferRequest: 100, GRPC: proxy.On},
		}
	}, &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		begin, whole := x.Body()
		saw <- fmt.Sprint(string(begin), " ", whole)
		return proxy.Next
	}})
	text := func(body string) string {
		return base64.StdEncoding.EncodeToString([]byte(body[:4])) + base64.StdEncoding.EncodeToString([]byte(body[4:]))
	}
	for _, client := range []*http.Client{http.DefaultClient, testutil.H2C(t)} {
		for _, c := range []struct{ contentType, body, saw, got string }{
			{"application/grpc", "a message", "a message true", "a message"},
			{"application/grpc", "a message that is longer", "a message that i false", "a message that is longer"},
			{"application/grpc-web", "a message", "a message true", "a message"},
			{"application/grpc-web-text", text("a message"), "a message true", "a message"}, // of 8 and 8 bytes
			{"application/grpc-web-text", text("a message that is longer"), "a message  false",
				"a message that is longer"},
			{"application/grpc", "", " true", ""},
		} {
			for _, path := range []string{"/read", "/whole"} {
				resp, err := client.Post(rig.url+path, c.contentType, strings.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				length := -1
				if path == "/whole" && !strings.HasSuffix(c.contentType, "-text") || c.body == "" {
					length = len(c.got)
				}
				want := fmt.Sprintf("%d: %q", length, c.got)
				if s, got := <-saw, resp.Header.Get("X-Got"); s != c.saw || got != want {
					t.Errorf("%s %s %q: the filter saw %q, the backend got %q", path, c.contentType, c.body, s, got)
				}
			}
			for all := ""; all != c.got; all += <-filtered {
				if !strings.HasPrefix(c.got, all) {
					t.Fatalf("%s: the filter of bodies saw %q", c.contentType, all)
				}
			}
			for len(filtered) > 0 {
				<-filtered
			}
		}
		resp, err := client.Post(rig.url+"/whole", "application/grpc", strings.NewReader(strings.Repeat("x", 101)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		<-saw
		wantCall(t, resp, "8", "The request body is too large.")
	}
	http.DefaultClient.CloseIdleConnections()
	rig.settled(t)
}

// What a client says of its body gives it no more time to send as much of it as the route reads.
func TestReadBody_lateCall(t *testing.T) {
	s := setTunnel(t, stageOptions{
		route:   proxy.Route{ReadBody: 1000, GRPC: proxy.On},
		session: session.ServerOptions{BodyTimeout: 50 * time.Millisecond},
	})
	down := s.client()
	down.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc\r\nContent-Length: 5\r\n\r\nabc")
	s.wantStatus(down, "POST", 408, "edge; error=http_request_error")
	s.log.want(t, 1, 408, "client:request_body")
}

// A request for a tunnel is not waited for: it has no body.
func TestReadBody_tunnels(t *testing.T) {
	s := setTunnel(t, stageOptions{route: proxy.Route{ReadBody: 1000, BufferRequest: 1000}})
	s.play(t, &proxy.Listener{}, overTLS, extendedConnect("websocket"), true)
	if head := s.accept().ReadHead(); !strings.HasPrefix(head, "GET /chat HTTP/1.1\r\n") {
		t.Error(head)
	}
}

// A member that may be in the part that was not read is counted, once a request, and logged.
func TestReadBody_cut(t *testing.T) {
	small := condition(t, `json(body, "model") == "small"`, lang.Content)
	rig := readRig(t, 1000, &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		for range 2 {
			if proxy.Evaluate(x, proxy.View(x), small) {
				return proxy.Respond(200, "small")
			}
		}
		return proxy.Next
	}})
	pad := `"` + strings.Repeat("x", 2000) + `"`
	for body, want := range map[string]string{
		`{"model":"small","text":` + pad + `}`: "small 0",
		`{"text":` + pad + `,"model":"small"}`: "own 1",
		`{"model":"large","text":` + pad + `}`: "own 0",
		`{"model":"small"}`:                    "small 0",
		`{"text":"x"}`:                         "own 0",
		`text=` + pad:                          "refused 0",
		"{\"a\":\"\xff\"," + pad:               "refused 0",
	} {
		before := rig.stats().BodiesCut
		resp, got := rig.post(t, "/", body)
		if resp.StatusCode == 400 {
			got = "refused"
		} else if got == body {
			got = "own"
		}
		rig.settled(t)
		if got = fmt.Sprint(got, " ", rig.stats().BodiesCut-before); got != want {
			t.Errorf("%.40s: %s, want %s", body, got, want)
		}
	}
}

// To read a body and find a member in it allocates nothing.
func TestReadBody_warmAllocatesNothing(t *testing.T) {
	if invariant.On {
		t.Skip("the checks allocate")
	}
	body := `{"messages":[{"role":"user","content":"` + strings.Repeat("words ", 160) + `"}],"model":"small"}`
	request := fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	small := condition(t, `json(body, "model") == "small"`, lang.Content)
	held := 0
	g := warm.NewRouted(t, request, &proxy.Listener{}, func(origin *upstream.Upstream) []proxy.Route {
		return []proxy.Route{{To: proxy.To(origin, nil), ReadBody: 4 << 10, Filters: []*proxy.Filter{{
			Request: func(x *proxy.Exchange) proxy.Verdict {
				if proxy.Evaluate(x, proxy.View(x), small) {
					held++
				}
				return proxy.Next
			},
		}}}}
	})
	if allocs := testutil.Allocs(1000, g.Exchange); allocs != 0 || held < 1000 {
		t.Errorf("%v allocations; it held %d times", allocs, held)
	}
}

// forking is a Front that sends a request to the backend by a fork with its body, as the cache does for QUERY.
type forking struct{ front }

func (f *forking) Open(x *proxy.Exchange, to session.Receiver) proxy.Opening {
	s := &followed{to: to, x: x}
	s.fork = new(proxy.Forked)
	s.fork.Body, _ = proxy.BodyOf(x)
	proxy.Fork(s.fork, x, f.onward, (*forkSide)(s))
	s.fork.Body = nil
	s.task.Run = func(*engine.Reactor) {
		if s.posted = false; s.fork != nil {
			s.fork.Resume()
		}
	}
	return proxy.Opening{Stream: s}
}

// A fork has what the route has read of the body: as much of it, before any filter of bodies, and cut where it was.
func TestReadBody_fork(t *testing.T) {
	saw := make(chan string, 2)
	look := func(x *proxy.Exchange) {
		b, whole := x.Body()
		saw <- fmt.Sprintf("%d %v %.1s", len(b), whole, b)
	}
	o := newFaulty(t, "h1", func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	rig := newRig(t, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{To: &forking{front{onward: to(e, o.address)}}, ReadBody: 1000, BufferRequest: 10_000}}
	}, &proxy.Filter{
		Request:     func(x *proxy.Exchange) proxy.Verdict { look(x); return proxy.Next },
		RequestBody: upper,
		Connected:   look,
	})
	rig.post(t, "/", strings.Repeat("a", 5000))
	if own, fork := <-saw, <-saw; own != "1000 false a" || fork != own {
		t.Errorf("the exchange has %q, its fork %q", own, fork)
	}
}

// The begin of a body is in the budget of memory for as long as it is held, also when more comes for a worker.
func TestReadBody_isInTheBudget(t *testing.T) {
	const n = 1 << 20
	at, on := make(chan bool), make(chan bool)
	o := newFaulty(t, "h1", func(w http.ResponseWriter, r *http.Request) {
		io.CopyN(io.Discard, r.Body, n)
		http.NewResponseController(w).EnableFullDuplex() //nolint:errcheck // it is HTTP/1
		io.WriteString(w, "early")
		http.NewResponseController(w).Flush()
		io.Copy(io.Discard, r.Body)
	})
	rig := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{To: to(e, o.address), ReadBody: n}}
	}, &proxy.Filter{Blocking: proxy.PhaseResponse, Response: func(x *proxy.Exchange) proxy.Verdict {
		at <- true
		<-on
		if begin, _ := x.Body(); len(begin) != n { // n bytes are in memory
			t.Error(len(begin))
		}
		return proxy.Next
	}})
	held := func() int64 {
		got := make(chan int64)
		rig.engine.Reactors()[0].Post(&engine.Task{Run: func(r *engine.Reactor) { got <- int64(r.Stats().BufBytes) }})
		return <-got
	}
	w := testutil.Dial(t, rig.addr())
	w.Send(fmt.Sprintf("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", n+10), strings.Repeat("a", n))
	<-at
	before := held()
	w.Send("12345") // waits for the worker
	testutil.Eventually(t, testutil.Patience, func() bool { return held() != before }, "the bytes came")
	if after := held(); after < n {
		t.Errorf("%d bytes are counted, of which the begin of the body has %d; %d were before", after, n, before)
	}
	on <- true
	w.Send("67890")
	w.ReadResponse("PUT")
}

func condition(t testing.TB, text string, in lang.Phases) *lang.Condition {
	t.Helper()
	c, err := scope(t).Condition(text, in)
	testutil.Must(t, err)
	return c
}

func scope(t testing.TB) *lang.Scope {
	t.Helper()
	s, err := variables.Scope(lang.Names{})
	testutil.Must(t, err)
	return s
}
