package main

import (
	"strings"
	"testing"
)

const explained = `
[http]
listen = ":8080"
[[routes]]
name = "api"
pattern = "/api/*"
dest = "10.0.0.1:3000, 10.0.0.2:3000"
`

// The binary says on stdout what becomes of the request that its flags describe, and leaves with 0 whatever that is.
func TestExplain(t *testing.T) {
	dir := folder(t, map[string]string{"edge.toml": explained, "wrong.toml": "[htp]\n"})
	for _, c := range []struct {
		args string
		code int
		want string // with | between texts
	}{
		{"http://localhost:8080/api/x", 0, "route     api /api/* (edge.toml:4) -> upstream | 50.0 %  10.0.0.1:3000"},
		{"/api --set http.listen=:8081", 0, "as if it came to :8081"},
		{"/api -X PUT -H X-Beta:1", 0, "PUT /api HTTP/1.1|X-Beta: 1"},
		{"/ --client-ip 10.9.8.7", 0, "from 10.9.8.7|404 edge:route|the nearest is api"},
		{"/api --json", 0, `"sent": [|"GET /api HTTP/1.1"|"odds": 0.5`},
		{"", 2, "takes one URL, got 0"},
		{"a b", 2, "takes one URL, got 2"},
		{"ftp://a/", 2, "http://, https:// or tcp://"},
		{"tcp://a", 2, "tcp://host:port"},
		{"tcp://a:1 -X GET", 2, "without method"},
		{"/ -H X", 2, `"Name: value"`},
		{"/ --client-ip me", 2, "--client-ip takes an IP address"},
		{"/ -c wrong.toml", 1, "wrong.toml:1:"},
		{"/ -c missing.toml", 1, "missing.toml"},
	} {
		code, out := in(t, dir, append([]string{"explain"}, strings.Fields(c.args)...)...)
		for want := range strings.SplitSeq(c.want, "|") {
			if code != c.code || !strings.Contains(out, want) {
				t.Errorf("%q: exit %d, want %d and %q in\n%s", c.args, code, c.code, want, out)
			}
		}
	}
}

const explainedServices = `
[http]
listen = ":8080"
[services.db]
type = "tcp"
listen = ":5432"
dest = "pg"
proxy_protocol.from = "10.0.0.0/8"
access_log = { path = "stderr", format = "common" }
[services.secure]
type = "tcp"
listen = ":5433"
dest = "10.0.0.9:1"
cert = "internal"
client_auth = "require"
client_ca = "ca.pem"
timeouts.idle = "5m"
[upstreams.pg]
load_balancing = "ketama"
backends = [ { address = "10.0.0.7:1" }, { address = "10.0.0.8:1", weight = 0 } ]
failover = "10.0.0.9:1"
proxy_protocol = "v1"
[log]
sample = 0.1
`

// So it does of a connection to a TCP service, by its address.
func TestExplain_services(t *testing.T) {
	dir := folder(t, map[string]string{"edge.toml": explainedServices})
	for _, c := range []struct {
		args string
		want []string
	}{
		{"tcp://localhost:5432", []string{"connect   tcp://localhost:5432  from 192.0.2.1\n",
			"service   db :5432 (edge.toml:4)\n", "a header of the PROXY protocol tells", "(edge.toml:8)",
			"PROXY protocol (v1)",
			"upstream 10.0.0.9:1 is tried", "pg (edge.toml:18): ketama by client_ip, tcp\n", "100.0 %  10.0.0.7:1",
			"timeouts.idle     1h          default", "log       common to stderr\n", "--client-ip names another",
			"other services\n  secure (edge.toml:10): its port is 5433, not 5432\n"}},
		{"tcp://a.example:5433/ --client-ip ::1", []string{"secure :5433 (edge.toml:10), TLS\n", "without a valid",
			"timeouts.idle     5m  edge.toml:17", "log       json to stdout\n"}},
		{"tcp://a.example:5433 --json", []string{`"sni": "a.example"`, `"protocol": "tcp"`}},
		{"tcp://localhost:8080", []string{"service   none: HTTP is spoken there, by the listener :8080"}},
		{"tcp://localhost:1", []string{"service   none: no service takes it"}},
	} {
		code, out := in(t, dir, append([]string{"explain"}, strings.Fields(c.args)...)...)
		for _, want := range c.want {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("%s: exit %d, no %q in\n%s", c.args, code, want, out)
			}
		}
		if strings.Contains(out, "retry.") || strings.Contains(out, "first_byte") || strings.Contains(out, "sample") {
			t.Errorf("%s: there are no requests\n%s", c.args, out)
		}
	}
}
