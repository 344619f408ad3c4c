package program_test

import (
	"os"

	"github.com/edge-proxy/edge/program"
	"github.com/edge-proxy/edge/proxy"
)

// text is the configuration that the program brings along. The file of -c goes before it.
const text = `
http.listen = "127.0.0.1:8080"

[[routes]]
pattern = "/healthz"
dest = "health"

[[routes]]
pattern = "/api/*"
dest = "api"
filters = ["token"]

[upstreams.api]
backends = [{ address = "127.0.0.1:3000" }]
`

// A gateway with a filter and a destination in code, whose operator sets all the rest.
func Example() {
	s := program.New(program.Options{}) // of main: program.New(program.Flags())
	s.Config(text)
	s.Filter("token", &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		if x.Request.Get("X-Token") == "" {
			return proxy.Respond(401, "a token is wanted here\n")
		}
		return proxy.Next
	}})
	s.Destination("health", proxy.Answer(200, "text/plain", "fine\n"))

	err := s.Check(program.CheckOptions{Problems: os.Stdout}) // of main: program.Exit(s.Run())
	if err != nil {
		os.Stdout.WriteString(err.Error())
	}
	// Output: configuration OK: 1 listener, 2 routes, 1 upstream
}
