package explain_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/server/explain"
)

// A connection leads where its routes say, or a rule on handshakes, by the host of the URL.
func TestExplain_byName(t *testing.T) {
	text := `[services.tls]
listen = "127.0.0.1:1"
peek = true
[[services.tls.routes]]
when = 'tls.sni == "a.test"'
dest = "10.0.0.1:1"
[[services.tls.routes]]
when = 'client.ip in {192.0.2.0/24}'
dest = "10.0.0.2:1"
[services.ends]
listen = "127.0.0.1:2"
cert = "internal"
dest = "10.0.0.3:1"
[services.by]
listen = "127.0.0.1:4"
peek = true
dest = "by"
[upstreams.by]
backends = [{ address = "10.0.0.5:1" }, { address = "10.0.0.6:1" }]
load_balancing = "ketama"
hash_key = "{tls.sni}"
[https]
listen = "127.0.0.1:3"
cert = "internal"
[[tls.rules]]
when = 'tls.sni == "b.test"'
dest = "10.0.0.4:1"
[[routes]]
pattern = "/*"
dest = "status:200"
`
	path := fileOf(t, text)
	for _, c := range []struct{ url, client, upstream, want string }{
		{"tcp://a.test:1", "198.51.100.1", "10.0.0.1:1", "route 1 takes it: tls.sni == \"a.test\" (edge.toml:4)"},
		{"tcp://b.test:1", "192.0.2.1", "10.0.0.2:1", "route 1 does not take it|route 2 takes it"},
		{"tcp://127.0.0.1:1", "198.51.100.1", "", "no route takes it, and there is no dest"},
		{"tcp://a.test:2", "198.51.100.1", "10.0.0.3:1", "service   ends"},
		{"tcp://a.test:4", "198.51.100.1", "by", "ketama by {tls.sni}, tcp|100.0 %  10.0.0.5:1"},
		{"tcp://c.test:4", "198.51.100.9", "by", "ketama by {tls.sni}, tcp|100.0 %  10.0.0.6:1"},
		{"tcp://b.test:2", "198.51.100.1", "10.0.0.4:1", "handshake passed on to 10.0.0.4:1|rule 1: dest 10.0.0.4:1"},
		{"https://b.test:3/x", "198.51.100.1", "10.0.0.4:1", "handshake passed on to 10.0.0.4:1"},
		{"https://a.test:3/x", "198.51.100.1", "", "rule 1: does not hold"},
	} {
		a := answerOf(t, path, explain.Ask{URL: c.url, Client: netip.MustParseAddr(c.client)})
		var out strings.Builder
		try(t, a.WriteText(&out))
		got := strings.ReplaceAll(out.String(), path, "edge.toml") + a.Why
		for _, want := range strings.Split(c.want, "|") {
			if !strings.Contains(got, want) {
				t.Errorf("%s: want %q in\n%s", c.url, want, got)
			}
		}
		if name := a.Upstream; (name == nil) != (c.upstream == "") || name != nil && name.Name != c.upstream {
			t.Errorf("%s: %+v", c.url, name)
		}
	}
}
