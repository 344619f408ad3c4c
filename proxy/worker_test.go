package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
	"github.com/edge-proxy/edge/session"
)

// newWorkerRig is a proxy on one reactor with one route, whose clients may speak HTTP/2. It logs into log.
func newWorkerRig(t *testing.T, l *proxy.Listener, log *keptLog, route func(e *engine.Engine) proxy.Route) *rig {
	t.Helper()
	e := newEngine(t, engine.Options{Reactors: 1})
	l.Log = []proxy.AccessLog{log}
	return serve(t, e, l, session.ServerOptions{H2C: true}, []proxy.Route{route(e)})
}

// one leads to a backend over one connection, whatever it speaks.
func one(e *engine.Engine, address string, protocol upstream.Protocol) proxy.Destination {
	return proxy.To(upstream.New(e, upstream.Options{
		Backends: backend.Of(address), Protocol: protocol, PerBackend: 1, QueueTimeout: time.Minute,
	}), nil)
}

// worker is a filter that has the test wait for its worker, and the worker for the test.
type worker struct {
	entered chan *proxy.Exchange // owned by the test until it says proceed
	proceed chan proxy.Verdict
}

func newWorker() *worker {
	return &worker{make(chan *proxy.Exchange, 1), make(chan proxy.Verdict)}
}

// run is the function of a phase that blocks. Only requests for /held are held.
func (w *worker) run(x *proxy.Exchange) proxy.Verdict {
	if string(x.Request.Path()) != "/held" {
		return proxy.Next
	}
	w.entered <- x
	return <-w.proceed
}

// The trailers of a request that come while a worker owns it wait for it: what it makes of the head holds for them.
func TestWorker_trailersOfTheRequest(t *testing.T) {
	for _, version := range []string{"h1", "h2c"} {
		t.Run(version, func(t *testing.T) {
			got := make(chan http.Header, 1)
			v := newVersioned(t, version, 0, func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.ReadAll(r.Body); err != nil {
					panic(http.ErrAbortHandler)
				}
				got <- r.Trailer
			})
			w, log := newWorker(), &keptLog{}
			on := &proxy.Listener{}
			r := newWorkerRig(t, on, log, func(e *engine.Engine) proxy.Route {
				protocol := map[string]upstream.Protocol{"h1": upstream.H1, "h2c": upstream.H2}[version]
				return proxy.Route{To: one(e, v.Listener.Addr().String(), protocol), Filters: []*proxy.Filter{
					{Request: w.run, Blocking: proxy.PhaseRequest},
				}}
			})
			h := headOf("POST", "http", "a", "/held", "Trailer: x-hop, x-sum", "Connection: x-old")
			h.Length = message.LengthUnknown
			p := r.play(t, on, nil, h, false)
			x := <-w.entered
			p.do(func() {
				p.receiver.OnData(p.playedStream, []byte("hello"), false)
				var trailers message.Head
				trailers.Add("X-Old", "1")
				trailers.Add("X-Hop", "1")
				trailers.Add("X-Sum", "1")
				p.receiver.OnTrailers(p.playedStream, &trailers)
			})
			x.Request.AddID(message.Connection, "Connection", "x-hop") // RFC 9110 §7.6.1
			w.proceed <- proxy.Next
			if h := <-got; h.Get("X-Sum") != "1" || h.Get("X-Hop") != "" || h.Get("X-Old") != "" {
				t.Errorf("the backend got %v", h)
			}
			p.want(t, "head 200")
		})
	}
}

// answerWithTrailers answers the first request of an HTTP/2 connection with trailers, all others without.
func answerWithTrailers(c *framedConn, id uint32, _ string) {
	if id > 1 {
		c.answer(id, "other")
		return
	}
	writeHead(c.Framer, id, false, ":status", "200", "content-type", "application/grpc")
	c.WriteData(id, false, []byte(frame("hello")))
	writeHead(c.Framer, id, true, "x-hop", "1", "x-sum", "1", "grpc-status", "1")
}

// serveTrailers answers the first request of an HTTP/1 connection with trailers, all others without.
func serveTrailers(t *testing.T) string {
	l := testutil.Listen(t)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		o := testutil.NewWire(t, conn)
		o.ReadHead()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n"+
			"a\r\n"+frame("hello")+"\r\n0\r\nX-Hop: 1\r\nX-Sum: 1\r\nGrpc-Status: 1\r\n\r\n")
		o.ReadHead()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")
		io.Copy(io.Discard, conn) //nolint:errcheck // until the other end has enough
	}()
	return l.Addr().String()
}

// clientOf returns a client of one version, without TLS.
func clientOf(t *testing.T, version string) *http.Client {
	transport := &http.Transport{Protocols: protocols(version)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: testutil.Patience}
}

// The trailers of an answer that come while a worker owns it wait for it, and so do the filters of trailers.
func TestWorker_trailersOfTheAnswer(t *testing.T) {
	for _, c := range []struct{ client, origin, contentType string }{
		{"h1", "h1", "text/plain"}, {"h1", "h2c", "text/plain"}, {"h2c", "h1", "text/plain"},
		{"h2c", "h2c", "application/grpc"},
		{"h1", "h2c", "application/grpc-web"}, {"h2c", "h1", "application/grpc-web"},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			protocol, address := upstream.H1, ""
			if c.origin == "h1" {
				address = serveTrailers(t)
			} else {
				s := newFramed(t)
				s.ended = answerWithTrailers
				protocol, address = upstream.H2, s.Addr().String()
			}
			w, log := newWorker(), &keptLog{}
			var filtered atomic.Int32
			r := newWorkerRig(t, &proxy.Listener{}, log, func(e *engine.Engine) proxy.Route {
				return proxy.Route{GRPC: proxy.On, To: one(e, address, protocol), Filters: []*proxy.Filter{{
					Response: w.run, Blocking: proxy.PhaseResponse,
					Trailers: func(x *proxy.Exchange, h *message.Head) {
						filtered.Add(1)
						h.Set("X-Sum", x.Response.Get("X-Worker"))
					},
				}}}
			})
			req := requestOf(t, "POST", r.url+"/held", 0, nil)
			req.Header.Set("Content-Type", c.contentType)
			done := begin(t, clientOf(t, c.client), req)
			x := <-w.entered
			// The backend has one connection: what it answers next comes after the trailers.
			if resp, got := fetch(t, "GET", r.url+"/other", ""); resp.StatusCode != 200 || got != "other" {
				t.Fatal(resp.Status, got)
			}
			if filtered.Load() != 0 {
				t.Error("the filter of trailers ran while a worker owned the exchange")
			}
			x.Response.Add("X-Worker", "2")
			x.Response.AddID(message.Connection, "Connection", "x-hop")
			w.proceed <- proxy.Next
			got := <-done
			all := fmt.Sprint(got.trailer)
			body, trailers, web := strings.Cut(got.body, "\x80")
			if web {
				all = strings.ToUpper(trailers)
			}
			if body != frame("hello") || web != (c.contentType == "application/grpc-web") ||
				!strings.Contains(strings.ToUpper(all), "X-SUM:") || strings.Contains(strings.ToUpper(all), "X-HOP") ||
				!strings.Contains(all, "2") {
				t.Errorf("%q, %q", got.body, all)
			}
			if n := filtered.Load(); n != 1 {
				t.Errorf("the filter of trailers ran %d times", n)
			}
			if rec := log.want(t, 2, 200, ""); strings.Contains(c.contentType, "grpc") && rec.GRPCStatus != 1 {
				t.Errorf("logged %+v", rec)
			}
		})
	}
}

// A backend's stream whose answer came whole while a worker owned the exchange serves others by now: a client that
// leaves does not end theirs.
func TestWorker_answerIsWhole(t *testing.T) {
	s, w := newFramed(t), newWorker()
	asked, goOn := make(chan struct{}), make(chan struct{})
	s.ended = func(c *framedConn, id uint32, body string) {
		if id == 5 {
			close(asked)
			<-goOn
		}
		answerWithTrailers(c, id, body)
	}
	r := newWorkerRig(t, &proxy.Listener{}, &keptLog{}, func(e *engine.Engine) proxy.Route {
		return proxy.Route{To: one(e, s.Addr().String(), upstream.H2), Filters: []*proxy.Filter{
			{Response: w.run, Blocking: proxy.PhaseResponse},
		}}
	})
	client := testutil.Dial(t, r.addr())
	client.Send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
	x := <-w.entered
	fetch(t, "GET", r.url+"/other", "") // comes after the trailers
	slow := begin(t, clientOf(t, "h1"), requestOf(t, "GET", r.url+"/slow", 0, nil))
	<-asked
	client.Reset()
	<-x.Context().Done()
	close(goOn)
	if got := <-slow; got.status != 200 || got.body != "other" {
		t.Errorf("the other one: %d %q", got.status, got.body)
	}
	w.proceed <- proxy.Next
	r.settled(t)
}

// A Resume for one park does nothing to another, of the same exchange.
func TestFilter_resumeOfAnEarlierPark(t *testing.T) {
	early, late := make(chan proxy.Ref, 1), make(chan proxy.Ref, 1)
	r := newRigWith(t, engine.Options{Reactors: 1}, func(*engine.Engine) []proxy.Route {
		return []proxy.Route{{To: proxy.Answer(200, "", "own")}}
	}, &proxy.Filter{
		BeforeRoute: func(x *proxy.Exchange) proxy.Verdict { early <- x.Ref(); return proxy.Park },
		Response:    func(x *proxy.Exchange) proxy.Verdict { late <- x.Ref(); return proxy.Park },
	})
	h := headOf("POST", "http", "a", "/")
	h.Length = message.LengthUnknown
	p := r.play(t, &proxy.Listener{BodyMax: 3}, nil, h, false)
	first := <-early
	p.do(func() { p.receiver.OnData(p.playedStream, []byte("hello"), false) }) // 413, which is parked in turn
	second := <-late
	first.Resume(proxy.Next)
	first.Resume(proxy.Respond(200, "no"))
	r.wantLateResumes(t, 2)
	if len(p.events) > 0 {
		t.Fatal("somebody else's Resume released it: ", <-p.events)
	}
	second.Resume(proxy.Next)
	p.want(t, "head 413")
	p.want(t, "data")
	r.settled(t)
	second.Resume(proxy.Next)
	r.wantLateResumes(t, 3)
}

// A worker that hands its Ref on and returns Park may be resumed before it has returned.
func TestWorker_resumedBeforeItParks(t *testing.T) {
	for name, c := range map[string]struct {
		verdict, resume proxy.Verdict
		status          int
		late            uint64
	}{
		"park":       {proxy.Park, proxy.Respond(403, "no"), 403, 1},
		"no park":    {proxy.Next, proxy.Respond(403, "no"), 200, 2},
		"park later": {proxy.Next, proxy.Park, 200, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorker()
			r := newWorkerRig(t, &proxy.Listener{}, &keptLog{}, func(*engine.Engine) proxy.Route {
				return proxy.Route{To: proxy.Answer(200, "", "own"), Filters: []*proxy.Filter{
					{Request: w.run, Blocking: proxy.PhaseRequest},
				}}
			})
			conn := testutil.Dial(t, r.addr())
			conn.Send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
			ref := (<-w.entered).Ref()
			ref.Resume(c.resume)
			ref.Resume(c.resume) // the second is always one too many
			r.wantLateResumes(t, 1)
			w.proceed <- c.verdict
			if resp, _ := conn.ReadResponse("GET"); resp.StatusCode != c.status {
				t.Error(resp.Status)
			}
			r.wantLateResumes(t, c.late)
			r.settled(t)
		})
	}
}

// The stream of a client that goes while a worker owns its exchange serves others: the worker and the log go on to see
// the connection that the request came by.
func TestWorker_clientThatLeft(t *testing.T) {
	w, log := newWorker(), &keptLog{}
	r := newWorkerRig(t, &proxy.Listener{}, log, func(*engine.Engine) proxy.Route {
		return proxy.Route{To: proxy.Answer(200, "", "own"), Filters: []*proxy.Filter{
			{Request: w.run, Blocking: proxy.PhaseRequest},
		}}
	})
	port := func(c *framedClient) uint16 { return netip.MustParseAddrPort(c.conn.LocalAddr().String()).Port() }
	first, second := dialFramed(t, r.addr()), dialFramed(t, r.addr())
	first.request(1, "/held")
	x := <-w.entered
	if err := first.WriteRSTStream(1, http2.ErrCodeCancel); err != nil {
		t.Fatal(err)
	}
	<-x.Context().Done()
	second.request(1, "/held") // gets the stream that is free now
	testutil.Eventually(t, testutil.Patience, func() bool { return len(w.entered) == 1 })
	if got := x.Client().Peer().IP.Port(); got != port(first) {
		t.Errorf("the worker sees port %d, not %d", got, port(first))
	}
	if err := x.Client().SendHead(&message.Head{Status: 200}, true); err != session.ErrDead {
		t.Errorf("the worker sends: %v", err)
	}
	w.proceed <- proxy.Next
	if rec := log.want(t, 1, 499, "client:gone"); rec.ClientPort != port(first) {
		t.Errorf("port %d is logged, not %d", rec.ClientPort, port(first))
	}
	<-w.entered
	w.proceed <- proxy.Next
	second.head(1)
	r.settled(t)
}

// A handler that has answered may ask for the body while a worker owns the exchange. A client to whom that cannot be
// said ends the exchange, but not under the worker's hands.
func TestWorker_interimAnswers(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		w, asked := newWorker(), make(chan struct{})
		on := &proxy.Listener{}
		r := newWorkerRig(t, on, &keptLog{}, func(*engine.Engine) proxy.Route {
			answer := func(w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush()
				<-asked
				r.Body.Read(make([]byte, 1)) //nolint:errcheck // it asks
			}
			return proxy.Route{To: handler.FromHTTP(http.HandlerFunc(answer)), Filters: []*proxy.Filter{
				{Response: w.run, Blocking: proxy.PhaseResponse},
			}}
		})
		h := headOf("POST", "http", "a", "/held")
		h.Length, h.Continue = 5, true
		p := r.play(t, on, nil, h, false)
		p.do(func() { p.deaf = deaf })
		x := <-w.entered
		seen := make(chan struct{})
		go func() { // as the worker would
			for range 1000 {
				x.Request.Continue = !x.Request.Continue
			}
			close(seen)
		}()
		close(asked)
		p.want(t, map[bool]string{false: "head 100", true: "refused"}[deaf])
		<-seen
		if n := r.stats().Active; n != 1 {
			t.Errorf("%d exchanges while a worker owns one", n)
		}
		w.proceed <- proxy.Next
		p.want(t, map[bool]string{false: "head 200", true: "head 500"}[deaf])
		if !deaf { // else it is over
			p.do(func() { p.receiver.OnReset(p.playedStream, session.Cancelled, nil) })
		}
		r.settled(t)
	}
}
