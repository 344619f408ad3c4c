package server

import (
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/route"
	"github.com/edge-proxy/edge/upstream"
	"github.com/edge-proxy/edge/upstream/health"
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
		`paths = "matched"`:          {},
		`paths = "forwarded"`:        {Paths: route.PathsForwarded},
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

// The constants of packages below have the order of the words in the tags of package config.
func TestConstant_isThatOfItsWord(t *testing.T) {
	for word, want := range map[string]route.Paths{"": route.PathsMatched, "matched": route.PathsMatched,
		"forwarded": route.PathsForwarded, "raw": route.PathsRaw} {
		c := &config.Listener{Paths: word}
		wantConstant(t, word, constant[route.Paths](c, &c.Paths), want)
	}
	for word, want := range map[string]proxy.Acceptance{"trusted": proxy.AcceptTrusted, "all": proxy.AcceptAll,
		"none": proxy.AcceptNone} {
		c := &config.RequestID{Accept: word}
		wantConstant(t, word, constant[proxy.Acceptance](c, &c.Accept), want)
	}
	for word, want := range map[string]poller.Park{"auto": poller.ParkAuto, "runtime": poller.ParkRuntime,
		"syscall": poller.ParkSyscall, "spin": poller.ParkSpin} {
		c := &config.Global{Park: word}
		wantConstant(t, word, constant[poller.Park](c, &c.Park), want)
	}
	for word, want := range map[string]backend.Zones{"off": backend.ZonesOff, "prefer": backend.ZonesPrefer,
		"only": backend.ZonesOnly} {
		c := &config.Upstream{Zones: word}
		wantConstant(t, word, constant[backend.Zones](c, &c.Zones), want)
	}
	for word, want := range map[string]upstream.Protocol{"h1": upstream.H1, "h2": upstream.H2, "auto": upstream.Auto} {
		c := &config.Upstream{Protocol: word}
		wantConstant(t, word, constant[upstream.Protocol](c, &c.Protocol), want)
	}
	for word, want := range map[string]observe.Format{"json": observe.FormatJSON, "common": observe.FormatCommon,
		"combined": observe.FormatCombined, "logfmt": observe.FormatLogfmt} {
		c := &config.Log{}
		c.Format = word
		wantConstant(t, word, constant[observe.Format](&c.Logging, &c.Format), want)
	}
	for word, want := range map[string]health.Kind{"http": health.HTTP, "tcp": health.TCP, "grpc": health.GRPC} {
		c := &config.HealthCheck{Type: word}
		wantConstant(t, word, constant[health.Kind](c, &c.Type), want)
	}
	for word, want := range map[string]health.Start{"up": health.StartUp, "down": health.StartDown,
		"checked": health.StartChecked} {
		c := &config.HealthCheck{Start: word}
		wantConstant(t, word, constant[health.Start](c, &c.Start), want)
	}
}

func wantConstant[T comparable](t *testing.T, word string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", word, got, want)
	}
}
