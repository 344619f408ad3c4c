// Command nethttp is a ServeMux of net/http that runs on the engine.
//
//	go run ./examples/nethttp -listen 127.0.0.1:8080
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "the `address` to listen on")
	flag.Parse()

	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, %s\n", r.PathValue("name"))
	})
	if err := edge.Serve(*listen, proxy.Route{To: handler.FromHTTP(mux)}); err != nil {
		log.Fatal(err)
	}
}
