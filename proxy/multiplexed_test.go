package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// framed is an HTTP/2 origin whose test says what becomes of each request.
type framed struct {
	net.Listener
	settle func(c *framedConn)                         // sends its settings; nil: they say nothing
	begun  func(c *framedConn, id uint32)              // a head came; may be nil
	ended  func(c *framedConn, id uint32, body string) // and all of the request
	conns  atomic.Int32
}

// framedConn is one connection of a framed. Owned by its goroutine.
type framedConn struct {
	net.Conn
	*http2.Framer
	number int                 // from 1
	head   []hpack.HeaderField // that came last
}

func newFramed(t *testing.T) *framed { return serveFramed(t, &framed{}) }

// serveFramed starts s, whose functions are there already.
func serveFramed(t *testing.T, s *framed) *framed {
	s.Listener = testutil.Serve(t, s.serve)
	return s
}

func (s *framed) serve(conn net.Conn) {
	defer conn.Close()
	c := &framedConn{Conn: conn, Framer: http2.NewFramer(conn, conn), number: int(s.conns.Add(1))}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	if s.settle == nil {
		c.WriteSettings()
		c.WriteSettingsAck()
	} else {
		s.settle(c)
	}
	bodies := map[uint32]*strings.Builder{}
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return
		}
		id := f.Header().StreamID
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if bodies[id] == nil { // else they are trailers
				bodies[id] = &strings.Builder{}
			}
			c.head = f.Fields
			if s.begun != nil {
				s.begun(c, id)
			}
			if f.StreamEnded() {
				s.ended(c, id, bodies[id].String())
			}
		case *http2.DataFrame:
			bodies[id].Write(f.Data())
			if n := uint32(len(f.Data())); n > 0 {
				c.WriteWindowUpdate(0, n)
				c.WriteWindowUpdate(id, n)
			}
			if f.StreamEnded() {
				s.ended(c, id, bodies[id].String())
			}
		}
	}
}

// answer answers a request with body.
func (c *framedConn) answer(id uint32, body string) {
	writeHead(c.Framer, id, false, ":status", "200", "x-connection", fmt.Sprint(c.number))
	c.WriteData(id, true, []byte(body))
}

// writeHead writes HEADERS of fields, names and values in turn. None of them enters the table of HPACK.
func writeHead(f *http2.Framer, id uint32, end bool, fields ...string) error {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		if err := enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: true}); err != nil {
			return err
		}
	}
	return f.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end,
	})
}

// multiplexed returns a rig that speaks HTTP/2 to s, without TLS.
func multiplexed(t *testing.T, s *framed, o upstream.Options) *rig {
	t.Helper()
	o.Protocol = upstream.H2
	r, _ := leadingTo(t, s.Addr().String(), o)
	return r
}

// What a backend did not process it gets again, whatever the method, while nothing of the body is lost.
func TestMultiplexed_refusedRequestsAreSentAgain(t *testing.T) {
	for name, c := range map[string]struct {
		refuse func(c *framedConn, id uint32)
		times  int
		body   string
		status int
		conn   string
	}{
		"REFUSED_STREAM": {refuse: refuseStream, times: 1, body: "hello", status: 200, conn: "1"},
		"often":          {refuse: refuseStream, times: 3, body: "hello", status: 200, conn: "1"},
		"too often":      {refuse: refuseStream, times: 4, body: "hello", status: 503},
		"not whole":      {refuse: refuseStream, times: 1, body: strings.Repeat("x", 1<<20), status: 503},
		"GOAWAY":         {refuse: refuseConnection, times: 1, body: "hello", status: 200, conn: "2"},
		"GOAWAY thrice":  {refuse: refuseConnection, times: 3, body: "hello", status: 200, conn: "4"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFramed(t)
			var left atomic.Int32
			left.Store(int32(c.times))
			s.ended = func(conn *framedConn, id uint32, body string) {
				if left.Add(-1) >= 0 {
					c.refuse(conn, id)
					return
				}
				conn.answer(id, body)
			}
			r := multiplexed(t, s, upstream.Options{})
			resp, got := fetch(t, "POST", r.url+"/", c.body)
			if resp.StatusCode != c.status || resp.Header.Get("X-Connection") != c.conn {
				t.Fatalf("%d %v", resp.StatusCode, resp.Header)
			}
			switch {
			case c.status == 200 && got != c.body:
				t.Errorf("got %d bytes", len(got))
			case c.status == 503 && resp.Header.Get("Proxy-Status") != "edge; error=destination_unavailable":
				t.Errorf("%v", resp.Header)
			}
		})
	}
}

// A backend that refuses twice is left for another one.
func TestMultiplexed_refusedRequestsGoElsewhere(t *testing.T) {
	busy, idle := newFramed(t), newFramed(t)
	var asked atomic.Int32
	busy.ended = func(c *framedConn, id uint32, _ string) {
		asked.Add(1)
		refuseStream(c, id)
	}
	idle.ended = func(c *framedConn, id uint32, body string) { c.answer(id, body) }
	o := upstream.Options{
		Protocol: upstream.H2, Backends: backend.Of(busy.Addr().String(), idle.Addr().String()),
	}
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{Name: "all", To: proxy.To(upstream.New(e, o), &proxy.ToOptions{
			Method: balance.RoundRobin, Retry: on(t, "refused_stream"),
		})}}
	})
	for range 4 {
		if resp, got := fetch(t, "POST", r.url+"/", "x"); resp.StatusCode != 200 || got != "x" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
	}
	if n := asked.Load(); n == 0 || n%2 != 0 { // each time twice
		t.Errorf("the busy one was asked %d times", n)
	}
}

func refuseStream(c *framedConn, id uint32) { c.WriteRSTStream(id, http2.ErrCodeRefusedStream) }

func refuseConnection(c *framedConn, id uint32) { c.WriteGoAway(id-1, http2.ErrCodeNo, nil) }

// A request that was on a connection that stood before and died is repeated on a fresh one if its method allows it.
func TestMultiplexed_lostConnections(t *testing.T) {
	s := newFramed(t)
	s.ended = func(c *framedConn, id uint32, body string) {
		if id > 1 {
			c.Close()
			return
		}
		c.answer(id, body)
	}
	r := multiplexed(t, s, upstream.Options{PerBackend: 1})
	for i, c := range []struct {
		method, conn string
		status       int
	}{
		{"GET", "1", 200}, {"GET", "2", 200}, {"PUT", "3", 200}, {"POST", "", 502}, {"POST", "4", 200},
	} {
		resp, got := fetch(t, c.method, r.url+"/", strings.Repeat("x", 10*(i%2)))
		if resp.StatusCode != c.status || resp.Header.Get("X-Connection") != c.conn {
			t.Errorf("%d, %s: %d %v %q", i, c.method, resp.StatusCode, resp.Header, got)
		}
	}
}

// load makes n requests by each of so many clients, and every one is answered with what it sent.
func load(t *testing.T, r *rig, clients, n int) {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	var wait sync.WaitGroup
	for i := range clients {
		wait.Go(func() {
			for k := range n {
				body := strings.Repeat(fmt.Sprint(i, " ", k, " "), 1+k*i%500)
				resp, err := (&http.Client{Transport: transport}).Post(r.url+"/", "text/plain", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != 200 || string(got) != body {
					t.Errorf("client %d, request %d: %d %v, %d of %d bytes, %v",
						i, k, resp.StatusCode, resp.Header, len(got), len(body), err)
					return
				}
			}
		})
	}
	wait.Wait()
}

// Many clients on the one connection that is allowed, whatever the backend takes at a time.
func TestMultiplexed_maxConcurrentStreams(t *testing.T) {
	for _, streams := range []int{1, 2, 10} {
		v := newVersioned(t, "h2c", streams, nil)
		r, u := secured(t, v, upstream.Options{Protocol: upstream.H2, PerBackend: 1, QueueTimeout: time.Minute})
		load(t, r, 32, 20)
		if n := openTo(u); n != 1 {
			t.Errorf("%d streams: %d connections", streams, n)
		}
		v = newVersioned(t, "tls h1 h2 ", streams, nil)
		o := upstream.Options{Protocol: upstream.Auto, TLS: upstream.TLS{On: true, CA: v.authority()}}
		r, _ = secured(t, v, o)
		load(t, r, 32, 20)
	}
}

// Backends that close their connections by GOAWAY again and again lose nothing.
func TestMultiplexed_goAway(t *testing.T) {
	var n atomic.Int32
	v := newVersioned(t, "h2c", 0, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if n.Add(1)%20 == 0 {
			w.Header().Set("Connection", "close")
		}
		w.Write(body)
	})
	for _, limit := range []int{0, 1} {
		r, _ := secured(t, v, upstream.Options{
			Protocol: upstream.H2, PerBackend: limit, QueueTimeout: time.Minute,
		})
		load(t, r, 16, 30)
	}
	if c := v.connections(); c < 10 {
		t.Errorf("%d connections", c)
	}
}

// Connections wear out while they are in use, and are closed when they are idle.
func TestMultiplexed_ends(t *testing.T) {
	v := newVersioned(t, "h2c", 0, nil)
	r, u := secured(t, v, upstream.Options{
		Protocol: upstream.H2, Requests: 50, IdleTimeout: 200 * time.Millisecond,
	})
	load(t, r, 16, 30)
	if c := v.connections(); c < 480/50 {
		t.Errorf("%d connections", c)
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return openTo(u) == 0 })
}

// What a backend takes so amiss that it ends its connection is not repeated: it would end the next one as well.
func TestMultiplexed_goAwayWithAnError(t *testing.T) {
	for name, c := range map[string]struct {
		last uint32 // below the request
		code http2.ErrCode
		want int
	}{
		"below":            {2, http2.ErrCodeProtocol, 502},
		"not below":        {0, http2.ErrCodeEnhanceYourCalm, 502},
		"graceful, below":  {2, http2.ErrCodeNo, 200},
		"graceful, closed": {0, http2.ErrCodeNo, 200}, // an idle connection that ended
	} {
		t.Run(name, func(t *testing.T) {
			s := newFramed(t)
			var asked atomic.Int32
			s.ended = func(conn *framedConn, id uint32, body string) {
				if n := asked.Add(1); n != 2 {
					conn.answer(id, body)
					return
				}
				conn.WriteGoAway(id-c.last, c.code, nil)
				conn.Close()
			}
			r := newWorkerRig(t, &proxy.Listener{}, &keptLog{}, func(e *engine.Engine) proxy.Route {
				return proxy.Route{To: proxy.To(upstream.New(e, upstream.Options{
					Protocol: upstream.H2, Retries: 2, Backends: backend.Of(s.Addr().String()),
				}), nil)}
			})
			fetch(t, "GET", r.url+"/", "")
			if resp, _ := fetch(t, "GET", r.url+"/", ""); resp.StatusCode != c.want {
				t.Error(resp.Status)
			}
			if n := asked.Load(); n != map[int]int32{502: 2, 200: 3}[c.want] {
				t.Errorf("it was asked %d times", n)
			}
		})
	}
}
