package outside

import (
	"bytes"
	"testing"
	"time"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/schema"
)

// A section of a package that config does not know has defaults, errors at their place, documentation, and a meaning.
func TestRegister(t *testing.T) {
	c, rep := config.Parse("f.toml", []byte("[quota]\nwindow = \"5s\"\n"+
		"[[routes]]\npattern = \"/\"\ndest = \"status:204\"\nquota.requests = 7\n"+
		"[[routes]]\npattern = \"/b\"\ndest = \"status:204\"\n"))
	if c == nil {
		t.Fatal(rep.Errors)
	}
	all, one := schema.Only[*Quota](c.Features), schema.Only[*Quota](c.Routes[0].Features)
	if all.Requests != 100 || all.Window != 5*time.Second || one.Requests != 7 || one.Window != time.Minute {
		t.Errorf("got %+v and %+v", all, one)
	}
	if len(c.Routes[1].Features) > 0 {
		t.Errorf("a route without the section has %v", c.Routes[1].Features)
	}
	_, rep = config.Parse("f.toml", []byte("quota = { requests = 0, window = \"5s\" }\n"))
	if len(rep.Errors) != 1 || rep.Errors[0].Error() != "f.toml:1:34: error: a window without requests" {
		t.Errorf("got %v", rep.Errors)
	}
	next, _ := config.Parse("f.toml", []byte("quota = { requests = 5, window = \"6s\" }\n"))
	if keys := config.RestartKeys(c, next); len(keys) != 1 || keys[0] != "quota.window" {
		t.Errorf("%v wait for a restart", keys)
	}
	var page bytes.Buffer
	if err := config.Reference(&page); err != nil || !bytes.Contains(page.Bytes(), []byte("## `[routes.quota]`")) {
		t.Errorf("the reference page lacks the section: %v", err)
	}
}
