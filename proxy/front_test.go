package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// front is a Front that does what the path of a request says.
type front struct {
	onward proxy.Destination
	large  []byte
	again  sync.Map // requests that were asked once more, by their path
	edits  atomic.Int64
}

func (f *front) Onward() proxy.Destination { return f.onward }

func (f *front) OnPassed(x *proxy.Exchange) {
	if strings.HasPrefix(string(x.Request.Path()), "/panic") {
		panic(io.ErrClosedPipe)
	}
	x.Response.Add("X-Passed", "1")
}

func (f *front) Open(x *proxy.Exchange, to session.Receiver) proxy.Opening {
	path := string(x.Request.Path())
	switch {
	case strings.HasPrefix(path, "/stored"):
		x.Response.Reset()
		x.Response.Status, x.Response.Proto = 200, message.HTTP11
		x.Response.Add("X-Stored", "1")
		body := []byte("stored")
		if strings.HasSuffix(path, "large") {
			body = f.large
		}
		return proxy.Opening{Stored: &proxy.Stored{Body: body}}
	case strings.HasPrefix(path, "/again"):
		if _, again := f.again.LoadOrStore(path, true); again {
			return proxy.Opening{Verdict: new(proxy.Respond(200, "the second time"))}
		}
		s := &followed{to: to}
		s.task.Run = func(*engine.Reactor) { to.OnReset(s, session.Cancelled, proxy.ErrAgain) }
		x.Reactor().Defer(&s.task)
		return proxy.Opening{Stream: s}
	case strings.HasPrefix(path, "/fork"):
		s := &followed{to: to, x: x}
		s.fork = new(proxy.Forked)
		proxy.Fork(s.fork, x, f.onward, (*forkSide)(s))
		s.fork.Request().Set("X-Forked", "1")
		f.edits.Add(1)
		s.task.Run = func(*engine.Reactor) {
			if s.posted = false; s.fork != nil {
				s.fork.Resume()
			}
		}
		return proxy.Opening{Stream: s}
	}
	return proxy.Opening{Onward: true}
}

// followed gives the answer of a fork to the one exchange that has caused it.
type followed struct {
	session.NopStream
	to     session.Receiver
	x      *proxy.Exchange
	fork   *proxy.Forked
	task   engine.Task
	posted bool
	owed   int
}

func (s *followed) Release(n int) {
	s.owed -= n
	if s.owed == 0 && s.fork != nil && !s.posted {
		s.posted = true
		s.x.Reactor().Defer(&s.task)
	}
}

func (s *followed) Reset(session.Code) {
	if f := s.fork; f != nil {
		s.fork = nil
		f.Cancel()
	}
}

type forkSide followed

func (s *forkSide) SendHead(h *message.Head, end bool) error {
	if h.Status >= 200 {
		proxy.Credit(s.x, s.fork)
	}
	if strings.HasSuffix(string(s.x.Request.Path()), "/headpanic") {
		panic(io.ErrClosedPipe)
	}
	if end {
		s.fork = nil
	}
	s.to.OnHead((*followed)(s), h, end)
	return nil
}

func (s *forkSide) SendData(p []byte, end bool) (int, error) {
	if strings.HasSuffix(string(s.x.Request.Path()), "/datapanic") {
		panic(io.ErrClosedPipe)
	}
	s.owed += len(p)
	if end {
		s.fork = nil
	}
	s.to.OnData((*followed)(s), p, end)
	return len(p), nil
}

func (s *forkSide) SendTrailers(h *message.Head) error {
	s.fork = nil
	s.to.OnTrailers((*followed)(s), h)
	return nil
}

func (s *forkSide) Congested() bool { return s.owed > 0 }

func (s *forkSide) Reset(code session.Code) {
	s.fork = nil
	s.to.OnReset((*followed)(s), code, nil)
}

func (s *forkSide) OnFailed(e *proxy.Error) {
	proxy.Credit(s.x, s.fork)
	s.fork = nil
	s.to.OnReset((*followed)(s), session.Cancelled, e)
}

// frontRig is a proxy whose routes lead to a front: of an origin, and of an address where nobody listens.
func frontRig(t *testing.T, filters ...*proxy.Filter) (*rig, *front) {
	t.Helper()
	f := &front{large: []byte(strings.Repeat("large", 1<<18))}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", fmt.Sprint(r.Header.Get("X-Forked"), " ", r.Header.Get("Via"), " ", r.Method))
		w.Header()["Date"] = nil
		switch {
		case strings.HasSuffix(r.URL.Path, "/error"):
			w.WriteHeader(500)
		case strings.HasSuffix(r.URL.Path, "/large"):
			w.Write(f.large)
		case strings.HasSuffix(r.URL.Path, "/cut"):
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("short"))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		default:
			io.WriteString(w, "origin")
		}
	}))
	t.Cleanup(origin.Close)
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		f.onward = to(e, origin.Listener.Addr().String())
		dead := &front{onward: to(e, testutil.FreeAddr(t))}
		return []proxy.Route{{Name: "dead", Path: "/fork/dead", To: dead}, {Name: "all", To: f}}
	}, filters...)
	return r, f
}

// ask returns the answer to a request, with its body.
func (r *rig) ask(t *testing.T, method, path string) (*http.Response, string) {
	t.Helper()
	w := testutil.Dial(t, r.addr())
	defer w.Close()
	w.Send(method + " " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
	return w.ReadResponse(method)
}

func TestFront_waysOfARequest(t *testing.T) {
	r, f := frontRig(t)
	for _, c := range []struct {
		method, path string
		status       int
		body, header string
	}{
		{"GET", "/stored", 200, "stored", "X-Stored: 1"},
		{"HEAD", "/stored", 200, "", "Content-Length: 6"},
		{"GET", "/stored/large", 200, string(f.large), "X-Stored: 1"},
		{"GET", "/onward", 200, "origin", "X-Passed: 1"},
		{"GET", "/onward", 200, "origin", "X-Seen: 1.1 edge GET"},
		{"GET", "/again", 200, "the second time", ""},
		{"GET", "/fork", 200, "origin", "X-Seen: 1 1.1 edge GET"},
		{"GET", "/fork", 200, "origin", "Via: 1.1 edge"},
		{"GET", "/fork/large", 200, string(f.large), ""},
		{"GET", "/fork/error", 500, "", ""},
		{"GET", "/fork/dead", 502, "", "Proxy-Status: edge; error=connection_refused"},
		{"GET", "/panic", 500, "", "Proxy-Status: edge; error=proxy_internal_error"},
	} {
		resp, body := r.ask(t, c.method, c.path)
		if resp.StatusCode != c.status || c.body != body && c.status < 500 {
			t.Errorf("%s %s: %d, %d bytes: %.60q", c.method, c.path, resp.StatusCode, len(body), body)
		}
		if name, value, ok := strings.Cut(c.header, ": "); ok && resp.Header.Get(name) != value {
			t.Errorf("%s %s: %s is %q", c.method, c.path, name, resp.Header.Get(name))
		}
		if resp.Header.Get("Date") == "" {
			t.Errorf("%s %s: no Date", c.method, c.path)
		}
	}
	r.settled(t)
}

// A stored answer, and the answer of a fork, meet the filters of the answer; the fork itself those of the backend.
func TestFront_filtersOfEachPhase(t *testing.T) {
	var log recorder
	last := func(x *proxy.Exchange, rec *observe.Record) {
		log.note("log %d %s %d", rec.Status, rec.Upstream, rec.Attempts)
	}
	r, _ := frontRig(t, log.filter("f", true), &proxy.Filter{Name: "log", Log: last})
	const answer = "response f|response body f|log f|"
	for path, want := range map[string]string{
		"/stored":    answer + "log 200  0",
		"/fork":      "connected f|upstream response f|" + answer + "log 200 origin 1",
		"/fork/dead": "connected f|connect failed f|error 502 f|response f|log f|log 502 origin 1",
	} {
		log.mu.Lock()
		log.notes = nil
		log.mu.Unlock()
		r.ask(t, "GET", path)
		r.settled(t)
		log.mu.Lock()
		all := strings.Join(log.notes, "|")
		log.mu.Unlock()
		if want = "early f|request f|upstream request f|" + want; all != want {
			t.Errorf("%s: %s, want %s", path, all, want)
		}
	}
}

// A filter that has the answer wait, or looks at its body, gets a copy of a borrowed body.
func TestFront_bodyOutlivesAParkedFilter(t *testing.T) {
	park := &proxy.Filter{Name: "park", Response: func(x *proxy.Exchange) proxy.Verdict {
		x.Ref().Resume(proxy.Next)
		return proxy.Park
	}}
	body := &proxy.Filter{Name: "upper", ResponseBody: upper}
	for name, filters := range map[string][]*proxy.Filter{"park": {park}, "body": {body}, "both": {park, body}} {
		t.Run(name, func(t *testing.T) {
			r, f := frontRig(t, filters...)
			for path, want := range map[string]string{
				"/stored": "stored", "/stored/large": string(f.large),
				"/fork": "origin", "/fork/large": string(f.large),
			} {
				if name != "park" {
					want = strings.ToUpper(want)
				}
				if _, body := r.ask(t, "GET", path); body != want {
					t.Errorf("%s: %d bytes: %.40q", path, len(body), body)
				}
			}
			r.settled(t)
		})
	}
}

// A stored answer that a filter ends without a word leaves nothing to the request that comes next, which may be another
// client's: its Exchange is the same.
func TestFront_silentFailureOfAStoredAnswer(t *testing.T) {
	silent := proxy.NewError(proxy.Error{Status: 502, Silent: true, Kind: "silent"})
	r, _ := frontRig(t, &proxy.Filter{Name: "silent", Response: func(x *proxy.Exchange) proxy.Verdict {
		if string(x.Request.Path()) == "/stored" {
			return proxy.Fail(silent)
		}
		return proxy.Next
	}})
	for range 8 { // two reactors
		w := testutil.Dial(t, r.addr())
		w.Send("GET /stored HTTP/1.1\r\nHost: a\r\n\r\n")
		if got := w.ReadAll(); got != "" {
			t.Errorf("an answer: %q", got)
		}
		if resp, body := r.ask(t, "GET", "/onward"); resp.StatusCode != 200 || body != "origin" {
			t.Errorf("%s %q", resp.Status, body)
		}
	}
	r.settled(t)
}

// here is a Destination, no Front, whose answers are here.
type here struct{}

func (here) Open(x *proxy.Exchange, _ session.Receiver) proxy.Opening {
	x.Response.Reset()
	x.Response.Status, x.Response.Proto = 200, message.HTTP11
	return proxy.Opening{Stored: &proxy.Stored{Body: []byte("here")}}
}

// An answer that is here is passed on as another is where it is for a fork, or goes by a Front.
func TestFront_answerOfTheOtherIsHere(t *testing.T) {
	r := newRig(t, func(*engine.Engine) []proxy.Route { return []proxy.Route{{To: &front{onward: here{}}}} })
	for _, c := range []struct{ method, path, body, passed string }{
		{"GET", "/fork", "here", ""},
		{"HEAD", "/fork", "", ""},
		{"GET", "/onward", "here", "1"},
		{"HEAD", "/onward", "", "1"},
	} {
		resp, body := r.ask(t, c.method, c.path)
		passed, n := resp.Header.Get("X-Passed"), resp.ContentLength
		if resp.StatusCode != 200 || body != c.body || passed != c.passed || n != 4 {
			t.Errorf("%s %s: %s, %q of %d bytes, passed: %q", c.method, c.path, resp.Status, body, n, passed)
		}
	}
	r.settled(t)
}

func TestFork_answerThatIsCutOff(t *testing.T) {
	r, _ := frontRig(t)
	r.wantCut(t, "GET", "/fork/cut", "")
	r.settled(t)
}

// A panic of what takes the answer is the end of the answer.
func TestFork_panicOfItsSide(t *testing.T) {
	r, _ := frontRig(t)
	for _, path := range []string{"/fork/headpanic", "/fork/datapanic", "/fork/large/datapanic"} {
		resp, err := http.Get(r.url + path)
		if err != nil {
			continue
		}
		if body, err := io.ReadAll(resp.Body); err == nil && resp.StatusCode == 200 {
			t.Errorf("%s: %d bytes as the whole answer", path, len(body))
		}
		resp.Body.Close()
	}
	r.settled(t)
}

func TestFork_clientLeaves(t *testing.T) {
	r, f := frontRig(t)
	w := testutil.Dial(t, r.addr())
	w.Send("GET /fork/large HTTP/1.1\r\nHost: a\r\n\r\n")
	testutil.Eventually(t, testutil.Patience, func() bool { return f.edits.Load() == 1 }, "the fork is made")
	w.Close()
	r.settled(t)
}

// A filter of ConnectFailed that answers does so for the exchange that waits for the fork.
func TestFork_answerOfAFilter(t *testing.T) {
	r, _ := frontRig(t, &proxy.Filter{Name: "f", ConnectFailed: func(*proxy.Exchange, *proxy.Error) proxy.Verdict {
		return proxy.Respond(299, "instead")
	}})
	if resp, body := r.ask(t, "GET", "/fork/dead"); resp.StatusCode != 299 || body != "instead" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	r.settled(t)
}
