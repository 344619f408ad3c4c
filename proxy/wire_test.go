package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// stage is a proxy in front of a scripted origin.
type stage struct {
	*rig
	t        *testing.T
	log      *keptLog
	listener net.Listener // of the origin
	upstream *upstream.Upstream
}

type stageOptions struct {
	origin   string // instead of a scripted one
	engine   engine.Options
	session  session.ServerOptions
	upstream upstream.Options
	route    proxy.Route // but for its destination
	bodyMax  int64
	filters  []*proxy.Filter
}

// setStage starts one. Its engine has one reactor, so that connections to origins are used again.
func setStage(t *testing.T, o stageOptions) *stage {
	t.Helper()
	testutil.CheckLeaks(t)
	s := &stage{t: t, log: &keptLog{}}
	if o.origin == "" {
		s.listener = testutil.Listen(t)
		o.origin = s.listener.Addr().String()
	}
	o.upstream.Backends = backend.Of(o.origin)
	o.engine.Reactors = 1
	e := newEngine(t, o.engine)
	s.upstream = upstream.New(e, o.upstream)
	o.route.To = proxy.To(s.upstream, nil)
	on := &proxy.Listener{BodyMax: o.bodyMax, Log: []proxy.AccessLog{s.log}}
	s.rig = serve(t, e, on, o.session, []proxy.Route{o.route}, o.filters...)
	return s
}

func (s *stage) client() *testutil.Wire { return testutil.Dial(s.t, s.addr()) }

// accept takes the next connection to the origin.
func (s *stage) accept() *testutil.Wire { return testutil.Accept(s.t, s.listener) }

// request sends a request on a connection of its own, and returns this one and the origin's, which has its head.
func (s *stage) request(parts ...string) (down, up *testutil.Wire) {
	s.t.Helper()
	down = s.client()
	return down, s.requestOn(down, parts...)
}

// requestOn sends a request on a connection, and returns a new one of the origin, which has its head.
func (s *stage) requestOn(down *testutil.Wire, parts ...string) (up *testutil.Wire) {
	s.t.Helper()
	down.Send(parts...)
	up = s.accept()
	up.ReadHead()
	return up
}

// finish has the origin answer a request well.
func (s *stage) finish(up, down *testutil.Wire, method string) {
	s.t.Helper()
	up.Send(okay)
	s.wantStatus(down, method, 200, "")
}

func (s *stage) wantStatus(w *testutil.Wire, method string, status int, proxyStatus string) *http.Response {
	s.t.Helper()
	resp, body := w.ReadResponse(method)
	if got := resp.Header.Get("Proxy-Status"); resp.StatusCode != status || got != proxyStatus {
		s.t.Fatalf("got %s, Proxy-Status %q, %q; want %d, %q", resp.Status, got, body, status, proxyStatus)
	}
	return resp
}

const (
	getA  = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
	postA = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
	okay  = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
)

func TestWire_originFails(t *testing.T) {
	for _, c := range []struct {
		name, sends string
		reset       bool
		status      int
		why         string
	}{
		{"closes", "", false, 502, "connection_terminated"},
		{"resets", "", true, 502, "connection_terminated"},
		{"closes in the head", "HTTP/1.1 200 OK\r\nX: ", false, 502, "http_response_incomplete"},
		{"closes behind an interim head", "HTTP/1.1 103 Early Hints\r\n\r\n", false, 502, "http_response_incomplete"},
		{"malformed", "HTTP/1.1 OK\r\n\r\n", false, 502, "http_protocol_error"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", false, 502,
			"http_protocol_error"},
		{"not http", "SSH-2.0-OpenSSH\r\n", false, 502, "http_protocol_error"},
		{"switches", "HTTP/1.1 101 Switching Protocols\r\n\r\n", false, 502, "http_protocol_error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := setStage(t, stageOptions{})
			w, o := s.request(getA)
			o.Send(c.sends)
			if c.reset {
				o.Reset()
			} else {
				o.Close()
			}
			if strings.Contains(c.sends, " 103 ") {
				w.ReadHead()
			}
			s.wantStatus(w, "GET", c.status, "edge; error="+c.why)
			w.Send(getA) // the connection of the client goes on
			o = s.accept()
			o.ReadHead()
			s.finish(o, w, "GET")
			s.settled(t)
		})
	}
}

// After the head a failure can be told only by a connection that ends too early.
func TestWire_originFailsInTheBody(t *testing.T) {
	for name, sends := range map[string]string{
		"measured":        "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\nhalf",
		"right after":     "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
		"chunked":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"malformed chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := setStage(t, stageOptions{})
			w, o := s.request(getA)
			o.Send(sends)
			o.Close()
			got, _ := io.ReadAll(w.Conn()) // the end, or a reset
			if strings.HasSuffix(string(got), "0\r\n\r\n") {
				t.Fatalf("%q looks whole", got)
			}
			s.settled(t)
			if c := s.stats().Cut; c != 1 {
				t.Fatal(c, "were cut off")
			}
		})
	}
}

// warmUp leaves an idle connection to the origin.
func (s *stage) warmUp(w *testutil.Wire) *testutil.Wire {
	s.t.Helper()
	o := s.requestOn(w, getA)
	s.finish(o, w, "GET")
	return o
}

func TestWire_reusedConnectionDies(t *testing.T) {
	t.Run("GET is tried again", func(t *testing.T) {
		s := setStage(t, stageOptions{})
		w := s.client()
		o := s.warmUp(w)
		w.Send(getA)
		o.ReadHead()
		o.Close()
		o = s.accept()
		o.ReadHead()
		s.finish(o, w, "GET")
		if n := s.stats().Retries; n != 1 {
			t.Fatal(n, "retries")
		}
	})
	t.Run("closed while idle", func(t *testing.T) {
		s := setStage(t, stageOptions{})
		w := s.client()
		o := s.warmUp(w)
		o.CloseWrite()
		o.WantEnd() // seen, and closed
		o = s.requestOn(w, postA)
		o.Want("hello")
		s.finish(o, w, "POST")
	})
	t.Run("speaks unasked", func(t *testing.T) {
		s := setStage(t, stageOptions{})
		w := s.client()
		o := s.warmUp(w)
		o.Send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
		o.ReadAll() // it is closed
		o = s.requestOn(w, getA)
		o.Send(okay)
		if _, body := w.ReadResponse("GET"); body != "ok" {
			t.Fatal(body)
		}
	})
}

// A part of an answer is one: the origin has seen the request, and it is not sent again.
func TestWire_reusedConnectionDiesInTheHead(t *testing.T) {
	s := setStage(t, stageOptions{})
	w := s.client()
	o := s.warmUp(w)
	w.Send(getA)
	o.ReadHead()
	o.Send("HTTP/1.1 2")
	s.warmUp(s.client()) // the part was read when this is through
	o.Reset()
	s.wantStatus(w, "GET", 502, "edge; error=http_response_incomplete")
	if n := s.stats().Retries; n != 0 {
		t.Fatal(n, "retries")
	}
}

func TestWire_noAddress(t *testing.T) {
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{To: to(e, "not-resolved.invalid:80")}}
	})
	resp, _ := r.get(t, "/")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" ||
		resp.Header.Get("Proxy-Status") != "edge; error=destination_unavailable" {
		t.Fatal(resp.Status, resp.Header)
	}
}

func timed(firstByte, betweenBytes time.Duration) upstream.Options {
	return upstream.Options{Client: session.ClientOptions{FirstByte: firstByte, BetweenBytes: betweenBytes}}
}

func TestWire_idleClientIsClosed(t *testing.T) {
	s := setStage(t, stageOptions{session: session.ServerOptions{IdleTimeout: 50 * time.Millisecond}})
	w := s.client()
	s.warmUp(w)
	w.WantEnd()
}

// counted copies size bytes to w and tells how far it is.
func counted(w io.Writer, size int64, n *atomic.Int64) {
	p := make([]byte, 64<<10)
	for n.Load() < size {
		k, err := w.Write(p[:min(int64(len(p)), size-n.Load())])
		if n.Add(int64(k)); err != nil {
			return
		}
	}
}

// stalls waits until n stands still.
func stalls(t *testing.T, n *atomic.Int64) {
	t.Helper()
	last, still := int64(-1), 0
	testutil.Eventually(t, testutil.Patience, func() bool {
		if now := n.Load(); now != last {
			last, still = now, 0
		} else {
			still++
		}
		return last > 0 && still > 50
	}, "the sender stands still")
}

// kernelHolds is what the buffers of one connection hold at most, those of both ends together.
func kernelHolds(t *testing.T) int64 {
	t.Helper()
	sum := int64(1 << 20)
	for _, name := range []string{"tcp_rmem", "tcp_wmem"} {
		var least, first, most int64
		text, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
		if err == nil {
			_, err = fmt.Sscan(string(text), &least, &first, &most)
		}
		if err != nil {
			t.Fatal(err)
		}
		sum += most
	}
	return sum
}

func TestWire_backPressure(t *testing.T) {
	testutil.OnlyPlain(t)
	size := 2*kernelHolds(t) + 16<<20
	t.Run("slow client", func(t *testing.T) {
		for _, framing := range []string{fmt.Sprintf("Content-Length: %d", size), "Connection: close"} {
			s := setStage(t, stageOptions{})
			w, o := s.request(getA)
			var sent atomic.Int64
			go func() {
				fmt.Fprintf(o.Conn(), "HTTP/1.1 200 OK\r\n%s\r\n\r\n", framing)
				counted(o.Conn(), size, &sent)
				o.Conn().(*net.TCPConn).CloseWrite()
			}()
			stalls(t, &sent)
			if sent.Load() == size {
				t.Fatal("nobody held it up")
			}
			if b := s.engine.Stats().BufBytes; b > 1<<20 {
				t.Fatalf("%d bytes in buffers", b)
			}
			if _, body := w.ReadResponse("GET"); int64(len(body)) != size {
				t.Fatal(len(body), "bytes")
			}
		}
	})
	t.Run("slow origin", func(t *testing.T) {
		s := setStage(t, stageOptions{})
		w := s.client()
		var sent atomic.Int64
		go func() {
			fmt.Fprintf(w.Conn(), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", size)
			counted(w.Conn(), size, &sent)
		}()
		o := s.accept()
		stalls(t, &sent)
		if sent.Load() == size {
			t.Fatal("nobody held it up")
		}
		if b := s.engine.Stats().BufBytes; b > 1<<20 {
			t.Fatalf("%d bytes in buffers", b)
		}
		head := o.ReadHead()
		if !strings.Contains(head, fmt.Sprintf("Content-Length: %d\r\n", size)) {
			t.Fatal(head)
		}
		if _, err := io.CopyN(io.Discard, o.Conn(), size-4096); err != nil {
			t.Fatal(err)
		}
		s.finish(o, w, "POST")
	})
}

func TestWire_earlyAnswer(t *testing.T) {
	s := setStage(t, stageOptions{})
	w, o := s.request("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nsome")
	o.Want("some")
	o.Send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
	o.Close()
	resp, body := w.ReadResponse("POST")
	if resp.StatusCode != 413 || body != "big" {
		t.Fatal(resp.Status, body)
	}
	w.WantEnd()
	s.settled(t)
}

// What is left of a small body is read after an early answer: the connection goes on.
func TestWire_earlyAnswerToASmallBody(t *testing.T) {
	r := newRig(t, func(*engine.Engine) []proxy.Route { return []proxy.Route{{To: proxy.Answer(200, "", "own")}} })
	w := testutil.Dial(t, r.addr())
	for _, rest := range []string{
		"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	} {
		w.Send("POST / HTTP/1.1\r\nHost: h\r\n"+rest[:len(rest)-3], rest[len(rest)-3:]+getA)
		for _, method := range []string{"POST", "GET"} {
			if resp, body := w.ReadResponse(method); resp.StatusCode != 200 || body != "own" || resp.Close {
				t.Fatal(resp.Status, body, resp.Close)
			}
		}
	}
	w.Send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz")
	w.ReadResponse("POST")
	w.WantEnd() // what is malformed gets no second answer
}

func TestWire_answersWithoutABody(t *testing.T) {
	for _, c := range []struct{ request, answer, want string }{
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "Content-Length: 1000\r\n"},
		{"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
		{"HEAD", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
		{"GET", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n"},
		{"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 No Content\r\n"},
		{"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n", "Content-Length: 1000\r\n"},
		{"GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", "ETag: \"x\"\r\n"},
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "Content-Length: 0\r\n"},
	} {
		s := setStage(t, stageOptions{})
		w := s.client()
		var o *testutil.Wire
		for i := range 2 { // both connections go on
			w.Send(c.request + " / HTTP/1.1\r\nHost: h\r\n\r\n")
			if i == 0 {
				o = s.accept()
			}
			o.ReadHead()
			o.Send(c.answer)
			if head := w.ReadHead(); !strings.Contains(head, c.want) || strings.Contains(head, "chunked") {
				t.Errorf("%s %q: got %q", c.request, c.answer, head)
			}
		}
	}
}

func TestWire_interimAnswers(t *testing.T) {
	s := setStage(t, stageOptions{})
	w, o := s.request(getA)
	o.Send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nConnection: x\r\n\r\n")
	w.Want("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
	s.finish(o, w, "GET")
}

func TestWire_expectWithOthers(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(417)
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	}))
	defer origin.Close()
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{To: to(e, origin.Listener.Addr().String())}}
	})
	transport := &http.Transport{ExpectContinueTimeout: testutil.Patience}
	defer transport.CloseIdleConnections()
	for path, want := range map[string]int{"/yes": 200, "/no": 417} {
		req, _ := http.NewRequest("POST", r.url+path, strings.NewReader(strings.Repeat("x", 1<<20)))
		req.Header.Set("Expect", "100-continue")
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want || want == 200 && string(body) != "1048576" {
			t.Fatal(resp.Status, string(body))
		}
	}
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	cmd := exec.Command(curl, "-sS", "--expect100-timeout", "30", "-H", "Expect: 100-continue",
		"--data-binary", "@-", r.url+"/yes")
	cmd.Stdin = strings.NewReader(strings.Repeat("x", 1<<20))
	if out, err := cmd.CombinedOutput(); string(out) != "1048576" || err != nil {
		t.Fatalf("%s %v", out, err)
	}
}

func TestWire_http10Clients(t *testing.T) {
	s := setStage(t, stageOptions{})
	w, o := s.request("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	o.Send(okay)
	if head := w.ReadHead(); !strings.Contains(head, "Connection: keep-alive\r\n") {
		t.Fatal(head)
	}
	w.Want("ok")
	w.Send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	o.ReadHead()
	o.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
	if head := w.ReadHead(); !strings.Contains(head, "Connection: close\r\n") || strings.Contains(head, "chunked") {
		t.Fatal(head)
	}
	if body := w.ReadAll(); body != "abcdef" {
		t.Fatal(body)
	}
	w = s.client()
	w.Send("GET / HTTP/1.0\r\n\r\n")
	o.ReadHead()
	o.Send(okay)
	if all := w.ReadAll(); !strings.HasSuffix(all, "Connection: close\r\n\r\nok") {
		t.Fatal(all)
	}
}

func TestWire_bodyLimit(t *testing.T) {
	s := setStage(t, stageOptions{bodyMax: 10})
	w := s.client()
	w.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
	s.wantStatus(w, "POST", 413, "edge; error=http_request_error")
	w.WantEnd()
	w = s.client()
	o := s.requestOn(w, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n")
	w.Send("8\r\n12345678\r\n")
	s.wantStatus(w, "POST", 413, "edge; error=http_request_error")
	s.settled(t)
	if n := s.stats().TooLarge; n != 2 {
		t.Fatal(n)
	}
	w = s.client()
	o = s.requestOn(w, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789")
	s.finish(o, w, "POST")
}

func TestWire_refusals(t *testing.T) {
	s := setStage(t, stageOptions{})
	for _, c := range []struct {
		request string
		status  int
	}{
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n", 400},
		{"GET / HTTP/1.1\nHost: h\n\n", 400},
		{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
		{"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
		{"GET /" + strings.Repeat("x", 10_000) + " HTTP/1.1\r\nHost: h\r\n\r\n", 414},
		{"GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 20_000) + "\r\n\r\n", 431},
		{"GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: y\r\n", 200) + "\r\n", 431},
	} {
		w := s.client()
		w.Send(c.request + getA)
		resp := s.wantStatus(w, "GET", c.status, "edge; error=http_request_error")
		if !resp.Close {
			t.Errorf("%.40q: the connection is said to go on", c.request)
		}
		w.WantEnd()
	}
	// A fault in the body: nobody can say where the next request would begin.
	w := s.client()
	w.Send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
	s.wantStatus(w, "POST", 400, "edge; error=http_request_error")
	w.WantEnd()
	s.settled(t)
	// That one was an exchange already: it is counted, and logged, as one whose client left.
	if st := s.stats(); st.Refused != 11 || st.ClientGone != 1 {
		t.Fatalf("%+v", st)
	}
}

func TestWire_routes(t *testing.T) {
	own := func(name, host, path string, exact bool) proxy.Route {
		return proxy.Route{Name: name, Host: host, Path: path, Exact: exact, To: proxy.Answer(200, "", name)}
	}
	r := newRig(t, func(*engine.Engine) []proxy.Route {
		return []proxy.Route{
			own("any", "", "", false), own("api", "", "/api", false), own("v1", "", "/api/v1/", false),
			own("exact", "", "/api/v1", true), own("host", "a.example", "/", false),
			own("host api", "A.Example", "/api", false),
			own("six", "[::1]", "", false), own("only", "b.example", "/only", false),
		}
	})
	w := testutil.Dial(t, r.addr())
	for _, c := range []struct{ host, target, want string }{
		{"x", "/", "any"}, {"x", "/apix", "any"}, {"x", "/api", "api"}, {"x", "/api?q=/api/v1", "api"},
		{"x", "/api/", "api"}, {"x", "/api/v1", "exact"}, {"x", "/api/v1/", "v1"}, {"x", "/api/v1/y", "v1"},
		{"x", "/api/v12", "api"}, {"a.example", "/", "host"}, {"A.EXAMPLE:8080", "/", "host"},
		{"a.example", "/api/x", "host api"}, {"a.example", "/api/v1", "host api"}, {"[::1]:80", "/", "six"},
		{"b.example", "/only/x", "only"}, {"b.example", "/api", "api"}, {"ab.example", "/", "any"},
		{"x", "http://a.example/api", ""}, {"a.example", "http://a.example/api", "host api"},
	} {
		w.Send("GET " + c.target + " HTTP/1.1\r\nHost: " + c.host + "\r\n\r\n")
		resp, body := w.ReadResponse("GET")
		if c.want == "" {
			if resp.StatusCode != 400 {
				t.Errorf("%v: %s", c, resp.Status)
			}
			w = testutil.Dial(t, r.addr())
			continue
		}
		if body != c.want {
			t.Errorf("%s %s: got %q, want %q", c.host, c.target, body, c.want)
		}
	}
}

func TestWire_weights(t *testing.T) {
	var hits [3]atomic.Int64
	var list []backend.Spec
	for i, weight := range []int{1, 2, 5} {
		origin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits[i].Add(1) }))
		defer origin.Close()
		list = append(list, backend.Spec{Address: origin.Listener.Addr().String(), Weight: weight})
	}
	o := upstream.Options{Backends: backend.NewSet(list...)}
	r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{To: proxy.To(upstream.New(e, o), &proxy.ToOptions{Method: balance.RoundRobin})}}
	})
	w := testutil.Dial(t, r.addr())
	for range 80 {
		w.Send(getA)
		w.ReadResponse("GET")
	}
	if a, b, c := hits[0].Load(), hits[1].Load(), hits[2].Load(); a != 10 || b != 20 || c != 50 {
		t.Fatal(a, b, c)
	}
}
