package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// A file is the answer of a filter in each phase that may answer, and of a destination.
func TestRespondFile(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 50_000)
	large, empty, closed := filterrig.File(t, text), filterrig.File(t, ""), filterrig.File(t, text)
	defer large.Close()
	defer empty.Close()
	closed.Close()
	answer := proxy.RespondFile(200, large).Type("text/x-file").With("X-Own", "yes")
	waits := func(x *proxy.Exchange) proxy.Verdict { // the file is read before its head may leave
		ref := x.Ref()
		go ref.Resume(proxy.Next)
		return proxy.Park
	}
	with := func(f proxy.Filter) []*proxy.Filter { return []*proxy.Filter{&f} }
	responds := func(v proxy.Verdict) func(*proxy.Exchange) proxy.Verdict {
		return func(*proxy.Exchange) proxy.Verdict { return v }
	}
	ok, down := proxy.Answer(200, "", "ok"), edge.Backends("127.0.0.1:1")
	url := filterrig.Start(t, &edge.Server{
		Addr: "127.0.0.1:0", Session: session.ServerOptions{H2C: true},
		Routes: []proxy.Route{
			{Path: "/request", To: ok, Filters: with(proxy.Filter{Request: responds(answer)})},
			{Path: "/response", To: ok, Filters: with(proxy.Filter{Response: responds(answer)})},
			{Path: "/error", To: down, Filters: with(proxy.Filter{
				Error: func(*proxy.Exchange, *proxy.Error) proxy.Verdict { return answer }})},
			{Path: "/waits", To: proxy.Always(answer), Filters: with(proxy.Filter{Response: waits})},
			{Path: "/closed", To: proxy.Always(proxy.RespondFile(200, closed))},
			{Path: "/empty", To: proxy.Always(proxy.RespondFile(200, empty))},
			{Path: "/none", To: proxy.Always(proxy.RespondFile(204, large))},
			{To: proxy.Always(answer)},
		},
	})
	for proto, c := range map[string]*http.Client{"HTTP/1": {Transport: &http.Transport{}}, "HTTP/2": testutil.H2C(t)} {
		defer c.CloseIdleConnections()
		for _, want := range []struct {
			target string
			status int
			body   string
		}{
			{"/", 200, text}, {"/request", 200, text}, {"/response", 200, text}, {"/error", 200, text},
			{"/waits", 200, text}, {"/closed", 500, ""}, {"/empty", 200, ""}, {"/none", 204, ""},
		} {
			resp, body := testutil.Get(t, c, url+want.target)
			if want.status == 500 {
				body = ""
			}
			own := resp.Header.Get("X-Own") == "yes" && resp.Header.Get("Content-Type") == "text/x-file"
			if resp.StatusCode != want.status || body != want.body || own != (want.body != "") {
				t.Errorf("%s %s: %s, %d bytes, %v", proto, want.target, resp.Status, len(body), resp.Header)
			}
		}
		resp, err := c.Head(url + "/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.ContentLength != int64(len(text)) {
			t.Errorf("%s HEAD: %s, %d bytes", proto, resp.Status, resp.ContentLength)
		}
	}
}
