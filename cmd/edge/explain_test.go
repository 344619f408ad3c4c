package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

const explained = `
[http]
listen = ":8080"
[[routes]]
name = "api"
pattern = "/api/*"
methods = ["GET", "POST"]
dest = "10.0.0.1:3000, 10.0.0.2:3000"
[[routes]]
pattern = "/api/*"
methods = "GET"
header = { X-Beta = "1" }
dest = "status:204"
`

// The binary says on stdout what becomes of a request, and leaves with 0 whatever that is.
func TestExplain(t *testing.T) {
	dir := folder(t, map[string]string{"edge.toml": explained})
	for _, c := range []struct {
		args string
		want []string
	}{
		{"http://localhost:8080/api/x", []string{
			"route     api /api/* (edge.toml:4) -> upstream 10.0.0.1:3000, 10.0.0.2:3000\n",
			" 50.0 %  10.0.0.1:3000", "asks for the field X-Beta with the value \"1\""}},
		{"/api -H X-Beta:1 --set http.listen=:8081", []string{
			"as if it came to :8081", "-> status 204", "answer    204"}},
		{"localhost:8080/api -X PUT", []string{"405 edge:method", "          Allow: GET, POST\n"}},
		{"http://localhost:8080/ --client-ip 10.9.8.7", []string{
			"from 10.9.8.7", "404 edge:route", "the nearest is api"}},
	} {
		code, out := in(t, dir, append([]string{"explain"}, strings.Fields(c.args)...)...)
		for _, want := range c.want {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("%s: exit %d, no %q in\n%s", c.args, code, want, out)
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

func TestExplain_JSON(t *testing.T) {
	dir := folder(t, map[string]string{"edge.toml": explained})
	code, out := in(t, dir, "explain", "http://localhost:8080/api", "--json")
	var got struct {
		Route    struct{ Name, At string }
		Upstream struct {
			Backends []struct {
				Address string
				Odds    float64
			}
		}
		Sent []string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 {
		t.Fatalf("exit %d, %v\n%s", code, err, out)
	}
	if b := got.Upstream.Backends; got.Route.At != "edge.toml:4" || len(b) != 2 || b[1].Odds != 0.5 ||
		len(got.Sent) == 0 || got.Sent[0] != "GET /api HTTP/1.1" {
		t.Errorf("%+v", got)
	}
}

func TestExplain_wrong(t *testing.T) {
	dir := folder(t, map[string]string{"edge.toml": explained, "wrong.toml": "[htp]\n"})
	for _, c := range []struct {
		args string
		code int
		want string
	}{
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
		if code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%q: exit %d, %q; want %d, %q", c.args, code, out, c.code, c.want)
		}
	}
}

// The documented files of users of such proxies are explained as they stand.
func TestExplain_knownFiles(t *testing.T) {
	dir := filepath.Join(testutil.Root(t), "config", "testdata", "valid")
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"pingora-tls-and-health.toml": "66.7 %  127.0.0.1:18083, weight 2",
		"http-and-https.toml":         "-> upstream 127.0.0.1:18082",
		"five-lines.yaml":             "-> hello page",
	} {
		if code, out := in(t, dir, "explain", "/x", "-c", file); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d, no %q in\n%s", file, code, want, out)
		}
	}
}
