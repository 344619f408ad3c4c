package micro

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/warm"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/route"
	"github.com/edge-proxy/edge/session"
)

const (
	turnBatch = 64 // requests in memory, one after the other, as a client sends them that does not wait for answers
	turnGroup = "requests from memory to answers in memory, without the kernel"
	turnWhat  = ", 64 of them in a row: its head is parsed strictly with its framing, a route is found, and 200 with " +
		"a body of 2 bytes is written into memory. It leaves out the kernel, the event loop, timers, sessions, " +
		"limits, the log and Date"
	turnSmall = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	turnBody  = "ok"
)

var turnEntries = []Entry{
	{"turn/minimal/edge", turnGroup, "one request of 27 bytes" + turnWhat + "; one route", turn(turnSmall, 0)},
	{"turn/minimal/fasthttp", turnGroup, "RequestHeader.Read through one bufio.Reader over all 64, a map of paths, " +
		"ResponseHeader.AppendBytes", turnFasthttp(turnSmall, 0)},
	{"turn/minimal/nethttp", turnGroup, "ReadRequest through one bufio.Reader over all 64, ServeMux.Handler, " +
		"Response.Write to a bufio.Writer that discards", turnNetHTTP(turnSmall, 0)},

	{"turn/browser/edge", turnGroup, "a browser's request of 636 bytes" + turnWhat + "; 50 routes",
		turn(string(browserHead), 50)},
	{"turn/browser/fasthttp", turnGroup, "as above", turnFasthttp(string(browserHead), 50)},
	{"turn/browser/nethttp", turnGroup, "as above", turnNetHTTP(string(browserHead), 50)},
}

// turnPaths are the paths of n routes beside the path of the root.
func turnPaths(n int) []string {
	paths := []string{"/"}
	for i := range n {
		paths = append(paths, fmt.Sprintf("/service%d/v1", i))
	}
	return paths
}

// unasked is an Arrival that no rule asks.
type unasked struct{ route.Arrival }

func turn(request string, routes int) func(b *testing.B) {
	return func(b *testing.B) {
		in := bytes.Repeat([]byte(request), turnBatch)
		var table route.Table[*message.Head]
		for _, path := range turnPaths(routes) {
			answer := &message.Head{Status: 200, Length: int64(len(turnBody))}
			if err := table.Add(route.Rule{Path: path}, answer); err != nil {
				b.Fatal(err)
			}
		}
		var d h1.Decoder
		var h message.Head
		var local route.Local
		d.InitRequests(nil)
		out := make([]byte, 0, 16<<10)
		b.SetBytes(int64(len(request)))
		for left := in; b.Loop(); {
			n, event, _, err := d.Next(left, &h)
			if err != nil || event != h1.HeadDone|h1.End {
				b.Fatal(event, err)
			}
			answer, err := table.Find(&h, unasked{}, route.Reading{}, &local)
			if err != nil || answer == nil {
				b.Fatal("no route", err)
			}
			out = append(h1.AppendResponse(out, answer, h1.ResponseOptions{}), turnBody...)
			if left = left[n:]; len(left) == 0 {
				left, out = in, out[:0]
			}
		}
	}
}

func turnFasthttp(request string, routes int) func(b *testing.B) {
	return func(b *testing.B) {
		src := bytes.NewReader(bytes.Repeat([]byte(request), turnBatch))
		r := bufio.NewReaderSize(src, int(src.Size()))
		table := make(map[string]int)
		for _, path := range turnPaths(routes) {
			table[path] = 200
		}
		var h fasthttp.RequestHeader
		var answer fasthttp.ResponseHeader
		answer.SetNoDefaultContentType(true)
		answer.SetContentLength(len(turnBody))
		out := make([]byte, 0, 16<<10)
		b.SetBytes(int64(len(request)))
		for left := turnBatch; b.Loop(); left-- {
			if left == 0 {
				_, _ = src.Seek(0, io.SeekStart)
				left, out = turnBatch, out[:0]
			}
			if err := h.Read(r); err != nil {
				b.Fatal(err)
			}
			path, _, _ := bytes.Cut(h.RequestURI(), []byte("?"))
			status, ok := table[string(path)]
			if !ok {
				status = table["/"]
			}
			answer.SetStatusCode(status)
			out = append(answer.AppendBytes(out), turnBody...)
		}
	}
}

func turnNetHTTP(request string, routes int) func(b *testing.B) {
	return func(b *testing.B) {
		src := bytes.NewReader(bytes.Repeat([]byte(request), turnBatch))
		r := bufio.NewReaderSize(src, int(src.Size()))
		mux := http.NewServeMux()
		for _, path := range turnPaths(routes) {
			mux.Handle(path, http.NotFoundHandler())
		}
		w := bufio.NewWriter(io.Discard)
		body := strings.NewReader(turnBody)
		b.SetBytes(int64(len(request)))
		for left := turnBatch; b.Loop(); left-- {
			if left == 0 {
				_, _ = src.Seek(0, io.SeekStart)
				left = turnBatch
			}
			request, err := http.ReadRequest(r)
			if err != nil {
				b.Fatal(err)
			}
			if _, pattern := mux.Handler(request); pattern == "" {
				b.Fatal("no route")
			}
			body.Reset(turnBody)
			answer := http.Response{
				StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Request: request, ContentLength: int64(len(turnBody)),
				Body: io.NopCloser(body),
			}
			if err := answer.Write(w); err != nil {
				b.Fatal(err)
			}
		}
	}
}

const (
	turnSocketGroup = "requests over loopback"
	turnSocketWhat  = "the request of 27 bytes, 64 of them sent by one write on one connection, then all answers " +
		"read; an operation is one of them. cpu-ns/op is the processor time of the process, the client and the " +
		"kernel in it"
	turnProxiedWhat = "the request of 27 bytes on each of 64 connections, through a proxy to an origin of edge's " +
		"sessions, then all answers read; an operation is one of them. cpu-ns/op is the processor time of the " +
		"process: clients, proxy, origin, kernel"
)

// turnSocketEntries are what turnEntries leave out: the same request and answer with the kernel, the event loop,
// timers, sessions and Date; and once more with a proxy between client and origin.
var turnSocketEntries = []Entry{
	{"turn/socket/edge", turnSocketGroup, turnSocketWhat, turnSocket(1, serveTurn)},
	{"turn/socket/fasthttp", turnSocketGroup, "as above", turnSocket(1, serveTurnFasthttp)},
	{"turn/socket/nethttp", turnSocketGroup, "as above", turnSocket(1, serveTurnNetHTTP)},

	{"turn/proxied/edge", turnSocketGroup, turnProxiedWhat, turnSocket(turnBatch, proxyTurn)},
	{"turn/proxied/nethttp", turnSocketGroup, "as above, ReverseProxy", turnSocket(turnBatch, proxyTurnNetHTTP)},
}

// turnSocket measures a server, which serve starts and which ends with b: turnBatch requests at once, on so many
// connections.
func turnSocket(conns int, serve func(b *testing.B) (addr string)) func(b *testing.B) {
	return func(b *testing.B) {
		clients, size := dial(b, serve(b), conns), 0
		for _, c := range clients {
			size = answerBytes(b, c) // and warm
		}
		requests := bytes.Repeat([]byte(turnSmall), turnBatch/conns)
		answers := make([]byte, size*turnBatch/conns)
		b.SetBytes(int64(len(turnSmall)))
		var before int64
		for n := 0; b.Loop(); n++ {
			if n == 0 {
				before = warm.CPUTime(b)
			}
			if n%turnBatch == 0 {
				ask(b, clients, requests, answers)
			}
		}
		b.ReportMetric(float64(warm.CPUTime(b)-before)/float64(b.N), "cpu-ns/op")
		if got := bytes.Count(answers, []byte("\r\n\r\n"+turnBody)); got != turnBatch/conns {
			b.Fatalf("%d answers of %d", got, turnBatch/conns)
		}
	}
}

// answerBytes asks once, and returns the length of the answer: all are of one length.
func answerBytes(b *testing.B, c net.Conn) int {
	if _, err := c.Write([]byte(turnSmall)); err != nil {
		b.Fatal(err)
	}
	p, n := make([]byte, 4096), 0
	for !bytes.HasSuffix(p[:n], []byte("\r\n\r\n"+turnBody)) {
		got, err := c.Read(p[n:])
		if err != nil {
			b.Fatalf("after %q: %v", p[:n], err)
		}
		n += got
	}
	if !bytes.HasPrefix(p, []byte("HTTP/1.1 200 ")) {
		b.Fatalf("got %q", p[:n])
	}
	return n
}

// turnServer answers what its route takes. Owned by the one reactor of its engine.
type turnServer struct {
	table route.Table[*message.Head]
	local route.Local
	ok    []byte
}

func (t *turnServer) Accept(*engine.Reactor, session.Stream) session.Receiver { return t }
func (t *turnServer) Refused(*engine.Reactor, poller.Addr, int, error)        {}
func (t *turnServer) OnTrailers(session.Stream, *message.Head)                {}
func (t *turnServer) OnSendable(session.Stream)                               {}
func (t *turnServer) OnReset(session.Stream, session.Code, error)             {}
func (t *turnServer) OnData(s session.Stream, p []byte, _ bool)               { s.Release(len(p)) }

func (t *turnServer) OnHead(s session.Stream, h *message.Head, _ bool) {
	answer, err := t.table.Find(h, unasked{}, route.Reading{}, &t.local)
	if err != nil || answer == nil {
		s.Reset(session.Refused)
		return
	}
	if s.SendHead(answer, false) == nil {
		s.SendData(t.ok, true) //nolint:errcheck // the client sees it
	}
}

func serveTurn(b *testing.B) (addr string) {
	t := &turnServer{ok: []byte(turnBody)}
	if err := t.table.Add(route.Rule{Path: "/"}, &message.Head{Status: 200, Length: int64(len(turnBody))}); err != nil {
		b.Fatal(err)
	}
	return serveOn(b, engine.Options{Reactors: 1}, func(e *engine.Engine) func(*engine.Conn) engine.Handler {
		return session.NewServer(e, t, session.ServerOptions{}).Accept
	})
}

func serveTurnFasthttp(b *testing.B) (addr string) {
	ok := []byte(turnBody)
	s := &fasthttp.Server{NoDefaultContentType: true, NoDefaultServerHeader: true}
	s.Handler = func(c *fasthttp.RequestCtx) {
		if string(c.Path()) == "/" {
			c.Response.SetBodyRaw(ok)
		}
	}
	l := listenTurn(b)
	b.Cleanup(func() { _ = s.Shutdown() })
	go func() { _ = s.Serve(l) }()
	return l.Addr().String()
}

func serveTurnNetHTTP(b *testing.B) (addr string) {
	ok := []byte(turnBody)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = w.Write(ok)
	})
	return serveNetHTTP(b, mux)
}

// proxyTurn serves through edge's proxy, as a program would that imports it.
func proxyTurn(b *testing.B) (addr string) {
	s := &edge.Server{
		Addr:   anyPort,
		Engine: engine.Options{Reactors: 1},
		Routes: []proxy.Route{{To: edge.Backends(serveTurn(b))}},
	}
	if err := s.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Shutdown(b.Context()) })
	return s.ListenAddrs()[0]
}

func proxyTurnNetHTTP(b *testing.B) (addr string) {
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: serveTurn(b)})
	p.ErrorLog = log.New(io.Discard, "", 0) // what fails is an answer that is missed
	return serveNetHTTP(b, p)
}

func serveNetHTTP(b *testing.B, h http.Handler) (addr string) {
	s := &http.Server{Handler: h} //nolint:gosec // no deadlines: its only client is the benchmark
	l := listenTurn(b)
	b.Cleanup(func() { _ = s.Close() })
	go func() { _ = s.Serve(l) }()
	return l.Addr().String()
}

func listenTurn(b *testing.B) net.Listener {
	l, err := net.Listen("tcp", anyPort)
	if err != nil {
		b.Fatal(err)
	}
	return l
}
