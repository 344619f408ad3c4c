package programtest

import (
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	_ "github.com/edge-proxy/edge/internal/filter/builtin" // the types of filters that edge has
	_ "github.com/edge-proxy/edge/internal/filter/static"  // and its type of destinations
	"github.com/edge-proxy/edge/internal/server"
)

// file stands for the file of a configuration in findings.
const file = "edge.toml"

// Check returns what is wrong with a configuration in TOML, as in "edge.toml:4:7: error: …": errors first, then
// warnings. nil: nothing is.
func Check(text string) (findings []string) {
	_, report := config.Parse(file, []byte(text))
	for _, f := range append(report.Errors, report.Warnings...) {
		findings = append(findings, f.Error())
	}
	return findings
}

// Read returns the structs of type T that the tables of a configuration were read into, in the order of the file: first
// structs of [filters] and the like, then structs of registered sections, at the top and in upstreams, listeners,
// routes and rules. A configuration with errors fails the test.
func Read[T any](t testing.TB, text string) (all []T) {
	t.Helper()
	c := parse(t, text)
	for i := range c.Defined {
		all = appendTo(all, c.Defined[i].Config)
	}
	all = appendTo(all, c.Features...)
	for i := range c.Upstreams {
		all = appendTo(all, c.Upstreams[i].Features...)
	}
	for i := range c.Listeners {
		all = appendTo(all, c.Listeners[i].Features...)
	}
	for i := range c.Routes {
		all = appendTo(all, c.Routes[i].Features...)
	}
	for i := range c.Rules {
		all = appendTo(all, c.Rules[i].Features...)
	}
	return all
}

// appendTo appends the values of type T.
func appendTo[T, V any](all []T, values ...V) []T {
	for _, v := range values {
		if one, ok := any(v).(T); ok {
			all = append(all, one)
		}
	}
	return all
}

func parse(t testing.TB, text string) *config.Config {
	t.Helper()
	c, report := config.Parse(file, []byte(text))
	if c == nil {
		for _, f := range report.Errors {
			t.Error(f)
		}
		t.FailNow()
	}
	return c
}

// Server serves a configuration until its test ends.
type Server struct {
	t      testing.TB
	server *server.Server
}

// Start serves a configuration. Errors in it, and an address that cannot be listened on, fail the test.
func Start(t testing.TB, text string) *Server {
	t.Helper()
	s, err := server.New(parse(t, text), server.Options{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return &Server{t, s}
}

// Addr returns the address of the listener or service number i, in the order of the file, listeners first: host:port,
// or unix:path of a Unix socket.
func (s *Server) Addr(i int) string { return s.server.Addresses()[i].Addr.String() }

// Reload puts another configuration in the place of the present one, as a process does after SIGHUP. The error says
// what it could not change; then all is as before.
func (s *Server) Reload(text string) error {
	s.t.Helper()
	_, err := s.server.Apply(parse(s.t, text))
	return err
}
