// Command first is the program of README.md: two backends in turn.
package main

import (
	"log"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/proxy"
)

func main() {
	route := proxy.Route{To: edge.Backends("127.0.0.1:3000", "127.0.0.1:3001")}
	if err := edge.Serve("127.0.0.1:8080", route); err != nil {
		log.Fatal(err)
	}
}
