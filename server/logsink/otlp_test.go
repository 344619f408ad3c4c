package logsink

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/tracing"
	"github.com/edge-proxy/edge/plugin"
)

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
