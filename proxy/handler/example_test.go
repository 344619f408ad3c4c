package handler_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

// A ServeMux of net/http has one route of a proxy; the other route is the proxy's own.
func ExampleFromHTTP() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /app/hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, %s\n", r.PathValue("name"))
	})
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{
		{Path: "/app", To: handler.FromHTTP(mux)},
		{To: proxy.Answer(404, "text/plain", "nothing is here\n")}, // or edge.Backends
	}}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	for _, path := range []string{"/app/hello/gopher", "/else"} {
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
	// 200 hello, gopher
	// 404 nothing is here
	// <nil>
}
