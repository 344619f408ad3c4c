// Command filter is a proxy with one filter, which answers requests that do not say please.
//
//	go run ./examples/filter 127.0.0.1:3000
package main

import (
	"flag"
	"log"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/proxy"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "the `address` to listen on")
	flag.Parse() // the other arguments are the backends

	polite := &proxy.Filter{
		Name: "polite",
		Request: func(x *proxy.Exchange) proxy.Verdict {
			if x.Request.Get("X-Please") == "" {
				return proxy.Respond(403, "say please\n")
			}
			return proxy.Next
		},
	}
	route := proxy.Route{To: edge.Backends(flag.Args()...), Filters: []*proxy.Filter{polite}}
	if err := edge.Serve(*listen, route); err != nil {
		log.Fatal(err)
	}
}
