package config_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
)

// Each use of a file is known by the key that names it, wherever it stands.
func TestConfig_Files(t *testing.T) {
	c, rep := config.Options{TextOnly: true}.Parse("edge.toml", []byte(`
error_log = "error.log"
pid_file = "edge.pid"
ca_file = "all.pem"
error_pages = { 404 = "404.html", 5xx = { body = "sorry" } }
[log]
output = ["stdout", "access.log"]
[[tls.rules]]
client_ca = "partners.pem"
[[certificates]]
cert = "a.pem"
key = "a.key"
[https]
listen = ":443"
cert = "internal"
access_log = "web.log"
[upstreams.default]
backends = [{ address = "10.0.0.1:443" }]
tls = { ca = "b.pem", cert = "c.pem" }
[[routes]]
pattern = "/*"
dest = "default"
access_log = { path = "route.log" }
error_pages = { 503 = "busy.html" }
`))
	if c == nil {
		t.Fatal(rep.Errors)
	}
	for use, want := range map[string][]string{
		"read": {"ca_file all.pem 0", "cert a.pem 10", "cert internal 15", "client_ca partners.pem 8", "key a.key 10",
			"tls.ca b.pem 17", "tls.cert c.pem 17"},
		"write": {"error_log error.log 0", "pid_file edge.pid 0"},
		"log": {"access_log route.log 20", "access_log web.log 13", "log.output access.log 0",
			"log.output stdout 0"},
		"page": {"404.html 0", "busy.html 20"},
	} {
		var got []string
		for _, f := range c.Files(use) {
			text := fmt.Sprintf("%s %s %d", f.Key, f.Path, f.Pos.Line)
			if f.Key == "" {
				text = text[1:]
			}
			got = append(got, text)
			if f.Use != use || f.Restart != (f.Key == "pid_file") {
				t.Errorf("%+v", f)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", use, got, want)
		}
	}
}
