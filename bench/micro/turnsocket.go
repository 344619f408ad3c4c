package micro

import (
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/warm"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/route"
	"github.com/edge-proxy/edge/session"
)

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
