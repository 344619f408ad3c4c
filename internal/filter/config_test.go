package filter_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/proxy"
)

func init() {
	plugin.Register(plugin.Filters, "everything", "Has a key of each kind.", newEverything)
	plugin.Register(plugin.Filters, "polite", "Asks for manners.",
		func(*struct{}, *plugin.Build) (*proxy.Filter, error) { return &proxy.Filter{}, nil })
}

func newEverything(*everything, *plugin.Build) (*proxy.Filter, error) { return &proxy.Filter{}, nil }

const head = "[http]\nlisten = \":0\"\n[[routes]]\npattern = \"/\"\ndest = \"status:204\"\n"

func TestConfig_decodesFilters(t *testing.T) {
	c, rep := config.Parse("edge.toml", []byte(head+`filters = ["a"]
[filters.a]
type = "everything"
when = 'method == "GET"'
message = "no"
rate = "7/m"
wait = 3
count = 0x3
room = "2k"
fields = false
from = ["10.1.2.3/8", "::ffff:192.0.2.1", "2001:db8::/32"]
words = "y"
secret = "s3cr3t"
key = "{method}"
add = { x = "1" }
store.address = "here"
`))
	if !rep.OK() || len(rep.Warnings) > 0 {
		t.Fatalf("%v %v", rep.Errors, rep.Warnings)
	}
	f := c.Defined[0]
	e := f.Config.(*everything)
	if f.Name != "a" || f.Type != "everything" || f.When.String() != `method == "GET"` || f.Pos.Line != 7 {
		t.Errorf("got %+v", f)
	}
	if e.Message != "no" || e.Rate != (plugin.Rate{Count: 7, Per: time.Minute}) || e.Wait != 3*time.Second ||
		e.Count != 3 || e.Room != 2048 || *e.Fields || e.Secret != "s3cr3t" || e.Key.String() != "{method}" ||
		e.Add["x"] != "1" || e.Store.Address != "here" || e.Mode != "soft" || e.Who.String() != "true" {
		t.Errorf("got %+v", e)
	}
	if got := strings.Join([]string{e.From[0].String(), e.From[1].String(), e.From[2].String()}, " "); got !=
		"10.0.0.0/8 192.0.2.1/32 2001:db8::/32" {
		t.Errorf("got %s", got)
	}
}

func TestConfig_tellsMistakes(t *testing.T) {
	const everything = "[filters.a]\ntype = \"everything\"\nrate = \"1/s\"\n"
	const types = "known are basic_auth, everything, polite, xask" // TestRegister_namesPackages has basic_auth
	for _, c := range []struct{ name, text, want, hint string }{
		{"no type", "[filters.a]\n", `6:1: [filters.a] has no "type"`, types},
		{"name is a type", "[filters.polite]\n", `6:1: [filters.polite] has no "type"`, `write type = "polite"`},
		{"type misspelt", "[filters.a]\ntype = \"polit\"\nx = 1\n", `7:8: unknown type "polit"`,
			`did you mean "polite"?`},
		{"type unknown", "[filters.a]\ntype = \"waf\"\nx = 1\n", `7:8: unknown type "waf"`,
			"edge modules lists the types of this program, and edge build links modules that have others"},
		{"type is a number", "[filters.a]\ntype = 1\n",
			`7:8: "type" must be a name, this is a whole number`, `write "1"`},
		{"key misspelt", everything + "mesage = \"x\"\n", `9:1: unknown key "mesage" in [filters.a]`,
			`did you mean "message"?`},
		{"key of another type", "[filters.a]\ntype = \"polite\"\nrate = \"1/s\"\n",
			`8:1: unknown key "rate" in [filters.a]`,
			`this belongs to [filters.NAME] with type = "everything"`},
		{"key in a table", everything + "store.adress = \"x\"\n", `9:7: unknown key "adress" in [filters.a.store]`,
			`did you mean "address"?`},
		{"required", "[filters.a]\ntype = \"everything\"\n", `6:1: a filter of type "everything" needs "rate"`,
			`write rate = "100/s"`},
		{"required in a table", everything + "store.name = \"x\"\n",
			`6:1: a filter of type "everything" needs "store.address"`, ""},
		{"bounds", everything + "count = 11\n", `9:9: "count" must be between 1 and 10`, "the default is 3"},
		{"rate", "[filters.a]\ntype = \"everything\"\nrate = \"1/w\"\n", `8:8: "rate" must be a rate, not "1/w"`,
			`write it as "100/s", "5/m" or "1000/h"`},
		{"rate out of bounds", "[filters.a]\ntype = \"everything\"\nrate = \"1/d\"\n",
			`8:8: "rate": it must be between 1/h and 1000/s`, ""},
		{"word", everything + "mode = \"sof\"\n", `9:8: "mode" must be "soft" or "hard", not "sof"`,
			`did you mean "soft"?`},
		{"prefix", everything + "from = [\"10.0.0.0/8\", \"ten\"]\n",
			`9:23: "ten" is no address, and no prefix of some`,
			`write it as "10.0.0.0/8" or "2001:db8::1"`},
		{"check", everything + "message = \"a message of many words\"\n", `9:11: it has 23 bytes`, "say less"},
		{"list", everything + "\n[defaults]\nfilters = [\"a\", \"b\"]\n",
			`11:17: there is no filter "b"`, `did you mean "a"?`},
		{"list misspelt", "[filters.auth]\ntype = \"polite\"\n[defaults]\nfilters = \"atuh\"\n",
			`9:11: there is no filter "atuh"`, `did you mean "auth"?`},
		{"twice", everything + "\n[defaults]\nfilters = [\"a\", \"a\"]\n", `11:17: "a" stands twice in the list`,
			"leave one of them out"},
		{"out of the first list", everything + "\n[defaults]\nfilters = [\"!a\"]\n",
			`11:12: no filters run before those of [defaults]`, "a listener or a route takes it out"},
		{"out of nothing", everything + "[[routes]]\npattern = \"/x\"\ndest = \"status:204\"\nfilters = [\"!a\"]\n",
			`12:12: "a" is not among the filters of its listeners and of [defaults]`, "leave it out: there are none"},
	} {
		cfg, rep := config.Parse("edge.toml", []byte(head+c.text))
		if cfg != nil || len(rep.Errors) != 1 {
			t.Errorf("%s: got %v, want one error", c.name, rep.Errors)
			continue
		}
		e := rep.Errors[0]
		got := strings.TrimPrefix(e.Pos.String(), "edge.toml:") + ": " + e.Message
		if got != c.want || e.Hint != c.hint {
			t.Errorf("%s:\n got %s (%s)\nwant %s (%s)", c.name, got, e.Hint, c.want, c.hint)
		}
	}
}

func TestConfig_listAtTheTop(t *testing.T) {
	_, rep := config.Parse("edge.toml", []byte("filters = [\"a\"]\n"+head))
	want := "a list belongs to [[listeners]], [defaults], " +
		"[[routes]], [[rules]], [[listeners.rules]] or [[routes.rules]]"
	if len(rep.Errors) != 1 || rep.Errors[0].Hint != want {
		t.Errorf("got %+v, want %s", rep.Errors, want)
	}
}

func TestConfig_refusesNamesOfTheProgram(t *testing.T) {
	o := config.Options{Filters: []string{"mine"}}
	_, rep := o.Parse("edge.toml", []byte("defaults.filters = [\"mine\"]\n"+head+"[filters.mine]\ntype = \"polite\"\n"))
	if len(rep.Errors) != 1 || !strings.Contains(rep.Errors[0].Message, "the program has a filter") {
		t.Errorf("got %v", rep.Errors)
	}
}

const whole = head + `filters = ["a"]
[filters.a]
type = "everything"
rate = "7/m"
secret = "s3cr3t"
store = { address = "here", name = "x" }
`

func parsed(t *testing.T, o config.Options, text string) *config.Config {
	t.Helper()
	c, rep := o.Parse("edge.toml", []byte(text))
	if c == nil {
		t.Fatal(rep.Errors)
	}
	return c
}

// What is told of a configuration hides the secrets of filters, whatever their types.
func TestConfig_hidesSecrets(t *testing.T) {
	c := parsed(t, config.Options{Written: true}, whole)
	text := string(c.Written)
	if strings.Contains(text, "s3cr3t") || !strings.Contains(text, `"secret":"(hidden)"`) ||
		!strings.Contains(text, `"rate":"7/m"`) || !strings.Contains(text, `"store":{"address":"here","name":"x"}`) {
		t.Error(text)
	}
	b, err := json.Marshal(c)
	if err != nil || strings.Contains(string(b), "s3cr3t") {
		t.Errorf("%s %v", b, err)
	}
}

// A reload tells which keys of a filter differ, wherever they stand.
func TestConfig_changedKeys(t *testing.T) {
	c := parsed(t, config.Options{}, whole)
	moved := parsed(t, config.Options{}, "\n\n"+whole)
	if got := c.Defined[0].ChangedKeys(&moved.Defined[0]); len(got) > 0 {
		t.Errorf("the place in the file counts: %q", got)
	}
	for _, k := range []struct{ old, new, want string }{
		{"7/m", "8/m", "rate"}, {`"x" }`, `"y" }`, "store.name"}, {"s3cr3t", "other", "secret"},
		{`rate = "7/m"`, "rate = \"7/m\"\ncount = 4", "count"}, {`rate = "7/m"`, "rate = \"7/m\"\ncount = 3", ""},
		{`rate = "7/m"`, "rate = \"7/m\"\nwhen = 'method == \"GET\"'", "when"},
		{`rate = "7/m"`, "rate = \"7/m\"\nkey = \"{method}\"", "key"},
	} {
		next := parsed(t, config.Options{}, strings.Replace(whole, k.old, k.new, 1))
		if got := strings.Join(c.Defined[0].ChangedKeys(&next.Defined[0]), " "); got != k.want {
			t.Errorf("%s: got %q, want %q", k.new, got, k.want)
		}
	}
}

// Several files have keys of one filter, and --set beats them.
func TestConfig_mergesFilters(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	main := file("edge.toml", "include = \"more.toml\"\n"+whole)
	file("more.toml", "[filters.a]\ncount = 4\nstore.address = \"here\"\n")
	c, rep := config.Options{Set: []string{"filters.a.wait=9s", "filters.a.store.name=y"}}.Load(main)
	if c == nil {
		t.Fatal(rep.Errors)
	}
	e := c.Defined[0].Config.(*everything)
	if e.Count != 4 || e.Wait != 9*time.Second || e.Store.Name != "y" || e.Store.Address != "here" {
		t.Errorf("got %+v", e)
	}
	file("more.toml", "[filters.a]\nrate = \"8/m\"\n")
	if _, rep = (config.Options{}).Load(main); len(rep.Errors) != 1 ||
		!strings.Contains(rep.Errors[0].Message, `"rate" is set twice to different values`) {
		t.Errorf("got %v", rep.Errors)
	}
}

// Editors and the reference know the keys of each type.
func TestConfig_describesTypes(t *testing.T) {
	var page, schema bytes.Buffer
	if err := errors.Join(config.Reference(&page), config.JSONSchema(&schema)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"### `type = \"everything\"`\n\nHas a key of each kind.\n\n| key | type | default | meaning |",
		"| `store.address` | string |  | Where. *required* |",
		"| `rate` | rate |  | How often. From 1/h to 1000/s. Example: `\"100/s\"`. *required* |",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the reference has not %s", want)
		}
	}
	var root struct {
		Properties struct {
			Filters struct {
				AdditionalProperties struct {
					AnyOf []struct{ Properties map[string]map[string]any }
				}
			}
		}
	}
	if err := json.Unmarshal(schema.Bytes(), &root); err != nil {
		t.Fatal(err)
	}
	kinds := root.Properties.Filters.AdditionalProperties.AnyOf[1:3] // after csrf
	if len(kinds) != 2 || kinds[0].Properties["type"]["const"] != "everything" || kinds[0].Properties["when"] == nil ||
		kinds[0].Properties["store"]["properties"] == nil || kinds[1].Properties["rate"] != nil {
		t.Errorf("got %v", kinds)
	}
}
