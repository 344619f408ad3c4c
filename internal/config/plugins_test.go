package config_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// greet is the configuration of a type of destinations.
type greet struct {
	Text string `edge:"text" doc:"What is said." required:"true" example:"hello"`
}

// Check refuses shouting.
func (g *greet) Check(r *plugin.Report) {
	if strings.ToUpper(g.Text) == g.Text {
		r.At("text").Errorf("say it in lower case", "%q is shouted", g.Text)
	}
}

func newGreet(c *greet, b *plugin.Build) (proxy.Destination, error) {
	c, err := plugin.Completed(c, b)
	if err != nil {
		return nil, err
	}
	return proxy.Answer(200, "", c.Text), nil
}

func init() {
	plugin.Register(plugin.Destinations, "greet", "Greets.", newGreet)
	plugin.Register(plugin.ConnectionFilters, "greet", "Has the keys of another type.",
		func(*greet, *plugin.Build) (*session.ConnFilter, error) { return &session.ConnFilter{}, nil })
	plugin.Register(plugin.LogSinks, "keep", "Keeps lines.",
		func(*struct{}, *plugin.Build) (io.Writer, error) { return io.Discard, nil })
	plugin.Register(plugin.BalanceMethods, "pick", "Picks.",
		func(*struct{}, *plugin.Build) (*balance.Method, error) {
			return &balance.Method{New: balance.P2C.New}, nil
		})
	plugin.Register(plugin.ConnectionFilters, "wait", "Waits.",
		func(*struct{}, *plugin.Build) (*session.ConnFilter, error) { return &session.ConnFilter{}, nil })
	plugin.Register(plugin.Discoverers, "find", "Finds.",
		func(*struct{}, *plugin.Build) (discovery.Source, error) { return nil, nil })
	for _, name := range []string{"look", "fault"} { // of a module, and of edge
		plugin.Register(plugin.Filters, name, "Looks.",
			func(*struct{}, *plugin.Build) (*proxy.Filter, error) { return &proxy.Filter{}, nil })
	}
}

const base = "[http]\nlisten = \":0\"\n[destinations.hi]\ntype = \"greet\"\ntext = \"hi\"\n"

const led = "[[routes]]\npattern = \"/\"\ndest = \"hi\"\n"

// Mistakes are told at their places, with what was probably meant.
func TestConfig_tellsMistakes(t *testing.T) {
	for _, c := range []struct{ name, text, want, hint string }{
		{"type of another kind", base + led + "[destinations.x]\ntype = \"look\"\n",
			`edge.toml:10:8: unknown type "look"`,
			"it is a type of filters: write [filters.NAME]"},
		{"type unknown", base + led + "[destinations.x]\ntype = \"lua\"\n", `edge.toml:10:8: unknown type "lua"`,
			"edge modules lists the types of this program, and edge build links modules that have others"},
		{"type misspelt", base + led + "[destinations.x]\ntype = \"gret\"\n", `edge.toml:10:8: unknown type "gret"`,
			`did you mean "greet"?`},
		{"key misspelt", base + "txt = \"x\"\n" + led, `edge.toml:6:1: unknown key "txt" in [destinations.hi]`,
			`did you mean "text"?`},
		{"required", strings.Replace(base, "text", "#", 1) + led,
			`edge.toml:3:1: a destination of type "greet" needs "text"`, `write text = "hello"`},
		{"check", strings.Replace(base, `"hi"`, `"HI"`, 1) + led, `edge.toml:5:8: "HI" is shouted`,
			"say it in lower case"},
		{"dest misspelt", base + led + "[[routes]]\npattern = \"/b\"\ndest = \"hii\"\n",
			`edge.toml:11:8: upstream "hii" does not exist`, `did you mean "hi" (line 3)?`},
		{"an upstream has the name", base + led + "[upstreams.hi]\nbackends = [{ address = \"h:1\" }]\n",
			`edge.toml:3:1: the upstream at line 9 has the name "hi"`,
			"each has a name of its own: a dest may be either"},
		{"balancing", base + led + "load_balancing = \"p2c\"\n",
			`edge.toml:9:1: load_balancing is for what goes to a backend`, ""},
		{"a log sink of edge", base + led + "[log_sinks.stdout]\ntype = \"keep\"\n",
			`edge.toml:9:1: the program has a log sink "stdout" of its own`, "give this one another name"},
		{"a method of edge", base + led + "[balance_methods.p2c]\ntype = \"pick\"\n",
			`edge.toml:9:1: the program has a balance method "p2c" of its own`, "give this one another name"},
		{"method misspelt", base + led + "[balance_methods.mine]\ntype = \"pick\"\n[upstream_defaults]\n" +
			"load_balancing = \"mien\"\n", `edge.toml:12:18: "load_balancing" must be "adaptive", "round_robin", ` +
			`"random", "least_conn", "p2c", "peak_ewma", "ketama", "maglev", "ip_hash" or "mine", not "mien"`,
			`did you mean "mine"?`},
		{"method misspelt in a route", base + "[[routes]]\npattern = \"/\"\n" +
			"dest = \"h:1\"\nload_balancing = \"p3c\"\n" + led,
			`edge.toml:9:18: "load_balancing" must be "adaptive", "round_robin", "random", "least_conn", "p2c", ` +
				`"peak_ewma", "ketama", "maglev" or "ip_hash", not "p3c"`, `did you mean "p2c"?`},
		{"connection filter misspelt", base + led + "[connection_filters.door]\ntype = \"wait\"\n[[listeners]]\n" +
			"listen = \":1\"\nconnection_filters = [\"door\", \"dor\"]\n",
			`edge.toml:13:31: there is no connection filter "dor"`, `did you mean "door"?`},
		{"discoverer misspelt", base + led + "[discoverers.users]\ntype = \"find\"\n[upstreams.a]\n" +
			"discover = \"user\"\n", `edge.toml:12:12: there is no discoverer "user"`, `did you mean "users"?`},
		{"a rule leads to a status", base + led + "[[routes.rules]]\ndest = \"status:404\"\n",
			`edge.toml:10:8: the dest of a rule is an upstream, a destination, or addresses`,
			"respond and redirect answer"},
	} {
		cfg, rep := config.Parse("edge.toml", []byte(c.text))
		if cfg != nil || len(rep.Errors) != 1 {
			t.Errorf("%s: got %v, want one error", c.name, rep.Errors)
			continue
		}
		if e := rep.Errors[0]; e.Pos.String()+": "+e.Message != c.want || e.Hint != c.hint {
			t.Errorf("%s:\n got %v: %s (%s)\nwant %s (%s)", c.name, e.Pos, e.Message, e.Hint, c.want, c.hint)
		}
	}
}

// A table that nothing uses is a warning, which a file may allow.
func TestConfig_warnsOfUnused(t *testing.T) {
	const unused = "[[routes]]\npattern = \"/\"\ndest = \"status:204\"\n"
	const spare = unused + "[upstreams.spare]\nbackends = [{ address = \"h:80\" }]\n[defaults]\nfilters = [\"f\"]\n"
	for text, want := range map[string]int{
		base + spare + "[filters.f]\ntype = \"look\"\n":  0, // it may choose any destination
		base + spare + "[filters.f]\ntype = \"fault\"\n": 2,

		base + led: 0, base + unused: 1, "allow = [\"unused-destination\"]\n" + base + unused: 0,
		strings.ReplaceAll(base, "hi]", "default]"):                                      0,
		base + led + "[log_sinks.kept]\ntype = \"keep\"\n":                               1,
		"log.output = [\"kept\"]\n" + base + led + "[log_sinks.kept]\ntype = \"keep\"\n": 0,
		base + led + "access_log = \"kept\"\n" + "[log_sinks.kept]\ntype = \"keep\"\n":   0,
		base + led + "[balance_methods.mine]\ntype = \"pick\"\n":                         1,
		base + led + "[balance_methods.mine]\ntype = \"pick\"\n[upstream_defaults]\n" +
			"load_balancing = \"mine\"\nhash_key = \"path\"\n": 0,
		base + led + "[connection_filters.door]\ntype = \"wait\"\n":                  1,
		base + led + "[discoverers.users]\ntype = \"find\"\n":                        1,
		base + unused + "[[routes.rules]]\nwhen = 'path == \"/x\"'\ndest = \"hi\"\n": 0,
	} {
		cfg, rep := config.Parse("edge.toml", []byte(text))
		if cfg == nil || len(rep.Warnings) != want {
			t.Errorf("%v %v, want %d warnings of\n%s", rep.Errors, rep.Warnings, want, text)
		}
	}
}

// The reference and the JSON schema have the types.
func TestConfig_describesTypes(t *testing.T) {
	var page, schema bytes.Buffer
	if err := config.Reference(&page); err != nil {
		t.Fatal(err)
	}
	if err := config.JSONSchema(&schema); err != nil {
		t.Fatal(err)
	}
	if want := "### `type = \"greet\"`\n\nGreets.\n"; !strings.Contains(page.String(), want) {
		t.Errorf("the reference has not %s", want)
	}
	if want := `"const": "greet"`; !strings.Contains(schema.String(), want) {
		t.Errorf("the schema has not %s", want)
	}
}

// Types of two kinds may have one struct.
func TestRegister_sharedStruct(t *testing.T) {
	text := base + led + "[connection_filters.door]\ntype = \"greet\"\ntext = \"hello\"\n" +
		"[[listeners]]\nlisten = \":1\"\nconnection_filters = [\"door\"]\n"
	if cfg, rep := config.Parse("edge.toml", []byte(text)); cfg == nil || len(rep.Warnings) != 0 {
		t.Errorf("%v %v", rep.Errors, rep.Warnings)
	}
}
