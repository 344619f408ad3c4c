package config

import (
	"slices"
	"strings"
	"testing"
)

const politeService = "[services.a]\ntype = \"polite\"\nlisten = \":7000\"\n"

// A service has the checks of a listener, and some of its own.
func TestParse_services(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"an address of a listener", "[http]\nlisten = \":7000\"\n" + politeService,
			"edge.toml:5:10: error: address \":7000\" is given twice, first at line 2"},
		{"an address of another service", politeService + "[services.b]\ntype = \"polite\"\nlisten = \":7000\"\n",
			"edge.toml:6:10: error: address \":7000\" is given twice, first at line 3"},
		{"a name of a listener", "[[listeners]]\nname = \"a\"\nlisten = \":80\"\n" + politeService,
			"edge.toml:4:1: error: another listener at line 2 has the name \"a\""},
		{"an unknown type", "[services.a]\ntype = \"polit\"\nlisten = \":7000\"\n",
			"edge.toml:2:8: error: unknown type \"polit\""},
		{"a type of filters", "[services.a]\ntype = \"cors\"\nlisten = \":7000\"\n",
			"edge.toml:2:8: error: unknown type"},
		{"no type", "[services.a]\nlisten = \":7000\"\n",
			"edge.toml:1:1: error: a service needs \"dest\" or \"type\": the program has none that is called \"a\""},
		{"no type, and a name alike", "[services.mines]\nlisten = \":7000\"\n" + mineService, "did you mean \"mine\"?"},
		{"a type of a service of the program", "[services.mine]\ntype = \"polite\"\nlisten = \":7000\"\n",
			"edge.toml:2:8: error: the program has a service \"mine\" of its own"},
		{"no address", "[services.a]\ntype = \"polite\"\n", "edge.toml:1:1: error: this service has no address"},
		{"no certificate", politeService + "tls = true\n", "edge.toml:1:1: error: this service has no certificate"},
		{"TLS and not", politeService + "cert = \"internal\"\ntls = \"auto\"\n",
			"edge.toml:5:7: error: a service takes TLS or does not"},
		{"a key of HTTP", politeService + "websocket = true\n", "edge.toml:4:1: error: unknown key \"websocket\""},
		{"HSTS", politeService + "cert = \"internal\"\nhsts.max_age = \"1d\"\n",
			"edge.toml:5:1: error: unknown section [services.a.hsts]"},
		{"a key of another type", politeService + "polit = 1\n", "edge.toml:4:1: error: unknown key \"polit\""},
		{"a filter that is not", politeService + "connection_filters = [\"x\"]\n",
			"edge.toml:4:23: error: there is no connection filter \"x\""},
		{"an access log of a type without", politeService + "access_log.path = \"a.log\"\n",
			"edge.toml:4:12: warning: edge logs the connections of services of the type \"tcp\" alone"},
		{"a sample of connections", politeService + "access_log = { sample = 0.1 }\n",
			"edge.toml:4:16: error: unknown key \"sample\""},
		{"right", politeService, ""},
		{"right, called http", "[services.http]" + politeService[len("[services.a]"):] + "cert = \"internal\"\n", ""},
	} {
		services := []string{}
		if strings.Contains(c.text, "mine") {
			services = append(services, "mine")
		}
		_, rep := Options{TextOnly: true, Services: services}.Parse("edge.toml", []byte(c.text))
		text := rendered(t, rep)
		if !strings.Contains(text, c.want) || c.want == "" && text != "" {
			t.Errorf("%s: want %s in\n%s", c.name, c.want, text)
		}
	}
	_, rep := Options{Services: []string{"mine"}}.Parse("edge.toml", nil)
	if text := rendered(t, rep); !strings.Contains(text, "the service \"mine\" of the program has no address") {
		t.Error(text)
	}
}

const mineService = "[services.mine]\nlisten = \":7001\"\n"

// Services need no listener of HTTP, have the options of [tls], and differ by keys of listeners and of their type.
func TestParse_servicesAlone(t *testing.T) {
	const text = "[tls]\nmin_version = \"1.3\"\n" + politeService + "cert = \"internal\"\nlimits.connections = 5\n"
	c, rep := Options{TextOnly: true}.Parse("f", []byte(text))
	if !rep.OK() || len(rep.Warnings) > 0 {
		t.Fatal(rendered(t, rep))
	}
	if s := &c.Services[0]; len(c.Listeners) != 0 || s.Name != "a" || s.TLS != TLSOn ||
		s.TLSOptions.MinVersion != 0x304 || s.Limits.Connections != 5 || s.Service.Type != "polite" ||
		c.Summary() != "configuration OK: 0 listeners, 1 service, 0 routes, 0 upstreams, 1 certificate" {
		t.Errorf("%+v\n%s", s, c.Summary())
	}
	next, rep := Options{TextOnly: true}.Parse("f", []byte(strings.Replace(text, "= 5", "= 6", 1)))
	if !rep.OK() {
		t.Fatal(rendered(t, rep))
	}
	if got := c.Services[0].ChangedKeys(&next.Services[0]); !slices.Equal(got, []string{"limits.connections"}) {
		t.Errorf("changed: %q", got)
	}
	routes := "[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n"
	if c, _ = (Options{TextOnly: true}).Parse("f", []byte(text+routes)); len(c.Listeners) != 1 {
		t.Errorf("%d listeners for a route", len(c.Listeners))
	}
}

// What an upstream is checked by goes by all that leads to it, failovers and rules included.
func TestParse_checksOfRelays(t *testing.T) {
	const text = "http.listen = \":80\"\n[health_check]\ninterval = \"1s\"\n" +
		"[services.db]\ntype = \"tcp\"\nlisten = \":1\"\ndest = \"a\"\n" +
		"[upstreams.a]\nbackends = [{ address = \"10.0.0.1:1\" }]\nfailover = \"b\"\n" +
		"[upstreams.b]\nbackends = [{ address = \"10.0.0.2:1\" }]\n"
	const route = "[[routes]]\npattern = \"/*\"\ndest = \"c\"\n[upstreams.c]\n" +
		"backends = [{ address = \"10.0.0.3:1\" }]\n"
	const keyOfHTTP = "[upstreams.b.pool]\nidle = 1\n[upstreams.b.retry]\non = [\"connect\"]\n"
	for _, c := range []struct{ name, text, a, b string }{
		{"services alone", text + route, "tcp", "tcp"},
		{"a route fails over to it", text + keyOfHTTP + route + "failover = \"b\"\n", "tcp", "http"},
		{"a rule leads there", text + keyOfHTTP + route + "[[rules]]\nwhen = 'path == \"/\"'\ndest = \"b\"\n",
			"tcp", "http"},
	} {
		cfg, rep := Options{TextOnly: true}.Parse("edge.toml", []byte(c.text))
		if !rep.OK() {
			t.Errorf("%s: %s", c.name, rendered(t, rep))
			continue
		}
		if a, b := cfg.Upstream("a").HealthCheck.Type, cfg.Upstream("b").HealthCheck.Type; a != c.a || b != c.b {
			t.Errorf("%s: %s and %s", c.name, a, b)
		}
	}
}

// A service that leads to itself is refused: a connection would use all descriptors up.
func TestParse_loopOfServices(t *testing.T) {
	service := func(name, listen, dest string) string {
		return "[services." + name + "]\ntype = \"tcp\"\nlisten = \"" + listen + "\"\ndest = \"" + dest + "\"\n"
	}
	for _, c := range []struct {
		text string
		loop bool
	}{
		{service("a", "127.0.0.1:7000", "127.0.0.1:7000"), true},
		{service("a", ":7000", "10.0.0.1:1, localhost:7000"), true},
		{service("a", "unix:/run/a", "unix:/run/a"), true},
		{service("a", ":7000", "127.0.0.1:7001") + service("b", ":7001", "127.0.0.1:7000"), true},
		{service("a", ":7000", "127.0.0.1:7001") + service("b", ":7001", "127.0.0.1:7002"), false},
		{service("a", "127.0.0.1:7000", "127.0.0.2:7000"), false},
		{service("a", ":7000", "10.0.0.1:7000"), false},
	} {
		_, rep := Options{TextOnly: true}.Parse("edge.toml", []byte(c.text))
		if text := rendered(t, rep); strings.Contains(text, "leads to itself") != c.loop {
			t.Errorf("%s: %s", c.text, text)
		}
	}
}
