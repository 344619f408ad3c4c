package proxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// filterRig is a proxy with filters before an origin that answers with the body it got.
func filterRig(t *testing.T, filters ...*proxy.Filter) *rig {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("X-Seen", fmt.Sprint(r.ContentLength, r.TransferEncoding, r.Header.Get("X-Added")))
		w.Header().Set("X-From-Origin", "1")
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		if r.URL.Path == "/trailers" {
			w.Header().Del("Content-Length")
			w.Header().Set("Trailer", "X-Sum")
			defer w.Header().Set("X-Sum", "1")
		}
		w.Write(body)
	}))
	t.Cleanup(origin.Close)
	return newRig(t, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{
			{Name: "dead", Path: "/dead", To: to(e, testutil.FreeAddr(t))},
			{Name: "own", Path: "/own", To: proxy.Answer(200, "", "own")},
			{Name: "all", To: to(e, origin.Listener.Addr().String())},
		}
	}, filters...)
}

func (r *rig) addr() string { return strings.TrimPrefix(r.url, "http://") }

// post sends a body and returns the answer.
func (r *rig) post(t *testing.T, path, body string) (*http.Response, string) {
	t.Helper()
	w := testutil.Dial(t, r.addr())
	defer w.Close()
	w.Send(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body))
	return w.ReadResponse("POST")
}

// wantCut makes a request whose answer must not look whole.
func (r *rig) wantCut(t *testing.T, method, path, body string) {
	t.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%s %s: %d bytes came as a whole answer", method, path, len(got))
	}
}

func (r *rig) wantLateResumes(t *testing.T, n uint64) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool { return r.stats().LateResumes == n }, "they are counted")
}

func (r *rig) settled(t *testing.T) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool { return r.stats().Active == 0 }, "no exchange is left")
	testutil.Eventually(t, testutil.Patience, func() bool { return r.engine.Stats().BufBytes == 0 }, "nothing is held")
}

// recorder notes the phases that ran.
type recorder struct {
	mu    sync.Mutex
	notes []string
}

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	notes := r.notes
	r.notes = nil
	return notes
}

// filter notes every phase under a name.
func (r *recorder) filter(name string, early bool) *proxy.Filter {
	judged := func(phase string) func(*proxy.Exchange) proxy.Verdict {
		return func(*proxy.Exchange) proxy.Verdict {
			r.note("%s %s", phase, name)
			return proxy.Next
		}
	}
	body := func(phase string) func(*proxy.Exchange, []byte, bool) proxy.Verdict {
		return func(x *proxy.Exchange, in []byte, end bool) proxy.Verdict {
			if x.Emit(in); end {
				r.note("%s %s", phase, name)
			}
			return proxy.Next
		}
	}
	plain := func(phase string) func(*proxy.Exchange) {
		return func(*proxy.Exchange) { r.note("%s %s", phase, name) }
	}
	f := &proxy.Filter{
		Name: name, Request: judged("request"), Response: judged("response"),
		UpstreamRequest: plain("upstream request"), Connected: plain("connected"),
		UpstreamResponse: plain("upstream response"),
		RequestBody:      body("request body"), ResponseBody: body("response body"),
		ConnectFailed: func(*proxy.Exchange, *proxy.Error) proxy.Verdict {
			r.note("connect failed %s", name)
			return proxy.Next
		},
		Error: func(_ *proxy.Exchange, f *proxy.Error) proxy.Verdict {
			r.note("error %d %s", f.Status, name)
			return proxy.Next
		},
		Log: func(*proxy.Exchange, *observe.Record) { r.note("log %s", name) },
	}
	if early {
		f.BeforeRoute = judged("early")
	}
	return f
}

func TestFilter_phasesRunInOrder(t *testing.T) {
	rec := &recorder{}
	r := filterRig(t, rec.filter("a", true), rec.filter("b", true))
	for _, c := range []struct {
		path string
		want []string
	}{
		{"/", []string{"early", "request", "upstream request", "connected", "request body", "upstream response",
			"response", "response body", "log"}},
		{"/own", []string{"early", "request", "response", "log"}},
		{"/dead", []string{"early", "request", "upstream request", "connected", "connect failed", "error 502",
			"response", "log"}},
	} {
		if _, body := r.post(t, c.path, "hello"); body == "" {
			t.Fatal("no body")
		}
		r.settled(t)
		var want []string
		for _, phase := range c.want {
			want = append(want, phase+" a", phase+" b")
		}
		got := rec.take()
		if c.path == "/dead" { // the refusal may come at once, or after the body
			drop := func(s string) bool {
				return strings.HasPrefix(s, "connected") || strings.HasPrefix(s, "request body")
			}
			got, want = slices.DeleteFunc(got, drop), slices.DeleteFunc(want, drop)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", c.path, got, want)
		}
	}
}

func TestFilter_trailers(t *testing.T) {
	r := filterRig(t, &proxy.Filter{Trailers: func(x *proxy.Exchange, h *message.Head) { h.Set("X-Sum", "2") }})
	resp, body := r.post(t, "/trailers", "hello")
	if body != "hello" || resp.Trailer.Get("X-Sum") != "2" {
		t.Fatal(body, resp.Trailer)
	}
}

// upper is a filter of bodies.
func upper(x *proxy.Exchange, in []byte, _ bool) proxy.Verdict {
	x.Emit(bytes.ToUpper(in))
	return proxy.Next
}

func respond(*proxy.Exchange) proxy.Verdict { return proxy.Respond(499, "told so\n") }

func TestFilter_respondsInEachPhase(t *testing.T) {
	for name, f := range map[string]*proxy.Filter{
		"early":    {BeforeRoute: respond},
		"request":  {Request: respond},
		"response": {Response: respond},
		"request body": {RequestBody: func(x *proxy.Exchange, in []byte, end bool) proxy.Verdict {
			return respond(x)
		}},
		"blocking": {Request: respond, Blocking: proxy.PhaseRequest},
	} {
		t.Run(name, func(t *testing.T) {
			r := filterRig(t, f)
			w := testutil.Dial(t, r.addr())
			for range 3 { // the connection goes on
				w.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
				resp, body := w.ReadResponse("POST")
				if resp.StatusCode != 499 || body != "told so\n" || resp.Header.Get("X-From-Origin") != "" {
					t.Fatal(resp.Status, resp.Header, body)
				}
			}
			r.settled(t)
		})
	}
	t.Run("response body", func(t *testing.T) {
		r := filterRig(t, &proxy.Filter{ResponseBody: func(x *proxy.Exchange, in []byte, end bool) proxy.Verdict {
			return respond(x)
		}})
		r.wantCut(t, "POST", "/", "hello")
		r.settled(t)
	})
	t.Run("no status", func(t *testing.T) {
		r := filterRig(t, &proxy.Filter{Request: func(*proxy.Exchange) proxy.Verdict { return proxy.Respond(0, "") }})
		if resp, _ := r.post(t, "/", "x"); resp.StatusCode != 500 {
			t.Fatal(resp.Status)
		}
	})
	t.Run("parked body", func(t *testing.T) {
		r := filterRig(t, &proxy.Filter{
			RequestBody: func(*proxy.Exchange, []byte, bool) proxy.Verdict { return proxy.Park },
		})
		if resp, _ := r.post(t, "/", "x"); resp.StatusCode != 500 {
			t.Fatal(resp.Status)
		}
	})
}

func TestFilter_laterOnesDoNotRunBehindAnAnswer(t *testing.T) {
	rec := &recorder{}
	r := filterRig(t, &proxy.Filter{Request: respond}, rec.filter("b", false))
	r.post(t, "/", "x")
	r.settled(t)
	if got := rec.take(); !slices.Equal(got, []string{"response b", "log b"}) {
		t.Fatal(got)
	}
}

func TestFilter_parksAndResumes(t *testing.T) {
	for name, phase := range map[string]func(f func(*proxy.Exchange) proxy.Verdict) *proxy.Filter{
		"early":    func(f func(*proxy.Exchange) proxy.Verdict) *proxy.Filter { return &proxy.Filter{BeforeRoute: f} },
		"request":  func(f func(*proxy.Exchange) proxy.Verdict) *proxy.Filter { return &proxy.Filter{Request: f} },
		"response": func(f func(*proxy.Exchange) proxy.Verdict) *proxy.Filter { return &proxy.Filter{Response: f} },
	} {
		t.Run(name, func(t *testing.T) {
			refs := make(chan proxy.Ref, 1)
			f := phase(func(x *proxy.Exchange) proxy.Verdict {
				refs <- x.Ref()
				return proxy.Park
			})
			f.RequestBody = upper
			r := filterRig(t, f)
			w := testutil.Dial(t, r.addr())
			body := strings.Repeat("hello", 100_000) // comes while the exchange is parked
			go fmt.Fprintf(w.Conn(), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			ref := <-refs
			ref.Resume(proxy.Next)
			resp, got := w.ReadResponse("POST")
			if resp.StatusCode != 200 || got != strings.ToUpper(body) {
				t.Fatal(resp.Status, len(got))
			}
			r.settled(t)
			ref.Resume(proxy.Next) // too late
			r.wantLateResumes(t, 1)

			w.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			ref = <-refs
			ref.Resume(proxy.Respond(403, "no"))
			ref.Resume(proxy.Next)
			if resp, got := w.ReadResponse("GET"); resp.StatusCode != 403 || got != "no" {
				t.Fatal(resp.Status, got)
			}
			r.wantLateResumes(t, 2)

			w.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			ref = <-refs
			w.Reset()
			r.settled(t)
			ref.Resume(proxy.Respond(403, "no"))
			r.wantLateResumes(t, 3)
		})
	}
}

func TestRef_resumeWithDecidesOnce(t *testing.T) {
	r := filterRig(t, &proxy.Filter{
		Request: func(x *proxy.Exchange) proxy.Verdict {
			ref := x.Ref()
			go func() {
				ref.ResumeWith(func(x *proxy.Exchange) proxy.Verdict {
					*keptText.Of(x) = "seen"
					return proxy.Next
				})
				ref.ResumeWith(func(*proxy.Exchange) proxy.Verdict {
					t.Error("it came too late")
					return proxy.Next
				})
			}()
			return proxy.Park
		},
		Response: func(x *proxy.Exchange) proxy.Verdict {
			x.Response.Set("X-Local", *keptText.Of(x))
			return proxy.Next
		},
	}, &proxy.Filter{})
	if resp, body := r.post(t, "/", "hello"); resp.Header.Get("X-Local") != "seen" || body != "hello" {
		t.Fatal(resp.Header, body)
	}
	r.wantLateResumes(t, 1)
	r.settled(t)
}

func TestFilter_blocksOnAWorker(t *testing.T) {
	for name, f := range map[string]*proxy.Filter{
		"early":    {Blocking: proxy.PhaseBeforeRoute},
		"request":  {Blocking: proxy.PhaseRequest},
		"response": {Blocking: proxy.PhaseResponse},
	} {
		t.Run(name, func(t *testing.T) {
			type turn struct {
				path    string
				proceed chan proxy.Verdict
				done    <-chan struct{}
			}
			turns := make(chan turn, 1)
			wait := func(x *proxy.Exchange) proxy.Verdict {
				x.Request.Set("X-Added", "by the worker")
				c := turn{string(x.Request.Path()), make(chan proxy.Verdict), x.Context().Done()}
				turns <- c
				return <-c.proceed
			}
			switch f.Blocking {
			case proxy.PhaseBeforeRoute:
				f.BeforeRoute = wait
			case proxy.PhaseRequest:
				f.Request = wait
			default:
				f.Response = wait
			}
			f.RequestBody = upper
			r := filterRig(t, f)
			body := strings.Repeat("hello", 100_000)
			first, second := testutil.Dial(t, r.addr()), testutil.Dial(t, r.addr())
			go fmt.Fprintf(first.Conn(), "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			one := <-turns
			second.Send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n") // goes on while the first one waits
			two := <-turns
			two.proceed <- proxy.Respond(403, "no")
			if resp, got := second.ReadResponse("GET"); resp.StatusCode != 403 || got != "no" {
				t.Fatal(resp.Status, got)
			}
			one.proceed <- proxy.Next
			if resp, got := first.ReadResponse("POST"); resp.StatusCode != 200 || got != strings.ToUpper(body) {
				t.Fatal(resp.Status, len(got))
			}
			// The client goes while the worker has the exchange: it is told, and the exchange lives until it is done.
			second.Send("GET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
			three := <-turns
			second.Reset()
			<-three.done
			if n := r.stats().Active; n != 1 {
				t.Fatal(n, "exchanges")
			}
			three.proceed <- proxy.Next
			r.settled(t)
		})
	}
}

func TestFilter_panicOnAWorkerIs500(t *testing.T) {
	r := filterRig(t, &proxy.Filter{Request: func(*proxy.Exchange) proxy.Verdict { panic(errOnPurpose) },
		Blocking: proxy.PhaseRequest})
	if resp, _ := r.post(t, "/", "x"); resp.StatusCode != 500 {
		t.Fatal(resp.Status)
	}
	if s := r.stats(); s.Panics != 1 {
		t.Fatalf("%+v", s)
	}
}

// errOnPurpose is what filters of tests panic with. A text would be taken for a violated invariant.
var errOnPurpose = errors.New("on purpose")

// A panic costs its exchange alone: 500 where nothing was sent, else the end of the answer. The connection lives where
// it can, and one line names the filter and the request.
func TestFilter_panicEndsItsExchangeOnly(t *testing.T) {
	var log testutil.Output
	testutil.EventLog(t, slog.NewJSONHandler(&log, nil))
	refs := make(chan proxy.Ref, 1)
	bad := func(x *proxy.Exchange, phase string) proxy.Verdict {
		if string(x.Request.Path()) == "/"+phase {
			panic(errOnPurpose)
		}
		return proxy.Next
	}
	r := filterRig(t, &proxy.Filter{
		Name:        "culprit",
		BeforeRoute: func(x *proxy.Exchange) proxy.Verdict { return bad(x, "beforeroute") },
		Request: func(x *proxy.Exchange) proxy.Verdict {
			if string(x.Request.Path()) == "/task" {
				refs <- x.Ref()
				return proxy.Park
			}
			return bad(x, "request")
		},
		UpstreamRequest: func(x *proxy.Exchange) { bad(x, "task"); bad(x, "upstreamrequest") },
		Connected:       func(x *proxy.Exchange) { bad(x, "connected") },
		RequestBody: func(x *proxy.Exchange, in []byte, end bool) proxy.Verdict {
			x.Emit(in)
			return bad(x, "requestbody")
		},
		UpstreamResponse: func(x *proxy.Exchange) { bad(x, "upstreamresponse") },
		Response:         func(x *proxy.Exchange) proxy.Verdict { return bad(x, "response") },
		ResponseBody: func(x *proxy.Exchange, in []byte, end bool) proxy.Verdict {
			x.Emit(in)
			return bad(x, "responsebody")
		},
		ConnectFailed: func(x *proxy.Exchange, _ *proxy.Error) proxy.Verdict { return bad(x, "dead") },
		Error:         func(x *proxy.Exchange, _ *proxy.Error) proxy.Verdict { return bad(x, "dead/error") },
		Log:           func(x *proxy.Exchange, _ *observe.Record) { bad(x, "log") },
	})
	lives := testutil.Dial(t, r.addr())
	for i, path := range []string{"beforeroute", "request", "task", "upstreamrequest", "connected", "requestbody",
		"upstreamresponse", "response", "dead", "dead/error", "responsebody", "log"} {
		w := testutil.Dial(t, r.addr())
		w.Send("POST /"+path+"?secret HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n",
			"Connection: close\r\n\r\nhello")
		if path == "task" {
			(<-refs).Resume(proxy.Next)
		}
		switch got := w.ReadAll(); {
		case path == "log" || path == "responsebody": // nothing is left to answer with
			if !strings.HasPrefix(got, "HTTP/1.1 200 ") {
				t.Errorf("%s: %q", path, got)
			}
		case !strings.HasPrefix(got, "HTTP/1.1 500 "):
			t.Errorf("%s: %q", path, got)
		}
		lives.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp, _ := lives.ReadResponse("GET"); resp.StatusCode != 200 {
			t.Fatal(path, resp.Status)
		}
		r.settled(t)
		if s := r.stats(); s.Panics != uint64(i+1) {
			t.Fatalf("%s: %d panics were counted", path, s.Panics)
		}
		text := log.Take() // a backend that fails has a line too
		line := text[strings.LastIndex(text, `{"time":`):]
		for _, part := range []string{`"filter":"culprit"`, `"method":"POST"`, `"host":"a.test"`,
			`"path":"/` + path + `"`, `"panic":"on purpose"`, `"request":"`, "filter_test.go:"} {
			if strings.Count(line, part) != 1 && part != "filter_test.go:" || !strings.Contains(line, part) {
				t.Errorf("%s: %s is not said once: %s", path, part, line)
			}
		}
	}
}

// Over HTTP/2 it costs its stream.
func TestFilter_panicCostsOneStream(t *testing.T) {
	release := make(chan struct{})
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first,")
		w.(http.Flusher).Flush()
		<-release
		io.WriteString(w, r.RemoteAddr)
	}), &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		if string(x.Path()) == "/bad" {
			panic(errOnPurpose)
		}
		return proxy.Next
	}})
	client := clientOf(t, "h2c")
	slow, err := client.Get(r.url + "/slow")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if resp, _ := testutil.Get(t, client, r.url+"/bad"); resp.StatusCode != 500 || resp.ProtoMajor != 2 {
			t.Fatal(resp.Proto, resp.Status)
		}
	}
	close(release)
	body, err := io.ReadAll(slow.Body)
	slow.Body.Close()
	if err != nil || !strings.HasPrefix(string(body), "first,127.0.0.1") {
		t.Fatalf("%q %v", body, err)
	}
}

// A filter of trailers that panics cuts the answer off.
func TestFilter_panicOverTrailers(t *testing.T) {
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-End")
		io.WriteString(w, "body")
		w.Header().Set("X-End", "yes")
	}), &proxy.Filter{Trailers: func(*proxy.Exchange, *message.Head) { panic(errOnPurpose) }})
	r.wantCut(t, "GET", "/", "")
	if s := r.stats(); s.Panics != 1 {
		t.Fatalf("%+v", s)
	}
}

// So are functions that choose a destination, and destinations of other packages.
func TestDestination_panicIs500(t *testing.T) {
	r := newRig(t, func(*engine.Engine) []proxy.Route {
		return []proxy.Route{
			proxy.MustRoute("/choose", proxy.DestinationFunc(func(*proxy.Exchange) proxy.Destination {
				panic(errOnPurpose)
			})),
			proxy.MustRoute("/open", opensBadly{}),
		}
	})
	for i, path := range []string{"/choose", "/open"} {
		resp, _ := testutil.Get(t, http.DefaultClient, r.url+path)
		if resp.StatusCode != 500 || r.stats().Panics != uint64(i+1) {
			t.Errorf("%s: %s, %d panics", path, resp.Status, r.stats().Panics)
		}
	}
}

// opensBadly is a Destination that panics.
type opensBadly struct{}

func (opensBadly) Open(*proxy.Exchange, session.Receiver) proxy.Opening {
	panic(errOnPurpose)
}

func TestFilter_bodiesMayChangeTheirLength(t *testing.T) {
	grow := func(x *proxy.Exchange, in []byte, end bool) proxy.Verdict {
		x.Emit(bytes.Repeat(in, 3))
		if end {
			x.Emit([]byte("."))
		}
		return proxy.Next
	}
	shrink := func(x *proxy.Exchange, in []byte, end bool) proxy.Verdict {
		x.Emit(bytes.ReplaceAll(in, []byte("l"), nil))
		return proxy.Next
	}
	swallow := func(x *proxy.Exchange, in []byte, end bool) proxy.Verdict { return proxy.Next }
	huge := func(x *proxy.Exchange, in []byte, end bool) proxy.Verdict {
		if end {
			x.Emit(make([]byte, 5<<20)) // more than any queue holds
		}
		return proxy.Next
	}
	for _, c := range []struct {
		name   string
		filter *proxy.Filter
		want   string
		length string // what the origin saw
		got    string // Content-Length of the answer
	}{
		{"request grows", &proxy.Filter{RequestBody: grow}, "hellohellohello.", "-1 [chunked]", "16"},
		{"request shrinks", &proxy.Filter{RequestBody: shrink}, "heo", "-1 [chunked]", "3"},
		{"request vanishes", &proxy.Filter{RequestBody: swallow}, "", "-1 [chunked]", "0"},
		{"answer grows", &proxy.Filter{ResponseBody: grow}, "hellohellohello.", "5 []", ""},
		{"answer shrinks", &proxy.Filter{ResponseBody: shrink}, "heo", "5 []", ""},
		{"answer vanishes", &proxy.Filter{ResponseBody: swallow}, "", "5 []", ""},
		{"request is huge", &proxy.Filter{RequestBody: huge}, string(make([]byte, 5<<20)), "-1 [chunked]", "5242880"},
		{"answer is huge", &proxy.Filter{ResponseBody: huge}, string(make([]byte, 5<<20)), "5 []", ""},
		{"length known", &proxy.Filter{
			Request: func(x *proxy.Exchange) proxy.Verdict {
				x.Request.Length = 3
				return proxy.Next
			},
			RequestBody: shrink,
			Response: func(x *proxy.Exchange) proxy.Verdict {
				x.Response.Length = 10
				return proxy.Next
			},
			ResponseBody: grow,
		}, "heoheoheo.", "3 []", "10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := filterRig(t, c.filter)
			resp, body := r.post(t, "/", "hello")
			if body != c.want || resp.Header.Get("X-Seen") != c.length || resp.Header.Get("Content-Length") != c.got {
				t.Fatalf("%v, %d bytes %.50q", resp.Header, len(body), body)
			}
			r.settled(t)
		})
	}
	t.Run("not as announced", func(t *testing.T) {
		r := filterRig(t, &proxy.Filter{
			Response: func(x *proxy.Exchange) proxy.Verdict {
				x.Response.Length = 3
				return proxy.Next
			},
			ResponseBody: grow,
		})
		r.wantCut(t, "POST", "/", "hello")
		r.settled(t)
	})
	t.Run("HEAD", func(t *testing.T) {
		r := filterRig(t, &proxy.Filter{ResponseBody: grow})
		resp, err := http.Head(r.url)
		if err != nil || resp.Header.Get("Content-Length") != "" {
			t.Fatal(resp, err)
		}
	})
}

func TestFilter_bodyFiltersFollowEachOther(t *testing.T) {
	suffix := func(s string) func(*proxy.Exchange, []byte, bool) proxy.Verdict {
		return func(x *proxy.Exchange, in []byte, end bool) proxy.Verdict {
			if x.Emit(in); end {
				x.Emit([]byte(s))
			}
			return proxy.Next
		}
	}
	r := filterRig(t, &proxy.Filter{RequestBody: suffix("1"), ResponseBody: suffix("3")},
		&proxy.Filter{RequestBody: suffix("2"), ResponseBody: suffix("4")})
	if _, body := r.post(t, "/", "hello"); body != "hello1234" {
		t.Fatal(body)
	}
}

// What tests keep with an exchange: Locals are made once in a process.
var (
	keptNumber, keptText = proxy.NewLocal[*int](), proxy.NewLocal[string]()
	heldUp, heldDown     = proxy.NewLocal[[]byte](), proxy.NewLocal[[]byte]()
	elsewhere            = proxy.NewLocal[bool]()
)

func TestFilter_localsContextAndFields(t *testing.T) {
	contexts := make(chan error, 2)
	r := filterRig(t, setFields(map[string]string{"X-Added": "1"}, map[string]string{"X-From-Origin": ""}),
		&proxy.Filter{
			BeforeRoute: func(x *proxy.Exchange) proxy.Verdict {
				if *keptNumber.Of(x) != nil || *keptText.Of(x) != "" {
					t.Error("locals of another exchange")
				}
				*keptText.Of(x) = "early"
				return proxy.Next
			},
			Response: func(x *proxy.Exchange) proxy.Verdict {
				x.Response.Set("X-Local", fmt.Sprint(*keptText.Of(x), *keptNumber.Of(x), x.Context().Err()))
				contexts <- nil
				ctx := x.Context()
				go func() {
					<-ctx.Done()
					contexts <- ctx.Err()
				}()
				return proxy.Next
			},
		})
	resp, _ := r.post(t, "/", "hello")
	if got := resp.Header.Get("X-Local"); got != "early<nil> <nil>" {
		t.Fatal(got)
	}
	if resp.Header.Get("X-Seen") != "5 []1" || resp.Header.Get("X-From-Origin") != "" {
		t.Fatal(resp.Header)
	}
	if <-contexts; <-contexts == nil {
		t.Fatal("the context goes on behind the exchange")
	}
}

func TestFilter_isRefusedWhereItCannotRun(t *testing.T) {
	own := proxy.Answer(200, "", "")
	for _, c := range []struct {
		routes  []proxy.Route
		filters []*proxy.Filter
	}{
		{[]proxy.Route{{To: own, Filters: []*proxy.Filter{{BeforeRoute: respond}}}}, nil},
		{[]proxy.Route{{To: own, Filters: []*proxy.Filter{{Blocking: proxy.PhaseRequest}}}}, nil},
		{[]proxy.Route{{To: own}}, []*proxy.Filter{{Blocking: proxy.PhaseBeforeRoute}}},
		{[]proxy.Route{{}}, nil},
		{[]proxy.Route{{To: own}, {To: own, Path: "/"}}, nil},
		{[]proxy.Route{{To: edge.Backends("127.0.0.1:80")}}, nil},
	} {
		if _, err := proxy.NewSnapshot(c.routes, c.filters); err == nil {
			t.Errorf("%+v passes", c)
		}
	}
}

// What filters keep with an exchange costs no allocation.
func TestLocal_allocatesNothing(t *testing.T) {
	g := warm.New(t, warm.Browser, &proxy.Listener{}, &proxy.Filter{
		Request: func(x *proxy.Exchange) proxy.Verdict {
			*keptText.Of(x) = "seen"
			return proxy.Next
		},
		Log: func(x *proxy.Exchange, _ *observe.Record) {
			if *keptText.Of(x) != "seen" || *keptNumber.Of(x) != nil {
				t.Error("what was kept is lost")
			}
		},
	})
	if allocs := testutil.Allocs(1000, g.Exchange); allocs != 0 {
		t.Fatalf("%v allocations", allocs)
	}
}

// A filter that only looks costs no allocation.
func TestFilter_trivialOneAllocatesNothing(t *testing.T) {
	seen := 0
	g := warm.New(t, warm.Browser, &proxy.Listener{}, &proxy.Filter{
		Request: func(x *proxy.Exchange) proxy.Verdict {
			if len(x.Request.Peek(message.Cookie)) > 0 {
				seen++
			}
			return proxy.Next
		},
		Response: func(x *proxy.Exchange) proxy.Verdict {
			x.Response.AddID(message.XFrameOptions, "X-Frame-Options", "DENY")
			return proxy.Next
		},
	})
	if allocs := testutil.Allocs(1000, g.Exchange); allocs != 0 || seen == 0 {
		t.Fatalf("%v allocations, seen %d", allocs, seen)
	}
}
