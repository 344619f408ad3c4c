package explain_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/server/explain"
)

func TestExplain_traces(t *testing.T) {
	const text = "[tracing]\nendpoint = \"http://127.0.0.1:4318\"\nsample = 0.5\n" +
		"[[listeners]]\nlisten = \":8080\"\ntrusted_proxies = [\"10.0.0.0/8\"]\n" +
		"[[listeners]]\nlisten = \":8081\"\ntracing = { accept = \"none\" }\n" +
		"[[listeners]]\nlisten = \":8082\"\ntracing = false\n" +
		"[[routes]]\npattern = \"/*\"\ndest = \"hello\"\n" +
		"[[routes]]\npattern = \"/off\"\ndest = \"hello\"\ntracing = false\n" +
		"[[routes]]\npattern = \"/own\"\ndest = \"hello\"\ntracing = { sample = 1, always = [] }\n"
	path := fileOf(t, text)
	const (
		within  = "traceparent: 00-0af7651916cd43dd0448eb211c80319c-b7ad6b7169203331-"
		outside = "traceparent: 00-0af7651916cd43ddf448eb211c80319c-b7ad6b7169203331-"
	)
	for _, c := range []struct{ url, client, field, want string }{
		{"http://x:8080/", "", "A: b", "a new trace, recorded by the share of 0.5, of at most 200/s; " +
			"always when status 500-599"},
		{"http://x:8080/", "", "traceparent: x", "a new trace, since its traceparent cannot be used"},
		{"http://x:8080/", "10.0.0.1", outside + "01", "recorded, as its traceparent says"},
		{"http://x:8080/", "10.0.0.1", within + "00", "not recorded, as its traceparent says"},
		{"http://x:8080/", "", within + "00", "recorded: its trace is in the share of 0.5"},
		{"http://x:8080/", "", outside + "01", "not recorded: its trace is not in the share"},
		{"http://x:8081/", "10.0.0.1", outside + "01", "not recorded: its trace is not in the share"},
		{"http://x:8082/", "", "A: b", "not recorded: the listener has tracing = false"},
		{"http://x:8080/off", "", "A: b", "not recorded: the route has tracing = false"},
		{"http://x:8080/own", "", "A: b", "a new trace, recorded by the share of 1, of at most 200/s\n"},
	} {
		ask := explain.Ask{URL: c.url, Fields: []string{c.field}}
		if c.client != "" {
			ask.Client = netip.MustParseAddr(c.client)
		}
		var out strings.Builder
		try(t, answerOf(t, path, ask).WriteText(&out))
		if !strings.Contains(out.String(), "traces    "+c.want) {
			t.Errorf("%+v: want it in\n%s", c, out.String())
		}
	}
}
