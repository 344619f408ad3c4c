package cache_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/cache"
)

// A cache before a backend that says how long its answers may be kept. A purge ends an answer before that.
func Example() {
	var asked atomic.Int32
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprintf(w, "answer %d", asked.Add(1))
	}))
	defer origin.Close()
	zone, err := cache.New(cache.Options{Memory: 64 << 20})
	if err != nil {
		log.Fatal(err)
	}
	defer zone.Close()
	backends := edge.Backends(origin.Listener.Addr().String())
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{
		{To: zone.Before(backends, cache.Route{}, nil)},
	}}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	get := func() {
		resp, err := http.Get("http://" + s.ListenAddr() + "/news")
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		status, _, _ := strings.Cut(resp.Header.Get("Cache-Status"), "; ttl=") // the seconds that are left
		fmt.Printf("%s (%s)\n", body, status)
	}
	get()
	get()
	purge := cache.Purge{Kind: cache.PurgeURL, Name: "http://" + s.ListenAddr() + "/news"}
	if _, err := zone.Purge(&purge); err != nil {
		log.Fatal(err)
	}
	get()
	http.DefaultClient.CloseIdleConnections()
	fmt.Println(s.Shutdown(context.Background()))
	// Output:
	// answer 1 (edge; fwd=uri-miss; fwd-status=200; stored)
	// answer 1 (edge; hit)
	// answer 2 (edge; fwd=uri-miss; fwd-status=200; stored)
	// <nil>
}
