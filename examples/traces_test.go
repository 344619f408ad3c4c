package examples_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A request that is in a trace goes on in it: the backend is asked by the span of the attempt, and the collector gets
// that span and the one of the request, with their names.
func TestTraces(t *testing.T) {
	batches := make(chan []byte, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		batches <- append([]byte(r.URL.Path+" "), body...)
	}))
	defer collector.Close()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Traceparent"))
	}))
	defer backend.Close()
	p, url := start(t, "traces", "-from", "127.0.0.1:0", "-to", backend.Listener.Addr().String(), "-collector",
		collector.URL, "-share", "1")
	req, err := http.NewRequest("GET", url+"/items/17?token=x", nil)
	if err != nil {
		t.Fatal(err)
	}
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	req.Header.Set("Traceparent", "00-"+trace+"-"+parent+"-00")
	resp, body := testutil.Do(t, http.DefaultClient, req)
	if resp.StatusCode != 200 || len(body) != 55 || body[3:35] != trace || body[36:52] == parent || body[53:] != "01" {
		t.Fatalf("%s, the backend was asked with %q", resp.Status, body)
	}
	attempt, _ := hex.DecodeString(body[36:52])
	whole, _ := hex.DecodeString(trace)
	select {
	case got := <-batches:
		for _, want := range []string{"/v1/traces ", "service.name", "front", "GET /*", "/items/17", "http.route",
			string(attempt), string(whole)} {
			if !bytes.Contains(got, []byte(want)) {
				t.Errorf("the batch has no %q", want)
			}
		}
		if strings.Count(string(got), string(whole)) != 2 {
			t.Errorf("%d spans of the trace", strings.Count(string(got), string(whole)))
		}
	case <-time.After(testutil.Patience):
		t.Fatal("no span came")
	}
	stop(t, p)
}
