// Command configured is the edge program with one filter more, which edge.toml names.
package main

import (
	"github.com/edge-proxy/edge/program"
	"github.com/edge-proxy/edge/proxy"
)

func main() {
	s := program.New(program.Options{Conf: "edge.toml"})
	s.Filter("teapot", &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		if string(x.Path()) == "/tea" {
			return proxy.Respond(418, "short and stout\n")
		}
		return proxy.Next
	}})
	program.Exit(s.Run())
}
