package server

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

const whenRoutes = `
listeners = [{ name = "web", listen = "127.0.0.1:0", trusted_proxies = ["127.0.0.1"] }]
lists = { office = ["198.51.100.0/24", "2001:db8::/32"], beta = { type = "texts", values = ["a", "b c"] } }
maps.tier.values = { alice = "gold", bob = "tin" }
secrets.pass = "open sesame"
routes = [
	{ pattern = "/*", dest = "status:404" },
	{ when = 'client.ip in list.office', dest = "status:410" },
	{ when = 'header.x-beta in list.beta and path starts_with "/b"', dest = "status:411" },
	{ dest = "status:412", when = '''
		map.tier[header.x-user] == "gold"
		and method == "GET"
	''' },
	{ when = "header.x-key == secret.pass", dest = "status:413" },
	{ path = "/old/*", when = 'path ~ "^/old/([a-z]+)$" and not has(cookie.new)', dest = "status:414" },
]
`

func TestWhen_choosesRoutes(t *testing.T) {
	s := start(t, Options{}, "%s", quiet+whenRoutes)
	for _, test := range []struct {
		path   string
		fields []string
		want   int
	}{
		{"/", nil, 404},
		{"/", []string{"X-Forwarded-For: 198.51.100.7"}, 410},
		{"/", []string{"X-Forwarded-For: 2001:db8::9"}, 410},
		{"/", []string{"X-Forwarded-For: 203.0.113.7"}, 404},
		{"/b", []string{"X-Beta: b c"}, 411},
		{"/b", []string{"X-Beta: x", "X-Beta: a"}, 411},
		{"/c", []string{"X-Beta: a"}, 404},
		{"/", []string{"X-User: alice"}, 412},
		{"/", []string{"X-User: bob"}, 404},
		{"/", []string{"X-Key: open sesame"}, 413},
		{"/", []string{"X-Key: open sesam"}, 404},
		{"/old/page", nil, 414},
		{"/old/page", []string{"Cookie: new=1"}, 404},
		{"/old/page2", nil, 404},
	} {
		if got := askFor(t, "GET", urlOf(t, s, "web")+test.path, test.fields...).StatusCode; got != test.want {
			t.Errorf("%s with %q: %d, want %d", test.path, test.fields, got, test.want)
		}
	}
}

// rename puts a file in the place of another one, as a careful writer does.
func rename(t *testing.T, path, text string) {
	t.Helper()
	testutil.Must(t, os.WriteFile(path+".new", []byte(text), 0o600))
	testutil.Must(t, os.Rename(path+".new", path))
}

// loadList loads a configuration with a list from a file, for a server with these tables.
func loadList(t *testing.T, dir string, tables *language.Tables, refresh string) (*config.Config, *config.Report) {
	t.Helper()
	path := filepath.Join(dir, "edge.toml")
	rename(t, path, quiet+fmt.Sprintf(`
global.worker_threads = 2
http = { name = "web", listen = "127.0.0.1:0" }
routes = [
	{ pattern = "/*", dest = "status:204" },
	{ when = 'header.x-user in list.blocked', dest = "status:403" },
]
[lists.blocked]
type = "texts"
file = "%s/list.txt"
%s
`, dir, refresh))
	return config.Options{Tables: tables}.Load(path)
}

// statusFor asks as a user.
func statusFor(t *testing.T, s *Server, user string) int {
	t.Helper()
	return askFor(t, "GET", urlOf(t, s, "web")+"/", "X-User: "+user).StatusCode
}

// A reload with a broken file of a list is refused with the line of that file, and what was in force stays; one that is
// only checked changes nothing.
func TestWhen_reloadOfLists(t *testing.T) {
	dir, tables := t.TempDir(), language.NewTables()
	list := filepath.Join(dir, "list.txt")
	rename(t, list, "mallory\n")
	cfg, report := loadList(t, dir, tables, "")
	if !report.OK() {
		t.Fatal(report.Errors)
	}
	s := serve(t, cfg, Options{})
	if got := statusFor(t, s, "mallory"); got != 403 {
		t.Fatalf("blocked: %d", got)
	}

	rename(t, list, "mallory\n\"eve\n")
	if cfg, report := loadList(t, dir, tables, ""); report.OK() || cfg != nil ||
		!strings.HasPrefix(report.Errors[0].Error(), list+":2:") {
		t.Errorf("a broken list is loaded: %+v", report.Errors)
	}
	wantEqual(t, statusFor(t, s, "mallory"), 403, "after a refused reload")

	rename(t, list, "eve\n")
	for _, of := range []*language.Tables{nil, tables} { // a check, and a reload that does not come to its end
		if _, report := loadList(t, dir, of, ""); !report.OK() {
			t.Fatal(report.Errors)
		}
		wantEqual(t, statusFor(t, s, "mallory"), 403, "after a check")
	}

	cfg, report = loadList(t, dir, tables, "")
	if !report.OK() {
		t.Fatal(report.Errors)
	}
	if diff, err := s.Apply(cfg); err != nil || !slices.Equal(diff.Changed, []string{"list blocked"}) {
		t.Errorf("%v %v", diff, err)
	}
	cfg, _ = loadList(t, dir, tables, "")
	if diff, err := s.Apply(cfg); err != nil || !diff.Empty() {
		t.Errorf("%v %v: nothing has changed", diff, err)
	}
	if mallory, eve := statusFor(t, s, "mallory"), statusFor(t, s, "eve"); mallory != 204 || eve != 403 {
		t.Errorf("after the reload: %d %d", mallory, eve)
	}
}

// A file that changes while requests come takes effect without a reload, and none of them fails.
func TestWhen_listsRefreshUnderLoad(t *testing.T) {
	dir, tables := t.TempDir(), language.NewTables()
	list := filepath.Join(dir, "list.txt")
	rename(t, list, "mallory\n")
	cfg, report := loadList(t, dir, tables, `refresh = "100ms"`)
	if !report.OK() {
		t.Fatal(report.Errors)
	}
	s := serve(t, cfg, Options{})
	asked, stop := load(t, urlOf(t, s, "web"), 204)
	for i := range 3 {
		user := fmt.Sprint("user", i)
		rename(t, list, strings.Repeat("# a comment\n", i)+user+"\n")
		testutil.Eventually(t, testutil.Patience, func() bool { return statusFor(t, s, user) == 403 }, user)
	}
	rename(t, list, "\"broken\n")
	wantEqual(t, statusFor(t, s, "user2"), 403, "with a broken file")
	if stop(); asked.Load() == 0 {
		t.Error("no request was made meanwhile")
	}
}

// Texts with values of requests: in redirects, paths, fields and destinations.
func TestTemplates_ofConfigurations(t *testing.T) {
	to := mirror(t, "one")
	_, port, _ := strings.Cut(to, ":")
	s := start(t, Options{}, quiet+web+`
maps.tier.values = { alice = "gold" }
maps.place.values = { a = "127.0.0.1" }
secrets.links = "f3b1c0de"
[[routes]]
path = "/old/*"
when = 'path ~ "^/old/([a-z]+)/([0-9]+)$"'
redirect.to = "/new/{match.2}/{match.1}?by={header.x-user}"
[[routes]]
pattern = "/v1/*"
dest = "%s"
rewrite.path = '{path.cut_prefix("/v1")}'
headers.request.X-Forwarded-Host = '{map.tier[header.x-user] ?? "tin"}'
headers.response = { X-Said = "{status} {\"a\":1} {method}", X-None = "{header.x-none}" }
[[routes]]
pattern = "/to/*"
dest = 'http://{map.place[query.at]}:%s'
allow_dest = ["http://127.0.0.1:%[2]s", "127.0.0.0/8"]
[[routes]]
path = "/signed"
dest = "redirect:/x?sig={hex(hmac(secret.links, path))}"
`, to, port)
	url := urlOf(t, s, "web")
	for _, test := range []struct{ path, field, want string }{
		{"/old/page/17", "X-User: a&b", "308 /new/17/page?by=a%26b"},
		{"/old/page", "", "404 "},
		{"/signed", "", "308 /x?sig=" + signed},
	} {
		resp := askFor(t, "GET", url+test.path, test.field)
		wantEqual(t, fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Location")), test.want, "%s", test.path)
	}
	for user, tier := range map[string]string{"alice": "gold", "bob": "tin"} {
		resp := askFor(t, "GET", url+"/v1/x?q=1", "X-User: "+user)
		if body := bodyOf(t, resp); !strings.Contains(body, "GET /x?q=1 ") ||
			!strings.Contains(body, "X-Forwarded-Host="+tier+" ") {
			t.Errorf("%s: %s", user, body)
		}
		if said, none := resp.Header.Get("X-Said"), resp.Header["X-None"]; said != `200 {"a":1} GET` || none != nil {
			t.Errorf("the answer has %q and %q", said, none)
		}
	}
	for at, want := range map[string]int{"a": 200, "b": 403} {
		wantEqual(t, askFor(t, "GET", url+"/to/x?at="+at).StatusCode, want, "to %s", at)
	}
}

// signed is HMAC-SHA256 of "/signed" with the key f3b1c0de.
const signed = "f103148a66460f1c4528225cf40ad044419568d215bb72dd627f63c3fb888e11"

// putDatabase puts a database of internal/match/geo/mmdb/testdata in the place of a file.
func putDatabase(t *testing.T, name, path string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testutil.Root(t), "internal/match/geo/mmdb/testdata", name))
	testutil.Must(t, err)
	rename(t, path, string(text))
}

// Conditions of routes, rules, fields and the log know where a client is, whatever form its address has. A new file
// takes effect by itself, and a broken one does not.
func TestGeo_sockets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	country, asn, lines := filepath.Join(dir, "c.mmdb"), filepath.Join(dir, "a.mmdb"), filepath.Join(dir, "access.log")
	putDatabase(t, "country.mmdb", country)
	putDatabase(t, "asn.mmdb", asn)
	text := fmt.Sprintf(`
global.worker_threads = 2
log.output = "%s"
log.line = "{path} {geo.country}"
geo = { databases = ["%s", "%s"], refresh = "100ms" }
listeners = [{ name = "web", listen = "127.0.0.1:0", trusted_proxies = ["127.0.0.1"] }]
routes = [
	{ pattern = "/*", dest = "status:204" },
	{ when = 'geo.country == "BR"', dest = "status:403" },
]
rules = [
	{ when = 'geo.asn in {64496}', deny = 451 },
	{ when = 'geo.continent == "EU"', headers.response = { X-Place = "{geo.country} {geo.asn} {geo.asn_org}" } },
]
`, lines, country, asn)
	cfg := parseBy(t, config.Options{Tables: language.NewTables()}, text)
	s := serve(t, cfg, Options{})
	from := func(client, path string) (status int, place string) {
		resp := askFor(t, "GET", urlOf(t, s, "web")+path, "X-Forwarded-For: "+client)
		return resp.StatusCode, resp.Header.Get("X-Place")
	}
	for _, c := range []struct {
		client, path string
		status       int
		place        string
	}{
		{"81.2.69.142", "/a", 204, "GB 20712 Andrews & Arnold Ltd"},
		{"::ffff:81.2.69.142", "/b", 204, "GB 20712 Andrews & Arnold Ltd"},
		{"177.8.0.1", "/c", 403, ""},
		{"192.0.2.1", "/d", 451, ""},
		{"2001:218::1", "/e", 204, ""},
		{"10.0.0.1", "/f", 204, ""},
	} {
		if status, place := from(c.client, c.path); status != c.status || place != c.place {
			t.Errorf("%s: %d %q, want %d %q", c.client, status, place, c.status, c.place)
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		got, _ := os.ReadFile(lines)
		return strings.Contains(string(got), "/a GB\n") && strings.Contains(string(got), "/c BR\n") &&
			strings.Contains(string(got), "/f \n")
	}, "the log has the countries")

	rename(t, country, "broken")
	if status, _ := from("177.8.0.1", "/"); status != 403 {
		t.Errorf("with a broken file: %d", status)
	}
	putDatabase(t, "ipinfo.mmdb", country) // Brazil is not in it
	testutil.Eventually(t, testutil.Patience, func() bool {
		status, _ := from("177.8.0.1", "/")
		return status == 204
	}, "the new file takes effect")
}
