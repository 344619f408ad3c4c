package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// chunkedAnswer ends with trailers, some of which must not be there.
const chunkedAnswer = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n" +
	"5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 3\r\nTransfer-Encoding: gzip\r\nHost: evil\r\n" +
	"Authorization: a\r\nSet-Cookie: b\r\nX-Sum: 2\r\n\r\n"

// RFC 9110 §6.5: trailers pass where the next hop has chunks, without what they must not hold.
func TestDelivery_trailersOfAnAnswer(t *testing.T) {
	s := setTunnel(t, stageOptions{})
	down := s.client()
	down.Send("GET / HTTP/1.1\r\nHost: h\r\nTE: gzip;q=0.1, trailers\r\nConnection: TE\r\n\r\n")
	up := s.accept()
	if head := up.ReadHead(); !strings.HasSuffix(head, "\r\nConnection: TE\r\nTE: trailers\r\n\r\n") {
		t.Fatalf("%q", head)
	}
	up.Send(chunkedAnswer)
	if head := down.ReadHead(); !strings.Contains(head, "\r\nTrailer: X-Sum\r\n") {
		t.Fatalf("%q", head)
	}
	down.Want("5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n")
	down.Send("GET / HTTP/1.0\r\nHost: h\r\n\r\n")
	up.ReadHead()
	up.Send(chunkedAnswer)
	if head := down.ReadHead(); strings.Contains(head, "Trailer") {
		t.Fatalf("%q", head)
	}
	down.Want("hello")
	down.WantEnd()
}

func TestDelivery_trailersOfARequest(t *testing.T) {
	s := setTunnel(t, stageOptions{})
	down := s.client()
	down.Send("POST / HTTP/1.1\r\nHost: h\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n",
		"5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 3\r\nHost: evil\r\nCookie: b\r\n\r\n")
	up := s.accept()
	if head := up.ReadHead(); !strings.Contains(head, "\r\nTrailer: X-Sum\r\n") {
		t.Fatalf("%q", head)
	}
	up.Want("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
	s.finish(up, down, "POST")
}

// Trailers wait while the body waits: for its filters, for a head that is parked, for the client.
func TestDelivery_trailersStayBehindTheBody(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 1<<16)
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := 0
		p := make([]byte, 1<<16)
		for n, err := r.Body.Read(p); n > 0 || err == nil; n, err = r.Body.Read(p) {
			got += n
		}
		w.Header().Set("Trailer", "X-Got")
		fmt.Fprint(w, body)
		w.Header().Set("X-Got", fmt.Sprint(got, r.Trailer.Get("X-Sent")))
	})
	server := testutil.Listen(t)
	go http.Serve(server, origin) //nolint:errcheck // ends with the listener
	parking := func(x *proxy.Exchange) proxy.Verdict {
		ref := x.Ref()
		time.AfterFunc(20*time.Millisecond, func() { ref.Resume(proxy.Next) })
		return proxy.Park
	}
	for name, filters := range map[string][]*proxy.Filter{
		"plain":  nil,
		"parked": {{Name: "park", Request: parking, Response: parking}},
		"filtered": {{Name: "body", Request: parking, RequestBody: holding(heldUp, false),
			ResponseBody: holding(heldDown, true)}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(e *engine.Engine) []proxy.Route {
				return []proxy.Route{{To: to(e, server.Addr().String())}}
			}, filters...)
			req, err := http.NewRequest("POST", r.url, struct{ *strings.Reader }{strings.NewReader(body)})
			if err != nil {
				t.Fatal(err)
			}
			req.Trailer = http.Header{"X-Sent": {"!"}}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 0, len(body))
			p := make([]byte, 1<<16)
			for {
				n, err := resp.Body.Read(p)
				if got = append(got, p[:n]...); err != nil {
					break
				}
			}
			if string(got) != body || resp.Trailer.Get("X-Got") != fmt.Sprint(len(body), "!") {
				t.Fatalf("%d bytes, trailers %v", len(got), resp.Trailer)
			}
		})
	}
}

// An answer that comes before the request has ended is delivered whole. Then a body that is nearly here is read to its
// end, and the connection closes after any other.
func TestDelivery_earlyAnswer(t *testing.T) {
	for name, length := range map[string]int{"short": 1000, "long": 10 << 20} {
		t.Run(name, func(t *testing.T) {
			s := setTunnel(t, stageOptions{})
			down, up := s.request(fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\nhello", length))
			up.Want("hello")
			up.Send("HTTP/1.1 403 No\r\nContent-Length: 10\r\n\r\n01234")
			down.ReadHead()
			down.Want("01234")
			up.Send("56789")
			down.Want("56789")
			up.WantEnd() // nobody can use it again: it waits for the rest of a body
			if length == 1000 {
				up = s.requestOn(down, strings.Repeat("x", length-5)+getA)
				s.finish(up, down, "GET")
			} else {
				down.WantEnd()
			}
		})
	}
}

func TestDelivery_expect(t *testing.T) {
	const ask = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
	s := setTunnel(t, stageOptions{})
	down := s.client()
	down.Send(ask)
	up := s.accept()
	if head := up.ReadHead(); !strings.Contains(head, "\r\nExpect: 100-continue\r\n") {
		t.Fatalf("%q", head)
	}
	up.Send("HTTP/1.1 100 Continue\r\n\r\n")
	down.Want("HTTP/1.1 100 Continue\r\n\r\n")
	down.Send("hello")
	up.Want("hello")
	s.finish(up, down, "POST")

	// A final answer instead: whether the body follows is not known, so nothing after it can be understood.
	down.Send(ask)
	up.ReadHead()
	up.Send("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
	if head := down.ReadHead(); !strings.Contains(head, "\r\nConnection: close\r\n") {
		t.Fatalf("%q", head)
	}
	down.WantEnd()
	up.WantEnd()
}

// While the client waits for 100 it is the origin that owes something.
func TestDelivery_expectInVain(t *testing.T) {
	s := setTunnel(t, stageOptions{
		upstream: timed(200*time.Millisecond, 0),
		session:  session.ServerOptions{BodyTimeout: 100 * time.Millisecond},
	})
	down := s.client()
	down.Send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	s.wantStatus(down, "POST", 504, "edge; error=http_response_timeout")
	s.log.want(t, 1, 504, "backend:first_byte")
}

// After the 100 it is the client that owes something.
func TestDelivery_expectedBodyInVain(t *testing.T) {
	s := setTunnel(t, stageOptions{session: session.ServerOptions{BodyTimeout: 100 * time.Millisecond}})
	down, up := s.request("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	up.Send("HTTP/1.1 100 Continue\r\n\r\n")
	down.ReadHead()
	s.wantStatus(down, "POST", 408, "edge; error=http_request_error")
	up.WantEnd()
	s.log.want(t, 1, 408, "client:request_body")
}

// At most eight interim answers are relayed, none to HTTP/1.0.
func TestDelivery_interim(t *testing.T) {
	const hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	s := setTunnel(t, stageOptions{})
	down, up := s.request(getA)
	up.Send(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 3) + strings.Repeat(hints, 10) + okay)
	for i := range 8 {
		if head := down.ReadHead(); !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 10%d ", 2+i/3-i/6)) {
			t.Fatalf("%d: %q", i, head)
		}
	}
	s.wantStatus(down, "GET", 200, "")
	down.Send("GET / HTTP/1.0\r\nHost: h\r\n\r\n")
	up.ReadHead()
	up.Send(hints + okay)
	s.wantStatus(down, "GET", 200, "")
	if n := s.stats().Exchanges; n != 2 {
		t.Fatal(n)
	}
}

func TestDelivery_total(t *testing.T) {
	s := setTunnel(t, stageOptions{route: proxy.Route{Timeout: 200 * time.Millisecond}})
	down := s.client()
	for n := range 2 {
		down.Send(getA)
		s.wantStatus(down, "GET", 504, "edge; error=http_response_timeout")
		s.log.want(t, 1+n, 504, "edge:total")
	}
}

// The backend hears at once of a client that is gone, also where bytes of it wait to be read.
func TestDelivery_resetCancels(t *testing.T) {
	for name, sent := range map[string]string{
		"waiting":        getA,
		"pipelined":      getA + getA + getA,
		"within a body":  "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello",
		"upgrade, early": upgradeX + "early",
	} {
		t.Run(name, func(t *testing.T) {
			s := setTunnel(t, stageOptions{route: routeX})
			down, up := s.request(sent)
			if strings.HasSuffix(sent, "hello") {
				up.Want("hello")
			}
			down.Reset()
			up.WantEnd()
			s.log.want(t, 1, 499, "client:gone")
			s.settled(t)
			if n := s.stats().ClientGone; n != 1 {
				t.Errorf("%d clients are gone", n)
			}
		})
	}
}

// A client that ends its side after a request has left, or only half closed: its answer has a while to begin.
func TestDelivery_halfClose(t *testing.T) {
	for name, c := range map[string]struct {
		wait time.Duration
		gone bool
	}{
		"waits":  {100 * time.Millisecond, true},
		"leaves": {session.HalfCloseLeaves, true},
		"stays":  {session.HalfCloseStays, false},
		"long":   {time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := setTunnel(t, stageOptions{session: session.ServerOptions{HalfCloseWait: c.wait}})
			down, up := s.request(getA)
			down.CloseWrite()
			if c.gone {
				up.WantEnd()
				s.log.want(t, 1, 499, "client:gone")
				down.WantEnd()
				return
			}
			s.finish(up, down, "GET")
			down.WantEnd()
			s.log.want(t, 1, 200, "")
		})
	}
}

// Once it has begun it is delivered whole, however long it takes.
func TestDelivery_halfCloseOfAnAnswerThatBegan(t *testing.T) {
	s := setTunnel(t, stageOptions{session: session.ServerOptions{HalfCloseWait: 50 * time.Millisecond}})
	down, up := s.request(getA)
	up.Send(okay[:len(okay)-1])
	down.ReadHead()
	down.CloseWrite()
	late := time.NewTimer(200 * time.Millisecond)
	<-late.C
	up.Send("k")
	down.Want("ok")
	down.WantEnd()
	s.log.want(t, 1, 200, "")
}
