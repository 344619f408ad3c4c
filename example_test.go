package edge_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/upstream"
)

// A Server that a program starts and ends itself, with two routes. Options of an upstream say how backends are
// connected.
func ExampleServer() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "origin saw", r.URL.Path, "by", r.Header.Get("Via"))
	}))
	defer origin.Close()
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{
		{Path: "/healthz", Exact: true, To: proxy.Answer(200, "text/plain", "fine\n")},
		{To: edge.To(upstream.Options{
			Backends:   backend.Of(origin.Listener.Addr().String()),
			Connect:    time.Second,
			PerBackend: 100,
		}, nil)},
	}}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	for _, path := range []string{"/healthz", "/hello"} {
		resp, err := http.Get("http://" + s.ListenAddr() + path)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Print(resp.StatusCode, " ", string(body))
	}
	http.DefaultClient.CloseIdleConnections()
	fmt.Println(s.Shutdown(context.Background()))
	// Output:
	// 200 fine
	// 200 origin saw /hello by 1.1 edge
	// <nil>
}
