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
		{To: edge.To(edge.UpstreamOptions{
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

// Backends are checked before the first request: one that is ill gets none.
func ExampleServer_Check() {
	origin := func(status int) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
		}))
	}
	well, ill := origin(200), origin(500)
	defer well.Close()
	defer ill.Close()
	set := backend.Of(well.Listener.Addr().String(), ill.Listener.Addr().String())
	to := edge.To(edge.UpstreamOptions{Backends: set}, nil)
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{{To: to}}}
	s.Check(set, edge.HealthOptions{Path: "/healthz", Rules: edge.HealthRules{Start: edge.HealthStartChecked}})
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	answers := map[int]int{}
	for answers[200] < 10 { // 503 until one has passed
		resp, err := http.Get("http://" + s.ListenAddr() + "/")
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		answers[resp.StatusCode]++
	}
	http.DefaultClient.CloseIdleConnections()
	fmt.Println(answers[500], "from the one that is ill,", s.Shutdown(context.Background()))
	// Output:
	// 0 from the one that is ill, <nil>
}
