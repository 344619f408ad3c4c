// Command subrequest joins two answers into one: a product, and how many of it there are.
package main

import (
	"fmt"

	"github.com/edge-proxy/edge/program"
	"github.com/edge-proxy/edge/proxy"
)

const config = `
[http]
listen = "127.0.0.1:6188"

[upstreams]
products = { backends = [{ address = "127.0.0.1:3000" }] }
stock = { backends = [{ address = "127.0.0.1:3001" }] }

[[routes]]
pattern = "/products/*"
dest = "products"
filters = ["join"]
`

func main() {
	s := program.New(program.Flags())
	s.Config(config)
	s.Filter("join", &proxy.Filter{Request: join})
	program.Exit(s.Run())
}

// join asks both at once, and answers when both have.
func join(x *proxy.Exchange) proxy.Verdict {
	product := &proxy.Sub{To: proxy.Named("products")}
	stock := &proxy.Sub{To: proxy.Named("stock"), Target: "/count" + string(x.Path())}
	left := 2
	done := func(_ *proxy.Exchange, s *proxy.Sub) proxy.Verdict {
		if s.Err != nil {
			return proxy.Fail(s.Err)
		}
		if left--; left > 0 {
			return proxy.Park // for the other one
		}
		body := fmt.Sprintf(`{"product":%q,"left":%q}`, product.Answer, stock.Answer)
		return proxy.Respond(200, body).Type("application/json")
	}
	product.Done, stock.Done = done, done
	proxy.Ask(x, product)
	return proxy.Ask(x, stock)
}
