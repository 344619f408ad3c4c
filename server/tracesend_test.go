package server

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/observe"
)

const tracedBy = `
log.output = []
http = { name = "web", listen = "127.0.0.1:0" }
tracing = { endpoint = "%s", sample = 1 }
routes = [{ pattern = "/*", dest = "status:204" }]
`

// exported returns how many records of traces s has counted, by their fate and together.
func exported(s *Server) (by map[string]uint64, all uint64) {
	by = make(map[string]uint64)
	s.Registry().Each(func(m observe.Sample) {
		if m.Name == "edge_export_records_total" {
			by[m.Labels[0].Value] += uint64(m.Value)
			all += uint64(m.Value)
		}
	})
	return by, all
}

// A collector that takes nothing costs the end of the process two seconds and no more: it is not a failure of the
// server, and each span has its fate counted.
func TestTraces_stopWithoutCollector(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	try(t, err)
	defer func() { _ = silent.Close() }()
	s := start(t, Options{}, tracedBy, "http://"+silent.Addr().String())
	const requests = 20
	for range requests {
		get(t, s, "web", "/")
	}
	began := time.Now()
	if err := s.Stop(); err != nil {
		t.Errorf("the end of the server is the failure %v", err)
	}
	if took := time.Since(began); took > serverWait+testutil.Patience/2 {
		t.Errorf("the end took %v", took)
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		by, all := exported(s)
		return by["failed"] == requests && all == requests
	}, "lost spans are counted")
}

// The last spans are sent before the server ends, and spans of requests on both sides of a reload arrive, each where
// the configuration of its request says.
func TestTraces_nothingIsLost(t *testing.T) {
	var counts [2]chan int
	var urls [2]string
	for i := range counts {
		counts[i] = make(chan int, 100)
		c := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			p, _ := io.ReadAll(r.Body)
			counts[i] <- len(regexp.MustCompile(`url.path`).FindAll(p, -1))
		}))
		defer c.Close()
		urls[i] = c.URL
	}
	s := start(t, Options{}, tracedBy, urls[0])
	client := &http.Client{Transport: &http.Transport{}} // one connection
	defer client.CloseIdleConnections()
	const requests = 10
	for i := range urls {
		for range requests {
			getBy(t, client, urlOf(t, s, "web")+"/")
		}
		if i == 0 {
			apply(t, s, "%s", fmt.Sprintf(tracedBy, urls[1]))
		}
	}
	client.CloseIdleConnections()
	try(t, s.Stop())
	for i := range counts {
		close(counts[i])
		got := 0
		for n := range counts[i] {
			got += n
		}
		if got != requests {
			t.Errorf("collector %d has %d spans, want %d", i, got, requests)
		}
	}
	if by, all := exported(s); by["sent"] != 2*requests || all != 2*requests {
		t.Errorf("counted %v", by)
	}
}
