package caching

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
)

// A field is part of the key unless it only says which client or request it is.
func TestFields_values(t *testing.T) {
	const names = "[maps.m]\ntype = \"addresses\"\nvalues = { \"10.0.0.0/8\" = \"x\" }\n" +
		"[secrets]\ns = \"correct horse\"\n"
	for value, keyed := range map[string]bool{
		`"constant"`: true, `"-"`: true, `""`: false,
		`"{header.x}"`: true, `"{cookie.lang.lower()}"`: true, `"{host}"`: true, `"{tls.version}"`: true,
		`"{client.ip}"`: false, `"{request.id} {time}"`: false,
		`"{header.x-forwarded-for}, {client.ip}"`: false,
		`"internal {client.ip}"`:                  true, `"{client.ip} {cookie.a}"`: true,
		`"{map.m[client.ip]}"`: true, `"{client.ip in {10.0.0.0/8} ? 'in' : 'out'}"`: true,
		`"{hmac(secret.s, host)} {client.ip}"`: true,
	} {
		c := parse(t, names+web+"headers.request.X-A = "+value+"\ncache = true\n")
		if got := Fields(c, &c.Routes[0]); (len(got) == 1 && got[0] == "x-a") != keyed || !keyed && len(got) > 0 {
			t.Errorf("%s: %q, want it in the key: %v", value, got, keyed)
		}
	}
}

// Rules of all listeners count, and rules of the route, but those of other routes do not.
func TestFields_places(t *testing.T) {
	c := parse(t, `
[[listeners]]
name = "internal"
listen = ":81"
[[listeners.rules]]
headers.request = { X-Internal = "yes", X-None = "" }
[[rules]]
when = 'header.a == "1"'
headers.request = { x-rule = "a", Host = "b.test", X-Real-IP = "{client.ip}" }
[[rules]]
headers.request.X-Rule = ""
[[routes]]
name = "a"
pattern = "/*"
dest = "10.0.0.1:80"
headers.request = { X-Route = "a", X-RULE = "b", Cookie = "" }
[[routes.rules]]
headers.request.X-Own = "{cookie.a}"
[[routes]]
name = "b"
pattern = "/b/*"
dest = "10.0.0.1:80"
`)
	for i, want := range []string{"x-internal x-own x-route x-rule", "x-internal x-rule"} {
		if got := strings.Join(Fields(c, &c.Routes[i]), " "); got != want {
			t.Errorf("route %s: %s, want %s", c.Routes[i].Name, got, want)
		}
	}
	if got := strings.Join(Fields(c, &config.Route{}), " "); got != "x-internal x-rule" {
		t.Errorf("what no route takes: %s", got)
	}
}
