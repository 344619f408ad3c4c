package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
	"github.com/edge-proxy/edge/session"
)

// touch uses all of an exchange that a filter may use.
func touch(x *proxy.Exchange) {
	for _, h := range []*message.Head{&x.Request, &x.Response} {
		h.Set("X-Touched", fmt.Sprint(x.ID(), x.ClientIP(), x.Client().Peer(), x.Client().Local(), x.Scheme(),
			x.Attempts(), x.Backend(), x.Status(), x.Route() == nil, x.TLS() == nil, x.Context().Err(),
			*keptText.Of(x)))
		h.AddID(message.Connection, "Connection", "x-hop")
		h.Continue = h.Continue && !h.Chunked
	}
	*keptText.Of(x) = string(x.Request.Path())
}

// touching is a filter with a function for each phase; those that may block do, for a random time.
func touching() *proxy.Filter {
	blocking := func(x *proxy.Exchange) proxy.Verdict {
		ref := x.Ref()
		for range rand.IntN(30) {
			touch(x)
			runtime.Gosched()
		}
		switch rand.IntN(10) {
		case 0:
			return proxy.Respond(403, "no")
		case 1:
			go ref.Resume(proxy.Next)
			return proxy.Park
		case 2:
			ref.Resume(proxy.Next) // for nothing
		}
		return proxy.Next
	}
	plain := func(x *proxy.Exchange) { touch(x) }
	failed := func(x *proxy.Exchange, _ *proxy.Error) proxy.Verdict {
		touch(x)
		return proxy.Next
	}
	body := func(x *proxy.Exchange, in []byte, _ bool) proxy.Verdict {
		touch(x)
		x.Emit(in)
		return proxy.Next
	}
	return &proxy.Filter{
		Name: "touching", BeforeRoute: blocking, Request: blocking, Response: blocking,
		Blocking:        proxy.PhaseBeforeRoute | proxy.PhaseRequest | proxy.PhaseResponse,
		UpstreamRequest: plain, Connected: plain, UpstreamResponse: plain,
		ConnectFailed: failed, Error: failed,
		Log: func(x *proxy.Exchange, _ *observe.Record) { plain(x) },
		Trailers: func(x *proxy.Exchange, h *message.Head) {
			touch(x)
			h.Set("X-Sum", "1")
		},
		RequestBody: body, ResponseBody: body,
	}
}

// writeSome writes the pieces, all or only the first ones, with pauses in between.
func writeSome(w io.Writer, pieces ...string) (whole bool) {
	for _, p := range pieces {
		if rand.IntN(20) == 0 {
			return false
		}
		for range rand.IntN(20) {
			runtime.Gosched()
		}
		if _, err := io.WriteString(w, p); err != nil {
			return false
		}
	}
	return true
}

// erratic1 serves one request of HTTP/1, somehow.
func erratic1(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(testutil.Patience)) //nolint:errcheck // it is open
	conn.Read(make([]byte, 1<<10))                      //nolint:errcheck // what comes back tells
	writeSome(conn, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n", "0\r\nX-Hop: 1\r\nX-Sum: 2\r\n\r\n")
	if tcp := conn.(*net.TCPConn); rand.IntN(3) == 0 {
		tcp.SetLinger(0) //nolint:errcheck // it is open
	}
}

// erratic2 answers a request of HTTP/2, somehow.
func erratic2(c *framedConn, id uint32) {
	head := func(end bool, fields ...string) {
		writeHead(c.Framer, id, end, fields...)
	}
	switch rand.IntN(10) {
	case 0:
		c.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		return
	case 1:
		c.WriteGoAway(id, http2.ErrCodeNo, nil)
	case 2: // nothing, until the time is over
		return
	}
	head(false, ":status", "103", "link", "</a>")
	head(false, ":status", "200")
	c.WriteData(id, false, []byte("hello"))
	if rand.IntN(4) == 0 {
		c.WriteRSTStream(id, http2.ErrCodeInternal)
		return
	}
	head(true, "x-hop", "1", "x-sum", "2")
}

// hasty1 makes a request of HTTP/1 and takes the answer, or goes.
func hasty1(addr, path string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(testutil.Patience)) //nolint:errcheck // it is open
	expect := []string{"", "Expect: 100-continue\r\n"}[rand.IntN(2)]
	if writeSome(conn, "POST "+path+" HTTP/1.1\r\nHost: a\r\nConnection: close, x-hop\r\n"+expect+
		"Transfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n", "0\r\nX-Hop: 1\r\nX-Sum: 2\r\n\r\n") {
		io.Copy(io.Discard, conn) //nolint:errcheck // whatever there is
	} else if rand.IntN(2) == 0 {
		conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck // it is open
	}
}

// hasty2 makes a request of HTTP/2 and takes the answer, or goes.
func hasty2(addr, path string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(testutil.Patience)) //nolint:errcheck // it is open
	var wire bytes.Buffer
	c := http2.NewFramer(&wire, conn)
	cut := func() string { defer wire.Reset(); return wire.String() }
	head := func(end bool, fields ...string) string {
		writeHead(c, 1, end, fields...) //nolint:errcheck // a Buffer
		return cut()
	}
	c.WriteSettings() //nolint:errcheck // a Buffer
	pieces := []string{http2.ClientPreface + cut()}
	pieces = append(pieces, head(false, ":method", "POST", ":scheme", "http", ":path", path, ":authority", "a"))
	c.WriteData(1, false, []byte("hello")) //nolint:errcheck // a Buffer
	pieces = append(pieces, cut(), head(true, "x-hop", "1", "x-sum", "2"))
	leaves := rand.IntN(4) == 0
	if leaves {
		c.WriteRSTStream(1, http2.ErrCodeCancel) //nolint:errcheck // a Buffer
		pieces = append(pieces, cut())
	}
	if !writeSome(conn, pieces...) || leaves {
		return
	}
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return
		}
		at := f.Header()
		if at.Type == http2.FrameRSTStream || at.StreamID == 1 && at.Flags.Has(http2.FlagDataEndStream) {
			return
		}
	}
}

// Whatever the peers do, and when: while a worker owns an exchange nobody else touches it. This is for the race
// detector. Nothing is left in the end.
func TestWorker_peersDoWhatTheyLike(t *testing.T) {
	l, s := testutil.Serve(t, erratic1), newFramed(t)
	s.begun = erratic2
	s.ended = func(*framedConn, uint32, string) {}
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusEarlyHints)
		if rand.IntN(2) == 0 {
			http.NewResponseController(w).Flush() //nolint:errcheck // whatever there is
		}
		io.Copy(w, r.Body) //nolint:errcheck // whatever there is
		w.Header().Set("X-Sum", "2")
		if rand.IntN(10) == 0 {
			panic(http.ErrAbortHandler)
		}
	})
	e := newEngine(t, engine.Options{Reactors: 1})
	lead := func(address string, protocol upstream.Protocol) proxy.Destination {
		return proxy.To(upstream.New(e, upstream.Options{
			Protocol: protocol, Retries: 2, Backends: backend.Of(address),
		}), nil)
	}
	routes := []proxy.Route{
		{Path: "/h1", Timeout: 20 * time.Millisecond, To: lead(l.Addr().String(), upstream.H1)},
		{Path: "/h2", Timeout: 20 * time.Millisecond, To: lead(s.Addr().String(), upstream.H2)},
		{Path: "/handler", Timeout: 20 * time.Millisecond, To: handler.FromHTTP(answer)},
	}
	r := serve(t, e, &proxy.Listener{}, session.ServerOptions{H2C: true}, routes, touching())
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for k := range 20 {
				path := routes[(i+k)%len(routes)].Path
				if i%2 == 0 {
					hasty1(r.addr(), path)
				} else {
					hasty2(r.addr(), path)
				}
			}
		})
	}
	wait.Wait()
	r.settled(t)
	if s := r.stats(); s.Panics > 0 || s.Exchanges < 100 || s.ClientGone < 10 || s.LateResumes < 1 {
		t.Errorf("%+v", s)
	}
}
