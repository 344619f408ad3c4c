package logsink

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/tracing"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Tables that a file may have, and the mistake that each of them is told of; "": none.
func TestSyslog_keys(t *testing.T) {
	for keys, want := range map[string]string{
		`to = "syslog+udp://h"`: "",
		"to = 'syslog+tls://h'\nformat = 'rfc3164'\nfacility = 'daemon'\napp = 'a'\nstructured_data = true": "",
		``:                    `write to = "syslog+udp://10.0.0.5:514"`,
		`to = "10.0.0.5:514"`: "write syslog+udp://host:514",
		"to = 'syslog+udp://h'\nfacility = 'local9'": `"local9" is none of kern`,
		"to = 'syslog+udp://h'\nformat = 'rfc5425'":  `must be "rfc5424" or "rfc3164"`,
		"to = 'syslog+tcp://h'\nca = '/etc/ca.pem'":  "write syslog+tls://",
		"to = 'syslog+tls://h'\ncert = '/etc/c.pem'": "name both, or neither",
		"to = 'syslog+udp://h'\nmax_size = '1m'":     `must be between`,
	} {
		_, report := config.Options{TextOnly: true}.Parse("f", []byte("http.listen = ':80'\nlog.output = ['far']\n"+
			"[log_sinks.far]\ntype = 'syslog'\n"+keys+"\n"))
		var said strings.Builder
		for _, e := range report.Errors {
			said.WriteString(e.Error() + " " + e.Hint + "\n")
		}
		if want == "" && said.Len() > 0 || !strings.Contains(said.String(), want) {
			t.Errorf("%s\nis told %q, want %q", keys, said.String(), want)
		}
	}
}

// Files that cannot be read, or have no certificate, are errors when the sink is made.
func TestNewSyslog_files(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Syslog{{CA: empty + "-not"}, {CA: empty}, {Cert: empty, Key: empty}} {
		c.To = "syslog+tls://h"
		if _, err := NewSyslog(&c, nil); err == nil || !strings.Contains(err.Error(), "empty.pem") &&
			!strings.Contains(err.Error(), "PEM") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := Target("syslog+udp://127.0.0.1:1"); err != nil {
		t.Error(err)
	}
	if _, err := Target("syslog+udp://"); err == nil {
		t.Error("a URL without a host makes a sink")
	}
}

// A renewed certificate is shown with the next connection, without a reload. One that cannot be read changes nothing.
func TestClientTLS_renewed(t *testing.T) {
	dir, ca := t.TempDir(), testutil.NewAuthority(t)
	cert, key := filepath.Join(dir, "c.pem"), filepath.Join(dir, "c.key")
	ca.IssueTo(t, dir, "c", nil, "first")
	c, err := clientTLS("", cert, key)
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		t.Helper()
		pair, err := c.GetClientCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.Subject.CommonName
	}
	if got := shown(); got != "first" {
		t.Error(got)
	}
	ca.IssueTo(t, dir, "c", nil, "second")
	if got := shown(); got != "second" {
		t.Errorf("%s is shown", got)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != "second" {
		t.Errorf("%s is shown without a key", got)
	}
}

// A collector is dialled again while a handshake before is still under way: both may ask for the certificate.
func TestClientTLS_manyConnections(t *testing.T) {
	dir, ca := t.TempDir(), testutil.NewAuthority(t)
	ca.IssueTo(t, dir, "c", nil, "first")
	c, err := clientTLS("", filepath.Join(dir, "c.pem"), filepath.Join(dir, "c.key"))
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 5 {
				if pair, err := c.GetClientCertificate(nil); err != nil || pair.Leaf == nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
}

// What is wrong with a table is told at its key, and a program is told the same.
func TestOTLP_mistakes(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "")
	const table = "http.listen = \":80\"\nlog.output = [\"a\"]\n[log_sinks.a]\ntype = \"otlp\"\n"
	for keys, want := range map[string]string{
		"":                                "there is no endpoint",
		"endpoint = \"collector:4318\"\n": "has no scheme",
		"endpoint = \"http://c?a=b\"\n":   "nor query",
		"endpoint = \"http://c\"\ncert = \"a.pem\"\n":              "for TLS",
		"endpoint = \"http://c\"\nresource = { \"\" = \"a\" }\n":   "has no name",
		"endpoint = \"http://c\"\nheaders = { \"a b\" = \"c\" }\n": "is not the name",
	} {
		c, rep := config.Options{}.Parse("edge.toml", []byte(table+keys))
		if c != nil || len(rep.Errors) == 0 || !strings.Contains(rep.Errors[0].Message, want) {
			t.Errorf("%s: %v", keys, rep.Errors)
		}
	}
	if _, err := NewOTLP(&OTLP{}, nil); err == nil || !strings.Contains(err.Error(), "there is no endpoint") {
		t.Errorf("got %v", err)
	}
	o := &OTLP{Collector: tracing.Collector{Endpoint: "http://127.0.0.1:1"}}
	w, err := NewOTLP(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := plugin.Close(w); err != nil {
		t.Error(err)
	}
}
