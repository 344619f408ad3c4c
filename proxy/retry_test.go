package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// faulty is an origin that answers as handle says, and counts.
type faulty struct {
	address string
	asked   atomic.Int32
	conns   atomic.Int32
	close   func()
}

func newFaulty(t *testing.T, protocols string, handle http.HandlerFunc) *faulty {
	t.Helper()
	f := &faulty{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		handle(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			f.conns.Add(1)
		}
	}
	var p http.Protocols
	p.SetHTTP1(protocols == "h1")
	p.SetUnencryptedHTTP2(protocols == "h2")
	s.Config.Protocols = &p
	s.Start()
	testutil.CloseServer(t, s)
	f.address, f.close = s.Listener.Addr().String(), s.Close
	return f
}

// retrying returns a rig of one reactor that leads to the addresses with a policy.
func retrying(t *testing.T, p *retry.Policy, o upstream.Options, filter *proxy.Filter, addresses ...string) *rig {
	t.Helper()
	if o.Backends == nil {
		o.Backends = backend.Of(addresses...)
	}
	to := &proxy.ToOptions{Retry: p, Method: balance.RoundRobin}
	if filter == nil {
		return ledBy(t, o, to)
	}
	return ledBy(t, o, to, filter)
}

// ledBy returns a rig of one reactor that leads to an upstream in a way.
func ledBy(t *testing.T, o upstream.Options, to *proxy.ToOptions, filters ...*proxy.Filter) *rig {
	t.Helper()
	return newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{Name: "all", To: proxy.To(upstream.New(e, o), to)}}
	}, filters...)
}

// on returns a policy with conditions and a budget that lasts.
func on(t testing.TB, words ...string) *retry.Policy {
	t.Helper()
	c, err := retry.Parse(words...)
	if err != nil {
		t.Fatal(err)
	}
	return &retry.Policy{On: c}
}

// wellAnswering answers with the body of the request.
func wellAnswering(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "well %s", body)
}

func failing(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// An answer that is a condition is replaced by that of another member, for requests that may be repeated: over both
// versions of HTTP, with a body that was kept, and without a filter seeing the first one. The connection of an answer
// that is short, or of HTTP/2, serves on.
func TestRetry_ofAnswers(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		method, body, bad string
		status            int
		h2, again, lost   bool
	}{
		"GET":                       {method: "GET", status: 503, bad: "sorry", again: true},
		"HEAD":                      {method: "HEAD", status: 503, bad: "sorry", again: true},
		"no body":                   {method: "GET", status: 503, again: true},
		"a long answer":             {method: "GET", status: 503, bad: large, again: true, lost: true},
		"PUT":                       {method: "PUT", body: "hello", status: 503, bad: "sorry", again: true},
		"QUERY":                     {method: "QUERY", body: "hello", status: 503, bad: "sorry", again: true},
		"PUT of a large body":       {method: "PUT", body: large, status: 503},
		"POST":                      {method: "POST", body: "hello", status: 503},
		"another status":            {method: "GET", status: 500},
		"GET over HTTP/2":           {method: "GET", status: 503, bad: "sorry", h2: true, again: true},
		"a long answer over HTTP/2": {method: "GET", status: 503, bad: large, h2: true, again: true},
		"PUT over HTTP/2":           {method: "PUT", body: "hello", status: 503, h2: true, again: true},
		"POST over HTTP/2":          {method: "POST", body: "hello", status: 503, h2: true},
		"too many requests":         {method: "GET", status: 429, bad: "wait", again: true},
	} {
		t.Run(name, func(t *testing.T) {
			protocol, o := "h1", upstream.Options{}
			if c.h2 {
				protocol, o.Protocol = "h2", upstream.H2
			}
			bad, good := newFaulty(t, protocol, failing(c.status, c.bad)), newFaulty(t, protocol, wellAnswering)
			var seen atomic.Int32
			f := &proxy.Filter{Name: "look", UpstreamResponse: func(x *proxy.Exchange) {
				if x.Status() == c.status {
					seen.Add(1)
				}
			}}
			r := retrying(t, on(t, "503", "429"), o, f, bad.address, good.address)
			failed := 0
			for range 6 {
				resp, got := fetch(t, c.method, r.url+"/", c.body)
				switch want := "well " + c.body; {
				case resp.StatusCode == c.status:
					failed++
				case resp.StatusCode != 200 || c.method != "HEAD" && got != want:
					t.Fatalf("%d, %.40q", resp.StatusCode, got)
				}
			}
			if again := failed == 0; again != c.again || int(seen.Load()) != failed {
				t.Errorf("%d failed, filters saw %d", failed, seen.Load())
			}
			if n := bad.asked.Load(); n < 3 || !c.again && n > 3 {
				t.Errorf("the one that fails was asked %d times", n)
			}
			if n := bad.conns.Load(); c.again && (n > 1) != c.lost {
				t.Errorf("the one that fails had %d connections", n)
			}
		})
	}
}

// The budget bounds retries. Then the answer itself goes on, and the log says why.
func TestRetry_budget(t *testing.T) {
	bad := newFaulty(t, "h1", failing(503, "sorry"))
	p := on(t, "503")
	p.Budget = retry.NewBudget(1, 20)
	var denied atomic.Int32
	f := &proxy.Filter{Name: "log", Log: func(_ *proxy.Exchange, r *observe.Record) {
		for _, field := range r.Fields {
			if field.Name == "retry" && field.Value == "budget" {
				denied.Add(1)
			}
		}
	}}
	r := retrying(t, p, upstream.Options{}, f, bad.address)
	for range 10 {
		if resp, got := fetch(t, "GET", r.url+"/", ""); resp.StatusCode != 503 || got != "sorry" {
			t.Fatalf("%d, %q", resp.StatusCode, got)
		}
	}
	// The last request has been answered, maybe not logged.
	testutil.Eventually(t, testutil.Patience, func() bool { return denied.Load() == 9 })
	if n := bad.asked.Load(); n != 13 {
		t.Errorf("asked %d times", n)
	}
	var s proxy.Stats
	r.on(func(re *engine.Reactor) { s = r.proxy.Stats(re) })
	if s.Retries != 3 || s.RetriesDenied != 9 {
		t.Errorf("%d retries, %d denied", s.Retries, s.RetriesDenied)
	}
}

// A member that says when it wants to be asked again is not asked before; another one is.
func TestRetry_after(t *testing.T) {
	for _, c := range []struct {
		after string
		asked int32
	}{{"", 3}, {"0", 3}, {"60", 1}, {"soon", 3}} {
		bad := newFaulty(t, "h1", func(w http.ResponseWriter, _ *http.Request) {
			if c.after != "" {
				w.Header().Set("Retry-After", c.after)
			}
			w.WriteHeader(503)
		})
		r := retrying(t, on(t, "503"), upstream.Options{}, nil, bad.address)
		start := time.Now()
		resp, _ := fetch(t, "GET", r.url+"/", "")
		took := time.Since(start)
		if resp.StatusCode != 503 || bad.asked.Load() != c.asked || c.asked == 3 && took < 37*time.Millisecond {
			t.Errorf("%q: %d, asked %d times in %v", c.after, resp.StatusCode, bad.asked.Load(), took)
		}
		good := newFaulty(t, "h1", wellAnswering)
		r = retrying(t, on(t, "503"), upstream.Options{}, nil, bad.address, good.address)
		for range 2 {
			if resp, _ := fetch(t, "GET", r.url+"/", ""); resp.StatusCode != 200 {
				t.Errorf("%q: %d", c.after, resp.StatusCode)
			}
		}
	}
}

// A client that leaves during the pause before a retry ends the exchange.
func TestRetry_clientLeavesInAPause(t *testing.T) {
	bad := newFaulty(t, "h1", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(503)
	})
	r := retrying(t, on(t, "503"), upstream.Options{}, nil, bad.address)
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	testutil.Eventually(t, testutil.Patience, func() bool { return bad.asked.Load() == 1 })
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
	testutil.Eventually(t, testutil.Patience, func() bool {
		active := 1
		r.on(func(re *engine.Reactor) { active = r.proxy.Stats(re).Active })
		return active == 0
	})
	if n := bad.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// A connection that dies under a request before its answer is no failure of a request that may be repeated, whether
// it had served before or not, and over both versions of HTTP.
func TestRetry_lostConnections(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		for _, c := range []struct {
			method, partly string
			again          bool
		}{
			{"GET", "", true}, {"PUT", "", true}, {"QUERY", "", true}, {"POST", "", false},
			{"GET", "HTTP/1.1 200 OK\r\nContent-L", true},
		} {
			bad := newFaulty(t, protocol, hangUp(c.partly))
			good := newFaulty(t, protocol, wellAnswering)
			o := upstream.Options{}
			if protocol == "h2" {
				o.Protocol = upstream.H2
			}
			r := retrying(t, on(t, "reset"), o, nil, bad.address, good.address)
			failed := 0
			for range 4 {
				if resp, _ := fetch(t, c.method, r.url+"/", "x"); resp.StatusCode != 200 {
					failed++
				}
			}
			if again := failed == 0; again != c.again || bad.asked.Load() < 2 {
				t.Errorf("%s %+v: %d failed", protocol, c, failed)
			}
			r = retrying(t, on(t, "connect"), o, nil, bad.address)
			if resp, _ := fetch(t, c.method, r.url+"/", "x"); resp.StatusCode != 502 {
				t.Errorf("%s %+v: %d without the condition", protocol, c, resp.StatusCode)
			}
		}
	}
}

// A member that takes requests and does not answer is given up after the time of a try. The last try has all the time
// that an answer has.
func TestRetry_perTry(t *testing.T) {
	testutil.OnlyPlain(t)
	t.Parallel()
	const perTry = 600 * time.Millisecond // more than the good one takes on a busy machine
	for _, protocol := range []string{"h1", "h2"} {
		if testing.Short() && protocol == "h1" {
			continue
		}
		leave := make(chan struct{})
		slow := newFaulty(t, protocol, func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-leave:
			}
		})
		good := newFaulty(t, protocol, wellAnswering)
		p := on(t, "timeout")
		p.PerTry = perTry
		o := upstream.Options{Client: session.ClientOptions{FirstByte: 4 * perTry}}
		if protocol == "h2" {
			o.Protocol = upstream.H2
		}
		o.Backends = backend.Of(slow.address, good.address)
		r := retrying(t, p, o, nil)
		for _, c := range []struct {
			method string
			want   int // of the two requests, how many are answered well
		}{{"GET", 2}, {"PUT", 2}, {"POST", 1}} {
			well := 0
			start := time.Now()
			for range 2 {
				if resp, _ := fetch(t, c.method, r.url+"/", "x"); resp.StatusCode == 200 {
					well++
				}
			}
			if took := time.Since(start); well != c.want || took < perTry || c.want == 1 && took < 4*perTry {
				t.Errorf("%s %s: %d answered, in %v", protocol, c.method, well, took)
			}
			// A failure that a retry hides is one all the same.
			if d, _ := o.Backends.Members()[0].Latency(); d < time.Second/2 {
				t.Errorf("%s %s: the one that is silent takes %v", protocol, c.method, d)
			}
		}
		o.Backends = nil
		r = retrying(t, p, o, nil, slow.address)
		start, before := time.Now(), slow.asked.Load()
		resp, _ := fetch(t, "GET", r.url+"/", "")
		took, asked := time.Since(start), slow.asked.Load()-before
		if resp.StatusCode != 504 || asked != 3 || took < 6*perTry {
			t.Errorf("%s: %d after %d tries in %v", protocol, resp.StatusCode, asked, took)
		}
		close(leave)
	}
}

// A member that takes connections and says nothing in the handshake of TLS is given up after the time of a try,
// whatever the method: nothing was sent to it.
func TestRetry_perTryOfHandshakes(t *testing.T) {
	t.Parallel()
	good := httptest.NewUnstartedServer(http.HandlerFunc(wellAnswering))
	good.EnableHTTP2 = true
	good.StartTLS()
	defer good.Close()
	for _, protocol := range []upstream.Protocol{upstream.H1, upstream.H2, upstream.Auto} {
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p := on(t, "connect", "timeout")
		p.PerTry = 100 * time.Millisecond
		o := upstream.Options{Protocol: protocol, TLS: upstream.TLS{On: true, Insecure: true}, Connect: time.Minute}
		o.Retries = 100 // on a machine that is busy the good one may need longer as well
		r := retrying(t, p, o, nil, silent.Addr().String(), good.Listener.Addr().String())
		start := time.Now()
		for _, method := range []string{"GET", "POST", "GET", "POST"} {
			if resp, _ := fetch(t, method, r.url+"/", "x"); resp.StatusCode != 200 {
				t.Errorf("protocol %d: %s got %d", protocol, method, resp.StatusCode)
			}
		}
		if took := time.Since(start); took < p.PerTry || took >= o.Connect {
			t.Errorf("protocol %d: four requests took %v", protocol, took)
		}
		// A connection that is shared, or may be, is not given up with its requests. The goroutine of a handshake gives
		// its memory back to a reactor that runs.
		silent.Close()
		testutil.Eventually(t, testutil.Patience, func() bool { return r.engine.Stats().BufBytes == 0 })
	}
}

// What the client has seen is not taken back: an answer after an interim one that was passed on stands.
func TestRetry_notAfterAnInterimAnswer(t *testing.T) {
	bad := newFaulty(t, "h1", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(103)
		w.WriteHeader(503)
	})
	good := newFaulty(t, "h1", wellAnswering)
	r := retrying(t, on(t, "503"), upstream.Options{}, nil, bad.address, good.address)
	failed := 0
	for range 4 {
		if resp, _ := fetch(t, "GET", r.url+"/", ""); resp.StatusCode == 503 {
			failed++
		}
	}
	if failed != 2 {
		t.Errorf("%d of 4 failed", failed)
	}
}

// Where one of two members refuses connections, no request fails and none needs the budget.
func TestRetry_refusedIsFree(t *testing.T) {
	good := newFaulty(t, "h1", wellAnswering)
	p := on(t, "connect")
	p.Budget = retry.NewBudget(1, 1)
	r := retrying(t, p, upstream.Options{}, nil, testutil.FreeAddr(t), good.address)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 25 {
				if resp, _ := fetch(t, "POST", r.url+"/", "x"); resp.StatusCode != 200 {
					t.Error(resp.StatusCode)
				}
			}
		})
	}
	wait.Wait()
}

// A call of gRPC is repeated where its status is a condition, which it is only when an operator says so, and unless the
// server wants no retry.
func TestRetry_calls(t *testing.T) {
	for _, c := range []struct {
		on, status, pushback string
		again                bool
	}{
		{"grpc:unavailable", "14", "", true}, {"grpc:unavailable", "14", "5", true},
		{"grpc:unavailable", "14", "-1", false}, {"grpc:unavailable", "14", "60000", false},
		{"grpc:unavailable", "13", "", false}, {"503", "14", "", false},
	} {
		var asked atomic.Int32
		origin := newFaulty(t, "h2", func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/grpc")
			status := c.status
			if asked.Add(1)%2 == 0 {
				status = "0"
			} else if c.pushback != "" {
				w.Header().Set("Grpc-Retry-Pushback-Ms", c.pushback)
			}
			w.Header().Set("Grpc-Status", status)
		})
		o := upstream.Options{Protocol: upstream.H2, Backends: backend.Of(origin.address)}
		r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
			to := proxy.To(upstream.New(e, o), &proxy.ToOptions{Retry: on(t, c.on)})
			return []proxy.Route{{Name: "all", GRPC: proxy.On, To: to}}
		})
		resp, _ := r.postAs(t, "/a.B/C", "application/grpc", "\x00\x00\x00\x00\x00")
		if got := resp.Header.Get("Grpc-Status"); (got == "0") != c.again || !c.again && got != c.status {
			t.Errorf("%+v: status %q after %d tries", c, got, asked.Load())
		}
	}
}

// A backend that fails calls of gRPC at once does not draw more of them.
func TestRetry_callsThatFailFast(t *testing.T) {
	answering := func(status string) *faulty {
		return newFaulty(t, "h2", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", status)
		})
	}
	bad, good := answering("14"), answering("0")
	o := upstream.Options{Protocol: upstream.H2, Backends: backend.Of(bad.address, good.address)}
	r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{Name: "all", GRPC: proxy.On, To: proxy.To(upstream.New(e, o), nil)}}
	})
	for range 100 {
		r.postAs(t, "/a.B/C", "application/grpc", "\x00\x00\x00\x00\x00")
	}
	if n := bad.asked.Load(); n == 0 || n > 20 {
		t.Errorf("the one that fails got %d of 100 calls", n)
	}
}
