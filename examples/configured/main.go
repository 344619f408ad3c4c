// Command configured is the edge program with one filter more, which a configuration names.
//
//	go run ./examples/configured edge.toml
package main

import (
	"fmt"
	"os"

	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/server"
	"github.com/edge-proxy/edge/server/process"
)

func main() {
	file := "edge.toml"
	if len(os.Args) > 1 {
		file = os.Args[1]
	}
	teapot := &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		if string(x.Path()) == "/tea" {
			return proxy.Respond(418, "short and stout\n")
		}
		return proxy.Next
	}}
	filters := map[string]*proxy.Filter{"teapot": teapot}
	if err := process.Serve(file, server.Options{Filters: filters}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
