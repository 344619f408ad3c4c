package rules_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge"
	configured "github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/filter/ratelimit"
	"github.com/edge-proxy/edge/internal/filter/rules"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/cache"
	"github.com/edge-proxy/edge/session"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // backends that fail are part of these tests
	os.Exit(m.Run())
}

var scope = must(variables.Scope(lang.Names{}))

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func when(text string) *lang.Condition { return must(scope.Condition(text, lang.Request)) }

func text(text string) *lang.Template { return must(scope.Template(text, lang.Request)) }

// late is a template for the answer.
func late(text string) *lang.Template { return must(scope.Template(text, lang.Answer)) }

func one(name, value string) []rules.Text { return []rules.Text{{Name: name, Value: text(value)}} }

func oneLate(name, value string) []rules.Text { return []rules.Text{{Name: name, Value: late(value)}} }

// origin answers with what it was asked, a line for each: the target, the host and some fields.
func origin(t testing.TB) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Origin", "main")
		fmt.Fprintf(w, "%s %s %s\n", r.Method, r.RequestURI, r.Host)
		for _, name := range []string{"X-A", "X-B", "X-Real-IP", "X-Forwarded-For", "X-Sum"} {
			for _, v := range append(r.Header.Values(name), r.Trailer.Values(name)...) {
				fmt.Fprintf(w, "%s: %s\n", name, v)
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// rig is a server with rules for all requests, and for those of the route /route/*.
type rig struct {
	*edge.Server
	url string
	log *testutil.Output
}

func newRig(t testing.TB, before, ofRoute []rules.Rule) *rig {
	t.Helper()
	return serve(t, []*proxy.Filter{filterOf(t, before, proxy.PhaseBeforeRoute)}, []proxy.Route{
		{Name: "route", Path: "/route", Filters: []*proxy.Filter{filterOf(t, ofRoute, proxy.PhaseRequest)}},
		{Name: "all", Path: "/all"},
	})
}

func filterOf(t testing.TB, list []rules.Rule, in proxy.Phase) *proxy.Filter {
	t.Helper()
	f, err := rules.New(list, in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// serve serves routes, which lead to the origin.
func serve(t testing.TB, before []*proxy.Filter, routes []proxy.Route) *rig {
	t.Helper()
	to := edge.Backends(origin(t))
	for i := range routes {
		routes[i].To = to
	}
	l := new(testutil.Output)
	s := &edge.Server{Addr: "127.0.0.1:0", AccessLog: l, Session: session.ServerOptions{H2C: true},
		Filters: before, Routes: routes}
	return &rig{s, filterrig.Start(t, s), l}
}

// clients are one of each version.
func clients(t testing.TB) map[string]*http.Client {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	one := &http.Client{Transport: &http.Transport{}, Timeout: testutil.Patience, CheckRedirect: stay}
	t.Cleanup(one.CloseIdleConnections)
	two := testutil.H2C(t)
	two.CheckRedirect = stay
	return map[string]*http.Client{"HTTP/1": one, "HTTP/2": two}
}

// asked is a request of a test.
type asked struct {
	method, target string
	fields         []string // "Name: value"
}

func (a asked) do(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	method := a.method
	if method == "" {
		method = "GET"
	}
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(a.target, "?")
	req.URL.Opaque, req.URL.RawQuery = path, query
	for _, f := range a.fields {
		name, value, _ := strings.Cut(f, ": ")
		if name == "Host" {
			req.Host = value
		} else {
			req.Header.Add(name, value)
		}
	}
	return testutil.Do(t, c, req)
}

// brief is what a test compares: the status, Location and X-Out, and the body.
func brief(resp *http.Response, body string) string {
	out := fmt.Sprint(resp.StatusCode)
	for _, name := range []string{"Location", "X-Out", "X-Origin"} {
		for _, v := range resp.Header.Values(name) {
			out += fmt.Sprintf(" %s: %s", name, v)
		}
	}
	if resp.StatusCode >= 400 && resp.Header.Get("Proxy-Status") != "" {
		return out
	}
	if body, _, _ = strings.Cut(body, "X-Forwarded-For"); body != "" {
		out += " " + strings.TrimSpace(strings.ReplaceAll(body, "\n", " "))
	}
	return out
}

const host = "Host: a.example"

// actions are one case for each action, before the route and of the route.
var actions = []struct {
	name string
	rule []rules.Rule
	ask  asked
	want string
}{
	{"nothing holds", []rules.Rule{{When: when(`path == "/other"`), Deny: 403}},
		asked{target: "/all"}, "200 X-Origin: main GET /all a.example"},
	{"deny", []rules.Rule{{Deny: 403}}, asked{target: "/all"}, "403"},
	{"deny with a status", []rules.Rule{{When: when(`method == "GET"`), Deny: 404}}, asked{target: "/all"}, "404"},
	{"respond", []rules.Rule{{Respond: &rules.Respond{Status: 200, Body: text("it is {query.q}")}}},
		asked{target: "/all?q=a%3Cb"}, "200 it is a<b"},
	{"respond with HTML", []rules.Rule{{Respond: &rules.Respond{
		Status: 200, Body: text(`<p>{query.q}`), Type: "text/html; charset=utf-8"}}},
		asked{target: "/all?q=%3Cscript%3E%22%26'"}, "200 <p>&lt;script&gt;&#34;&amp;&#39;"},
	{"respond with JSON", []rules.Rule{{Respond: &rules.Respond{
		Status: 200, Body: text(`"q":"{query.q}"`), Type: "application/json"}}},
		asked{target: `/all?q=%22%5C%0A%3C`}, `200 "q":"\u0022\u005c\u000a\u003c"`},
	{"redirect by a group", []rules.Rule{{When: when(`path ~ "^/[a-z0-9]+/([a-z]*)$"`),
		Redirect: &rules.Redirect{To: text("/new/{match.1}"), Status: 301}}},
		asked{target: "/all?a=1"}, "301 Location: /new/all?a=1"},
	{"redirect to https", []rules.Rule{{When: when(`scheme == "http"`),
		Redirect: &rules.Redirect{To: text("https://{host}{target}")}}},
		asked{target: "/all?a=1"}, "308 Location: https://a.example/all?a=1"},
	{"redirect keeps no query", []rules.Rule{{Redirect: &rules.Redirect{To: text("/b?"), Status: 302}}},
		asked{target: "/all?a=1"}, "302 Location: /b"},
	{"fields of the request", []rules.Rule{{RequestFields: one("X-A", "{method} {path.basename()}")}},
		asked{target: "/all"}, "200 X-Origin: main GET /all a.example X-A: GET all"},
	{"a field that is removed", []rules.Rule{{RequestFields: one("X-A", "{header.x-none}")}},
		asked{target: "/all", fields: []string{"X-A: mine", "X-B: stays"}},
		"200 X-Origin: main GET /all a.example X-B: stays"},
	{"a field that a proxy writes", []rules.Rule{{RequestFields: one("X-Real-IP", "{client.ip}")}},
		asked{target: "/all", fields: []string{"X-Real-IP: 1.2.3.4"}},
		"200 X-Origin: main GET /all a.example X-Real-IP: 127.0.0.1"},
	{"the host", []rules.Rule{{RequestFields: one("Host", "b.{host}")}},
		asked{target: "/all"}, "200 X-Origin: main GET /all b.a.example"},
	{"fields of the answer", []rules.Rule{{When: when(`path ~ "/(a)"`),
		AnswerFields: oneLate("X-Out", "{status} {match.1} {answer.header.x-origin}")}},
		asked{target: "/all"}, "200 X-Out: 200 a main X-Origin: main GET /all a.example"},
	{"fields of an answer of one's own", []rules.Rule{
		{AnswerFields: oneLate("X-Out", "{status}")}, {Deny: 410}},
		asked{target: "/all"}, "410 X-Out: 410"},
	{"groups are those of the rule", []rules.Rule{
		{When: when(`path ~ "/(a)(l)"`), AnswerFields: oneLate("X-Out", "{match.1}")},
		{When: when(`path ~ "/a(l)(l)" and header.x-b ~ "(.)"`), RequestFields: one("X-A", "{match.1}")},
		{RequestFields: one("X-B", "[{match.1}]")}},
		asked{target: "/all", fields: []string{"X-B: z"}},
		"200 X-Out: a X-Origin: main GET /all a.example X-A: z X-B: []"},
	{"a text of the exchange", []rules.Rule{
		{Set: one("who", "{header.x-a}")},
		{When: when(`local.who == "me"`), RequestFields: one("X-B", "it is {local.who}")}},
		asked{target: "/all", fields: []string{"X-A: me"}},
		"200 X-Origin: main GET /all a.example X-A: me X-B: it is me"},
	{"a query", []rules.Rule{{Query: &rules.Query{
		Del: []string{"a"}, Set: one("b", "{query.a} &"), Add: one("c d", "")}}},
		asked{target: "/all?a=1&b=2&%61=3&e&b=4"},
		"200 X-Origin: main GET /all?e&b=1%2C%203%20%26&c%20d= a.example"},
	{"the first that answers ends it", []rules.Rule{
		{Respond: &rules.Respond{Status: 201}}, {Deny: 403}}, asked{target: "/all"}, "201"},
	{"a later one counts", []rules.Rule{
		{RequestFields: one("X-A", "1")}, {RequestFields: one("X-A", "2")}},
		asked{target: "/all"}, "200 X-Origin: main GET /all a.example X-A: 2"},
	{"what Connection names stays where a rule sets it", []rules.Rule{{RequestFields: one("X-A", "set")}},
		asked{target: "/all", fields: []string{"Connection: x-a", "X-A: mine"}},
		"200 X-Origin: main GET /all a.example X-A: set"},
	{"tarpit", []rules.Rule{{Tarpit: time.Millisecond, Deny: 429}}, asked{target: "/all"}, "429"},
}

// Each case has a path of its own, with its rules before the route is chosen, and another one with rules of the route.
func TestRules_actions(t *testing.T) {
	var before []*proxy.Filter
	var routes []proxy.Route
	for i, a := range actions {
		early, late := fmt.Sprintf("/b%d", i), fmt.Sprintf("/r%d", i)
		f := *filterOf(t, a.rule, proxy.PhaseBeforeRoute)
		f.When = proxy.Holds(when(fmt.Sprintf("path starts_with %q", early+"/")))
		before = append(before, &f)
		routes = append(routes, proxy.Route{Name: early, Path: early}, proxy.Route{Name: late, Path: late,
			Filters: []*proxy.Filter{filterOf(t, a.rule, proxy.PhaseRequest)}})
	}
	r := serve(t, before, routes)
	for name, c := range clients(t) {
		for i, a := range actions {
			for _, at := range []string{"/b", "/r"} {
				if name == "HTTP/2" && strings.Contains(a.name, "Connection") {
					continue // it has no such field
				}
				path := fmt.Sprint(at, i, "/all")
				ask, want := a.ask, strings.ReplaceAll(a.want, " /all", " "+path)
				want = strings.ReplaceAll(want, "example/all", "example"+path)
				ask.target = strings.Replace(ask.target, "/all", path, 1)
				ask.fields = append(ask.fields[:len(ask.fields):len(ask.fields)], host)
				if got := brief(ask.do(t, c, r.url)); got != want {
					t.Errorf("%s, %s, %s:\ngot  %s\nwant %s", name, at, a.name, got, want)
				}
			}
		}
	}
}

// A browser that guesses the type of a body does not run the values in it.
func TestRules_respondWithValuesIsOfItsType(t *testing.T) {
	body := func(path, body string) rules.Rule {
		return rules.Rule{When: when(`path == "` + path + `"`), Respond: &rules.Respond{Status: 200, Body: text(body)}}
	}
	r := newRig(t, []rules.Rule{body("/values", "{query.q}"), body("/constant", "hello")}, nil)
	for path, want := range map[string]string{"/values?q=%3Cscript%3E": "nosniff", "/constant": ""} {
		resp, _ := asked{target: path, fields: []string{host}}.do(t, clients(t)["HTTP/1"], r.url)
		if got := resp.Header.Get("X-Content-Type-Options"); got != want || resp.StatusCode != 200 {
			t.Errorf("%s: %s, %q, want %q", path, resp.Status, got, want)
		}
	}
}

func TestRules_rewrite(t *testing.T) {
	strip := rules.Rule{When: when(`path starts_with "/v1/"`), Rewrite: text(`{path.cut_prefix("/v1")}`)}
	group := rules.Rule{When: when(`path ~ "^/old/(.*)$"`), Rewrite: text(`/all/{match.1}?old=1`)}
	search := rules.Rule{When: when(`has(query.q)`), Rewrite: text(`/all/{query.q}`)}
	seen := rules.Rule{When: when(`path == "/all/17"`), RequestFields: one("X-A", "seen")}
	before := newRig(t, []rules.Rule{strip, group, search, seen}, nil)
	after := newRig(t, nil, []rules.Rule{{Rewrite: text(`{path.cut_prefix("/route")}`)}, {
		When: when(`path starts_with "/route"`), RequestFields: one("X-A", "{path}")}})
	for name, c := range clients(t) {
		for _, a := range []struct {
			rig    *rig
			target string
			want   string
		}{
			{before, "/v1/all/x?b=1", "200 X-Origin: main GET /all/x?b=1 a.example"},
			{before, "/v1/route", "200 X-Origin: main GET /route a.example"},
			{before, "/v1/none", "404"}, // routing sees what it was made
			{before, "/old/17?b=1", "200 X-Origin: main GET /all/17?old=1 a.example X-A: seen"},
			{before, "/v1/old/17", "200 X-Origin: main GET /all/17?old=1 a.example X-A: seen"},
			{before, "/?q=a%20b%0D%0A%3Cc%3E%23",
				"200 X-Origin: main GET /all/a%20b%0D%0A%3Cc%3E%23?q=a%20b%0D%0A%3Cc%3E%23 a.example"},
			{before, "/?q=../../secret", "400"},
			{before, "/?q=%252e%252e/secret", "400"},
			{before, "/?q=..;/secret", "400"},
			{before, "/?q=" + strings.Repeat("a", 20<<10), "414"},
			{after, "/route/x", "200 X-Origin: main GET /x a.example X-A: /route/x"},
			{after, "/route", "200 X-Origin: main GET / a.example X-A: /route"},
			{after, "/route//evil/", "200 X-Origin: main GET /evil/ a.example X-A: /route//evil/"},
		} {
			if got := brief(asked{target: a.target, fields: []string{host}}.do(t, c, a.rig.url)); got != a.want {
				t.Errorf("%s, %.20s:\ngot  %s\nwant %s", name, a.target, got, a.want)
			}
		}
	}
}

// What a client writes never chooses where a redirect leads, nor begins a field or an answer.
func TestRules_hostileValues(t *testing.T) {
	r := newRig(t, []rules.Rule{
		{AnswerFields: oneLate("X-Out", "{query.out}"), RequestFields: one("X-A", " {query.a} ")},
		{When: when(`path == "/to"`), Redirect: &rules.Redirect{To: text("{query.to}")}},
		{When: when(`path == "/at"`), Redirect: &rules.Redirect{
			To: text(`https://good.example{path.cut_prefix("/at")}{query.to}?`)}},
		{When: when(`path == "/in"`), Redirect: &rules.Redirect{To: text("https://{host}/{query.to}?")}},
		{When: when(`path == "/host"`), RequestFields: one("Host", "{query.h}")},
	}, nil)
	c := clients(t)["HTTP/1"]
	for _, a := range []struct{ target, want string }{
		{"/to?to=//evil.example", "308 Location: /evil.example?to=//evil.example"},
		{"/to?to=/%5Cevil.example", "308 Location: /%5Cevil.example?to=/%5Cevil.example"},
		{"/to?to=https://evil.example", "308 Location: /https://evil.example?to=https://evil.example"},
		{"/to?to=javascript:1", "308 Location: /javascript:1?to=javascript:1"},
		{"/to", "308 Location: /"},
		{"/to?to=a%0d%0aX-Out:%20b", "308 Location: /a%0D%0AX-Out:%20b?to=a%0d%0aX-Out:%20b"},
		{"/at?to=.evil.example", "308 Location: https://good.example/.evil.example"},
		{"/at?to=@evil.example", "308 Location: https://good.example/@evil.example"},
		{"/at?to=:80%5C", "308 Location: https://good.example/:80%5C"},
		{"/in?to=x", "308 Location: https://a.example/x"},
		{"/all?out=a%0d%0aX-Out:%20b",
			"200 X-Out: a%0D%0AX-Out: b X-Origin: main GET /all?out=a%0d%0aX-Out:%20b a.example"},
		{"/all?a=a%0d%0aX-B:%20b", "200 X-Origin: main GET /all?a=a%0d%0aX-B:%20b a.example X-A: a%0D%0AX-B: b"},
		{"/all?a=%20%20", "200 X-Origin: main GET /all?a=%20%20 a.example"},
		{"/host?h=a%20b", "400"},
		{"/host", "400"},
	} {
		if got := brief(asked{target: a.target, fields: []string{host}}.do(t, c, r.url)); got != a.want {
			t.Errorf("%s:\ngot  %s\nwant %s", a.target, got, a.want)
		}
	}
}

func TestRules_drop(t *testing.T) {
	for _, list := range [][2][]rules.Rule{
		{{{Drop: true}}, nil}, {nil, {{Drop: true}}}, {{{Drop: true, Tarpit: time.Millisecond}}, nil},
	} {
		r := newRig(t, list[0], list[1])
		w := testutil.Dial(t, r.ListenAddr())
		w.Send("GET /route HTTP/1.1\r\nHost: a\r\n\r\n")
		w.WantEnd()
		if _, err := testutil.H2C(t).Get(r.url + "/route"); err == nil || !strings.Contains(err.Error(), "stream") {
			t.Errorf("HTTP/2: the error is %v, want a reset of the stream", err)
		}
	}
}

func TestRules_log(t *testing.T) {
	r := newRig(t, []rules.Rule{
		{When: when(`query.q == "quiet"`), NoLog: true},
		{When: when(`has(query.bot)`), Tag: "bot"},
		{When: when(`query.bot == "bad"`), Tag: "bad"},
		{When: when(`query.bot == "bad"`), Tag: "bot"},
		{Name: "no bots", When: when(`query.bot == "bad"`), Deny: 403},
		{When: when(`has(query.drop)`), Drop: true},
	}, []rules.Rule{{Tag: "of-route"}})
	w := testutil.Dial(t, r.ListenAddr())
	w.Send("GET /?drop HTTP/1.1\r\nHost: a\r\n\r\n")
	w.WantEnd()
	c := clients(t)["HTTP/1"]
	for _, target := range []string{"/all?q=quiet", "/route?bot=good", "/all?bot=bad", "/all?last"} {
		asked{target: target, fields: []string{host}}.do(t, c, r.url)
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return strings.Contains(r.log.String(), "last") })
	got := r.log.String()
	for text, n := range map[string]int{
		"quiet": 0, `"tags":"bot of-route"`: 1, `"tags":"bot bad"`: 1, `"rule":"no bots"`: 1, `"tags"`: 2, `"rule"`: 1,
		`"reason":"edge:rule"`: 2, `"status":444`: 1,
	} {
		if strings.Count(got, text) != n {
			t.Errorf("%d of %s, want %d, in\n%s", strings.Count(got, text), text, n, got)
		}
	}
}

// Rules of one name have limits of their own, which are kept over reloads.
func TestRules_limitsOfOneName(t *testing.T) {
	var store plugin.Store
	claims := store.Claim()
	build := func() *plugin.Build { return &plugin.Build{Name: "defaults", Kept: claims} }
	limit := &ratelimit.Config{Rate: plugin.Rate{Count: 1, Per: time.Hour}, Burst: 1, Fields: "off"}
	list := []rules.Rule{
		{Name: "a", When: when(`path == "/1"`), Limit: limit}, {Name: "a", When: when(`path == "/2"`), Limit: limit},
	}
	for generation, want := range []string{"200 200 429", "429 429 429"} {
		f, err := rules.New(list, proxy.PhaseBeforeRoute, build())
		if err != nil {
			t.Fatal(err)
		}
		r := serve(t, []*proxy.Filter{f}, []proxy.Route{{Name: "all", Path: "/"}})
		var got []string
		for _, path := range []string{"/1", "/2", "/1"} {
			resp, _ := (&asked{target: path, fields: []string{host}}).do(t, clients(t)["HTTP/1"], r.url)
			got = append(got, fmt.Sprint(resp.StatusCode))
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("generation %d: %s, want %s", generation, got, want)
		}
	}
}

// A limit counts by its key, which may name a group and a text of its rule. What is beyond it ends the rules.
func TestRules_limit(t *testing.T) {
	list := func(prefix string) []rules.Rule {
		return []rules.Rule{
			{Name: "tenants", When: when(`path ~ "^/` + prefix + `/t/([^/]+)"`), Set: one("who", "{header.x-a}"),
				Tag: "asked", RequestFields: one("X-B", "{match.1}"), Limit: &ratelimit.Config{
					Key: text("{match.1} {local.who}"), Rate: plugin.Rate{Count: 2, Per: time.Hour}, Fields: "draft"}},
			{When: when(`has(query.late)`), Limit: &ratelimit.Config{Mode: "log", Fields: "off",
				Rate: plugin.Rate{Count: 1, Per: time.Hour}}},
			{AnswerFields: oneLate("X-After-"+prefix, "{status}")},
		}
	}
	r := newRig(t, list("all"), list("route"))
	for _, prefix := range []string{"/all", "/route"} {
		for name, c := range clients(t) {
			for i, one := range []struct {
				target, who, want, left string
			}{
				{"/t/a", "1", "200", "1"}, {"/t/a", "1", "200", "0"}, {"/t/a", "1", "429", "0"},
				{"/t/b", "1", "200", "1"}, {"/t/a", "2", "200", "1"}, {"/t/a?late", "1", "429", "0"},
				{"/other?late", "1", "200", ""}, {"/other?late", "1", "200", ""},
			} {
				ask := asked{target: prefix + one.target, fields: []string{host, "X-A: " + name + one.who}}
				resp, body := ask.do(t, c, r.url)
				got, left := fmt.Sprint(resp.StatusCode), resp.Header.Get("RateLimit")
				if _, rest, ok := strings.Cut(left, ";r="); ok {
					left, _, _ = strings.Cut(rest, ";")
				}
				if got != one.want || left != one.left {
					t.Errorf("%s %s %d: %s, %q are left, want %+v", name, ask.target, i, got, left, one)
				}
				if after := resp.Header.Get("Retry-After"); (after != "") != (one.want == "429") {
					t.Errorf("%s %s %d: Retry-After is %q", name, ask.target, i, after)
				}
				if one.want == "200" && strings.HasPrefix(one.target, "/t/") != strings.Contains(body, "X-B: ") {
					t.Errorf("%s %s %d: the rule does not go on: %s", name, ask.target, i, body)
				}
				if out := resp.Header.Get("X-After-" + prefix[1:]); (out == "") != (one.want == "429") {
					t.Errorf("%s %s %d: the rules after it: %q", name, ask.target, i, out)
				}
			}
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		got := r.log.String()
		return strings.Count(got, `"rule":"tenants"`) == 8 && strings.Count(got, `"reason":"edge:rate_limit"`) == 8
	}, "the log does not name the rule")
}

// A client that leaves gives back its place in the tarpit, and so does a server that ends.
func TestRules_tarpitEnds(t *testing.T) {
	r := newRig(t, []rules.Rule{{Tarpit: time.Hour}}, nil)
	one, two := testutil.Dial(t, r.ListenAddr()), testutil.Dial(t, r.ListenAddr())
	for _, w := range []*testutil.Wire{one, two} {
		w.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	waits := func(n int) {
		t.Helper()
		testutil.Eventually(t, testutil.Patience, func() bool { return rules.Tarpitted() == n }, rules.Tarpitted())
	}
	waits(2)
	one.Reset()
	waits(1)
	ended := make(chan error, 1)
	go func() { ended <- r.Shutdown(context.Background()) }()
	if resp, _ := two.ReadResponse("GET"); resp.StatusCode != 403 {
		t.Errorf("the answer is %d, want 403", resp.StatusCode)
	}
	two.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	waits(0)
}

var errPanic = errors.New("on purpose")

// A filter that panics as the request ends keeps no place in the tarpit.
func TestRules_tarpitBesideAPanic(t *testing.T) {
	breaks := &proxy.Filter{Name: "breaks", Log: func(*proxy.Exchange, *observe.Record) { panic(errPanic) }}
	r := serve(t, []*proxy.Filter{breaks, filterOf(t, []rules.Rule{{Tarpit: time.Hour}}, proxy.PhaseBeforeRoute)},
		[]proxy.Route{{Name: "all", Path: "/all"}})
	w := testutil.Dial(t, r.ListenAddr())
	w.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	testutil.Eventually(t, testutil.Patience, func() bool { return rules.Tarpitted() == 1 }, "it does not wait")
	w.Reset()
	testutil.Eventually(t, testutil.Patience, func() bool { return rules.Tarpitted() == 0 }, "its place is lost")
}

// The last rule that turns a switch counts. A filter without one that stands runs.
func TestSwitches(t *testing.T) {
	note := func(name string) *proxy.Filter {
		return &proxy.Filter{Name: name, Response: func(x *proxy.Exchange) proxy.Verdict {
			x.Response.Set("X-Ran", strings.TrimSpace(x.Response.Get("X-Ran")+" "+name))
			return proxy.Next
		}}
	}
	const a, b, c rules.Switches = 1, 2, 1 << 63
	never := note("never")
	never.When = func(*proxy.Exchange) bool { return false }
	r := serve(t, []*proxy.Filter{
		filterOf(t, []rules.Rule{
			{When: when(`has(query.on)`), On: a | c, Off: b}, {When: when(`has(query.off)`), On: b, Off: a | c},
			{When: when(`has(query.end)`), On: c, Deny: 403},
		}, proxy.PhaseBeforeRoute),
		a.Gate(note("a"), false), b.Gate(note("b"), true), c.Gate(note("c"), false), c.Gate(never, true),
	}, []proxy.Route{{Path: "/", To: proxy.Answer(204, "", "")}})
	for target, want := range map[string]string{
		"/": "b", "/?on": "a c", "/?off": "b", "/?on&off": "b", "/?end": "b c", "/?on&end": "a c",
	} {
		resp, _ := asked{target: target, fields: []string{host}}.do(t, clients(t)["HTTP/1"], r.url)
		if got := resp.Header.Get("X-Ran"); got != want {
			t.Errorf("%s: %q ran, want %q", target, got, want)
		}
	}
	if configured.RuleTextsMax != proxy.TextsMax {
		t.Errorf("a configuration sets %d texts, an exchange has %d", configured.RuleTextsMax, proxy.TextsMax)
	}
}

func TestNew_refuses(t *testing.T) {
	respond := &rules.Respond{Status: 200}
	to := func(to string) rules.Rule { return rules.Rule{Redirect: &rules.Redirect{To: text(to)}} }
	for want, r := range map[string]rules.Rule{
		"does nothing":           {When: when(`path == "/"`)},
		"a rule has one":         {Respond: respond, Deny: 403},
		"deny or drop":           {Respond: respond, Tarpit: time.Second},
		"has no effect":          {Rewrite: text("/a"), Deny: 403},
		"refusal is 400":         {Deny: 200},
		"answer is 200":          {Respond: &rules.Respond{Status: 100}},
		"redirect is 301":        {Redirect: &rules.Redirect{To: text("/"), Status: 200}},
		"no name of a field":     {RequestFields: one("Content-Length", "1")},
		`field "a b": no name`:   {AnswerFields: oneLate("a b", "1")},
		`field "Connection"`:     {AnswerFields: oneLate("Connection", "x")},
		"a tag is":               {Tag: "a b"},
		"rate: it is required":   {Limit: &ratelimit.Config{}},
		"holds requests back":    {Limit: &ratelimit.Config{Rate: plugin.Rate{Count: 1, Per: 1}, Mode: "delay"}},
		"answers itself":         {Limit: &ratelimit.Config{Rate: plugin.Rate{Count: 1, Per: 1}}, Deny: 403},
		"itself has no effect":   {Cache: new(cache.Choice), Drop: true},
		"a time is":              {Timeout: -1, Tag: "a"},
		"a path begins":          {Rewrite: text("a")},
		`a path has no "#"`:      {Rewrite: text("/a#b")},
		"are percent-encoded":    {Rewrite: text("/a b")},
		"write a URL with http":  to("{host}/x"),
		"write a URL":            to("ftp://a"),
		`"https://{query.h}/"`:   to("https://{query.h}/"),
		`"https://a.{query.h}/"`: to("https://a.{query.h}/"),
		`"https://a@{host}/"`:    to("https://a@{host}/"),
		`"//{header.x-a}"`:       to("//{header.x-a}"),
		`"https://"`:             to("https://"),
		`"https:///x"`:           to("https:///x"),
	} {
		_, err := rules.New([]rules.Rule{{Tag: "good"}, r}, proxy.PhaseRequest, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "rule 2: ") {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
}

// A rule about a path cannot be stepped around by a spelling that origins read as that path, before a route is chosen
// and after.
func TestRules_twofoldPaths(t *testing.T) {
	deny := []rules.Rule{{When: when(`path starts_with "/all/admin"`), Deny: 403}}
	r := newRig(t, deny, []rules.Rule{{When: when(`path starts_with "/route/admin"`), Deny: 403}})
	for target, want := range map[string]int{
		"/all/admin": 403, "/all//admin": 400, "/all/x%2f..%2fadmin": 400, "/all%5cadmin": 400, "/all//x": 200,
		"/route/admin": 403, "/route//admin": 400, "/route/x%2f..%2fadmin": 400, "/route//x": 200,
	} {
		w := testutil.Dial(t, r.ListenAddr())
		w.Send("GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")
		if resp, body := w.ReadResponse("GET"); resp.StatusCode != want {
			t.Errorf("%s: %s %q, want %d", target, resp.Status, body, want)
		}
		w.Close()
	}
}
