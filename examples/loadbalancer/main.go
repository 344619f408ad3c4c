// Command loadbalancer is the proxy as a library: two backends, a filter that adds a field and a filter that refuses.
package main

import (
	"flag"
	"log"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "the `address` to listen on")
	flag.Parse() // the other arguments are the backends

	backends := edge.Backends(flag.Args()...)
	filters := []*proxy.Filter{{Name: "served by", Response: servedBy}, {Name: "no robots", Request: noRobots}}
	if err := edge.Serve(*listen, proxy.Route{To: backends, Filters: filters}); err != nil {
		log.Fatal(err)
	}
}

func servedBy(x *proxy.Exchange) proxy.Verdict {
	x.Response.Set("X-Served-By", x.Backend())
	return proxy.Next
}

func noRobots(x *proxy.Exchange) proxy.Verdict {
	if string(x.Request.Peek(message.UserAgent)) == "robot" {
		return proxy.Respond(403, "no robots here\n")
	}
	return proxy.Next
}
