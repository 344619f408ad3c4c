// Command configured is the edge program with one filter more, which edge.toml names.
package main

import (
	"log"

	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/server"
	"github.com/edge-proxy/edge/server/process"
)

func main() {
	teapot := &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		if string(x.Path()) == "/tea" {
			return proxy.Respond(418, "short and stout\n")
		}
		return proxy.Next
	}}
	filters := map[string]*proxy.Filter{"teapot": teapot}
	if err := process.Serve("edge.toml", server.Options{Filters: filters}); err != nil {
		log.Fatal(err)
	}
}
