package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

// narrow is an HTTP/2 backend that takes no head above its limit, and says so. One that is larger ends its connection,
// as with Netty and grpc-java.
//
//	/slow     is answered once /release was asked for on the same connection
//	/settle   has it say its settings, where it is late to do so
type narrow struct {
	*framed
	limit  uint32
	killed atomic.Int32
	paths  map[uint32]string // owned by the goroutine of the one connection
}

func newNarrow(t *testing.T, limit uint32, late bool) *narrow {
	s := &narrow{limit: limit, paths: map[uint32]string{}}
	settle := func(c *framedConn) {
		c.WriteSettings(http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: s.limit})
		c.WriteSettingsAck()
	}
	slow := uint32(0)
	s.framed = &framed{begun: s.begun, ended: func(c *framedConn, id uint32, _ string) {
		switch s.paths[id] {
		case "/slow":
			slow = id
			return
		case "/release":
			c.answer(slow, "slow")
		case "/settle":
			settle(c)
		}
		c.answer(id, s.paths[id])
	}, settle: func(c *framedConn) {
		if clear(s.paths); !late {
			settle(c)
		}
	}}
	serveFramed(t, s.framed)
	return s
}

// begun looks whether a head is too large.
func (s *narrow) begun(c *framedConn, id uint32) {
	size := uint32(0)
	for _, field := range c.head {
		if size += field.Size(); field.Name == ":path" {
			s.paths[id] = field.Value
		}
	}
	if size > s.limit {
		s.killed.Add(1)
		c.WriteGoAway(id-2, http2.ErrCodeProtocol, []byte("Header size exceeded max allowed size"))
		c.Conn.Close()
	}
}

// requestOf is a request with fields of n bytes.
func requestOf(t *testing.T, method, url string, n int, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; n > 0; i++ {
		req.Header.Set(fmt.Sprint("X-Large-", i), strings.Repeat("x", min(n, 8<<10)))
		n -= 8 << 10
	}
	return req
}

// result is what became of a request.
type result struct {
	status  int
	body    string
	header  http.Header
	trailer http.Header
}

// begin makes a request and returns where its answer will be.
func begin(t *testing.T, client *http.Client, req *http.Request) chan result {
	done := make(chan result, 1)
	go func() {
		resp, err := client.Do(req)
		if err != nil {
			t.Error(err)
			done <- result{header: http.Header{}}
			return
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Error(err)
		}
		done <- result{resp.StatusCode, string(body), resp.Header, resp.Trailer}
	}()
	return done
}

func narrowRig(t *testing.T, s *narrow, log *keptLog) *rig {
	t.Helper()
	return newWorkerRig(t, &proxy.Listener{}, log, func(e *engine.Engine) proxy.Route {
		return proxy.Route{To: proxy.To(upstream.New(e, upstream.Options{
			Protocol: upstream.H2, Retries: 2, Backends: backend.Of(s.Addr().String()),
		}), nil)}
	})
}

func wantTooLarge(t *testing.T, got result) {
	t.Helper()
	if why := got.header.Get("Proxy-Status"); got.status != 431 || why != "edge; error=http_request_error" {
		t.Errorf("got %d, Proxy-Status %q", got.status, why)
	}
}

// A head that is larger than what the backend takes is refused here. It would cost all exchanges of the connection, and
// then those of the next one.
func TestHeadSize_ofABackend(t *testing.T) {
	s, log := newNarrow(t, 8<<10, false), &keptLog{}
	r := narrowRig(t, s, log)
	client := clientOf(t, "h1")
	fetch(t, "GET", r.url+"/", "") // its settings are known
	slow := begin(t, client, requestOf(t, "GET", r.url+"/slow", 0, nil))
	testutil.Eventually(t, testutil.Patience, func() bool { return r.stats().Active == 1 })
	for range 3 {
		wantTooLarge(t, <-begin(t, client, requestOf(t, "GET", r.url+"/large", 20<<10, nil)))
	}
	wantTooLarge(t, <-begin(t, client, requestOf(t, "POST", r.url+"/large", 20<<10, strings.NewReader("hello"))))
	if resp, got := fetch(t, "GET", r.url+"/release", ""); resp.StatusCode != 200 || got != "/release" {
		t.Error(resp.Status, got)
	}
	if got := <-slow; got.status != 200 || got.body != "slow" {
		t.Errorf("the one beside it: %d %q", got.status, got.body)
	}
	if s.conns.Load() != 1 || s.killed.Load() != 0 {
		t.Errorf("%d connections, %d of them killed", s.conns.Load(), s.killed.Load())
	}
	log.want(t, 2, 431, "backend:head_size")
	r.settled(t)
}

// A large head waits for the settings of a connection that has just been opened, small ones do not. Its body waits too.
func TestHeadSize_beforeTheSettings(t *testing.T) {
	s := newNarrow(t, 16<<10, true)
	r := narrowRig(t, s, &keptLog{})
	client := clientOf(t, "h1")
	body := strings.Repeat("hello", 100_000)
	tooLarge := begin(t, client, requestOf(t, "GET", r.url+"/large", 20<<10, nil))
	chunks := func() io.Reader { return struct{ io.Reader }{strings.NewReader(body)} }
	trailers := requestOf(t, "POST", r.url+"/trailers", 10<<10, chunks())
	trailers.Trailer = http.Header{"X-Sum": {"1"}}
	fits := map[string]chan result{
		"/fits":     begin(t, client, requestOf(t, "GET", r.url+"/fits", 10<<10, nil)),
		"/body":     begin(t, client, requestOf(t, "POST", r.url+"/body", 10<<10, strings.NewReader(body))),
		"/chunks":   begin(t, client, requestOf(t, "POST", r.url+"/chunks", 10<<10, chunks())),
		"/trailers": begin(t, client, trailers),
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return r.stats().Active == 1+len(fits) })
	if resp, _ := fetch(t, "GET", r.url+"/settle", ""); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	wantTooLarge(t, <-tooLarge)
	for path, done := range fits {
		if got := <-done; got.status != 200 || got.body != path {
			t.Errorf("%s: %d %q", path, got.status, got.body)
		}
	}
	if s.conns.Load() != 1 || s.killed.Load() != 0 {
		t.Errorf("%d connections, %d of them killed", s.conns.Load(), s.killed.Load())
	}
	r.settled(t)
}

// To gRPC a head that is too large is a resource that is exhausted.
func TestHeadSize_ofACall(t *testing.T) {
	s := newNarrow(t, 8<<10, false)
	c := dialFramed(t, callRig(t, s.Addr().String(), proxy.Route{}))
	for id := uint32(1); id < 7; id += 2 {
		c.request(id, "/s/m", "x-large", strings.Repeat("x", 9<<10))
		if h := c.head(id); h[":status"] != "200" || h["grpc-status"] != "8" || !c.ended {
			t.Errorf("%v", h)
		}
	}
	if n := s.killed.Load(); n != 0 {
		t.Errorf("%d connections were killed", n)
	}
}

// Trailers of a request that are too large end it, not its connection.
func TestHeadSize_ofTrailers(t *testing.T) {
	s := newNarrow(t, 4<<10, false)
	r := narrowRig(t, s, &keptLog{})
	fetch(t, "GET", r.url+"/", "")
	req := requestOf(t, "POST", r.url+"/", 0, struct{ io.Reader }{strings.NewReader("hello")})
	req.Trailer = http.Header{"X-Sum": {strings.Repeat("x", 5<<10)}}
	wantTooLarge(t, <-begin(t, clientOf(t, "h1"), req))
	if resp, _ := fetch(t, "GET", r.url+"/", ""); resp.StatusCode != 200 || s.conns.Load() != 1 {
		t.Errorf("%s, %d connections", resp.Status, s.conns.Load())
	}
}

// answering answers with what is too large for a client that takes no more than most.
func answering(most int) http.HandlerFunc {
	long := strings.Repeat("x", most)
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/head":
			w.Header().Set("X-Large", long)
		case "/hints":
			w.Header().Set("Link", long)
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
		case "/trailers":
			w.Header().Set("Trailer", "X-Large")
			defer w.Header().Set("X-Large", long)
		case "/call":
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status, X-Large")
			defer w.Header().Set("Grpc-Status", "0")
			defer w.Header().Set("X-Large", long)
		}
		io.WriteString(w, "hello") //nolint:errcheck // what comes back tells
	}
}

// told makes a request without a body and returns what comes of it, in short. No head may be larger than most.
func (c *framedClient) told(id uint32, path, contentType string, most uint32) string {
	c.t.Helper()
	writeHead(c.Framer, id, true, ":method", "GET", ":scheme", "http", ":path", path, ":authority", "h",
		"content-type", contentType) //nolint:errcheck // what comes back tells
	var got []string
	for ended := false; !ended; {
		f, err := c.ReadFrame()
		if err != nil {
			c.t.Fatal(got, err)
		}
		ended = f.Header().StreamID == id && f.Header().Flags.Has(http2.FlagDataEndStream)
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			size := uint32(0)
			for _, field := range f.Fields {
				size += field.Size()
				switch field.Name {
				case ":status", "proxy-status", "grpc-status":
					got = append(got, field.Value)
				}
			}
			if size > most {
				c.t.Errorf("%s: a head of %d", path, size)
			}
		case *http2.DataFrame:
			if len(f.Data()) > 0 {
				got = append(got, "data")
			}
		case *http2.RSTStreamFrame:
			got, ended = append(got, f.ErrCode.String()), true
		case *http2.GoAwayFrame:
			c.t.Fatal(f)
		}
	}
	return strings.Join(got, ", ")
}

// The same for clients: an answer that is larger than what one takes is 502, its connection goes on.
func TestHeadSize_ofAClient(t *testing.T) {
	const most = 2 << 10
	addr := callRig(t, "", proxy.Route{To: handler.FromHTTP(answering(most))})
	c := dialFramed(t, addr, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: most})
	for i, w := range []struct{ path, contentType, want string }{
		{"/", "text/plain", "200, data"},
		{"/head", "text/plain", "502, edge; error=http_response_header_section_size, data"},
		{"/head", "application/grpc", "200, 8, edge; error=http_response_header_section_size"},
		{"/hints", "text/plain", "200, data"},
		{"/trailers", "text/plain", "200, data, INTERNAL_ERROR"},
		{"/call", "application/grpc", "200, data, 8"},
		{"/", "text/plain", "200, data"},
	} {
		if got := c.told(uint32(2*i+1), w.path, w.contentType, most); got != w.want {
			t.Errorf("%s, %s: %q", w.path, w.contentType, got)
		}
	}
}

// Where even the answer that says so is too large, which repeats a type of the client's, there is a reset.
func TestHeadSize_ofTheAnswerThatSaysSo(t *testing.T) {
	const most = 2 << 10
	c := dialFramed(t, callRig(t, "", proxy.Route{To: handler.FromHTTP(answering(most))}),
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 0}) // 1 KiB is the least
	long := "application/grpc;" + strings.Repeat("x", most)
	for i, w := range []struct{ path, contentType, want string }{
		{"/", "text/plain", "200, data"}, {"/head", long, "INTERNAL_ERROR"}, {"/", "text/plain", "200, data"},
	} {
		if got := c.told(uint32(2*i+1), w.path, w.contentType, most); got != w.want {
			t.Errorf("%s: %q", w.path, got)
		}
	}
}
