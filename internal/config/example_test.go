package config_test

import (
	"fmt"
	"os"

	"github.com/edge-proxy/edge/internal/config"
)

func Example() {
	c, report := config.Parse("edge.toml", []byte(`
[http]
listen = ":8080"

[[routes]]
pattern = "/api/*"
dest = "10.0.0.1:80, 10.0.0.2:80"
`))
	report.Render(os.Stdout)
	fmt.Println(c.Summary())
	route := c.Routes[0]
	fmt.Println(route.Path, route.PathKind, c.Upstreams[route.Dest.Upstream].Backends)
	// Output:
	// configuration OK: 1 listener, 1 route, 1 upstream
	// /api prefix [10.0.0.1:80 10.0.0.2:80]
}

func Example_errors() {
	_, report := config.Parse("edge.toml", []byte(`[http]
listen = ":80"
limts = {}

[[routes]]
pattern = "/"
dest = "api"
`))
	report.Render(os.Stdout)
	// Output:
	// edge.toml:3:1: error: unknown key "limts" in [http]
	//     3 | limts = {}
	//       | ^^^^^ did you mean "limits"?
	// edge.toml:7:8: error: upstream "api" does not exist
	//     7 | dest = "api"
	//       |        ^^^^^ there are no upstreams; an address is written as "api:80"
}
