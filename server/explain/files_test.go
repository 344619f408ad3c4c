package explain_test

import (
	"testing"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/caching"
	_ "github.com/edge-proxy/edge/static"
)

// Files are cached where their route says so, and not by [defaults].
func TestOfRoute_files(t *testing.T) {
	for own, want := range map[string]bool{"": false, "cache = true\n": true} {
		c, rep := config.Parse("edge.toml", []byte("[http]\nlisten = \":80\"\n[defaults]\ncache = true\n"+
			"[[routes]]\npattern = \"/*\"\ndest = \"static:/srv/www\"\n"+own))
		if c == nil {
			t.Fatal(rep.Errors)
		}
		if got := caching.OfRoute(c, &c.Routes[0]) != nil; got != want {
			t.Errorf("%q: cached %v", own, got)
		}
	}
}
