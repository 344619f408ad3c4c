package proxy_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// asked is a proxy whose filter makes sub-requests, before an origin.
type asked struct {
	*rig
	left atomic.Int32 // requests of /wait that were given up
}

// filterOf decides in the phases Request and Response.
type filterOf struct {
	request, response func(a *asked, x *proxy.Exchange) proxy.Verdict
}

// newAsked returns one whose filter runs for the requests of clients at /. Sub-requests go to paths below /sub, for
// which the filter does not run, or to the origin.
func newAsked(t *testing.T, f filterOf) *asked {
	t.Helper()
	a := &asked{}
	origin := httptest.NewServer(http.HandlerFunc(a.answer))
	t.Cleanup(origin.Close)
	filter := &proxy.Filter{Name: "asks"}
	if f.request != nil {
		filter.Request = func(x *proxy.Exchange) proxy.Verdict { return f.request(a, x) }
	}
	if f.response != nil {
		filter.Response = func(x *proxy.Exchange) proxy.Verdict { return f.response(a, x) }
	}
	a.rig = newRig(t, func(e *engine.Engine) []proxy.Route {
		up := to(e, origin.Listener.Addr().String())
		return []proxy.Route{
			{Name: "own", Path: "/sub/own", To: proxy.Answer(200, "", "own")},
			{Name: "dead", Path: "/sub/dead", To: to(e, testutil.FreeAddr(t))},
			{Name: "sub", Path: "/sub", To: up},
			{Name: "all", To: up, Filters: []*proxy.Filter{filter}},
		}
	})
	return a
}

// answer is the origin: it says what came.
func (a *asked) answer(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch strings.TrimPrefix(r.URL.Path, "/sub") {
	case "/wait":
		<-r.Context().Done()
		a.left.Add(1)
	case "/large":
		io.WriteString(w, strings.Repeat("x", 100<<10))
	case "/cut":
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "12345")
	default:
		w.Header().Set("X-User", r.Header.Get("Authorization"))
		fmt.Fprint(w, r.Method, " ", r.Host, r.URL.RequestURI(), " ", string(body), " ")
		for _, name := range []string{"Range", "If-None-Match", "Content-Type", "X-Hop", "Accept-Encoding", "X-Added",
			"X-Forwarded-For", "Via", "Accept"} {
			if v := r.Header.Get(name); v != "" {
				fmt.Fprintf(w, "%s=%s ", name, v)
			}
		}
	}
}

// raw sends a request with fields that a sub-request does not get, and returns the answer.
func (a *asked) raw(t *testing.T, path string) string {
	t.Helper()
	w := testutil.Dial(t, a.addr())
	defer w.Close()
	w.Send("POST "+path+" HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n",
		"Range: bytes=1-2\r\nIf-None-Match: \"a\"\r\nConnection: X-Hop\r\nX-Hop: 1\r\n",
		"Authorization: bob\r\nAccept: text/*\r\n\r\n")
	w.Send("hello")
	resp, body := w.ReadResponse("POST")
	return fmt.Sprint(resp.StatusCode, " ", body, " asked=", resp.Header.Get("X-Asked"))
}

// A sub-request comes from the client of its parent, with its fields but for those about body, conditions and
// connection. The parent goes on with its own.
func TestAsk_request(t *testing.T) {
	for _, c := range []struct {
		name string
		sub  proxy.Sub
		want string
	}{
		{"through routes", proxy.Sub{Target: "/sub/who?a=b"},
			"200 GET a.example/sub/who?a=b  X-Forwarded-For=127.0.0.1 Via=1.1 edge Accept=text/* "},
		{"with a body", proxy.Sub{Target: "/sub/who", Method: "PUT", Host: "b.example", Body: []byte("asks"),
			Prepare: func(h *message.Head) { h.Set("X-Added", "1") }},
			"200 PUT b.example/sub/who asks X-Added=1 X-Forwarded-For=127.0.0.1 Via=1.1 edge Accept=text/* "},
		{"an answer of a route", proxy.Sub{Target: "/sub/own"}, "200 own"},
		{"an answer by a destination", proxy.Sub{To: proxy.Answer(203, "", "mine")}, "203 mine"},
	} {
		a := newAsked(t, filterOf{request: func(_ *asked, x *proxy.Exchange) proxy.Verdict {
			s := c.sub
			s.Done = func(x *proxy.Exchange, s *proxy.Sub) proxy.Verdict {
				got := fmt.Sprint(s.Response.Status, " ", string(s.Answer))
				if s.Err != nil {
					got = s.Err.Error()
				}
				x.Request.Set("X-Added", got)
				return proxy.Next
			}
			return proxy.Ask(x, &s)
		}})
		want := "200 POST a.example/x hello Range=bytes=1-2 If-None-Match=\"a\" Content-Type=text/plain X-Added=" +
			strings.TrimSpace(c.want) + " "
		if got := a.raw(t, "/x"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s\nwant %s", c.name, got, want)
		}
		a.settled(t)
	}
}

// Why there is no answer is told to Done, and the parent goes on.
func TestAsk_failures(t *testing.T) {
	for _, c := range []struct {
		name string
		sub  proxy.Sub
		want string // Reason of the failure; "": any
	}{
		{"no backend", proxy.Sub{Target: "/sub/dead"}, "backend:connect"},
		{"cut off", proxy.Sub{Target: "/sub/cut"}, "backend:truncated"},
		{"too late", proxy.Sub{Target: "/sub/wait", Timeout: 50 * time.Millisecond}, "edge:total"},
		{"an unknown destination", proxy.Sub{To: proxy.Named("nobody")}, "edge:no_backend"},
		{"a bad request", proxy.Sub{Target: "/%zz"}, ""},
	} {
		var seen atomic.Pointer[proxy.Error]
		a := newAsked(t, filterOf{request: func(_ *asked, x *proxy.Exchange) proxy.Verdict {
			s := c.sub
			s.Done = func(_ *proxy.Exchange, s *proxy.Sub) proxy.Verdict {
				seen.Store(s.Err)
				return proxy.Next
			}
			return proxy.Ask(x, &s)
		}})
		if resp, _ := a.get(t, "/x"); resp.StatusCode != 200 {
			t.Errorf("%s: %s", c.name, resp.Status)
		}
		if got := seen.Load(); c.want != "" && (got == nil || got.Reason() != c.want) {
			t.Errorf("%s: %v", c.name, got)
		}
		a.settled(t)
	}
}

// Two answers are joined into one: a verdict of Park waits for the other.
func TestAsk_several(t *testing.T) {
	a := newAsked(t, filterOf{request: func(_ *asked, x *proxy.Exchange) proxy.Verdict {
		var got []string
		done := func(_ *proxy.Exchange, s *proxy.Sub) proxy.Verdict {
			if got = append(got, fmt.Sprint(s.Response.Status, len(s.Answer), s.Truncated)); len(got) < 3 {
				return proxy.Park
			}
			return proxy.Respond(200, strings.Join(got, ", "))
		}
		proxy.Ask(x, &proxy.Sub{Target: "/sub/own", Done: done})
		proxy.Ask(x, &proxy.Sub{To: proxy.Answer(204, "", ""), Done: done})
		return proxy.Ask(x, &proxy.Sub{Target: "/sub/large", Done: done})
	}})
	_, body := a.get(t, "/x")
	if !strings.Contains(body, "200 3 false") || !strings.Contains(body, "204 0 false") ||
		!strings.HasSuffix(body, "200 65536 true") {
		t.Error(body)
	}
	a.settled(t)
}

// The phase Response may ask, too.
func TestAsk_response(t *testing.T) {
	a := newAsked(t, filterOf{response: func(_ *asked, x *proxy.Exchange) proxy.Verdict {
		return proxy.Ask(x, &proxy.Sub{Target: "/sub/own", Done: func(x *proxy.Exchange, s *proxy.Sub) proxy.Verdict {
			x.Response.Set("X-Asked", string(s.Answer))
			return proxy.Next
		}})
	}})
	got := a.raw(t, "/x")
	if !strings.Contains(got, "200 POST a.example/x hello") || !strings.HasSuffix(got, "asked=own") {
		t.Error(got)
	}
	a.settled(t)
}

// A sub-request that leads to the filter that made it ends at a depth of 4, and the seventeenth of one exchange is
// refused.
func TestAsk_bounds(t *testing.T) {
	var deepest, refused atomic.Int32
	var at *asked
	at = newAsked(t, filterOf{request: func(_ *asked, x *proxy.Exchange) proxy.Verdict {
		if string(x.Path()) == "/many" {
			left := 20
			done := func(_ *proxy.Exchange, s *proxy.Sub) proxy.Verdict {
				if s.Err != nil && s.Err.Kind == "sub_too_many" {
					refused.Add(1)
				}
				if left--; left > 0 {
					return proxy.Park
				}
				return proxy.Next
			}
			for range 19 {
				proxy.Ask(x, &proxy.Sub{Target: "/sub/own", Done: done})
			}
			return proxy.Ask(x, &proxy.Sub{Target: "/sub/own", Done: done})
		}
		return proxy.Ask(x, &proxy.Sub{Done: func(_ *proxy.Exchange, s *proxy.Sub) proxy.Verdict {
			deepest.Add(1)
			if s.Err != nil && s.Err.Kind != "sub_too_deep" {
				t.Error(s.Err)
			}
			return proxy.Next
		}})
	}})
	if resp, _ := at.get(t, "/loop"); resp.StatusCode != 200 || deepest.Load() != 5 {
		t.Errorf("%s after %d answers", resp.Status, deepest.Load())
	}
	if resp, _ := at.get(t, "/many"); resp.StatusCode != 200 || refused.Load() != 4 {
		t.Errorf("%s, %d refused", resp.Status, refused.Load())
	}
	at.settled(t)
}

// The end of the parent ends its sub-requests: the client leaves, or Done panics.
func TestAsk_ends(t *testing.T) {
	a := newAsked(t, filterOf{request: func(_ *asked, x *proxy.Exchange) proxy.Verdict {
		done := func(*proxy.Exchange, *proxy.Sub) proxy.Verdict { panic(errors.New("no")) }
		proxy.Ask(x, &proxy.Sub{Target: "/sub/wait", Timeout: time.Hour, Done: done})
		if string(x.Path()) == "/panic" {
			return proxy.Ask(x, &proxy.Sub{Target: "/sub/own", Done: done})
		}
		return proxy.Park
	}})
	w := testutil.Dial(t, a.addr())
	w.Send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
	testutil.Eventually(t, testutil.Patience, func() bool { return a.stats().Active == 2 }, "the sub-request")
	w.Reset()
	testutil.Eventually(t, testutil.Patience, func() bool { return a.left.Load() == 1 }, "the end of the sub-request")
	w = testutil.Dial(t, a.addr())
	defer w.Close()
	w.Send("GET /panic HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	w.ReadAll()
	a.settled(t)
	if n := a.stats().Panics; n != 1 {
		t.Errorf("%d panics", n)
	}
}

// A function that blocks may not ask: it is on a worker. The request is answered 500.
func TestAsk_onAWorker(t *testing.T) {
	r := filterRig(t, &proxy.Filter{Name: "blocks", Blocking: proxy.PhaseRequest,
		Request: func(x *proxy.Exchange) proxy.Verdict {
			return proxy.Ask(x, &proxy.Sub{Target: "/own", Done: func(*proxy.Exchange, *proxy.Sub) proxy.Verdict {
				return proxy.Next
			}})
		}})
	if resp, _ := r.get(t, "/x"); resp.StatusCode != 500 {
		t.Error(resp.Status)
	}
	r.settled(t)
}

// A sub-request that nobody waits for outlives its parent, and there are 64 of them on a reactor.
func TestAsk_alone(t *testing.T) {
	a := newAsked(t, filterOf{request: func(_ *asked, x *proxy.Exchange) proxy.Verdict {
		for range 70 {
			proxy.Ask(x, &proxy.Sub{Target: "/sub/wait", Timeout: 2 * time.Second}) // longer than x takes
		}
		return proxy.Next
	}})
	if resp, _ := a.get(t, "/x"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	if n := a.stats().Active; n != 64 {
		t.Errorf("%d sub-requests are under way", n)
	}
	a.settled(t)
	if s := a.stats(); s.Subs != 64 || s.SubsDropped != 6 {
		t.Errorf("%d were made, %d were dropped", s.Subs, s.SubsDropped)
	}
}
