package caching

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/changes"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
)

const base = "[http]\nlisten = \":80\"\n"

const web = "[[routes]]\nname = \"web\"\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\n"

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, rep := config.Parse("edge.toml", []byte(base+text))
	if c == nil {
		t.Fatalf("%s\n%v", text, rep.Errors)
	}
	return c
}

// said returns what a check says, a problem a line.
func said(text string) []string {
	_, rep := config.Parse("edge.toml", []byte(text))
	var all []string
	for _, p := range slices.Concat(rep.Errors, rep.Warnings) {
		line := p.Error()
		if p.Hint != "" {
			line += " | " + p.Hint
		}
		all = append(all, line)
	}
	return all
}

// Each key of a route has its default, and takes a value in all three places where a table stands.
func TestOfRoute_eachKey(t *testing.T) {
	defaults := cached(t, web+"cache = true\n")
	for _, c := range []struct {
		key, value string
		get        func(r *Route) any
		without    any
		with       any
	}{
		{"ttl", `"5m"`, func(r *Route) any { return r.TTL }, []StatusTTL(nil), []StatusTTL{{200, 5 * time.Minute},
			{203, 5 * time.Minute}, {204, 5 * time.Minute}, {300, 5 * time.Minute}, {301, 5 * time.Minute},
			{308, 5 * time.Minute}}},
		{"ttl", `{ 404 = 10, 200 = "5m" }`, func(r *Route) any { return r.TTL }, []StatusTTL(nil),
			[]StatusTTL{{200, 5 * time.Minute}, {404, 10 * time.Second}}},
		{"obey", `"ttl"`, func(r *Route) any { return r.Obey }, "origin", "ttl"},
		{"ttl_max", `"1d"`, func(r *Route) any { return r.TTLMax }, 720 * time.Hour, 24 * time.Hour},
		{"heuristic_max", `0`, func(r *Route) any { return r.HeuristicMax }, time.Hour, time.Duration(0)},
		{"key", `["{cookie.lang}", "v2"]`, func(r *Route) any { return texts(r) }, "", "{cookie.lang} v2"},
		{"key", `"{cookie.lang}"`, func(r *Route) any { return texts(r) }, "", "{cookie.lang}"},
		{"query.drop", `["utm_*", "a"]`, func(r *Route) any { return r.Drop }, []string(nil), []string{"utm_*", "a"}},
		{"query.keep", `"q"`, func(r *Route) any { return r.Keep }, []string(nil), []string{"q"}},
		{"query.sort", `true`, func(r *Route) any { return r.Sort }, false, true},
		{"cookies", `"ignore"`, func(r *Route) any { return r.Cookies }, "careful", "ignore"},
		{"set_cookie", `"store"`, func(r *Route) any { return r.SetCookie }, "skip", "store"},
		{"lock_timeout", `"1ms"`, func(r *Route) any { return r.LockTimeout }, 5 * time.Second, time.Millisecond},
		{"fin_to_cache", `false`, func(r *Route) any { return r.FinToCache }, true, false},
		{"stale_while", `"10s"`, func(r *Route) any { return r.StaleWhile }, time.Duration(0), 10 * time.Second},
		{"stale_on_error", `0`, func(r *Route) any { return r.StaleOnError }, time.Minute, time.Duration(0)},
		{"request_directives", `"honour"`, func(r *Route) any { return r.RequestDirectives }, "ignore", "honour"},
		{"fill", `"known"`, func(r *Route) any { return r.Fill }, "any", "known"},
		{"range_fill", `0`, func(r *Route) any { return r.RangeFill }, int64(1 << 20), int64(0)},
	} {
		if got := c.get(defaults); !schema.Equal(got, c.without) {
			t.Errorf("without %s: %v, want %v", c.key, got, c.without)
		}
		for _, text := range []string{
			web + "cache." + c.key + " = " + c.value + "\n",
			web + "[routes.cache]\n" + c.key + " = " + c.value + "\n",
			"[defaults]\ncache." + c.key + " = " + c.value + "\n" + web,
			"[defaults.cache]\n" + c.key + " = " + c.value + "\n" + web + "cache = true\n",
		} {
			if got := c.get(cached(t, text)); !schema.Equal(got, c.with) {
				t.Errorf("%s\ngives %v, want %v", text, got, c.with)
			}
		}
		for _, text := range []string{
			web + "[[routes.rules]]\ncache." + c.key + " = " + c.value + "\n",
			"[[rules]]\n[rules.cache]\n" + c.key + " = " + c.value + "\n" + web,
			"[[listeners]]\nname = \"a\"\nlisten = \":81\"\n[[listeners.rules]]\ncache = { " + c.key + " = " + c.value +
				" }\n" + web + "cache = true\n",
		} {
			cfg := parse(t, text)
			all := Choices(cfg, &cfg.Routes[0])
			if len(all) != 1 || !Chooses(all[0].Rule) || !Any(cfg) || !schema.Equal(c.get(all[0].Route), c.with) {
				t.Errorf("%s\ngives %+v, want %v", text, all, c.with)
			}
		}
	}
}

func texts(r *Route) string {
	var all []string
	for _, k := range r.Key {
		all = append(all, k.String())
	}
	return strings.Join(all, " ")
}

// cached returns how the first route of a text is cached; it is.
func cached(t *testing.T, text string) *Route {
	t.Helper()
	c := parse(t, text)
	r := OfRoute(c, &c.Routes[0])
	if r == nil || !Any(c) {
		t.Fatalf("%s\nis not cached", text)
	}
	return r
}

// A route is cached by its own word, else by the word of [defaults].
func TestOfRoute_onAndOff(t *testing.T) {
	for _, c := range []struct {
		defaults, own string
		on            bool
	}{
		{"", "", false}, {"", "cache = false\n", false}, {"", "cache = true\n", true}, {"", "cache = {}\n", true},
		{"", "cache = { enabled = false, ttl = \"5m\" }\n", false},
		{"true", "", true}, {"true", "cache = false\n", false}, {"true", "cache = { ttl = \"5m\" }\n", true},
		{"{}", "", true}, {"{ ttl = \"1m\" }", "cache = false\n", false},
		{"false", "", false}, {"false", "cache = true\n", true}, {"false", "cache.ttl = \"5m\"\n", true},
	} {
		text := web + c.own
		if c.defaults != "" {
			text = "[defaults]\ncache = " + c.defaults + "\n" + text
		}
		cfg := parse(t, text)
		if on := OfRoute(cfg, &cfg.Routes[0]) != nil; on != c.on || Any(cfg) != c.on {
			t.Errorf("%s\nis cached: %v, any: %v", text, on, Any(cfg))
		}
	}
}

// The keys of a route go before the keys of [defaults], one by one; query.drop and query.keep are one thing to say.
func TestOfRoute_mergesByKey(t *testing.T) {
	const defaults = "[defaults.cache]\nttl = \"1m\"\nkey = [\"{cookie.a}\"]\nquery.drop = [\"x\"]\n" +
		"lock_timeout = \"1s\"\n"
	c := parse(t, defaults+web+"cache = { ttl = { 404 = \"2s\" }, query.keep = [\"y\"] }\n"+
		"[[routes]]\npattern = \"/b/*\"\ndest = \"10.0.0.1:80\"\n"+
		"cache = { key = [\"{cookie.b}\"], query.sort = true }\n"+
		"[[routes]]\nhost = [\"a.test\", \"b.test\"]\ndest = \"10.0.0.1:80\"\n")
	a, b := OfRoute(c, &c.Routes[0]), OfRoute(c, &c.Routes[1])
	d, d2 := OfRoute(c, &c.Routes[2]), OfRoute(c, &c.Routes[3])
	if !slices.Equal(a.TTL, []StatusTTL{{404, 2 * time.Second}}) || texts(a) != "{cookie.a}" || a.Drop != nil ||
		!slices.Equal(a.Keep, []string{"y"}) || a.LockTimeout != time.Second {
		t.Errorf("got %+v", a)
	}
	if len(b.TTL) != 6 || texts(b) != "{cookie.b}" || !slices.Equal(b.Drop, []string{"x"}) || b.Keep != nil ||
		!b.Sort {
		t.Errorf("got %+v", b)
	}
	if d != d2 || texts(d) != "{cookie.a}" || d.Sort {
		t.Errorf("got %+v and %+v", d, d2)
	}
}

// The keys that a rule names take the place of the keys of the route, one by one, whether that is cached or not.
func TestChoices_mergeByKey(t *testing.T) {
	c := parse(t, "[defaults.cache]\nttl = \"1m\"\nkey = \"{cookie.a}\"\nquery.drop = \"x\"\n"+
		"[[rules]]\ncache = true\n[[rules]]\ntag = \"a\"\n[[rules]]\ncache = false\n"+
		"[[rules]]\ncache = { ttl = { 404 = 2 }, query = { keep = \"y\", sort = true } }\n"+
		"[[rules]]\ncache = { enabled = false, ttl = 5 }\n"+
		web+"cache = false\n[[routes.rules]]\ncache.key = \"{cookie.b}\"\n"+
		"[[routes]]\nhost = [\"a.test\", \"b.test\"]\ndest = \"10.0.0.1:80\"\ncache.lock_timeout = \"1s\"\n"+
		"[[routes.rules]]\ncache.fill = \"known\"\n"+
		"[[routes]]\npattern = \"/n\"\ndest = \"status:404\"\n")
	off := Choices(c, &c.Routes[0])
	if len(off) != 5 || off[0].Rule != &c.Routes[0].Rules[0] || off[1].Rule != &c.Rules[0] || off[2].Route != nil ||
		off[4].Route != nil || OfRoute(c, &c.Routes[0]) != nil {
		t.Fatalf("got %+v", off)
	}
	own, on, table := off[0].Route, off[1].Route, off[3].Route
	if len(own.TTL) != 6 || texts(own) != "{cookie.b}" || own.Sort || len(on.TTL) != 6 || texts(on) != "{cookie.a}" {
		t.Errorf("got %+v and %+v", own, on)
	}
	if !slices.Equal(table.TTL, []StatusTTL{{404, 2 * time.Second}}) || texts(table) != "{cookie.a}" ||
		table.Drop != nil || !slices.Equal(table.Keep, []string{"y"}) || !table.Sort {
		t.Errorf("got %+v", table)
	}
	for i := 1; i <= 2; i++ { // one route with two hosts
		r := Choices(c, &c.Routes[i])
		if r[0].Rule != &c.Routes[1].Rules[0] || r[0].Route.Fill != "known" || r[1].Route.Fill != "any" ||
			r[0].Route.LockTimeout != time.Second || !schema.Equal(*r[1].Route, *OfRoute(c, &c.Routes[i])) {
			t.Errorf("got %+v", r)
		}
	}
	if all := Choices(c, &c.Routes[3]); all != nil {
		t.Errorf("what leads to no backend has %+v", all)
	}
	if !slices.Equal(c.Rules[3].Actions(), []string{"cache with ttl, query.keep, query.sort"}) ||
		!slices.Equal(c.Rules[0].Actions(), []string{"cache = true"}) ||
		!slices.Equal(c.Rules[4].Actions(), []string{"cache = false"}) {
		t.Errorf("got %q", c.Rules[3].Actions())
	}
}

// A rule alone makes a cache, unless it turns one off or its requests reach no backend.
func TestAny_byRules(t *testing.T) {
	const fallback = "[upstreams.default]\nbackends = [{ address = \"10.0.0.1:80\" }]\n"
	for text, want := range map[string]bool{
		"[[rules]]\ncache = true\n" + web:                                        true,
		"[[rules]]\ncache = true\n" + fallback:                                   true,
		"[[rules]]\ncache = false\n" + web:                                       false,
		"[[rules]]\ntag = \"a\"\n" + web:                                         false,
		web + "[[routes.rules]]\ncache = {}\n":                                   true,
		"[[rules]]\ncache = true\n[[routes]]\npath = \"/*\"\ndest = \"hello\"\n": false,
	} {
		if got := Any(parse(t, text)); got != want {
			t.Errorf("%s\nany: %v", text, got)
		}
	}
}

// What leads to no backend, or to one that each request names, is not cached by [defaults], without a word.
func TestOfRoute_defaultsWhereTheyCanHold(t *testing.T) {
	const defaults = "[defaults]\ncache = true\n"
	for _, text := range []string{
		"dest = \"status:404\"\n", "dest = \"hello\"\n", "dest = \"redirect:https://a.test\"\n",
		"redirect.to = \"https://a.test\"\n",
		"dest = \"http://{header:X}.b.test:80\"\nallow_dest = [\"http://*.b.test:80\"]\n",
	} {
		text = base + defaults + "[[routes]]\npattern = \"/*\"\n" + text
		c, rep := config.Parse("edge.toml", []byte(text))
		if c == nil || len(rep.Warnings) > 0 || OfRoute(c, &c.Routes[0]) != nil || Any(c) {
			t.Errorf("%s\nis cached, or %v %v", text, rep.Errors, rep.Warnings)
		}
	}
	c := parse(t, defaults+"[upstreams.default]\nbackends = [{ address = \"10.0.0.1:80\" }]\n")
	if rest, _ := c.Rest(); OfRoute(c, &rest) == nil || !Any(c) {
		t.Error("what no route takes is not cached")
	}
}

func TestOf(t *testing.T) {
	targeted := []string{"edge-cache-control", "cdn-cache-control"}
	if of := Of(nil); of.Memory != 0 || !of.Status || !slices.Equal(of.Targeted, targeted) {
		t.Errorf("without a configuration: %+v", of)
	}
	if of := Of(&config.Config{}); of.Memory != 0 || !of.Status {
		t.Errorf("of a program: %+v", of)
	}
	if of := Of(parse(t, web)); of.Memory != 0 || !of.Status || !slices.Equal(of.Targeted, targeted) {
		t.Errorf("without [cache]: %+v", of)
	}
	if of := Of(parse(t, "[cache]\nmemory = \"1g\"\nstatus = false\n")); of.Memory != 1<<30 || of.Status {
		t.Errorf("got %+v", of)
	}
	if of := Of(parse(t, "[cache]\nmemory = \"auto\"\n")); of.Memory != 0 {
		t.Errorf("got %+v", of)
	}
	if of := Of(parse(t, "[cache]\ntargeted = []\n")); len(of.Targeted) != 0 {
		t.Errorf("got %+v", of)
	}
	if of := Of(parse(t, "[cache]\ntargeted = \"A-Cache-Control\"\n")); !slices.Equal(of.Targeted,
		[]string{"a-cache-control"}) {
		t.Errorf("got %+v", of)
	}
	tags := []string{"cache-tag", "surrogate-key"}
	for text, of := range map[string]*Cache{
		"no configuration": Of(nil), "no [cache]": Of(parse(t, web)), "[cache]": Of(parse(t, "[cache]\n")),
	} {
		if !slices.Equal(of.Tags, tags) || of.PurgeFrom != nil {
			t.Errorf("%s: %+v", text, of)
		}
	}
	of := Of(parse(t, "[cache]\ntags = [\"X-Tags\"]\npurge.allow = [\"127.0.0.1\", \"10.0.0.0/8\"]\n"))
	if !slices.Equal(of.Tags, []string{"x-tags"}) || !slices.Equal(of.PurgeFrom,
		[]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8")}) {
		t.Errorf("got %+v", of)
	}
}

// rows are the keys by the tables that they stand in.
func rows() map[string][]*schema.Key {
	return map[string][]*schema.Key{
		"[cache]": schema.Of[Cache](keyTypes()), "[defaults.cache]": schema.Of[entry](keyTypes()),
		web + "[routes.cache]": schema.Of[entry](keyTypes()), "[[rules]]\n[rules.cache]": schema.Of[entry](keyTypes()),
	}
}

// Defaults, examples and bounds of keys are right, and a date is an error.
func TestKeys_rowsHold(t *testing.T) {
	for table, keys := range rows() {
		for _, k := range keys {
			for _, value := range []string{k.Default, k.Example, k.Min, k.Max} {
				if value == k.Min || value == k.Max {
					value = strings.TrimSuffix(syntax.Quote(value), `""`)
				}
				if value == "" {
					continue
				}
				text := base + table + "\n" + k.Path + " = " + value + "\n"
				if c, rep := config.Parse("f.toml", []byte(text)); c == nil {
					t.Errorf("%s\n%v", text, rep.Errors)
				}
			}
			text := base + table + "\n" + k.Path + " = 1979-05-27\n"
			if c, rep := config.Parse("f.toml", []byte(text)); c != nil || len(rep.Errors) != 1 {
				t.Errorf("%s\n%v, want one error", text, rep.Errors)
			}
		}
	}
}

// The JSON schema takes a boolean and a table with each of the keys, and the reference has a section for each place.
func TestKeys_areDescribed(t *testing.T) {
	var page, editors bytes.Buffer
	if err := config.Reference(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## `[cache]`", "## `[defaults.cache]`", "## `[routes.cache]`",
		"## `[rules.cache]`", "## `[listeners.rules.cache]`", "## `[routes.rules.cache]`",
		"The section has the keys of [`[defaults.cache]`](#defaultscache).",
		"| `memory` | size or `\"auto\"` | `\"auto\"` | Memory for stored answers.", "*restart*",
		"| `cache-sticky` |"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the reference lacks %s", want)
		}
	}
	if err := config.JSONSchema(&editors); err != nil {
		t.Fatal(err)
	}
	type object struct {
		Type                 string
		Properties           map[string]object
		AnyOf                []object
		Items                *object
		AdditionalProperties any
	}
	var root object
	if err := json.Unmarshal(editors.Bytes(), &root); err != nil {
		t.Fatal(err)
	}
	routes := root.Properties["routes"]
	if routes.Items == nil { // also one of several forms
		i := slices.IndexFunc(routes.AnyOf, func(o object) bool { return o.Items != nil })
		routes = routes.AnyOf[i]
	}
	for _, at := range []object{root.Properties["defaults"].Properties["cache"], routes.Items.Properties["cache"]} {
		if len(at.AnyOf) != 2 || at.AnyOf[0].AdditionalProperties != false || at.AnyOf[1].Type != "boolean" {
			t.Fatalf("got %+v", at)
		}
		table := at.AnyOf[0].Properties
		for _, k := range schema.Of[entry](keyTypes()) {
			name, inside, _ := strings.Cut(k.Path, ".")
			of, found := table[name]
			if _, foundInside := of.Properties[inside]; !found || inside != "" && !foundInside {
				t.Errorf("the schema lacks %s: %+v", k.Path, of)
			}
		}
		if ttl := table["ttl"]; ttl.Type != "" || ttl.AnyOf != nil {
			t.Errorf("ttl is %+v: it takes a time and a table", ttl)
		}
	}
}

// A reload tells the keys that differ, and which of them wait for a restart.
func TestKeys_ofAReload(t *testing.T) {
	for _, c := range []struct{ old, next, want, restart string }{
		{web, web, "", ""},
		{web, web + "cache = true\n", "route web [cache]", ""},
		{web + "cache.ttl = \"1m\"\n", web + "cache.ttl = \"2m\"\n", "route web [cache]", ""},
		{web + "cache.key = \"{cookie.a}\"\n", web + "cache.key = \"{cookie.b}\"\n", "route web [cache]", ""},
		{web + "cache = true\n", web + "cache = {}\n", "", ""},
		{web + "cache = { query.drop = [\"a\"], ttl = { 200 = 1, 404 = 2 } }\n",
			web + "[routes.cache]\nttl = { 404 = \"2s\", 200 = \"1s\" }\nquery.drop = \"a\"\n", "", ""},
		{"defaults.cache = true\n" + web, "defaults.cache.ttl = 5\n" + web, "defaults.cache [ttl]", ""},
		{"defaults.cache.key = \"{cookie.a}\"\n" + web + "cache = true\n",
			"defaults.cache.key = \"{cookie.b}\"\n" + web + "cache = true\n",
			"route web [cache], defaults.cache [key]", ""},
		{web + "[[routes.rules]]\ncache.ttl = 1\n", web + "[[routes.rules]]\ncache = { ttl = \"1s\" }\n", "", ""},
		{web + "[[routes.rules]]\ncache = true\n", web + "[[routes.rules]]\ncache = false\n", "route web [rules]", ""},
		{web + "[[routes.rules]]\ncache.obey = \"origin\"\n", web + "[[routes.rules]]\ncache.fill = \"any\"\n",
			"route web [rules]", ""},
		{"rules = [{ cache.ttl = 1 }]\n" + web, "rules = [{ cache.ttl = 2 }]\n" + web, "rules []", ""},
		{"cache.memory = \"64m\"\n" + web, "cache.memory = \"65m\"\n" + web, "cache [memory]", "cache.memory"},
		{web, "cache.memory = \"65m\"\n" + web, "cache [memory]", "cache.memory"},
		{"cache.status = false\n" + web, web, "cache [status]", ""},
	} {
		// Keys of a section stand before the tables.
		of := func(text string) *config.Config {
			c, rep := config.Parse("edge.toml", []byte("http.listen = \":80\"\n"+text))
			if c == nil {
				t.Fatalf("%s\n%v", text, rep.Errors)
			}
			return c
		}
		d := changes.Of(of(c.old), of(c.next))
		var told []string
		for _, e := range d.Entries {
			told = append(told, e.Title()+" ["+strings.Join(e.Keys, ", ")+"]")
		}
		if got := strings.Join(told, ", "); got != c.want || strings.Join(d.Restart, " ") != c.restart {
			t.Errorf("%s\nbecomes\n%s\ntold is %q, restart %q", c.old, c.next, got, d.Restart)
		}
	}
}
