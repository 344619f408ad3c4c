package config

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

func init() {
	for _, k := range plugin.Kinds {
		plugin.Register(k, "polite", "Asks for manners.", func(*struct{}, *plugin.Build) (any, error) { return 1, nil })
	}
}

// mine are the options of a program that has a filter.
var mine = Options{Filters: []string{"mine"}}

// aroundRules are the tables that rules stand in, and those that keys of a section name.
var aroundRules = map[string]string{
	"global error_log_also":        "[log_sinks.central]\ntype = \"polite\"\n",
	"listeners connection_filters": "[connection_filters.polite]\ntype = \"polite\"\n",
	"services connection_filters":  "[connection_filters.polite]\ntype = \"polite\"\n",

	"listeners.rules":     "[[listeners]]\nlisten = \":80\"\n",
	"listeners.tls_rules": "[[listeners]]\nlisten = \":80\"\ncert = \"a.pem\"\nclient_ca = \"ca.pem\"\n",
	"tls.rules":           "[[listeners]]\nlisten = \":80\"\ncert = \"a.pem\"\nclient_ca = \"ca.pem\"\n",
	"routes.rules":        "[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n",
}

// needed are the keys without which a section is wrong.
var needed = map[string][2]string{
	"certificates": {"cert", `"a.pem"`}, "filters": {"type", `"polite"`}, "lists": {"values", `["192.0.2.1"]`},
	"maps": {"values", `{ a = "b" }`}, "upstreams.NAME.backends": {"address", `"h:1"`},
	"load_balancing.backends": {"address", `"h:1"`}, "register": {"to", `"consul://127.0.0.1:8500/users"`},
}

// fileWith writes the key with a value into a file in which everything else is right.
func fileWith(s *schema.Section, k *schema.Key, value string) string {
	fields := []string{dottedKey(k.Path) + " = " + value}
	need := func(path, text string) {
		if k.Path != path {
			fields = append(fields, path+" = "+text)
		}
	}
	before := aroundRules[s.Path] + aroundRules[s.Path+" "+k.Path]
	if key, needed := needed[s.Path]; needed {
		need(key[0], key[1])
	}
	switch s.Path {
	case "listeners", "services":
		needOfListening(s, k, need)
	case "upstreams", "upstream_defaults":
		if s.Path == "upstreams" {
			need("backends", `[{ address = "h:1" }]`)
		}
		if k.Path == "tls.key" {
			need("tls.cert", `"a.pem"`)
		}
	case "upstreams.NAME.health_check", "health_check":
		if s.Path != "health_check" {
			before = "[upstreams.x]\nbackends = [{ address = \"h:1\" }]\n"
		}
		if k.Path == "timeout" {
			need("interval", `"1h"`)
		}
	case "register":
		if k.Path == "listener" {
			before = "[[listeners]]\nname = \"internal\"\nlisten = \":80\"\n"
		}
	case "rules", "listeners.rules", "routes.rules":
		if need("tag", `"a"`); k.Path == "redirect.status" {
			need("redirect.to", `"/"`)
		}
	case tlsRulesPath, listenerRulesPath:
		before = "[[certificates]]\nname = \"internal\"\ncert = \"b.pem\"\n" + before
		if k.Path == "client_ca" {
			need("client_auth", `"request"`)
		} else if k.Path == "dest" {
			before = "[upstreams.db]\nbackends = [{ address = \"h:1\" }]\n" + before
		} else if k.Path != "deny" || value == "false" {
			need("certificate", `"internal"`)
		}
	case "services.NAME.routes":
		before = "[services.x]\nlisten = \":1\"\npeek = true\n[upstreams.db]\nbackends = [{ address = \"h:1\" }]\n"
		need("dest", `"db"`)
	case "routes":
		before = "[upstreams.api]\nbackends = [{ address = \"h:1\" }]\n"
		if k.Path == "listener" {
			before += "[[listeners]]\nname = \"internal\"\nlisten = \":80\"\n"
		}
		if strings.HasPrefix(k.Path, "redirect.") {
			need("redirect.to", `"/new"`)
		} else {
			need("dest", `"api"`)
		}
		if k.Path != "host" && k.Path != "path" {
			need("pattern", `"/"`)
		}
	}
	header := strings.ReplaceAll(s.Title(), "NAME", "x") + "\n"
	if s.Path == "" {
		header = ""
	}
	return before + header + strings.Join(fields, "\n") + "\n"
}

// needOfListening adds what a listener or a service needs beside k.
func needOfListening(s *schema.Section, k *schema.Key, need func(path, text string)) {
	if need("listen", `":80"`); s.Path == "services" {
		need("type", `"polite"`)
	}
	if k.Path == "proxy_protocol.required" {
		need("proxy_protocol.from", `["10.0.0.0/8"]`)
	}
	if k.Path == "protocols" {
		need("cert", `"a.pem"`)
	}
	for _, secured := range append(securedKeys(), new(schema.Key)) {
		if k.Path != cmp.Or(secured.Path, "tls") {
			continue
		}
		need("cert", `"a.pem"`)
		if need("client_ca", `"ca.pem"`); s.Path == "listeners" {
			need("hsts.max_age", `"1d"`)
		}
	}
}

func dottedKey(path string) string { return syntax.DottedKey(strings.Split(path, ".")...) }

func eachKey(t *testing.T, f func(t *testing.T, s *schema.Section, k *schema.Key)) {
	for _, s := range edge().Sections {
		for _, k := range s.Keys {
			t.Run(s.Title()+" "+k.Path, func(t *testing.T) { f(t, s, k) })
		}
	}
}

func TestSchema_rowsAreWhole(t *testing.T) {
	eachKey(t, func(t *testing.T, s *schema.Section, k *schema.Key) {
		if k.Default == "" && k.Example == "" {
			t.Errorf("neither a default nor an example")
		}
		if k.Restart && !slices.Contains([]string{"global", "tls", "listeners", "services", "metrics"}, s.Path) {
			t.Errorf("no reload looks whether it waits for a restart")
		}
		if strings.Contains(k.Doc, "|") {
			t.Errorf("a bar in the doc breaks the table of the reference")
		}
	})
}

func TestSchema_defaultsAndExamplesLoad(t *testing.T) {
	testutil.OnlyPlain(t)
	eachKey(t, func(t *testing.T, s *schema.Section, k *schema.Key) {
		for _, value := range []string{k.Default, k.Example} {
			if value == "" {
				continue
			}
			text := fileWith(s, k, value)
			path := filepath.Join(t.TempDir(), "edge.toml")
			write(t, path, text)
			if c, rep := (Options{TextOnly: true, Filters: mine.Filters}).Load(path); c == nil {
				t.Errorf("%s\nis refused:\n%s", text, rendered(t, rep))
			}
		}
	})
}

func TestSchema_rangesHold(t *testing.T) {
	eachKey(t, func(t *testing.T, s *schema.Section, k *schema.Key) {
		for _, value := range []string{k.Min, k.Max} {
			if value == "" {
				continue
			}
			if k.Type.Name != schema.Int.Name {
				value = syntax.Quote(value)
			}
			if c, rep := mine.Parse("f", []byte(fileWith(s, k, value))); c == nil {
				t.Errorf("%s is refused:\n%s", value, rendered(t, rep))
			}
		}
	})
}

func TestSchema_everyKeyRefusesOtherTypes(t *testing.T) {
	eachKey(t, func(t *testing.T, s *schema.Section, k *schema.Key) {
		text := fileWith(s, k, "1979-05-27")
		c, rep := Parse("f", []byte(text))
		if c != nil || len(rep.Errors) != 1 {
			t.Errorf("%s\ngives not one error:\n%s", text, rendered(t, rep))
		}
	})
}

// An alias says what its key says, wherever it stands.
func TestSchema_aliasesReachTheirKey(t *testing.T) {
	eachKey(t, func(t *testing.T, s *schema.Section, k *schema.Key) {
		value := k.Example
		if value == "" {
			value = k.Default
		}
		for _, a := range k.Aliases {
			text := a + " = " + value + "\n"
			if path, inside := strings.CutPrefix(a, ".."); inside {
				text = strings.Replace(fileWith(s, k, value), k.Path+" =", path+" =", 1)
			} else if name, sameLevel := strings.CutPrefix(a, "."); sameLevel {
				text = strings.Replace(fileWith(s, k, value), k.Path+" =", k.Path[:strings.LastIndexByte(k.Path,
					'.')+1]+name+" =", 1)
			}
			doc := edge().Parse("f", []byte(text), schema.Options{})
			if !doc.Report.OK() {
				t.Errorf("%s is refused:\n%s", text, rendered(t, doc.Report))
				continue
			}
			reached := func(path string) bool {
				for _, g := range schema.All[interface {
					schema.Target
					Has(string) bool
				}](doc.Entries(path)) {
					if g.Has(k.Path) {
						return true
					}
				}
				return false
			}
			if !slices.ContainsFunc([]string{"", "global", "upstreams", "upstream_defaults", "routes", "listeners",
				"services", "certificates"}, reached) {
				t.Errorf("%s does not reach %s", text, k.Path)
			}
		}
	})
}

// Each key of [global] may stand at the top of a file, one in a table of its own too.
func TestSchema_keysOfGlobalStandAtTheTop(t *testing.T) {
	for _, k := range edge().Section("global").Keys {
		_, rep := Options{TextOnly: true}.Parse("f", []byte(k.Path+" = "+k.Example+"\n"))
		if said := rendered(t, rep); strings.Contains(said, "unknown") {
			t.Errorf("%s:\n%s", k.Path, said)
		}
	}
}

func TestSchema_laterKeysAreUnknown(t *testing.T) {
	headers := map[string]string{
		"": "", "listeners": "[[listeners]]\n", "routes": "[[routes]]\n", "upstreams": "[upstreams.x]\n",
		"upstreams.retry": "[upstreams.x.retry]\n", "upstreams.backends": "[[upstreams.x.backends]]\n",
	}
	for table, names := range laterKeys {
		header, found := headers[table]
		if !found {
			header = "[" + table + "]\n"
		}
		for _, name := range names {
			_, rep := Parse("f", []byte(header+name+" = 1\n"))
			if !strings.Contains(rendered(t, rep), name+`" in`) && !strings.Contains(rendered(t, rep), name+`" at`) ||
				!strings.Contains(rendered(t, rep), " is not supported by this version") {
				t.Errorf("%s in [%s] has a meaning and none:\n%s", name, table, rendered(t, rep))
			}
		}
	}
}

// Words of other programs have their hints, and none of them hides what edge itself has under that name.
func TestSchema_foreignWords(t *testing.T) {
	for word, says := range ForeignHints() {
		header, name := "", word
		if dot := strings.LastIndexByte(word, '.'); dot >= 0 {
			name = word[dot+1:]
			header = map[string]string{
				"upstreams": "[upstreams.x]\n", "services": "[services.x]\n",
				"routes": "[[routes]]\n", "listeners": "[[listeners]]\n",
				"upstreams.backends": "[[upstreams.x.backends]]\n", "upstreams.sticky": "[upstreams.x.sticky]\n",
				"upstreams.health_check": "[upstreams.x]\nbackends = [{ address = \"h:1\" }]\n" +
					"[upstreams.x.health_check]\n",
			}[word[:dot]]
			if header == "" {
				header = "[" + word[:dot] + "]\n"
			}
		}
		_, rep := Parse("f", []byte(header+strings.ToUpper(name)+" = 1\n"))
		want := syntax.Quote(strings.ToUpper(name)) + " " + says
		if len(rep.Errors) == 0 || rep.Errors[0].Hint != want {
			t.Errorf("%s gives\n%swant the hint %s", header+name, rendered(t, rep), want)
		}
		if n := len([]rune(want)); n > 120 {
			t.Errorf("the hint for %s has %d characters", word, n)
		}
		for _, s := range edge().Sections {
			for _, k := range s.Keys {
				if header != "" || k.Path != name && !slices.Contains(k.Aliases, "."+name) {
					continue
				}
				table := strings.ReplaceAll(s.Title(), "NAME", "x")
				outer, own, _ := strings.Cut(s.Path, ".")
				if strings.HasSuffix(own, "rules") && s.Path != tlsRulesPath {
					table = "[[" + outer + "]]\n" + table
				}
				_, rep := Parse("f", []byte(table+"\n"+strings.ToUpper(name)+" = 1\n"))
				if want := "did you mean " + syntax.Quote(name) + "?"; !strings.Contains(rendered(t, rep), want) {
					t.Errorf("%s is a key of %s, and its hint speaks of another program", name, s.Title())
				}
			}
		}
	}
}

func TestSchema_everyCodeIsKnownToAllow(t *testing.T) {
	for _, c := range codes {
		if _, rep := Parse("f", []byte("allow = ["+syntax.Quote(c.Name)+"]\n")); !rep.OK() {
			t.Errorf("allow does not take %s:\n%s", c.Name, rendered(t, rep))
		}
	}
}

// A tag that names a key no section has would hide its own key.
func TestShow_namesKeys(t *testing.T) {
	for _, s := range edge().Sections {
		if s.Path == "upstream_defaults" {
			continue // it has not all keys of an upstream
		}
		for _, k := range s.Keys {
			for _, when := range k.Show {
				path, _, _ := strings.Cut(when, "=")
				name, inSection := strings.CutPrefix(path, "..")
				if !inSection {
					name = k.Path[:strings.LastIndexByte(k.Path, '.')+1] + strings.TrimPrefix(path, ".")
				}
				if when != "always" && !slices.ContainsFunc(s.Keys, func(o *schema.Key) bool {
					return o.Path == name || strings.HasSuffix(name, ".") && strings.HasPrefix(o.Path, name)
				}) {
					t.Errorf("%s %s: no key %q", s.Title(), k.Path, when)
				}
			}
		}
	}
}
