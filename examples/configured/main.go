// Command configured is the edge program with one filter more, which a configuration names.
package main

import (
	"fmt"
	"os"

	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/server"
	"github.com/edge-proxy/edge/server/process"
)

func main() { // configured edge.toml
	teapot := &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		if string(x.Path()) == "/tea" {
			return proxy.Respond(418, "short and stout\n")
		}
		return proxy.Next
	}}
	filters := map[string]*proxy.Filter{"teapot": teapot}
	if err := process.Serve(os.Args[1], server.Options{Filters: filters}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
