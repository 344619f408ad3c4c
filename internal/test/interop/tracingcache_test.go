package interop

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	otlptrace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A stored answer is sent while its backend is asked anew, and a client leaves while its answer is fetched: the span
// that a backend is told of comes in each case.
func TestTracing_cacheFetchesWithoutClient(t *testing.T) {
	t.Parallel()
	s := newSpanStore(t)
	var mu sync.Mutex
	var once sync.Once
	told := make(map[string]string) // the numbers of spans: for which path
	release, held := make(chan struct{}), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		told[r.Header.Get("Traceparent")[36:52]] = r.URL.Path
		mu.Unlock()
		w.Header().Set("Cache-Control", "max-age=1, stale-while-revalidate=600")
		if r.URL.Path == "/left" {
			w.Header().Set("Cache-Control", "max-age=600")
			once.Do(func() { close(held) })
			<-release
		}
		_, _ = io.WriteString(w, "well")
	}))
	testutil.CloseServer(t, origin)
	addr, stop := s.hop(t, "cache", origin.Listener.Addr().String(), "sample = 1\n[defaults]\ncache = true\n")
	asked := 0
	get := func(path string) {
		asked++
		testutil.Get(t, http.DefaultClient, "http://"+addr+path)
	}
	get("/stale")
	testutil.Eventually(t, testutil.Patience, func() bool {
		get("/stale")
		mu.Lock()
		defer mu.Unlock()
		return len(told) == 2
	}, "the backend is asked anew")

	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-held
		leave()
	}()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/left", nil)
	if err == nil {
		_, err = http.DefaultClient.Do(r)
	}
	if asked++; err == nil {
		t.Fatal("there is an answer")
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		servers, _ := s.of("cache", otlptrace.Span_SPAN_KIND_SERVER)
		return slices.ContainsFunc(servers, func(one *otlptrace.Span) bool {
			return attributesOf(t, one.Attributes)["http.response.status_code"] == int64(499)
		})
	}, "the client has left")
	close(release)
	get("/left")
	stop()

	servers, clients := s.of("cache", otlptrace.Span_SPAN_KIND_SERVER)
	came := make(map[string]bool)
	for _, span := range append(servers, clients...) {
		came[hex.EncodeToString(span.SpanId)] = true
	}
	for id, path := range told {
		if !came[id] {
			t.Error(fmt.Sprint("the backend was told of a span that did not come, for ", path))
		}
	}
	if len(told) != len(clients)+1 || len(servers) != asked {
		t.Errorf("told of %v; %d attempts, %d of %d requests", told, len(clients), len(servers), asked)
	}
}
