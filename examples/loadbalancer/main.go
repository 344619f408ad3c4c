// Command loadbalancer is a server of one's own: loadbalancer -c conf.yaml -d, and later pkill -HUP loadbalancer.
package main

import (
	"github.com/edge-proxy/edge/program"
	"github.com/edge-proxy/edge/proxy"
)

const config = `
[http]
listen = "127.0.0.1:6188"

[upstreams.origins]
backends = [{ address = "127.0.0.1:3000" }, { address = "127.0.0.1:3001" }]
load_balancing = "round_robin"
health_check = { interval = "1s" }

[[routes]]
pattern = "/*"
dest = "origins"
filters = ["served-by"]
`

func main() {
	s := program.New(program.Flags())
	s.Config(config)
	s.Filter("served-by", &proxy.Filter{Response: servedBy})
	program.Exit(s.Run())
}

func servedBy(x *proxy.Exchange) proxy.Verdict {
	if b := x.Backend(); b != "" { // edge has not answered by itself
		x.Response.Set("X-Served-By", b)
	}
	return proxy.Next
}
