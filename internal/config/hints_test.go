package config_test

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
)

// What people write first leads to what edge has.
func TestParse_hintsForFirstTries(t *testing.T) {
	const route = "http.listen = \":80\"\n[[routes]]\npattern = \"/*\"\n"
	for text, want := range map[string]string{
		route + `dest = ["a:1", "b:2"]`:                                       `write dest = "a:1, b:2"`,
		route + "dest = \"a:1\"\ntimeout = \"5s\"":                            `is timeouts = { total = "5s" }`,
		route + "dest = \"a:1\"\nwhen = 'ip == \"10.0.0.1\"'":                 "here it is called client.ip",
		route + "dest = \"a:1\"\nwhen = 'country == \"DE\"'":                  "here it is called geo.country",
		"[services.d]\nlisten = \":53\"\nprotocol = \"udp\"\ndest = \"a:53\"": "HTTP and TCP are served, UDP not yet",
	} {
		t.Run(want, func(t *testing.T) {
			_, rep := config.Parse("edge.toml", []byte(text+"\n"))
			if len(rep.Errors) != 1 || !strings.Contains(rep.Errors[0].Hint, want) {
				t.Errorf("%s\ngives %+v", text, rep.Errors)
			}
		})
	}
}
