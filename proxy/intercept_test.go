package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/page"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// pagesOf makes a Set of pages in HTML by their statuses.
func pagesOf(t *testing.T, byStatus map[string]string) *page.Set {
	t.Helper()
	s := &page.Set{}
	for status, body := range byStatus {
		p, err := page.New("text/html; charset=utf-8", body)
		if err == nil {
			err = s.Add(status, p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// A page takes the place of a body and of what the head says about it. All else of the answer is the backend's.
func TestIntercept(t *testing.T) {
	origin := newVersioned(t, "h1 h2c", 0, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // what comes back tells
		for name, value := range map[string]string{
			"Content-Type": "application/json", "Content-Encoding": "gzip", "ETag": `"1"`, "Set-Cookie": "a=b",
			"WWW-Authenticate": "Basic", "Last-Modified": "Sat, 21 Nov 2026 13:36:56 GMT",
			"Content-Security-Policy": "x", "Trailer": "X-Sum", "Vary": "Origin", "Accept-Ranges": "bytes",
		} {
			w.Header().Set(name, value)
		}
		var status, size int
		fmt.Sscanf(r.URL.Path, "/%d/%d", &status, &size) //nolint:errcheck // of the test
		w.WriteHeader(status)
		io.Copy(w, io.LimitReader(zeros{}, int64(size))) //nolint:errcheck // it may be cut off
		w.Header().Set("X-Sum", "1")
	})
	pages := pagesOf(t, map[string]string{"401": "<p>who?</p>", "5xx": "<p>{status}</p>"})
	for _, protocol := range []upstream.Protocol{upstream.H1, upstream.H2} {
		touched := &proxy.Filter{ResponseBody: func(x *proxy.Exchange, in []byte, _ bool) proxy.Verdict {
			x.Emit(in)
			return proxy.Next
		}}
		for _, filters := range [][]*proxy.Filter{nil, {touched}} {
			r := newRig(t, func(e *engine.Engine) []proxy.Route {
				return []proxy.Route{{Pages: pages, Intercept: true, Filters: filters, To: proxy.To(upstream.New(e,
					upstream.Options{Backends: backend.Of(origin.Listener.Addr().String()), Protocol: protocol}), nil)}}
			})
			for _, c := range []struct{ path, accept, page string }{
				{"/401/10", "text/html", "<p>who?</p>"},
				{"/401/0", "*/*", "<p>who?</p>"},
				{"/500/3000000", "text/html", "<p>500</p>"},
				{"/503/100", "text/html", "<p>503</p>"},
				{"/503/100", "application/json", ""},
				{"/404/100", "text/html", ""},
				{"/200/100", "text/html", ""},
			} {
				for _, method := range []string{"GET", "HEAD", "POST"} {
					checkIntercepted(t, r, method, c.path, c.accept, c.page)
				}
			}
			r.settled(t)
		}
	}
}

func checkIntercepted(t *testing.T, r *rig, method, path, accept, want string) {
	t.Helper()
	req, err := http.NewRequest(method, r.url+path, nil)
	if method == "POST" {
		req, err = http.NewRequest(method, r.url+path, strings.NewReader(strings.Repeat("x", 100_000)))
	}
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Encoding", "gzip")
	resp, body := testutil.Do(t, http.DefaultClient, req)
	if err != nil {
		t.Fatal(method, path, err)
	}
	h := resp.Header
	for _, name := range []string{"Set-Cookie", "WWW-Authenticate", "Content-Security-Policy"} {
		if h.Get(name) == "" {
			t.Errorf("%s %s: %s is gone", method, path, name)
		}
	}
	intercepted := want != ""
	for _, name := range []string{"ETag", "Last-Modified", "Content-Encoding", "Accept-Ranges"} {
		if (h.Get(name) == "") != intercepted {
			t.Errorf("%s %s, %s: %s %q", method, path, accept, name, h.Get(name))
		}
	}
	if !strings.HasPrefix(path, fmt.Sprintf("/%d/", resp.StatusCode)) {
		t.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if !intercepted {
		return
	}
	if got := strings.Join(h.Values("Content-Type"), " and "); got != "text/html; charset=utf-8" {
		t.Errorf("%s %s: Content-Type %q", method, path, got)
	}
	if got := strings.Join(h.Values("Vary"), ", "); got != "Origin, Accept" {
		t.Errorf("%s %s: Vary %q", method, path, got)
	}
	if resp.ContentLength != int64(len(want)) || method != "HEAD" && body != want || len(resp.Trailer) > 0 {
		t.Errorf("%s %s: %d %q %v", method, path, resp.ContentLength, body, resp.Trailer)
	}
}

// The host in a page is the one that the client asked for: what the backend is called is nobody's business.
func TestPages_hostIsTheClients(t *testing.T) {
	origin := newVersioned(t, "h1", 0, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	pages := pagesOf(t, map[string]string{"5xx": "<p>{host}</p>"})
	for name, address := range map[string]string{
		"an answer of the backend": origin.Listener.Addr().String(), "one of the proxy": "127.0.0.1:1",
	} {
		for _, host := range []string{"", "internal.test", proxy.HostOfBackend} {
			r := newRig(t, func(e *engine.Engine) []proxy.Route {
				return []proxy.Route{{Pages: pages, Intercept: true, To: leadTo(e, address, host)}}
			})
			if _, body := askFor(t, r.url); body != "<p>site.test</p>" {
				t.Errorf("%s, host %q: %s", name, host, body)
			}
		}
	}
}
