package outside

import (
	"testing"
	"time"

	"github.com/edge-proxy/edge/program/programtest"
)

// A section of a module has defaults, bounds, errors at their places, and stands in routes too.
func TestSection(t *testing.T) {
	all := programtest.Read[*Quota](t, "quota.window = \"5s\"\n[[routes]]\npattern = \"/\"\ndest = \"status:204\"\n"+
		"quota.requests = 7\n")
	if len(all) != 2 || all[0].Requests != 100 || all[0].Window != 5*time.Second || all[1].Requests != 7 ||
		all[1].Window != time.Minute {
		t.Errorf("got %+v", all)
	}
	for text, want := range map[string]string{
		"quota = { requests = 0, window = \"5s\" }\n": "edge.toml:1:34: error: a window without requests",
		"quota.window = \"2h\"\n":                     `edge.toml:1:16: error: "window" must be between 1s and 1h`,
		"quota.windw = \"2s\"\n":                      `edge.toml:1:7: error: unknown key "windw" in [quota]`,
	} {
		if found := programtest.Check(text); len(found) == 0 || found[0] != want {
			t.Errorf("%s: got %q, want %q", text, found, want)
		}
	}
}
