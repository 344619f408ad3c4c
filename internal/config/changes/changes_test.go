package changes

import (
	"bufio"
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, rep := config.Parse("edge.toml", []byte(text))
	if !rep.OK() {
		t.Fatalf("%s\n%v", text, rep.Errors)
	}
	return c
}

// show writes entries as the table of a test has them.
func show(d *Diff) string {
	var b strings.Builder
	for _, e := range d.Entries {
		fmt.Fprint(&b, e.Action.Sign(), " ", e.Title())
		for _, list := range [][]string{e.Keys, e.Details} {
			if len(list) > 0 {
				fmt.Fprint(&b, " [", strings.Join(list, ", "), "]")
			}
		}
		for _, touch := range e.Touches {
			fmt.Fprint(&b, " ", touch.Connections, ": ", touch.Effect, ";")
		}
		b.WriteString("\n")
	}
	return b.String()
}

const poolEnds = " to backends, idle: closed; to backends, busy: drained;\n"

func TestOf_entries(t *testing.T) {
	const base = `http = { name = "web", listen = ["127.0.0.1:80", "127.0.0.1:81"] }
routes = [{ name = "r", pattern = "a.test/x/*", dest = "u" }]
upstreams.u.backends = [{ address = "10.0.0.1:80" }, { address = "10.0.0.2:80", weight = 2 }]
`
	for _, c := range []struct{ replace, by, want string }{
		{"", "", ""},
		{"http", "# a comment\nhttp", ""},
		{`, "127.0.0.1:81"`, "", "~ listener web [listen] [- 127.0.0.1:81] of clients: undisturbed;\n"},
		{`"127.0.0.1:81"`, `"127.0.0.1:82"`,
			"~ listener web [listen] [+ 127.0.0.1:82, - 127.0.0.1:81] of clients: undisturbed;\n"},
		{`name = "web"`, `name = "other"`, "+ listener other\n- listener web\n"},
		{`name = "web"`, `name = "web", limits.connections = 9`, "~ listener web [limits.connections]\n"},
		{`dest = "u"`, `dest = "u", timeouts.read = "9s", priority = 2`,
			"~ route r (a.test) [priority, timeouts.read]" + poolEnds},
		{`dest = "u"`, `dest = "10.0.0.1:80"`, "+ upstream 10.0.0.1:80 [+ backend 10.0.0.1:80]\n" +
			"~ route r (a.test) [dest] [- dest u, + dest 10.0.0.1:80]\n"},
		{`dest = "u"`, `dest = "redirect:https://b.test/?token=t"`,
			"~ route r (a.test) [dest, redirect.status, redirect.to] " +
				"[- dest u, + dest redirect:https://b.test/?token=(hidden)]\n"},
		{`a.test/x/*`, `a.test/y/*`, "~ route r (a.test) [path]\n"},
		{`a.test/x/*`, `b.test/x/*`, "+ route r (b.test) [dest u]\n- route r (a.test)\n"},
		{`a.test/x/*", dest = "u"`, `a.test/x/*", dest = "u", websocket = false, grpc = true`,
			"~ route r (a.test) [grpc, websocket]" + poolEnds},
		{`, { address = "10.0.0.2:80", weight = 2 }`, "",
			"~ upstream u [backends] [- backend 10.0.0.2:80]" + poolEnds},
		{`weight = 2`, "weight = 3", "~ upstream u [backends] [~ backend 10.0.0.2:80 weight 2 to 3]\n"},
		{`weight = 2`, "weight = 2, zone = \"b\"", "~ upstream u [backends] [~ backend 10.0.0.2:80]\n"},
		{"upstreams.u.backends", "upstreams.u.pool.idle = 7\nupstreams.u.backends",
			"~ upstream u [pool.idle]" + poolEnds},
		{"upstreams.u.backends", "upstreams.u.tls.verify = false\nupstreams.u.fast_open = true\nupstreams.u.backends",
			"~ upstream u [tls, tls.verify, fast_open]" + poolEnds},
		{"http", "upstream_defaults.tls = { verify = false, sni = \"a.test\" }\nhttp", ""}, // u has no TLS
		{"upstreams.u.backends", "upstream_defaults.tls.verify = false\nupstreams.u.tls = true\nupstreams.u.backends",
			"~ upstream u [tls, tls.verify]" + poolEnds},
		{"upstreams.u.backends", "upstreams.u.protocol = \"h2\"\nupstreams.u.backends",
			"~ upstream u [protocol]" + poolEnds},
		{`dest = "u"`, `dest = "u", timeouts.total = "9s"`, "~ route r (a.test) [timeouts.total]\n"},
		{"upstreams.u.backends", "upstreams.u.health_check.path = \"/\"\nupstreams.u.backends",
			"~ upstream u [health_check]\n"},
		{"upstreams.u.backends", "upstreams.u.retry.budget = \"9%\"\nupstreams.u.backends",
			"~ upstream u [retry.budget]\n"},
		{"http", "log_level = \"debug\"\nlog.format = \"common\"\nerror_pages = { 404.body = \"x\" }\nhttp",
			"~ global [log_level]\n~ log [format]\n+ error_pages\n"},
		{"http", "lists.a = [\"10.0.0.1\"]\nmaps.m.values = { a = \"b\" }\nsecrets.s = \"x\"\nhttp",
			"+ list a\n+ map m\n+ secret s\n"},
		{`dest = "u"`, "dest = \"u\", when = 'path == \"/x\"'", "~ route r (a.test) [when]\n"},
	} {
		t.Run(c.by, func(t *testing.T) {
			d := Of(parse(t, base), parse(t, strings.Replace(base, c.replace, c.by, 1)))
			if got := show(&d); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			back := Of(parse(t, strings.Replace(base, c.replace, c.by, 1)), parse(t, base))
			if len(back.Entries) != len(d.Entries) || len(back.Added) != len(d.Removed) {
				t.Errorf("the way back has\n%s", show(&back))
			}
		})
	}
}

// Lists, maps and secrets are compared by what is written, and no secret is told.
func TestOf_tablesAndSecrets(t *testing.T) {
	old := parse(t, "lists.a = [\"10.0.0.1\"]\nsecrets.s = \"old\"\nmaps.m.values = { a = \"b\" }\n")
	same := parse(t, "secrets.s.value = \"old\"\n[lists]\na = \"10.0.0.1\"\n[maps.m]\nvalues = { a = \"b\" }\n")
	if d := Of(old, same); !d.Empty() {
		t.Errorf("the same in other words: %s", show(&d))
	}
	d := Of(old, parse(t, "lists.a = [\"10.0.0.2\"]\nsecrets.s = \"new\"\nmaps.m.values = { a = \"c\" }\n"))
	if got, want := show(&d), "~ list a [values]\n~ map m [values]\n~ secret s\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

var (
	referenceHeader  = regexp.MustCompile("^## `(\\[+)([a-zA-Z_.]+)\\]")
	referenceRow     = regexp.MustCompile("^\\| `([a-z0-9_.]+)` \\| .*\\| (.*) \\|$")
	referenceExample = regexp.MustCompile("Example: `([^`]*)`")
)

// Each key of the reference page that changes is told, by its name.
func TestOf_tellsEachKey(t *testing.T) {
	var page bytes.Buffer
	testutil.Must(t, config.Reference(&page))
	bases := map[string]string{
		"global": "[global]\n", "log": "[log]\n", "tls": "[[listeners]]\nlisten = \":443\"\ncert = \"a.pem\"\n[tls]\n",
		"listeners":      "[[listeners]]\nlisten = \":443\"\ncert = \"a.pem\"\nname = \"l\"\n",
		"upstreams.NAME": "routes = [{ pattern = \"/*\", dest = \"u\" }]\n[upstreams.u]\n",
		"routes":         "[[listeners]]\nname = \"internal\"\nlisten = \":80\"\n[[routes]]\nname = \"r\"\n",
	}
	// What a base has already, or is told otherwise.
	other := map[string]string{"upstreams.NAME.discover": "", "routes.name": "", "routes.pattern": "",
		"routes.host": "", "routes.allow_dest": "", "upstreams.NAME.tls.alpn": "",
		"routes.path": "", "routes.dest": "", "listeners.name": "", "listeners.cert": "",
		"listeners.listen": "", "listeners.access_log.path": "", "routes.access_log.path": ""}
	section, told := "", 0
	for lines := bufio.NewScanner(&page); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "## ") {
			section = ""
		}
		if m := referenceHeader.FindStringSubmatch(line); m != nil {
			section = m[2]
		}
		row := referenceRow.FindStringSubmatch(line)
		if bases[section] == "" || row == nil {
			continue
		}
		example := referenceExample.FindStringSubmatch(row[2])
		if _, skip := other[section+"."+row[1]]; skip || example == nil {
			continue
		}
		base := bases[section]
		if section == "routes" {
			base += "pattern = \"/*\"\ndest = \"10.0.0.1:80\"\n"
		}
		if section == "upstreams.NAME" {
			base += "backends = [{ address = \"10.0.0.1:80\" }]\n"
		}
		was, rep := config.Parse("f.toml", []byte(base))
		next, rep2 := config.Parse("f.toml", []byte(base+row[1]+" = "+example[1]+"\n"))
		if was == nil || next == nil {
			t.Logf("%s in [%s]: %v %v", row[1], section, rep.Errors, rep2.Errors)
			continue
		}
		d := Of(was, next)
		found := slices.ContainsFunc(d.Entries, func(e Entry) bool { return slices.Contains(e.Keys, row[1]) })
		if !found {
			t.Errorf("%s = %s in [%s]: told is\n%s", row[1], example[1], section, show(&d))
		}
		told++
	}
	if told < 80 {
		t.Errorf("%d keys were told", told)
	}
}

// access_log of a listener is a path or a table with that path: one key has changed.
func TestOf_pathOfAccessLogIsOneKey(t *testing.T) {
	base := "http = { listen = \":80\", access_log = "
	was, _ := config.Parse("f.toml", []byte(base+"\"a.log\" }\n"))
	next, rep := config.Parse("f.toml", []byte(base+"{ path = \"b.log\", sample = 0.5 } }\n"))
	if was == nil || next == nil {
		t.Fatal(rep.Errors)
	}
	d := Of(was, next)
	if len(d.Entries) != 1 || !slices.Equal(d.Entries[0].Keys, []string{"access_log", "access_log.sample"}) {
		t.Errorf("told is\n%s", show(&d))
	}
}

func TestDiff_render(t *testing.T) {
	three := 3
	d := Diff{
		Removed: []string{"listener web"}, Changed: []string{"upstream u"}, Restart: []string{"worker_threads"},
		Entries: []Entry{
			{Action: Changed, Kind: "upstream", Name: "u", Keys: []string{"backends", "tls"},
				Details: []string{"- backend 10.0.0.1:80"},
				Touches: []Touch{{IdleBackends, Closed, &three}, {BusyBackends, Drained, nil}}},
			{Action: Removed, Kind: "listener", Name: "web", Details: []string{"- :80"},
				Touches: []Touch{{OfClients, Undisturbed, &three}}},
		},
	}
	for _, c := range []struct {
		d    *Diff
		want string
	}{{&Diff{}, "nothing changes\n"}, {&d, `~ upstream u: backends, tls
    - backend 10.0.0.1:80
    connections to backends: idle ones (3) are closed, busy ones are drained
- listener web
    - :80
    connections of clients (3): served to their end
after a restart or an upgrade alone: worker_threads
connections of clients: none is closed
`}} {
		var b strings.Builder
		if err := c.d.Render(&b); err != nil || b.String() != c.want {
			t.Errorf("%v, got\n%swant\n%s", err, b.String(), c.want)
		}
	}
}
