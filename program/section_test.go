package program_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/server/explain"
)

// quota is what the section [quota] of a configuration says, and quota of a route.
type quota struct {
	schema.Given
	Requests int           `edge:"requests" min:"0" max:"1000000" default:"100" show:"always" doc:"In one window."`
	Window   time.Duration `edge:"window" min:"1s" max:"1h" default:"1m" restart:"true" doc:"Its length."`
}

func init() {
	for _, path := range []string{"quota", "routes.quota"} {
		config.Register[quota](nil, schema.Section{Path: path, Doc: "How many requests a client has.",
			Resolve: func(doc *schema.Document, t schema.Target) {
				if q := t.(*quota); q.Has("window") && q.Requests == 0 {
					doc.Report.Errorf(q.At("window"), "", "a window without requests")
				}
			}})
	}
}

// A section of a package that config does not know has defaults, errors at their place, documentation, and a meaning.
func TestRegister(t *testing.T) {
	c, rep := config.Parse("f.toml", []byte("[quota]\nwindow = \"5s\"\n"+
		"[[routes]]\npattern = \"/\"\ndest = \"status:204\"\nquota.requests = 7\n"+
		"[[routes]]\npattern = \"/b\"\ndest = \"status:204\"\n"))
	if c == nil {
		t.Fatal(rep.Errors)
	}
	all, one := schema.Only[*quota](c.Features), schema.Only[*quota](c.Routes[0].Features)
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

// A key is one field: its default, its bounds, the hint for a mistake, its row on the reference page and in the schema
// for editors, what waits for a restart, the diff of a reload and the settings of edge explain come from there.
func TestRegister_keyIsOneField(t *testing.T) {
	_, rep := config.Parse("f.toml", []byte("quota = { windw = \"2s\", window = \"2h\" }\n"))
	var said []string
	for _, e := range rep.Errors {
		said = append(said, e.Message+": "+e.Hint)
	}
	if want := []string{`unknown key "windw" in [quota]: did you mean "window"?`,
		`"window" must be between 1s and 1h: the default is "1m"`}; !slices.Equal(said, want) {
		t.Errorf("got %q, want %q", said, want)
	}
	var page, editors bytes.Buffer
	if err := errors.Join(config.Reference(&page), config.JSONSchema(&editors)); err != nil {
		t.Fatal(err)
	}
	row := "| `window` | time | `\"1m\"` | Its length. From 1s to 1h. *restart* |\n"
	if !strings.Contains(page.String(), row) || !strings.Contains(editors.String(), `"description": "Its length."`) {
		t.Errorf("there is no row %s", row)
	}
	var all []*quota
	for _, text := range []string{"quota.requests = 3\n", "quota = { requests = 3, window = \"2m\" }\n"} {
		c, rep := config.Parse("f.toml", []byte(text))
		if c == nil {
			t.Fatal(rep.Errors)
		}
		all = append(all, schema.Only[*quota](c.Features))
	}
	if keys := schema.SectionOf(all[0]).ChangedKeys(all[0], all[1]); !slices.Equal(keys, []string{"window"}) {
		t.Errorf("%q differ", keys)
	}
	c, rep := config.Options{Places: true}.Parse("f.toml", []byte("quota.requests = 3\nroutes = ["+
		"{ pattern = \"/a\", dest = \"status:204\", quota = { window = \"2m\" } }, "+
		"{ pattern = \"/b\", dest = \"status:204\" }]"))
	if c == nil {
		t.Fatal(rep.Errors)
	}
	for path, want := range map[string]config.Setting{
		"/a": {Name: "quota.requests", Value: "100", At: "default", Doc: "In one window"},
		"/b": {Name: "quota.requests", Value: "3", At: "f.toml:1", Doc: "In one window"},
	} {
		a, err := explain.Explain(c, &explain.Ask{URL: path})
		if err != nil {
			t.Fatal(err)
		}
		others := func(s config.Setting) bool { return !strings.HasPrefix(s.Name, "quota.") }
		if got := slices.DeleteFunc(a.Settings, others); !slices.Equal(got, []config.Setting{want}) {
			t.Errorf("%s: got %+v, want %+v", path, got, want)
		}
	}
}

// nearby is an entry that knows the upstream around it, which knows it in turn.
type nearby struct {
	schema.Given
	Around schema.Target
	Zones  []string `edge:"zones" doc:"Files of zones." file:"read"`
}

func init() {
	config.Register[nearby](nil, schema.Section{Path: "upstreams.NAME.nearby", Doc: "What is near.",
		New: func(around schema.Target, _ *syntax.Node) schema.Target { return &nearby{Around: around} }})
}

// The files of such an entry are found, once.
func TestRegister_filesOfEntryThatKnowsTheOneAround(t *testing.T) {
	c, rep := config.Parse("f.toml", []byte("[upstreams.default]\nbackends = [{ address = \"10.0.0.1:80\" }]\n"+
		"tls = { ca = \"ca.pem\" }\nnearby = { zones = [\"a.txt\", \"b.txt\"] }\n"))
	if c == nil {
		t.Fatal(rep.Errors)
	}
	var got []string
	for _, f := range c.Files("read") {
		got = append(got, f.Key+" "+f.Path)
	}
	if want := []string{"tls.ca ca.pem", "nearby.zones a.txt", "nearby.zones b.txt"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
