package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/proxy"
)

const transported = "[[listeners]]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"users\"\n" +
	"[upstreams.users]\nbackends = [{ address = %q }]\nretry.attempts = 1\n"

// Requests of code meet what the configuration says of an upstream, and count there; a name that it does not have is an
// error.
func TestServer_Transport(t *testing.T) {
	testutil.CheckLeaks(t)
	o := backendOfBodies(t)
	s := start(t, Options{Named: true}, transported, strings.TrimPrefix(o.URL, "http://"))
	do := func(rt http.RoundTripper) (string, error) {
		req, _ := http.NewRequestWithContext(context.Background(), "POST", "http://users/", strings.NewReader("hello"))
		resp, err := rt.RoundTrip(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return string(text), err
	}
	users := s.Transport("users")
	if text, err := do(users); err != nil || text != "5 [] 5 <nil> []" {
		t.Errorf("%q, %v", text, err)
	}
	var fault *proxy.Error
	if _, err := do(s.Transport("nobody")); !errors.As(err, &fault) || fault.Status != 503 {
		t.Errorf("a name that there is not: %v", err)
	}
	wantSeries(t, scrapeNow(s), `edge_requests_total{listener="(program)",route="",method="POST",code="2xx"} 1`,
		`edge_upstream_dials_total{upstream="users"} 1`)
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(slow.Close)
	apply(t, s, transported+"timeouts.total = \"50ms\"\n", slow.Listener.Addr())
	if _, err := do(users); !errors.As(err, &fault) || fault.Status != 504 {
		t.Errorf("a time that is over: %v", err)
	}
	apply(t, s, transported, testutil.FreeAddr(t))
	if _, err := do(users); !errors.As(err, &fault) || fault.Status != 502 {
		t.Errorf("a backend that is gone: %v", err)
	}
}
