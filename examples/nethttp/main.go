// Command nethttp is a ServeMux of net/http that runs on the engine.
package main

import (
	"net/http"
	"os"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

func main() { // nethttp 127.0.0.1:8080
	hello := func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hello, " + r.PathValue("name") + "\n")) }
	http.HandleFunc("GET /hello/{name}", hello)
	edge.Serve(os.Args[1], proxy.Route{To: handler.FromHTTP(http.DefaultServeMux)})
}
