// Command filter is a proxy with one filter, which answers requests for tea itself.
package main

import (
	"log"
	"os"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/proxy"
)

func main() { // filter 127.0.0.1:8080 127.0.0.1:3000
	teapot := &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		if string(x.Request.Path()) == "/tea" {
			return proxy.Respond(418, "short and stout\n")
		}
		return proxy.Next
	}}
	to := edge.Backends(os.Args[2])
	log.Fatal(edge.Serve(os.Args[1], proxy.Route{To: to, Filters: []*proxy.Filter{teapot}}))
}
