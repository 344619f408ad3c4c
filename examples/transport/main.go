// Command transport greets users whose names it asks a service for: a handler of net/http whose client goes through an
// upstream of the configuration, with its balancing, health checks, retries and limits.
package main

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/edge-proxy/edge/program"
	"github.com/edge-proxy/edge/proxy/handler"
)

const config = `
[http]
listen = "127.0.0.1:6191"

[upstreams.users]
backends = [{ address = "127.0.0.1:3000" }, { address = "127.0.0.1:3001" }]

[[routes]]
pattern = "/*"
dest = "hello"
`

func main() {
	s := program.New(program.Flags())
	s.Config(config)
	g := greeter{http.Client{Transport: s.Transport("users"), Timeout: 5 * time.Second}}
	s.Destination("hello", handler.FromHTTP(http.HandlerFunc(g.hello)))
	program.Exit(s.Run())
}

type greeter struct{ users http.Client }

func (g *greeter) hello(w http.ResponseWriter, r *http.Request) {
	resp, err := g.users.Get("http://users" + r.URL.Path)
	if err != nil {
		http.Error(w, "nobody knows", http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	name, err := io.ReadAll(io.LimitReader(resp.Body, 100))
	if err != nil || resp.StatusCode != http.StatusOK {
		http.Error(w, "nobody by that name", http.StatusNotFound)
		return
	}
	fmt.Fprintf(w, "hello %s\n", name)
}
