package proxy_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// get asks for path with fields, names and values in turn, and returns the answer with its body.
func (r *rig) get(t *testing.T, path string, fields ...string) (*http.Response, string) {
	t.Helper()
	return testutil.Do(t, http.DefaultClient, newGet(t, r.url+path, fields))
}

// postAs posts a body of a type and returns the answer with its body.
func (r *rig) postAs(t *testing.T, path, contentType, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest("POST", r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	return testutil.Do(t, http.DefaultClient, req)
}

// newGet makes a request with fields, names and values in turn.
func newGet(t *testing.T, url string, fields []string) *http.Request {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	return req
}

const hostile = `<script>alert("1")</script>`

// What a filter or a route gives is sent as it is given: after a failure too, and whatever the client asks for.
func TestRespond_isSentAsItIsGiven(t *testing.T) {
	type own struct{ status, text string }
	bytes, err := json.Marshal(own{"down", hostile})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		verdict     proxy.Verdict
		contentType string
		body        string
	}{
		"text":  {proxy.Respond(503, hostile), "text/plain; charset=utf-8", hostile},
		"bytes": {proxy.Respond(503, bytes).Type("application/json"), "application/json", string(bytes)},
		"field": {proxy.Respond(503, "<p>").With("Content-Type", "text/html"), "text/html", "<p>"},
		"typed": {proxy.Respond(503, "").Type("text/css"), "text/css", ""},
		"none":  {proxy.Respond(503, ""), "", ""},
	} {
		for phase, f := range map[string]*proxy.Filter{
			"request":  {Request: func(*proxy.Exchange) proxy.Verdict { return c.verdict }},
			"response": {Response: func(*proxy.Exchange) proxy.Verdict { return c.verdict }},
			"error":    {Error: func(*proxy.Exchange, *proxy.Error) proxy.Verdict { return c.verdict }},
			"connect failed": {
				ConnectFailed: func(*proxy.Exchange, *proxy.Error) proxy.Verdict { return c.verdict },
			},
		} {
			r := filterRig(t, f)
			for _, accept := range []string{"*/*", "application/json", "text/html"} {
				resp, body := r.get(t, "/dead", "Accept", accept)
				got := resp.Header.Values("Content-Type")
				if resp.StatusCode != 503 || body != c.body || strings.Join(got, " and ") != c.contentType {
					t.Errorf("%s in %s, %s: %d %q %q", name, phase, accept, resp.StatusCode, got, body)
				}
			}
		}
	}
}

func TestAnswer_obeysItsType(t *testing.T) {
	r := newRig(t, func(*engine.Engine) []proxy.Route {
		return []proxy.Route{
			{Path: "/json", To: proxy.Answer(200, "application/json", `{"ok":true}`)},
			{Path: "/text", To: proxy.Answer(404, "", "none")},
			{Path: "/gone", To: proxy.Always(proxy.RespondPage(410).With("Retry-After", "60"))},
			{Path: "/empty", To: proxy.Always(proxy.RespondPage(204))},
		}
	})
	for path, want := range map[string]string{
		"/json": "200 application/json", "/text": "404 text/plain; charset=utf-8",
		"/gone": "410 text/html; charset=utf-8", "/empty": "204 ",
	} {
		resp, _ := r.get(t, path, "Accept", "text/html")
		if got := strings.Fields(resp.Status)[0] + " " + resp.Header.Get("Content-Type"); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
		if got := resp.Header.Get("Retry-After"); (got == "60") != (path == "/gone") {
			t.Errorf("%s: Retry-After %q", path, got)
		}
	}
	for _, to := range []proxy.Destination{
		proxy.Answer(99, "", ""), proxy.Answer(199, "", ""), proxy.Answer(1000, "", ""), proxy.Always(proxy.Next),
		proxy.Answer(200, "a\r\nb: c", ""), proxy.Always(proxy.Respond(200, "").With("a b", "")),
	} {
		if _, err := proxy.NewSnapshot([]proxy.Route{{Name: "wrong", To: to}}, nil); err == nil {
			t.Errorf("%+v is taken", to)
		}
	}
}

// The first filter that answers a failure ends the chain; what all of them see is the same failure.
func TestFilter_errorDecides(t *testing.T) {
	var failures, later atomic.Int64
	cause := make(chan error, 1)
	r := filterRig(t,
		&proxy.Filter{Error: func(x *proxy.Exchange, f *proxy.Error) proxy.Verdict {
			failures.Add(1)
			if x.Request.Get("X-Pass") != "" {
				return proxy.Next
			}
			cause <- f.Cause
			return proxy.Respond(f.Status, f.Reason()+" "+f.Token+" "+x.Backend())
		}},
		&proxy.Filter{
			Error: func(*proxy.Exchange, *proxy.Error) proxy.Verdict {
				later.Add(1)
				return proxy.Next
			},
			Response: func(x *proxy.Exchange) proxy.Verdict {
				x.Response.Add("X-Status", http.StatusText(x.Status()))
				return proxy.Next
			},
		})
	resp, body := r.get(t, "/dead")
	if resp.StatusCode != 502 || !strings.HasPrefix(body, "backend:connect connection_refused 127.") {
		t.Error(resp.Status, body)
	}
	if err := <-cause; !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	if got := resp.Header.Get("X-Status"); got != "Bad Gateway" {
		t.Errorf("%q", got)
	}
	if failures.Load() != 1 || later.Load() != 0 {
		t.Error(failures.Load(), later.Load())
	}
	if resp, _ = r.get(t, "/dead", "X-Pass", "1"); resp.StatusCode != 502 || later.Load() != 1 {
		t.Error(resp.Status, later.Load())
	}
	resp, _ = r.get(t, "/own")
	if resp.StatusCode != 200 || failures.Load() != 2 || resp.Header.Get("X-Status") != "OK" {
		t.Error(resp.Status, failures.Load(), resp.Header)
	}
}

// What no answer can be made of is a failure of the filter, which it is not asked about.
func TestFilter_errorThatDecidesWrong(t *testing.T) {
	for name, v := range map[string]proxy.Verdict{"park": proxy.Park, "status": proxy.Respond(0, "")} {
		var times atomic.Int64
		failed := func(*proxy.Exchange, *proxy.Error) proxy.Verdict {
			times.Add(1)
			return v
		}
		for phase, f := range map[string]*proxy.Filter{"error": {Error: failed}, "connect": {ConnectFailed: failed}} {
			times.Store(0)
			r := filterRig(t, f)
			resp, _ := r.get(t, "/dead")
			got := resp.Header.Get("Proxy-Status")
			if resp.StatusCode != 500 || got != "edge; error=proxy_internal_error" {
				t.Errorf("%s, %s: %s %q", name, phase, resp.Status, got)
			}
			if times.Load() != 1 {
				t.Errorf("%s, %s: asked %d times", name, phase, times.Load())
			}
		}
	}
}

// After an answer of ConnectFailed no other backend is tried.
func TestFilter_connectFailedDecides(t *testing.T) {
	var attempts atomic.Int64
	var answers atomic.Bool
	count := &proxy.Filter{
		ConnectFailed: func(x *proxy.Exchange, f *proxy.Error) proxy.Verdict {
			attempts.Add(1)
			if !answers.Load() {
				return proxy.Next
			}
			return proxy.Respond(503, x.Backend()).With("Retry-After", "7")
		},
	}
	first := testutil.FreeAddr(t)
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{To: to(e, first, testutil.FreeAddr(t))}}
	}, count)
	resp, _ := r.get(t, "/")
	if resp.StatusCode != 502 || attempts.Swap(0) != 2 {
		t.Fatal(resp.Status, attempts.Load())
	}
	answers.Store(true)
	resp, body := r.get(t, "/")
	if resp.StatusCode != 503 || !strings.HasPrefix(body, "127.") || attempts.Load() != 1 {
		t.Fatal(resp.Status, body, attempts.Load())
	}
	if got := resp.Header.Values("Retry-After"); len(got) != 1 || got[0] != "7" {
		t.Fatal(got)
	}
	r.settled(t)
}

// A filter of Log gets the record without an access log too, and one of its own where it ends another exchange.
func TestFilter_logGetsTheRecord(t *testing.T) {
	records := make(chan observe.Record, 4)
	var inner atomic.Pointer[rig]
	r := filterRig(t, &proxy.Filter{Log: func(x *proxy.Exchange, rec *observe.Record) {
		if string(rec.Path) == "/own" && len(rec.Query) == 0 {
			inner.Load().begin(&caller{done: make(chan string, 1)}, x.Reactor(), "GET", "/own?inner", "")
		}
		kept := *rec
		kept.Path, kept.Query = slices.Clone(rec.Path), slices.Clone(rec.Query)
		records <- kept
	}})
	inner.Store(r)
	r.get(t, "/dead")
	if got := <-records; string(got.Path) != "/dead" || got.Status != 502 || got.Reason != "backend:connect" ||
		got.Attempts < 1 || got.Dur <= 0 || got.BytesOut == 0 || got.Backend == "" || got.Route != "dead" {
		t.Errorf("%+v", got)
	}
	r.get(t, "/own")
	fetched, outer := <-records, <-records
	if string(outer.Path) != "/own" || outer.BytesOut != 3 || len(outer.Query) > 0 || string(fetched.Query) != "inner" {
		t.Errorf("%+v, %+v", fetched, outer)
	}
	r.settled(t)
}
