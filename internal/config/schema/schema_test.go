package schema

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/plugin/tags"
)

type top struct {
	Given
	Level string `edge:"level" enum:"low high" default:"low" doc:"How much."`
}

type pool struct {
	Given
	Size   int           `edge:"size" default:"4" min:"1" max:"9" doc:"How many." restart:"true" also:".count"`
	Idle   time.Duration `edge:"idle.time" default:"1s" doc:"How long."`
	checks int           // entries of check inside it
}

type check struct {
	Given
	Path string `edge:"path" default:"/" doc:"What is asked for."`
	On   bool   `edge:"on" default:"true" doc:"Whether."`
}

type more struct {
	Given
	Path string `edge:"path" doc:"What is asked for."`
}

// example is a schema with a section of each shape, and one inside the entries of another.
func example() *Schema {
	return New([]*Section{
		Table[top](nil, Section{Doc: "The top."}),
		Table[pool](nil, Section{Path: "defaults", Doc: "Of pools."}),
		Table[pool](nil, Section{Path: "pools", Shape: Named, Defaults: "defaults", Doc: "Pools.",
			Resolve: func(doc *Document, t Target) {
				p := t.(*pool)
				p.checks = len(All[*check](Inside(t)))
				if p.Size > 8 {
					doc.Report.Errorf(p.At("size"), "", "too large for this test")
				}
			}}),
		Table[check](nil, Section{Path: "pools.NAME.check", Switch: "on", Doc: "Of one pool."}),
		Table[more](nil, Section{Path: "pools", Extends: true, Doc: "More about pools."}),
	}, nil, Reserved{
		Later: map[string][]string{"pools": {"zone"}},
		Words: map[string]string{"max_size": "of others is size", "pools.limit": "of others is count"},
		Foreign: func(src *syntax.Source, root *syntax.Node) (at syntax.Span, message, hint string) {
			if root != nil || !strings.HasPrefix(string(src.Text), "pool {") {
				return at, "", ""
			}
			return src.Begin(), "a file of others", "ours is"
		},
	})
}

// resolved returns the pools that a text describes.
func resolved(t *testing.T, text string) ([]*pool, *Document) {
	t.Helper()
	doc := example().Parse("f.toml", []byte(text), Options{})
	doc.Resolve(doc.Entries("pools"))
	doc.Report.Finish("f.toml", nil)
	return All[*pool](doc.Entries("pools")), doc
}

func TestDocument_fillsValuesThenDefaults(t *testing.T) {
	pools, doc := resolved(t, "[defaults]\nsize = 5\n[pools.a]\ncount = 6\n[pools.b]\nidle.time = 3\n")
	if !doc.Report.OK() || len(pools) != 2 {
		t.Fatal(len(pools), doc.Report.Errors)
	}
	got := fmt.Sprint(pools[0].Size, pools[0].Idle, pools[1].Size, pools[1].Idle)
	if want := "6 1s 5 3s"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDocument_resolvesEntriesInsideFirst(t *testing.T) {
	pools, doc := resolved(t, "[pools.a]\n[pools.a.check]\npath = '/up'\n[pools.b]\n[pools.c.check]\n")
	if !doc.Report.OK() || len(pools) != 3 {
		t.Fatal(len(pools), doc.Report.Errors)
	}
	var got []string
	for _, p := range pools {
		if c := Only[*check](Inside(p)); c != nil {
			got = append(got, c.Path)
		}
		got = append(got, fmt.Sprint(p.checks))
	}
	if want := "/up 1 0 / 1"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	Detach(doc.Entries("pools"))
	if pools[0].Node() != nil || pools[0].Has("size") || SectionOf(pools[0]).Path != "pools" {
		t.Error("a detached entry keeps the tree, or forgets its section")
	}
}

// A section with a Switch may be given as true or false.
func TestDocument_switchInPlaceOfATable(t *testing.T) {
	pools, doc := resolved(t, "[pools.a]\ncheck = false\n[pools.b]\ncheck = true\n[pools.c]\ncheck.on = false\n")
	if !doc.Report.OK() {
		t.Fatal(doc.Report.Errors)
	}
	var got []string
	for _, p := range pools {
		c := Only[*check](Inside(p))
		got = append(got, fmt.Sprint(c.On, c.Has("on")))
	}
	if want := "false true, true true, false true"; strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestDocument_reportsAtItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		"[pools.a]\nsize = 9\n":       "f.toml:2:8: error: too large for this test",
		"[pools.a]\nsise = 9\n":       `f.toml:2:1: error: unknown key "sise" in [pools.a]`,
		"[pools.a]\nzone = 'b'\n":     `f.toml:2:1: error: "zone" in [pools.a] is not supported by this version`,
		"[pools.a.check]\nsize = 3\n": `f.toml:2:1: error: unknown key "size" in [pools.a.check]`,
		"[pools.a]\ncheck = 3\n":      `f.toml:2:9: error: "check" must be a table, this is a whole number`,
		"[pools]\na = 3\n":            `f.toml:2:5: error: "a" must be a table, this is a whole number`,
		"level = 'medium'\n":          `f.toml:1:9: error: "level" must be "low" or "high", not "medium"`,
		"[pools.a]\nsize = 3\ncount = 4\n": "f.toml:3:1: error: " +
			`"count" and "size" at line 2 mean the same, but have different values`,
	} {
		_, doc := resolved(t, text)
		if len(doc.Report.Errors) != 1 || doc.Report.Errors[0].Error() != want {
			t.Errorf("%q: got %v, want %s", text, doc.Report.Errors, want)
		}
	}
}

func TestSection_RestartKeys(t *testing.T) {
	s := example().Section("defaults")
	if got := s.RestartKeys(&pool{Size: 1, Idle: 1}, &pool{Size: 1, Idle: 2}); len(got) != 0 {
		t.Errorf("%v waits for a restart", got)
	}
	if got := s.RestartKeys(&pool{Size: 1}, &pool{Size: 2}); len(got) != 1 || got[0] != "defaults.size" {
		t.Errorf("%v waits for a restart, want defaults.size", got)
	}
}

// A package adds keys to the entries of another one's section. Its target is beside theirs.
func TestDocument_extendsEntries(t *testing.T) {
	pools, doc := resolved(t, "[pools.a]\nsize = 3\npath = '/a'\n[pools.b]\nsize = 2\n")
	if !doc.Report.OK() || len(pools) != 2 {
		t.Fatal(len(pools), doc.Report.Errors)
	}
	if c := Only[*more](Inside(pools[0])); c == nil || c.Path != "/a" || !c.Has("path") || pools[0].Has("path") {
		t.Errorf("the key has not reached its target: %+v", c)
	}
	if len(Inside(pools[1])) > 0 {
		t.Error("an entry without the key is extended")
	}
}

// A wrong row is found by the first test that makes the schema.
func TestNew_refusesWrongRows(t *testing.T) {
	of := func(typ Type, r tags.Row) []*Key {
		r.Path = cmp.Or(r.Path, "k")
		return []*Key{{Row: r, Type: typ, set: tags.Set}}
	}
	for what, s := range map[string]*Section{
		"no doc":      {Path: "s", Keys: of(String, tags.Row{})},
		"no field":    {Path: "s", Keys: []*Key{{Row: tags.Row{Path: "k", Doc: "d"}, Type: String}}},
		"one bound":   {Path: "s", Keys: of(Int, tags.Row{Doc: "d", Min: "1"})},
		"bounds":      {Path: "s", Keys: of(Int, tags.Row{Doc: "d", Min: "2", Max: "1"})},
		"default":     {Path: "s", Keys: of(Int, tags.Row{Doc: "d", Default: `"x"`})},
		"taken":       {Path: "pools"},
		"nothing":     {Path: "s", Extends: true},
		"taken key":   {Path: "pools", Extends: true, Keys: of(String, tags.Row{Path: "size", Doc: "d"})},
		"taken alias": {Path: "s", Keys: of(String, tags.Row{Doc: "d", Aliases: []string{"level"}})},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", what)
				}
			}()
			New(append(example().Sections, s), nil, Reserved{})
		}()
	}
}

// What other programs have has a hint of its own, before that of a misspelling or of another table.
func TestDocument_wordsOfOthers(t *testing.T) {
	for text, want := range map[string]string{
		"[pools.a]\nMax-Size = 9\n":    `"Max-Size" of others is size`,
		"[pools.a]\nlimit = 9\n":       `"limit" of others is count`,
		"limit = 9\n":                  "known here: defaults, level, pools",
		"[pools.a]\nsise = 9\n":        `did you mean "size"?`,
		"size = 9\n":                   "this belongs to [defaults] or [pools.NAME]",
		"pool {\n  size 9;\n  x y;\n}": "ours is",
		"[pools.a]\nzone = 'b'\n":      "leave it out",
	} {
		doc := example().Parse("f.toml", []byte(text), Options{})
		if len(doc.Report.Errors) != 1 || doc.Report.Errors[0].Hint != want {
			t.Errorf("%q: got %+v, want the hint %s", text, doc.Report.Errors, want)
		}
	}
}
