package server

import (
	"testing"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/route"
)

// The proxy does with names and paths of requests what the file says.
func TestProxyListener_readsRequestsAsTheFileSays(t *testing.T) {
	for keys, want := range map[string]proxy.Listener{
		"":                           {},
		`underscores = "drop"`:       {},
		`underscores = "pass"`:       {Underscores: proxy.UnderscoresPass},
		`underscores = "refuse"`:     {Underscores: proxy.UnderscoresRefuse},
		`path_parameters = "keep"`:   {},
		`path_parameters = "strip"`:  {Parameters: route.ParametersStripped},
		`path_parameters = "refuse"`: {Parameters: route.ParametersRefused},
		`paths = "raw"`:              {Paths: route.PathsRaw},
	} {
		file := "[[listeners]]\nlisten = \":8080\"\n" + keys + "\n"
		c, rep := config.Parse("edge.toml", []byte(file))
		if !rep.OK() {
			t.Fatal(rep)
		}
		got := proxyListener(&c.Listeners[0], nil)
		if got.Underscores != want.Underscores || got.Parameters != want.Parameters || got.Paths != want.Paths {
			t.Errorf("%s: %+v", keys, *got)
		}
	}
}
