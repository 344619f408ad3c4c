package programtest_test

import (
	"fmt"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/program/programtest"
	"github.com/edge-proxy/edge/proxy"
)

// Polite is the type of filters that a module has.
type Polite struct {
	Field string `edge:"field" doc:"The field that a request needs." default:"X-Please"`
}

func init() {
	edge.RegisterFilter("polite", "Asks for manners.", func(c *Polite, b *edge.Build) (*proxy.Filter, error) {
		return &proxy.Filter{}, nil
	})
}

// What an operator gets to see of a mistake in a table of the type. Read and Start need the *testing.T of a test.
func Example() {
	for _, finding := range programtest.Check(`
http.listen = "127.0.0.1:0"
routes = [{ pattern = "/*", dest = "status:204", filters = ["ask"] }]

[filters.ask]
type = "polite"
feild = "X-Magic"
`) {
		fmt.Println(finding)
	}
	// Output:
	// edge.toml:7:1: error: unknown key "feild" in [filters.ask]
}
