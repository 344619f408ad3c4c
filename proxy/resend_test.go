package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// stubborn is a filter that wants another attempt after each failure, and counts how often it was asked.
func stubborn(asked *atomic.Int32) *proxy.Filter {
	return &proxy.Filter{Error: func(*proxy.Exchange, *proxy.Error) proxy.Verdict {
		asked.Add(1)
		return proxy.Resend
	}}
}

// hangUp ends the connection of HTTP/1, or the stream of HTTP/2, when the request is whole, after a part of an answer.
func hangUp(partly string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if h, ok := w.(http.Hijacker); ok {
			conn, _, _ := h.Hijack()
			io.WriteString(conn, partly)
			conn.Close()
			return
		}
		panic(http.ErrAbortHandler)
	}
}

// A filter has a request sent once more that the conditions of the upstream would not: what was not processed with any
// method, else what may be repeated. The body goes along.
func TestResend_whatMayBe(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		for name, c := range map[string]struct {
			method  string
			address func() string
			again   bool
		}{
			"refused":         {"GET", func() string { return refusing(t) }, true},
			"refused, a call": {"POST", func() string { return refusing(t) }, true},
			"closed":          {"GET", func() string { return newFaulty(t, protocol, hangUp("")).address }, true},
			"closed, a body":  {"PUT", func() string { return newFaulty(t, protocol, hangUp("")).address }, true},
			"closed, a call":  {"POST", func() string { return newFaulty(t, protocol, hangUp("")).address }, false},
			"a part of a head": {"GET",
				func() string { return newFaulty(t, protocol, hangUp("HTTP/1.1 2")).address }, true},
			"an interim answer": {"GET", func() string {
				return newFaulty(t, protocol, func(w http.ResponseWriter, r *http.Request) {
					w.WriteHeader(http.StatusEarlyHints)
					hangUp("")(w, r)
				}).address
			}, false},
			"malformed": {"GET", func() string { return newFaulty(t, protocol, hangUp("SSH-2.0\r\n\r\n")).address },
				protocol == "h2"}, // where the stream is reset
		} {
			var o upstream.Options
			if protocol == "h2" {
				o.Protocol = upstream.H2
			}
			var asked atomic.Int32
			good := newFaulty(t, protocol, wellAnswering)
			r := retrying(t, on(t), o, stubborn(&asked), c.address(), good.address)
			failed := 0
			for range 4 {
				if resp, body := fetch(t, c.method, r.url+"/", "x"); resp.StatusCode != 200 {
					failed++
				} else if body != "well x" {
					t.Errorf("%s, %s: %q", protocol, name, body)
				}
			}
			if again := failed == 0; again != c.again || asked.Load() < 1 {
				t.Errorf("%s, %s: %d failed, the filter was asked %d times", protocol, name, failed, asked.Load())
			}
			if n := r.stats().Retries; (n > 0) != c.again {
				t.Errorf("%s, %s: %d retries are counted", protocol, name, n)
			}
		}
	}
}

// Of HTTP/2, a stream that a backend refuses was not processed.
func TestResend_refusedStream(t *testing.T) {
	var asked atomic.Int32
	refused := 0
	s := newFramed(t)
	s.ended = func(c *framedConn, id uint32, body string) {
		if refused++; refused == 1 {
			refuseStream(c, id)
			return
		}
		c.answer(id, body)
	}
	r := retrying(t, on(t), upstream.Options{Protocol: upstream.H2}, stubborn(&asked), s.Addr().String())
	if resp, body := fetch(t, "POST", r.url+"/", "x"); resp.StatusCode != 200 || body != "x" || asked.Load() != 1 {
		t.Errorf("%d %q, asked %d times", resp.StatusCode, body, asked.Load())
	}
}

// It goes on for as long as the upstream allows attempts, its budget pays, and there is time.
func TestResend_bounds(t *testing.T) {
	slow := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	spent := retry.NewBudget(1, 20)
	for spent.Take(0, 0) {
	}
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		policy *retry.Policy
		route  proxy.Route
		status int
		asked  int32
		noted  string
	}{
		"attempts": {hangUp(""), on(t), proxy.Route{}, 502, 3, ""}, // 1 and upstream.Options.Retries
		"budget":   {hangUp(""), &retry.Policy{Budget: spent}, proxy.Route{}, 502, 1, "budget"},
		"time":     {slow, on(t), proxy.Route{Timeout: 50 * time.Millisecond}, 504, 1, ""},
	} {
		var asked atomic.Int32
		noted := make(chan string, 1)
		bad := newFaulty(t, "h1", c.handle)
		r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
			c.route.To = proxy.To(upstream.New(e, upstream.Options{Backends: backend.Of(bad.address)}),
				&proxy.ToOptions{Retry: c.policy})
			return []proxy.Route{c.route}
		}, stubborn(&asked), &proxy.Filter{Log: func(_ *proxy.Exchange, r *observe.Record) {
			why := ""
			for _, f := range r.Fields {
				why += f.Value
			}
			noted <- why
		}})
		resp, _ := fetch(t, "GET", r.url+"/", "")
		if n := bad.asked.Load(); resp.StatusCode != c.status || asked.Load() != c.asked || n > c.asked ||
			n < c.asked && c.status != 504 { // time may be over before the backend has the request
			t.Errorf("%s: %d, the filter was asked %d times, the backend %d", name, resp.StatusCode, asked.Load(),
				bad.asked.Load())
		}
		if why := <-noted; why != c.noted {
			t.Errorf("%s: noted is %q, want %q", name, why, c.noted)
		}
	}
}

// SetDestination has it sent elsewhere, with its body. A Resend that cannot be leaves the failure to the next filter.
func TestResend_elsewhere(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		good := newFaulty(t, protocol, wellAnswering)
		var o upstream.Options
		if protocol == "h2" {
			o.Protocol = upstream.H2
		}
		var other proxy.Destination
		away := &proxy.Filter{Error: func(x *proxy.Exchange, _ *proxy.Error) proxy.Verdict {
			x.SetDestination(other)
			return proxy.Resend
		}}
		teapot := &proxy.Filter{Error: func(*proxy.Exchange, *proxy.Error) proxy.Verdict {
			return proxy.Respond(418, "")
		}}
		closes := newFaulty(t, protocol, hangUp(""))
		r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
			to := func(address string) proxy.Destination {
				own := o
				own.Backends = backend.Of(address)
				return proxy.To(upstream.New(e, own), &proxy.ToOptions{Retry: on(t)})
			}
			other = to(good.address)
			return []proxy.Route{
				{Path: "/refused", To: to(refusing(t))}, {Path: "/closed", To: to(closes.address)},
				{Path: "/none", To: proxy.DestinationFunc(func(*proxy.Exchange) proxy.Destination { return nil })},
			}
		}, away, teapot)
		for _, c := range []struct {
			method, path string
			status       int
		}{
			{"POST", "/refused", 200}, {"GET", "/closed", 200}, {"PUT", "/closed", 200}, {"POST", "/closed", 418},
			{"GET", "/none", 418}, {"GET", "/nowhere", 418},
		} {
			resp, body := fetch(t, c.method, r.url+c.path, "x")
			if resp.StatusCode != c.status || c.status == 200 && body != "well x" {
				t.Errorf("%s: %s %s: %d %q, want %d", protocol, c.method, c.path, resp.StatusCode, body, c.status)
			}
		}
	}
}

// In other phases nothing has failed that could be sent once more.
func TestResend_ofErrorAlone(t *testing.T) {
	again := func(*proxy.Exchange) proxy.Verdict { return proxy.Resend }
	onBody := func(*proxy.Exchange, []byte, bool) proxy.Verdict { return proxy.Resend }
	for phase, f := range map[string]*proxy.Filter{
		"BeforeRoute": {BeforeRoute: again}, "Request": {Request: again}, "Response": {Response: again},
		"blocking": {Request: again, Blocking: proxy.PhaseRequest}, "RequestBody": {RequestBody: onBody},
		"ConnectFailed": {ConnectFailed: func(*proxy.Exchange, *proxy.Error) proxy.Verdict { return proxy.Resend }},
	} {
		good := newFaulty(t, "h1", wellAnswering).address
		if phase == "ConnectFailed" {
			good = refusing(t)
		}
		r := retrying(t, on(t), upstream.Options{}, f, good)
		resp, _ := fetch(t, "PUT", r.url+"/", "x")
		if status := resp.Header.Get("Proxy-Status"); resp.StatusCode != 500 ||
			!strings.Contains(status, "proxy_internal_error") {
			t.Errorf("%s: %d %s", phase, resp.StatusCode, status)
		}
	}
}

// Times tells what the access log has, and how long a look-up of the destination's name took.
func TestTimes(t *testing.T) {
	told := make(chan string, 1)
	early := make(chan proxy.Durations, 1)
	good := newFaulty(t, "h1", wellAnswering)
	r := retrying(t, on(t, "connect"), upstream.Options{}, &proxy.Filter{
		Request: func(x *proxy.Exchange) proxy.Verdict {
			proxy.LookedUp(x, 3*time.Millisecond)
			return proxy.Next
		},
		Response: func(x *proxy.Exchange) proxy.Verdict {
			early <- proxy.Times(x)
			return proxy.Next
		},
		Blocking: proxy.PhaseResponse,
		Log: func(x *proxy.Exchange, r *observe.Record) {
			d := proxy.Times(x)
			had := observe.Timings{Queue: int64(d.Queue), Connect: int64(d.Connect), TLS: int64(d.TLS),
				FirstByte: int64(d.FirstByte), Body: int64(d.Body)}
			if had != r.T || int64(d.Total) != r.Dur || d.DNS != 3*time.Millisecond || d.Connect*d.FirstByte <= 0 {
				told <- fmt.Sprintf("%+v, the record has %+v in %d", d, r.T, r.Dur)
				return
			}
			told <- ""
		},
	}, refusing(t), good.address)
	if resp, _ := fetch(t, "GET", r.url+"/", ""); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	if d := <-early; d.FirstByte <= 0 || d.Total < d.FirstByte {
		t.Errorf("on a worker it is %+v", d)
	}
	if wrong := <-told; wrong != "" {
		t.Error(wrong)
	}
}
