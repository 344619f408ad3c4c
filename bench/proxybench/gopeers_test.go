package proxybench

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestServeGoPeer_proxies(t *testing.T) {
	for _, name := range []string{"fasthttp", "nethttp"} {
		t.Run(name, func(t *testing.T) {
			origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Close || r.Header.Get("X-Forwarded-For") == "" {
					t.Errorf("the origin was asked with close %v and %v", r.Close, r.Header)
				}
				_, _ = io.Copy(w, r.Body)
			}))
			defer origin.Close()
			addr := testutil.FreeAddr(t)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- ServeGoPeer(ctx, name, addr, origin.Listener.Addr().String()) }()
			post(t, addr)
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	if err := ServeGoPeer(t.Context(), "caddy", "127.0.0.1:0", ""); err == nil {
		t.Error("an unknown peer is no error")
	}
}

// post sends a body over a connection of its own, again until the peer listens.
func post(t *testing.T, addr string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: testutil.Patience}
	var resp *http.Response
	testutil.Eventually(t, testutil.Patience, func() (listens bool) {
		var err error
		resp, err = client.Post("http://"+addr+"/", "text/plain", strings.NewReader("hello"))
		return err == nil
	})
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK || string(body) != "hello" {
		t.Errorf("got %d %q, %v", resp.StatusCode, body, err)
	}
	if !resp.Close {
		t.Error("the client asked for close, the answer does not say so")
	}
}
