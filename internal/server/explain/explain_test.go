package explain_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/caching"
	_ "github.com/edge-proxy/edge/internal/filter/builtin"
	_ "github.com/edge-proxy/edge/internal/filter/static"
	"github.com/edge-proxy/edge/internal/forward/sticky"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/server/explain"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/session"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A path that origins read in two ways is refused where a rule holds for one reading alone: the rule says so.
func TestExplain_rulesAndTwofoldPaths(t *testing.T) {
	const text = "[[rules]]\nwhen = 'path starts_with \"/admin\"'\ndeny = 403\n[[rules]]\n" +
		"when = 'path ~ \"^/admin\"'\ntag = \"a\"\n[[routes]]\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\n"
	path := fileOf(t, text)
	for url, want := range map[string]string{
		"http://x:8080/admin":  "deny 403",
		"http://x:8080//admin": "does not hold; the request is refused: The path can be read in two ways.",
		"http://x:8080//other": "does not hold (",
	} {
		a := answerOf(t, path, explain.Ask{URL: url})
		var out strings.Builder
		testutil.Must(t, a.WriteText(&out))
		if line := regexp.MustCompile(`rule 1: .*`).FindString(out.String()); !strings.Contains(line, want) {
			t.Errorf("%s: want %q in\n%s", url, want, out.String())
		}
		if strings.Count(out.String(), "is refused: ") > 1 {
			t.Errorf("%s: more than the first rule refuses it\n%s", url, out.String())
		}
	}
}

// fileOf writes a configuration to a file of its own.
func fileOf(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "edge.toml")
	testutil.Must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// answerOf explains a request to a file.
func answerOf(t *testing.T, path string, ask explain.Ask) *explain.Answer {
	t.Helper()
	cfg, report := config.Options{TextOnly: true, Places: true}.Load(path)
	if cfg == nil {
		t.Fatalf("%s: %s", path, report.Errors[0].Error())
	}
	a, err := explain.Explain(cfg, &ask)
	if err != nil {
		t.Fatalf("%s: %v", ask.URL, err)
	}
	return a
}

func textOf(t *testing.T, a *explain.Answer) string {
	t.Helper()
	var out strings.Builder
	testutil.Must(t, a.WriteText(&out))
	return out.String()
}

// wantLines reports parts of the text that are missing, where one blank stands for several.
func wantLines(t *testing.T, what, text string, lines ...string) {
	t.Helper()
	have := "\n" + strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' }), "\n") + "\n"
	for strings.Contains(have, "  ") {
		have = strings.ReplaceAll(have, "  ", " ")
	}
	for _, line := range lines {
		if !strings.Contains(have, line) {
			t.Errorf("%s: no %q in\n%s", what, line, text)
		}
	}
}

// Each route whose condition was asked has the parts of it, with what they were about.
func TestExplain_conditionsOfTheLanguage(t *testing.T) {
	text := `
[[listeners]]
listen = "127.0.0.1:8080"
[lists]
office = ["198.51.100.0/24"]
[secrets]
pass = "open sesame"
[[routes]]
pattern = "/*"
dest = "status:404"
[[routes]]
name = "inner"
when = 'client.ip in list.office and (header.x-beta == "1" or path ~ "^/b")'
dest = "status:204"
[[routes]]
name = "keyed"
when = 'header.x-key == secret.pass'
dest = "status:204"
`
	path := fileOf(t, text)
	const url = "http://127.0.0.1:8080/bx"
	inside := answerOf(t, path, explain.Ask{URL: url, Client: netip.MustParseAddr("198.51.100.3"),
		Stopwatch: &lang.Stopwatch{Left: time.Second, Now: ticks(8 * time.Microsecond)}})
	said := textOf(t, inside)
	wantLines(t, "taken", said, "route inner /* (",
		"client.ip in list.office true it is 198.51.100.3 15 ns "+path+":13:9\n",
		"header.x-beta == \"1\" false it is missing 15 ns "+path+":13:39\n",
		"path ~ \"^/b\" true it is /bx 15 ns "+path+":13:63\n",
		"less specific than route inner: that one has more conditions, 1 and not 0",
		"header.x-key == secret.pass false it is (secret) 15 ns "+path+":17:9\n")
	if w := inside.Route.When; w[0].NS != 15 || w[1].At != path+":13:39" {
		t.Errorf("%+v", w)
	}
	if len(inside.Route.When) != 3 || !inside.Route.When[2].Holds {
		t.Errorf("%+v", inside.Route)
	}
	outside := answerOf(t, path, explain.Ask{URL: url, Fields: []string{"X-Key: sesame"}})
	said = textOf(t, outside)
	wantLines(t, "not taken", said, "inner /* (", "its condition does not hold\n",
		"client.ip in list.office false it is 192.0.2.1 "+path+":13:9\n",
		"path ~ \"^/b\" not asked "+path+":13:63\n")
	if strings.Contains(said, "open sesame") {
		t.Error("a secret is shown")
	}
}

// ticks is a clock that goes on by step with each look at it.
func ticks(step time.Duration) func() time.Duration {
	now := time.Duration(0)
	return func() time.Duration {
		now += step
		return now
	}
}

// A text is evaluated for the request as the server has it, before the route or with it.
func TestLook(t *testing.T) {
	text := `
[[listeners]]
name = "web"
listen = ":8080"
[[rules]]
when = 'path == "/denied"'
set = { tier = "none" }
deny = 403
[[rules]]
set = { tier = "gold" }
[[routes]]
name = "a"
pattern = "/a/*"
dest = "10.0.0.1:80"
rewrite.path = "/z"
`
	path := fileOf(t, text)
	cfg, report := config.Options{TextOnly: true}.Load(path)
	if cfg == nil {
		t.Fatal(report.Errors)
	}
	for url, want := range map[string]string{
		"/a/b": "web a /a/b /b gold", "/": "web  /  gold", "/denied": "web  /denied  none", "/a/../c": "web  /c  gold",
	} {
		said, looks := "", 0
		err := explain.Look(cfg, &explain.Ask{URL: url}, func(x *lang.X) {
			looks++
			what, err := cfg.Language.Scope().Template("{listener} {route} {path} {rest} {local.tier}", lang.Request)
			testutil.Must(t, err)
			said = string(what.Append(nil, x))
		})
		if err != nil || said != want || looks != 1 {
			t.Errorf("%s: %q, %v, %d times, want %q", url, said, err, looks, want)
		}
	}
	for _, ask := range []explain.Ask{{URL: "https://x/"}, {URL: "/", Fields: []string{"Content-Length: x"}}} {
		if err := explain.Look(cfg, &ask, func(*lang.X) { t.Error("it is looked at") }); err == nil {
			t.Errorf("%+v comes to a listener", ask)
		}
	}
}

// A destination that the request names is shown, or why it may not lead there.
func TestExplain_dynamic(t *testing.T) {
	text := "http.listen = \":80\"\n[[routes]]\npattern = \"/*\"\n" +
		"dest = \"https://{header:X-Tenant}.svc.internal\"\nallow_dest = \"https://*.svc.internal\"\n"
	path := fileOf(t, text)
	a := answerOf(t, path, explain.Ask{URL: "http://localhost/", Fields: []string{"X-Tenant: Acme"}})
	wantLines(t, "listed", textOf(t, a), "acme.svc.internal:443, weight 1", "over TLS",
		"leads to https://acme.svc.internal:443, which allow_dest lists")
	a = answerOf(t, path, explain.Ask{URL: "http://localhost/", Fields: []string{"X-Tenant: a/b"}})
	wantLines(t, "not listed", textOf(t, a), "403 edge:dest_not_allowed",
		`"https://a/b.svc.internal" is not allowed: its host is neither`)
}

const shop = "testdata/shop.toml"

func TestExplain(t *testing.T) {
	client := netip.MustParseAddr("198.51.100.7")
	upgrade := []string{"Upgrade: websocket", "Connection: Upgrade"}
	for _, c := range []struct {
		ask  explain.Ask
		want []string
	}{
		{explain.Ask{URL: "https://shop.example/api/%75sers?x=1#top", Client: client}, []string{
			"request GET https://shop.example/api/%75sers?x=1 from 198.51.100.7", "path /api/users, as routes see it",
			"listener tls :8443 (testdata/shop.toml:", "route api shop.example/api/* (", ") -> upstream api",
			"request: /api is taken off the path (", "request: the field X-Env is set to \"prod\" (",
			"answer: the field Server is removed (", "answer: Strict-Transport-Security on secured connections (",
			"upstream api (", "adaptive, h1", "75.0 % 10.0.0.11:8080, weight 3 (", "25.0 % 10.0.0.12:8080, weight 1",
			"sent GET /users?x=1 HTTP/1.1\n", "\n Host: shop.example\n", "\n X-Forwarded-For: 198.51.100.7\n",
			"\n X-Forwarded-Proto: https\n", "timeouts.connect 2s testdata/shop.toml:",
			"timeouts.first_byte 1s testdata/",
			"timeouts.read 1m default", "retry.attempts 0 testdata/", "breaker.max_requests 40 testdata/",
			"pool.queue 500 default", "log json to stdout",
			"no listener has port 443: the request is explained as if it came to :8443",
			"plain (testdata/shop.toml:1): it takes plain HTTP alone, and https was asked for",
			"): it is for the method POST or PUT, not for GET", "): it asks for the field X-Beta with the value \"1\"",
			"it asks for the field User-Agent with \"curl\" in its value",
			"): it asks for the parameter debug in the query",
			"): it is for the host admin.example, not for shop.example",
			"): it is for hosts below wild.example, not for shop.example", "): its weight is 0",
			"less specific than route api: that one names shop.example, this one any host",
			"less specific than route api: that one names more of the path",
			"it is for the path /exact alone, not for /api/users", "it asks for a certificate of the client",
		}},
		{explain.Ask{URL: "https://shop.example:8443/api", Method: "POST"}, []string{
			"-> upstream users", "upstream users (", "adaptive, h2 over TLS as users.internal, not verified",
			"sent POST /api HTTP/2\n", "less specific than route writes: that one has more conditions, 1 and not 0",
		}},
		{explain.Ask{URL: "https://shop.example:8443/api", Method: "PUT", Fields: []string{"X-Beta: 1"}}, []string{
			"route writes", "both have as many conditions, and the conditions of that one count for more",
		}},
		{explain.Ask{URL: "http://localhost:8080/"}, []string{
			"listener plain :8080", "answer 308: the listener answers, before a route is looked for",
			"\n Location: https://localhost:8443/\n",
			"tls (testdata/shop.toml:7): it takes TLS alone, and http was asked",
		}},
		{explain.Ask{URL: "https://other.example:8443/"}, []string{
			"answer 404 edge:route: no route takes it; the nearest is ",
			"Proxy-Status: edge; error=destination_not_found",
		}},
		{explain.Ask{URL: "https://admin.example:8443/x", Method: "TRACE"}, []string{
			"answer 405 edge:method: no route takes this method; the nearest is admin (",
			": it does not name TRACE in methods, which has to be named", "Allow: GET, HEAD,",
		}},
		{explain.Ask{URL: "https://split.example:8443/"}, []string{
			"90 of 100 requests",
			": it is equal to route split.example/* and takes 10 of 100 of these requests, by its weight",
		}},
		{explain.Ask{URL: "https://admin.example:8443/x", Fields: []string{"Host: shop.example"}}, []string{
			"request GET https://shop.example/x"}},
		{explain.Ask{URL: "https://shop.example:8443/chat", Fields: upgrade}, []string{
			"Upgrade: websocket", "the connection may become a tunnel: websocket"}},
		{explain.Ask{URL: "https://shop.example:8443/quiet", Fields: upgrade}, []string{
			"log none", "the upgrade to websocket is not passed on"}},
		{explain.Ask{URL: "https://shop.example:8443/grpc.Service/Do", Method: "POST",
			Fields: []string{"Content-Type: application/grpc", "TE: trailers"}}, []string{
			"gRPC: connections to backends are HTTP/2", "sent POST /grpc.Service/Do HTTP/2\n"}},
		{explain.Ask{URL: "https://shop.example:8443/..%2fx"}, []string{
			"answer 400 client:path: The path can be read in two ways."}},
		{explain.Ask{URL: "https://shop.example:8443/b ä"}, []string{"https://shop.example:8443/b%20%C3%A4"}},
		{explain.Ask{URL: "http://shop.example:9/"}, []string{
			"listener none: no listener takes it", "plain (testdata/shop.toml:1): its port is 8080, not 9"}},
		{explain.Ask{URL: "https://192.0.2.9:9443/"}, []string{
			"listener other 192.0.2.9:9443", "the listener demands a certificate"}},
		{explain.Ask{URL: "https://192.0.2.8:9443/"}, []string{"its address is 192.0.2.9, not 192.0.2.8"}},
		{explain.Ask{URL: "https://cache.example:8443/?id=1"}, []string{
			"): ketama by query:id, h1", "100.0 % 10.0.2.1:80, weight 1", "0.0 % 10.0.2.9:80, weight 1, backup (",
			"\n Host: 10.0.2.1\n"}},
		{explain.Ask{URL: "https://cache.example:8443/"}, []string{
			"33.3 % 10.0.2.1:80", "66.7 % 10.0.2.2:80", "the request has no query:id, so it is balanced in turns"}},
		{explain.Ask{URL: "https://shop.example:8443/hop", Fields: []string{"Via: " + strings.Repeat("1.1 edge, ", 9)}},
			[]string{"answer 508 edge:loop: The request goes in circles."}},
	} {
		wantLines(t, c.ask.Method+" "+c.ask.URL, textOf(t, answerOf(t, shop, c.ask)), c.want...)
	}
}

// The settings say where requests go when the backends are gone.
func TestExplain_failover(t *testing.T) {
	text := "http.listen = \":8080\"\n[upstreams.here]\nbackends = [{ address = \"10.0.0.11:8080\" }]\n" +
		"failover = \"there\"\n[upstreams.there]\nbackends = [{ address = \"10.9.0.11:8080\" }]\n" +
		"[[routes]]\npattern = \"/*\"\ndest = \"here\"\n"
	path := fileOf(t, text)
	wantLines(t, "failover", textOf(t, answerOf(t, path, explain.Ask{URL: "http://localhost:8080/"})),
		" failover there "+path+":4 Upstream, or addresses as in `dest`, for requests")
}

// Each key that the file gives for the upstream is a setting, and the limits and times of listener and route; a key of
// the route takes the place of the upstream's. What is secret is not told.
func TestExplain_settingsOfTheFile(t *testing.T) {
	text := `[http]
listen = ":8080"
limits.min_rate = "1k/s"
[upstreams.api]
backends = [{ address = "10.0.0.11:8080" }]
pool.max_lifetime = "90m"
health_check = { type = "tcp", send = "PING", expect = "PONG", expected_status = [200, "300-399"] }
load_balancing = "p2c"
retry.attempts = 0
timeouts.total = "2h"
[[routes]]
pattern = "/*"
dest = "api"
timeouts.total = "90s"
load_balancing = "round_robin"
`
	path := fileOf(t, text)
	got := textOf(t, answerOf(t, path, explain.Ask{URL: "http://localhost:8080/"}))
	wantLines(t, "given", got, " limits.min_rate 1k/s "+path+":3 Lowest rate, in bytes a second",
		" pool.max_lifetime 1h30m "+path+":6 ", " health_check.send (hidden) "+path+":7 ",
		" health_check.rise 2 default ", " health_check.expect PONG ",
		" health_check.expected_status 200 300-399 ",
		" timeouts.total 1m30s "+path+":14 ", " load_balancing round_robin "+path+":15 ",
		" timeouts.read 1m default Time between two reads of the answer")
	for _, not := range []string{"PING", "2h", "p2c", "retry.on", "health_check.path", "outlier", "stale", "ttl"} {
		if strings.Contains(got, not) {
			t.Errorf("%s in\n%s", not, got)
		}
	}
}

// A cookie that keeps its client at a backend is believed as a server believes it, where the secret is in the file.
func TestExplain_sticky(t *testing.T) {
	const text = "http.listen = \":8080\"\n[upstreams.api]\n" +
		"backends = [{ address = \"10.0.0.11:8080\" }, { address = \"api.internal:8080\" }]\n" +
		"[[routes]]\npattern = \"/*\"\ndest = \"api\"\n"
	const secret = "a secret of 26 characters."
	set := backend.Of("10.0.0.11:8080", "api.internal:8080")
	c, err := sticky.New(set, sticky.Options{Service: "api", Secrets: []string{secret}})
	testutil.Must(t, err)
	value := func(i int, at time.Time) string {
		field := string(c.Append(nil, set.Members()[i], false, at))
		return "Cookie: a=b; " + strings.Split(field, ";")[0]
	}
	now := time.Now()
	for _, one := range []struct{ keys, field, want string }{
		{"", "X: y", "adaptive, sticky by edge_sid, h1"},
		{"", "X: y", "sticky.ttl 1h default Time a client keeps the cookie"},
		{"", value(1, now), "the process that made the cookie edge_sid knows its backend"},
		{", secret = \"" + secret + "\"", value(0, now), "\n 100.0 % 10.0.0.11:8080"},
		{", secret = \"" + secret + "\"", value(1, now), "the cookie edge_sid keeps the client at api.internal:8080"},
		{", secret = \"" + secret + "\"", value(1, now.Add(-2*time.Hour)), "the cookie edge_sid is not believed"},
		{", secret = \"another " + secret + "\"", value(1, now), "the cookie edge_sid is not believed"},
	} {
		whole := strings.Replace(text, "[[routes]]", "sticky = { cookie = \"edge_sid\""+one.keys+" }\n[[routes]]", 1)
		path := fileOf(t, whole)
		ask := explain.Ask{URL: "http://localhost:8080/", Fields: []string{one.field}}
		wantLines(t, one.field, textOf(t, answerOf(t, path, ask)), one.want)
	}
}

// Backends of further tiers get nothing while all are up, unless there are no others.
func TestExplain_tiers(t *testing.T) {
	text := "http.listen = \":8080\"\n[[routes]]\npattern = \"/*\"\ndest = \"api\"\n[upstreams.api]\n" +
		"spill = true\npanic = \"40%\"\nslow_start = \"20s\"\nbackends = [{ address = \"10.0.0.1:80\", tier = 3 }, " +
		"{ address = \"10.0.0.2:80\", weight = 3, tier = 2 }, { address = \"10.0.0.3:80\", tier = 2 }]\n"
	path := fileOf(t, text)
	wantLines(t, text, textOf(t, answerOf(t, path, explain.Ask{URL: "http://localhost:8080/"})),
		" 0.0 % 10.0.0.1:80, weight 1, tier 3", "75.0 % 10.0.0.2:80, weight 3, tier 2", "25.0 % 10.0.0.3:80",
		" spill true ", " panic 40% ", " slow_start 20s ")
}

// Zones and subsets are part of the odds.
func TestExplain_zones(t *testing.T) {
	for _, c := range []struct {
		keys string
		want []string
	}{
		{"", []string{"20.0 % 10.0.0.1:80, weight 1, zone a", "20.0 % 10.0.0.5:80, weight 1, zone b"}},
		{`zones = "prefer"`, []string{
			"40.0 % 10.0.0.1:80", "40.0 % 10.0.0.2:80", "6.7 % 10.0.0.3:80", " zones prefer "}},
		{`zones = "prefer", zone_share = "40%"`, []string{"50.0 % 10.0.0.1:80", "0.0 % 10.0.0.3:80"}},
		{`zones = "only"`, []string{"50.0 % 10.0.0.2:80", "0.0 % 10.0.0.4:80, weight 1, zone b, not used"}},
		{`subset = { size = 2, index = 0, of = 3 }`,
			[]string{"50.0 % 10.0.0.1:80", "50.0 % 10.0.0.5:80, weight 1, zone b (",
				"0.0 % 10.0.0.2:80, weight 1, zone a, not used", " subset.size 2 "}},
		{`load_balancing = "ketama", zones = "prefer"`, []string{"100.0 % 10.0.0."}},
		{`load_balancing = "ketama", zones = "only"`, []string{"100.0 % 10.0.0.2:80"}},
	} {
		text := "global.zone = \"a\"\nhttp.listen = \":8080\"\n[[routes]]\npattern = \"/*\"\ndest = \"api\"\n" +
			"[upstreams]\napi = { " + strings.TrimPrefix(c.keys+", ", ", ") + "backends = ["
		for i := range 5 {
			text += fmt.Sprintf("{ address = \"10.0.0.%d:80\", zone = %q }, ", i+1, string("aabbb"[i]))
		}
		path := fileOf(t, text+"] }\n")
		ask := explain.Ask{URL: "http://localhost:8080/"}
		wantLines(t, c.keys, textOf(t, answerOf(t, path, ask)), c.want...)
	}
}

// Where this process uses no backend at all, the answer is that of the proxy.
func TestExplain_noBackend(t *testing.T) {
	for _, backends := range []string{
		`{ address = "10.0.0.1:80", zone = "b" }], zones = "only"`, `{ address = "10.0.0.1:80", weight = 0 }]`,
	} {
		text := "global.zone = \"a\"\nhttp.listen = \":8080\"\n[[routes]]\npattern = \"/*\"\ndest = \"api\"\n" +
			"[upstreams]\napi = { backends = [" + backends + " }\n"
		path := fileOf(t, text)
		ask := explain.Ask{URL: "http://localhost:8080/"}
		wantLines(t, backends, textOf(t, answerOf(t, path, ask)), "answer 503 edge:no_backend")
	}
}

// leaf is an object or a list of JSON that has no other one in it: a line of a golden file.
var (
	leaf      = regexp.MustCompile(`[{\[]\n[^{}\[\]]*[}\]]`)
	lineBreak = regexp.MustCompile(`\n *`)
)

// JSON keeps its names: programs read it.
func TestAnswer_JSON(t *testing.T) {
	for name, ask := range map[string]explain.Ask{
		"taken": {URL: "https://shop.example/api/users?x=1"}, "routeless": {URL: "https://other.example:8443/"},
	} {
		text, err := json.MarshalIndent(answerOf(t, shop, ask), "", "  ")
		testutil.Must(t, err)
		got := leaf.ReplaceAllFunc(text, func(b []byte) []byte { return lineBreak.ReplaceAll(b, []byte(" ")) })
		path := "testdata/" + name + ".json"
		if *update {
			testutil.Must(t, os.WriteFile(path, append(got, '\n'), 0o644))
		}
		want, err := os.ReadFile(path)
		testutil.Must(t, err)
		if string(want) != string(got)+"\n" {
			t.Errorf("%s is out of date (-update writes it):\n%s", path, got)
		}
	}
}

// The documented files of users of such proxies.
func TestExplain_knownFiles(t *testing.T) {
	dir := filepath.Join(testutil.Root(t), "internal", "config", "testdata", "valid")
	for _, c := range []struct {
		file, url, field string
		want             []string
	}{
		{"pingora-tls-and-health.toml", "http://localhost:18080/api/x", "", []string{"route /api/*",
			"-> upstream 127.0.0.1:18081", "100.0 % 127.0.0.1:18081", "X-Forwarded-For: 192.0.2.1"}},
		{"pingora-tls-and-health.toml", "https://localhost:18080/x", "X-Forwarded-For: 1.2.3.4", []string{
			"-> upstream 127.0.0.1:18082"}},
		{"pingora-tls-and-health.toml", "http://localhost:18080/x", "", []string{"route default", "-> upstream default",
			"66.7 % 127.0.0.1:18083, weight 2", "33.3 % 127.0.0.1:18084, weight 1"}},
		{"http-and-https.toml", "http://a/api/x", "", []string{"-> upstream 127.0.0.1:18081"}},
		{"http-and-https.toml", "https://a:18443/x", "", []string{"-> upstream 127.0.0.1:18082"}},
		{"five-lines.yaml", "http://localhost:8080/", "", []string{"listener :8080", "-> hello page", "answer 200"}},
	} {
		ask := explain.Ask{URL: c.url}
		if c.field != "" {
			ask.Fields = []string{c.field}
		}
		wantLines(t, c.file+" "+c.url, textOf(t, answerOf(t, filepath.Join(dir, c.file), ask)), c.want...)
	}
}

func TestExplain_refuses(t *testing.T) {
	cfg, _ := config.Options{TextOnly: true}.Load(shop)
	for _, ask := range []explain.Ask{
		{URL: "ftp://a/"}, {URL: "http:///x"}, {URL: "http://a/", Method: "G T"},
		{URL: "http://a/", Fields: []string{"X"}},
		{URL: "http://a/", Fields: []string{"X Y: 1"}},
	} {
		if a, err := explain.Explain(cfg, &ask); err == nil {
			t.Errorf("%+v: explained: %+v", ask, a)
		}
	}
}

// What is tried again, ejected, checked and discovered is told with its place; of many backends the text has some.
func TestExplain_resilience(t *testing.T) {
	var many strings.Builder
	for i := range 50 {
		fmt.Fprintf(&many, "{ address = \"10.0.0.%d:80\" },", i)
	}
	file := fileOf(t, `listeners = [{ listen = ":8080" }]
[health_check]
path = "/healthz"
[upstream_defaults]
retry.budget = "off"
[upstreams.found]
discover = ["dns://api.internal:80", "file:///etc/edge/api.txt"]
stale_ok = "10m"
health_check = { interval = "2s", agent = { port = 9777 } }
outlier = { errors = 7 }
retry = { per_try = "2s" }
[upstreams.calls]
backends = [{ address = "10.0.0.1:80" }]
health_check = { type = "grpc", service = "orders" }
retry = { on = ["503", "reset"] }
[upstreams.alone]
backends = [`+many.String()+`]
health_check = false
retry.attempts = 0
[[routes]]
pattern = "/found"
dest = "found"
[[routes]]
pattern = "/calls"
dest = "calls"
[[routes]]
pattern = "/alone"
dest = "alone"
`)
	for path, want := range map[string][]string{
		"/found": {
			"\n retry.on connect refused_stream reset timeout default ", " retry.budget off " + file + ":5 ",
			" retry.per_try 2s " + file + ":11 ", " outlier.errors 7 " + file + ":10 ",
			" outlier.max_ejected 50% default ",
			" health_check.path /healthz " + file + ":3 ", " health_check.interval 2s " + file + ":9 ",
			" health_check.agent.port 9777 " + file + ":9 ", " health_check.agent.interval 2s default ",
			" discover dns://api.internal:80 file:///etc/edge/api.txt " + file + ":7 ", " stale_ok 10m " + file + ":8 ",
		},
		"/calls": {
			" retry.on 503 reset " + file + ":15 ", " health_check.type grpc " + file + ":14 ",
			" health_check.service orders " + file + ":14 ", " health_check.fall 3 default ",
		},
		"/alone": {"\n 2.0 % 10.0.0.19:80, weight 1 ", "\n and 30 more: --json has all\n", " retry.attempts 0 "},
	} {
		text := textOf(t, answerOf(t, file, explain.Ask{URL: "http://localhost:8080" + path}))
		wantLines(t, path, text, want...)
		for _, key := range []string{"outlier.", "discover", "agent."} {
			if path != "/found" && strings.Contains(text, key) {
				t.Errorf("%s: %s in\n%s", path, key, text)
			}
		}
		if path == "/alone" && strings.Contains(text, "health_check") {
			t.Errorf("it is not checked:\n%s", text)
		}
	}
}

// The filters of a request are listed in their order, with their types, places and functions.
func TestExplain_filters(t *testing.T) {
	path := fileOf(t, `[http]
listen = ":8080"
filters = ["careful"]

[filters.browsers]
type = "csrf"
when = 'path starts_with "/app"'

[filters.careful]
type = "security_headers"

[filters.own]
type = "csrf"

[defaults]
filters = ["browsers"]

[[routes]]
pattern = "/app"
dest = "status:204"
filters = ["own"]

[[rules]]
when = 'has(query.bare)'
filters = ["!careful"]

[[routes]]
pattern = "/api"
dest = "status:204"
filters = ["!browsers"]

[[routes.rules]]
when = 'has(query.own)'
filters = ["own"]
`)
	for url, want := range map[string]string{
		"http://x:8080/app": "careful, of type security_headers: .* browsers, of type csrf, when path .* " +
			"own, of type csrf: .*",
		"http://x:8080/api": "careful, .* browsers, of type csrf, when .*: the route takes it out",
		"http://x:8080/api?own&bare": "careful, .*: a rule takes it out own, of type csrf: " +
			".* .added by a rule. browsers, .*: the route takes it out",
	} {
		a := answerOf(t, path, explain.Ask{URL: url})
		var steps []string
		for _, s := range a.Steps {
			if s.Phase == "filter" {
				steps = append(steps, s.Text)
				if s.At == "" {
					t.Errorf("%s: no place of %s", url, s.Text)
				}
			}
		}
		if got := strings.Join(steps, " "); !regexp.MustCompile("^" + want + "$").MatchString(got) {
			t.Errorf("%s: got %s", url, got)
		}
	}
}

// A URL with https has the rules on its handshake, by the name and the address of the client.
func TestExplain_rulesOnHandshakes(t *testing.T) {
	text := `[https]
listen = "127.0.0.1:443"
cert = "a.pem"
[[certificates]]
name = "inner"
cert = "inner.pem"
[[certificates]]
cert = "wide.pem"
hosts = "www.test"
when = 'client.ip == 192.0.2.9'
[[https.tls_rules]]
name = "admins"
when = 'tls.sni == "admin.test"'
client_ca = "ca.pem"
[[tls.rules]]
when = 'client.ip in {10.0.0.0/8}'
certificate = "inner"
min_version = "1.3"
[[tls.rules]]
when = 'tls.sni == "closed.test"'
deny = true
[[routes]]
pattern = "/*"
dest = "status:204"
`
	path := fileOf(t, text)
	for _, c := range []struct{ url, from, host, lines string }{
		{"https://www.test/", "", "", "handshake client_auth none, TLS 1.2 or newer\n admins: does not hold|" +
			"answer 204"},
		{"https://Admin.test/", "10.1.1.1", "", "handshake client_auth require ca.pem, TLS 1.3 or newer\n " +
			"certificate inner.pem|client_ca ca.pem|rule 2: min_version TLS 1.3; certificate inner|answer 204|" +
			"notes the listener demands a certificate"},
		{"https://www.test/", "", "admin.test", "421 edge:tls_rules"},
		{"https://www.test/", "192.0.2.9", "", "certificate wide.pem"},
		{"https://closed.test/", "", "", "handshake denied|rule 3: deny"},
	} {
		ask := explain.Ask{URL: c.url}
		if c.from != "" {
			ask.Client = netip.MustParseAddr(c.from)
		}
		if c.host != "" {
			ask.Fields = []string{"Host: " + c.host}
		}
		wantLines(t, c.url, textOf(t, answerOf(t, path, ask)), strings.Split(c.lines, "|")...)
	}
}

// A route with a cache says what that does with the request, and the backend gets the request of a fill.
func TestExplain_cache(t *testing.T) {
	const text = `
[http]
listen = ":8080"
[defaults]
cache = true
[cache]
purge = { allow = ["192.0.2.1"] }
[[routes]]
pattern = "/*"
dest = "10.0.0.1:80"
[[routes]]
pattern = "/api/*"
dest = "10.0.0.1:80"
cache = { ttl = { 200 = "5m", 404 = "10s" }, key = ["{cookie.lang}"], query = { drop = ["utm_*"] } }
[[routes]]
pattern = "/own/*"
dest = "10.0.0.1:80"
[routes.cache]
ttl = "90s"
obey = "ttl"
cookies = "ignore"
set_cookie = "strip"
[[routes]]
pattern = "/off/*"
dest = "10.0.0.1:80"
cache = false
[[routes]]
pattern = "/status"
dest = "status:200"
[[routes]]
pattern = "/led/*"
dest = "10.0.0.1:80"
[[routes.rules]]
dest = "10.0.0.2:80"
[[routes]]
pattern = "/stale/*"
dest = "10.0.0.1:80"
cache = { stale_while = "10s", stale_on_error = "1h", fill = "known" }
[[routes]]
pattern = "/ruled/*"
dest = "10.0.0.1:80"
cache = { enabled = false, key = "{cookie.lang}" }
[[routes.rules]]
when = 'query.on == "1"'
cache = true
[[routes.rules]]
when = 'query.ttl == "1"'
cache = { ttl = "5m", key = ["{cookie.a}", "{cookie.b}"], stale_on_error = 0 }
[[routes.rules]]
when = 'query.off == "1"'
[routes.rules.cache]
enabled = false
`
	path := fileOf(t, text)
	for _, c := range []struct {
		url, method string
		fields      []string
		want        []string
	}{
		{"/a?b=1", "", nil, []string{"cache on (" + path + ":5): GET http example.com /a?b=1\n",
			"lifetime as the backend says, else by Last-Modified, 1h at most; on errors stale for 1m\n",
			"not stored: no-store, private, Set-Cookie, a Cookie without a stated lifetime, " +
				"an answer without lifetime, ETag and Last-Modified: ttl gives one\n", "GET /a?b=1 HTTP/1.1"}},
		{"/api/x?utm_a=1&b=2&utm_b", "", []string{"Cookie: lang=de", "Accept-Encoding: br, x"},
			[]string{"cache on (" + path + ":14): GET http example.com /api/x?b=2 (utm_a, utm_b are dropped), " +
				"{cookie.lang} = \"de\"\n",
				"lifetime as the backend says, else 5m for 200, 10s for 404; on errors stale for 1m\n",
				"sent GET /api/x?b=2 HTTP/1.1\n", "Accept-Encoding: br\n"}},
		{"/own/x", "HEAD", nil, []string{"cache on (" + path + ":18): HEAD http example.com /own/x\n",
			"lifetime 1m30s for 200, 203, 204, 300, 301, 308, else as the backend says; on errors stale for 1m\n",
			"not stored: no-store, private\n"}},
		{"/api/x?utm_a=1", "POST", nil, []string{
			"cache passed: method (the method is not GET, HEAD or QUERY)\n", "sent POST /api/x?utm_a=1 HTTP/1.1\n"}},
		{"/a", "PURGE", nil, []string{"answer 200: the cache answers PURGE, by purge.allow of [cache]\n"}},
		{"/a", "PURGE", []string{"Soft-Purge: x"}, []string{"answer 400: the cache answers PURGE"}},
		{"/off/x", "PURGE", nil, []string{"sent PURGE /off/x HTTP/1.1\n"}},
		{"/led/x", "", nil, []string{"cache passed: off (the cache is off for this request: "}},
		{"/stale/x", "", nil, []string{
			"1h at most; stale for 10s while they are fetched anew; on errors stale for 1h\n",
			"a Cookie without a stated lifetime, a request with fields that are not known, an answer without "}},
		{"/ruled/x?on=1", "", nil, []string{"1: cache = true (" + path + ":43)", "2: does not hold",
			"cache on (" + path + ":45): GET http example.com /ruled/x?on=1, {cookie.lang} = \"\"\n"}},
		{"/ruled/x?on=1&ttl=1", "", []string{"Cookie: a=1; b=2"}, []string{
			"2: cache with ttl, stale_on_error, key (" + path + ":46)",
			"cache on (" + path + ":48): GET http example.com /ruled/x?on=1&ttl=1, " +
				"{cookie.a} = \"1\", {cookie.b} = \"2\"\n",
			"lifetime as the backend says, else 5m for 200, 203, 204, 300, 301, 308\n"}},
		{"/ruled/x?on=1&off=1", "", nil, []string{"3: cache = false (" + path + ":49)",
			"cache passed: off (a rule says so, " + path + ":51)\n", "sent GET /ruled/x?on=1&off=1 HTTP/1.1\n"}},
		{"/off/x", "", nil, nil}, {"/status", "", nil, nil}, {"/ruled/x", "", nil, nil},
	} {
		a := answerOf(t, path, explain.Ask{URL: "http://example.com" + c.url, Method: c.method, Fields: c.fields})
		said := textOf(t, a)
		wantLines(t, c.url, said, c.want...)
		if c.want == nil && (a.Cache != nil || strings.Contains(said, "\ncache")) {
			t.Errorf("%s has a cache:\n%s", c.url, said)
		}
	}
}

func init() {
	plugin.Register(plugin.ConnectionFilters, "explain_door", "Says no.",
		func(*struct{}, *plugin.Build) (*session.ConnFilter, error) { return &session.ConnFilter{}, nil })
	plugin.Register(plugin.Services, "explain_greet", "Greets.",
		func(*struct{}, *plugin.Build) (*plugin.Service, error) { return &plugin.Service{}, nil })
}

// A connection to a service meets connection filters and rules on handshakes; of a service of another type nothing more
// is known.
func TestExplain_services(t *testing.T) {
	const text = `[connection_filters.door]
type = "explain_door"
[services.db]
type = "tcp"
listen = ["127.0.0.1:1", "unix:/run/x"]
dest = "10.0.0.1:1"
connection_filters = "door"
cert = "internal"
[services.greet]
type = "explain_greet"
listen = ":2"
connection_filters = "door"
[[tls.rules]]
when = 'tls.sni == "closed.test"'
deny = true
`
	path := fileOf(t, text)
	for url, want := range map[string]string{
		"tcp://127.0.0.1:1": "service   db 127.0.0.1:1 (edge.toml:3), TLS|the connection filter door may close|" +
			"upstream  10.0.0.1:1",
		"tcp://closed.test:1": "handshake denied|rule 1: deny",
		"tcp://greet.test:2":  `decides by itself what it does with a connection: its type is "explain_greet"`,
		"tcp://127.0.0.2:1":   "service   none|db (edge.toml:3): its address is 127.0.0.1, not 127.0.0.2",
	} {
		a := answerOf(t, path, explain.Ask{URL: url})
		var out strings.Builder
		testutil.Must(t, a.WriteText(&out))
		for _, want := range strings.Split(want, "|") {
			if got := strings.ReplaceAll(out.String(), path, "edge.toml"); !strings.Contains(got, want) {
				t.Errorf("%s: want %q in\n%s", url, want, got)
			}
		}
		if leads := url == "tcp://127.0.0.1:1"; leads != (a.Upstream != nil) {
			t.Errorf("%s: %+v", url, a.Upstream)
		}
	}
}

// Which clients are told of HTTP/3 depends on the host that they ask for.
func TestExplain_altSvc(t *testing.T) {
	text := `
[https]
listen = ":443"
cert = "internal"
protocols = ["h1", "h3"]
h3.hosts = ["*.example", "!admin.example"]
[[routes]]
pattern = "/*"
dest = "status:204"
`
	path := fileOf(t, text)
	for host, want := range map[string]bool{"Shop.example": true, "admin.example": false, "other.test": false} {
		said := textOf(t, answerOf(t, path, explain.Ask{URL: "https://" + host + "/"}))
		if strings.Contains(said, "Alt-Svc tells clients on secured connections of HTTP/3 ("+path+":5)") != want {
			t.Errorf("%s:\n%s", host, said)
		}
	}
}

// Characters of the file that a terminal obeys or hides are shown as escapes.
func TestExplain_hiddenCharacters(t *testing.T) {
	path := fileOf(t, "[http]\nlisten = \":8080\"\n"+
		"[[routes]]\nname = \"a\u202eb\"\npattern = \"/a\"\ndest = \"10.0.0.1:80\"\n"+
		"[[routes]]\nname = \"c\u2066d\"\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\n")
	got := textOf(t, answerOf(t, path, explain.Ask{URL: "http://x:8080/a"}))
	wantLines(t, "escaped", got, `route a\u202eb /a`, `c\u2066d /*`)
	if strings.ContainsAny(got, "\u202e\u2066") {
		t.Errorf("%q", got)
	}
}

// The limits of the listener decide about a long head, and not the defaults.
func TestExplain_longHeads(t *testing.T) {
	for limits, want := range map[string]string{
		`limits = { target_size = "64k", header_size = "128k" }`: "10.0.0.1:80",
		"": "request line too long",
	} {
		text := "[http]\nlisten = \":8080\"\n" + limits + "\n[[routes]]\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\n"
		path := fileOf(t, text)
		got := textOf(t, answerOf(t, path, explain.Ask{URL: "http://x:8080/?" + strings.Repeat("q", 20000)}))
		if !strings.Contains(got, want) {
			t.Errorf("%q: want %q in\n%s", limits, want, strings.ReplaceAll(got, "qqqq", ""))
		}
		if _, err := explain.Arrive(&explain.Ask{URL: "http://x:8080/?" + strings.Repeat("q", 20000)}); err != nil {
			t.Error(err)
		}
	}
}

// A request is explained with its body, also where it waits for 100.
func TestExplain_body(t *testing.T) {
	const text = "[[routes]]\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\nread_body = \"1k\"\n" +
		"[[routes.rules]]\nwhen = 'json(body, \"model\") == \"small\"'\ndeny = 403\n"
	path := fileOf(t, text)
	for _, fields := range [][]string{nil, {"Expect: 100-continue"}} {
		a := answerOf(t, path, explain.Ask{URL: "http://x:8080/", Body: `{"model":"small"}`, Fields: fields})
		if out := textOf(t, a); !strings.Contains(out, "403") {
			t.Error(out)
		}
	}
}

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

func TestExplain_traces(t *testing.T) {
	const text = "[tracing]\nendpoint = \"http://127.0.0.1:4318\"\nsample = 0.5\n" +
		"[[listeners]]\nlisten = \":8080\"\ntrusted_proxies = [\"10.0.0.0/8\"]\n" +
		"[[listeners]]\nlisten = \":8081\"\ntracing = { accept = \"none\" }\n" +
		"[[listeners]]\nlisten = \":8082\"\ntracing = false\n" +
		"[[routes]]\npattern = \"/*\"\ndest = \"hello\"\n" +
		"[[routes]]\npattern = \"/off\"\ndest = \"hello\"\ntracing = false\n" +
		"[[routes]]\npattern = \"/own\"\ndest = \"hello\"\ntracing = { sample = 1, always = [] }\n"
	path := fileOf(t, text)
	const (
		within  = "traceparent: 00-0af7651916cd43dd0448eb211c80319c-b7ad6b7169203331-"
		outside = "traceparent: 00-0af7651916cd43ddf448eb211c80319c-b7ad6b7169203331-"
	)
	for _, c := range []struct{ url, client, field, want string }{
		{"http://x:8080/", "", "A: b", "a new trace, recorded by the share of 0.5, of at most 200/s; " +
			"always when status 500-599"},
		{"http://x:8080/", "", "traceparent: x", "a new trace, since its traceparent cannot be used"},
		{"http://x:8080/", "10.0.0.1", outside + "01", "recorded, as its traceparent says"},
		{"http://x:8080/", "10.0.0.1", within + "00", "not recorded, as its traceparent says"},
		{"http://x:8080/", "", within + "00", "recorded: its trace is in the share of 0.5"},
		{"http://x:8080/", "", outside + "01", "not recorded: its trace is not in the share"},
		{"http://x:8081/", "10.0.0.1", outside + "01", "not recorded: its trace is not in the share"},
		{"http://x:8082/", "", "A: b", "not recorded: the listener has tracing = false"},
		{"http://x:8080/off", "", "A: b", "not recorded: the route has tracing = false"},
		{"http://x:8080/own", "", "A: b", "a new trace, recorded by the share of 1, of at most 200/s\n"},
	} {
		ask := explain.Ask{URL: c.url, Fields: []string{c.field}}
		if c.client != "" {
			ask.Client = netip.MustParseAddr(c.client)
		}
		var out strings.Builder
		testutil.Must(t, answerOf(t, path, ask).WriteText(&out))
		if !strings.Contains(out.String(), "traces    "+c.want) {
			t.Errorf("%+v: want it in\n%s", c, out.String())
		}
	}
}

// A connection leads where its routes say, or a rule on handshakes, by the host of the URL.
func TestExplain_byName(t *testing.T) {
	text := `[services.tls]
listen = "127.0.0.1:1"
peek = true
[[services.tls.routes]]
when = 'tls.sni == "a.test"'
dest = "10.0.0.1:1"
[[services.tls.routes]]
when = 'client.ip in {192.0.2.0/24}'
dest = "10.0.0.2:1"
[services.ends]
listen = "127.0.0.1:2"
cert = "internal"
dest = "10.0.0.3:1"
[services.by]
listen = "127.0.0.1:4"
peek = true
dest = "by"
[upstreams.by]
backends = [{ address = "10.0.0.5:1" }, { address = "10.0.0.6:1" }]
load_balancing = "ketama"
hash_key = "{tls.sni}"
[https]
listen = "127.0.0.1:3"
cert = "internal"
[[tls.rules]]
when = 'tls.sni == "b.test"'
dest = "10.0.0.4:1"
[[routes]]
pattern = "/*"
dest = "status:200"
`
	path := fileOf(t, text)
	for _, c := range []struct{ url, client, upstream, want string }{
		{"tcp://a.test:1", "198.51.100.1", "10.0.0.1:1", "route 1 takes it: tls.sni == \"a.test\" (edge.toml:4)"},
		{"tcp://b.test:1", "192.0.2.1", "10.0.0.2:1", "route 1 does not take it|route 2 takes it"},
		{"tcp://127.0.0.1:1", "198.51.100.1", "", "no route takes it, and there is no dest"},
		{"tcp://a.test:2", "198.51.100.1", "10.0.0.3:1", "service   ends"},
		{"tcp://a.test:4", "198.51.100.1", "by", "ketama by {tls.sni}, tcp|100.0 %  10.0.0.5:1"},
		{"tcp://c.test:4", "198.51.100.9", "by", "ketama by {tls.sni}, tcp|100.0 %  10.0.0.6:1"},
		{"tcp://b.test:2", "198.51.100.1", "10.0.0.4:1", "handshake passed on to 10.0.0.4:1|rule 1: dest 10.0.0.4:1"},
		{"https://b.test:3/x", "198.51.100.1", "10.0.0.4:1", "handshake passed on to 10.0.0.4:1"},
		{"https://a.test:3/x", "198.51.100.1", "", "rule 1: does not hold"},
	} {
		a := answerOf(t, path, explain.Ask{URL: c.url, Client: netip.MustParseAddr(c.client)})
		var out strings.Builder
		testutil.Must(t, a.WriteText(&out))
		got := strings.ReplaceAll(out.String(), path, "edge.toml") + a.Why
		for _, want := range strings.Split(c.want, "|") {
			if !strings.Contains(got, want) {
				t.Errorf("%s: want %q in\n%s", c.url, want, got)
			}
		}
		if name := a.Upstream; (name == nil) != (c.upstream == "") || name != nil && name.Name != c.upstream {
			t.Errorf("%s: %+v", c.url, name)
		}
	}
}
