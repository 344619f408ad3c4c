package server

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// scrape returns the page of metrics as a Prometheus on this machine gets it.
func scrape(t *testing.T, s *Server) string {
	t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.RemoteAddr = "@"
	w := httptest.NewRecorder()
	s.Metrics().ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("status %d", w.Code)
	}
	return w.Body.String()
}

func TestServer_metrics(t *testing.T) {
	s := start(t, Options{}, quiet+`
[[listeners]]
name = "web"
listen = "127.0.0.1:0"
[[routes]]
pattern = "/*"
dest = "status:200"
`)
	get(t, s, "web", "/")
	page := scrape(t, s)
	if !strings.Contains(page, "\nedge_listener_requests_total{listener=\"web\"} 1\n") {
		t.Errorf("the request is not among\n%s", page)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	scrape(t, s) // still tells
}
