package traefik_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/import/plan"
	"github.com/edge-proxy/edge/config/import/traefik"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/route"
)

// asked is a request of the model.
type asked struct{ host, path, method, x, y, q string }

// matcher is a matcher of a rule: its text, and whether a request meets it, as Traefik's documentation has it.
type matcher struct {
	text  string
	holds func(a asked) bool
}

// matchers returns those that edge can ask for exactly.
func matchers() (list []matcher) {
	add := func(text string, holds func(a asked) bool) { list = append(list, matcher{text, holds}) }
	for _, host := range hosts {
		add("Host(`"+host+"`)", func(a asked) bool { return a.host == host })
	}
	for _, above := range []string{".test", ".x.test"} {
		add("HostRegexp(`^.+"+strings.ReplaceAll(above, ".", `\.`)+"$`)", func(a asked) bool {
			return len(a.host) > len(above) && strings.HasSuffix(a.host, above)
		})
	}
	for _, path := range []string{"/p", "/p/", "/p/q", "/"} {
		add("Path(`"+path+"`)", func(a asked) bool { return a.path == path })
	}
	for _, prefix := range []string{"/", "/p/", "/p/q/", "/r/"} {
		add("PathPrefix(`"+prefix+"`)", func(a asked) bool { return strings.HasPrefix(a.path, prefix) })
	}
	add("PathRegexp(`^/(p|r)/`)", func(a asked) bool {
		return strings.HasPrefix(a.path, "/p/") || strings.HasPrefix(a.path, "/r/")
	})
	add("PathRegexp(`^/[pr]`)", func(a asked) bool {
		return strings.HasPrefix(a.path, "/p") || strings.HasPrefix(a.path, "/r")
	})
	add("PathRegexp(`q.?$`)", func(a asked) bool {
		return strings.HasSuffix(a.path, "q") || strings.HasSuffix(a.path[:len(a.path)-1], "q")
	})
	add("HostRegexp(`^[ab]`)", func(a asked) bool { return a.host[0] == 'a' || a.host[0] == 'b' })
	for _, method := range methods {
		add("Method(`"+method+"`)", func(a asked) bool { return a.method == method })
	}
	add("Header(`X`, `1`)", func(a asked) bool { return a.x == "1" })
	add("Header(`X`, `2`)", func(a asked) bool { return a.x == "2" })
	add("Header(`Y`, `1`)", func(a asked) bool { return a.y == "1" })
	add("Query(`q`, `1`)", func(a asked) bool { return a.q == "1" })
	return list
}

var (
	hosts   = []string{"a.test", "b.x.test", "c.x.test", "x.test", "z"}
	paths   = []string{"/", "/p", "/p/", "/p/q", "/p/q/", "/p/q/s", "/pq", "/r/1", "/other"}
	methods = []string{"GET", "POST", "HEAD"}
)

// rule returns a rule of some matchers.
func rule(r *rand.Rand, all []matcher, depth int) matcher {
	if depth == 0 || r.IntN(3) == 0 {
		return all[r.IntN(len(all))]
	}
	a, b := rule(r, all, depth-1), rule(r, all, depth-1)
	switch r.IntN(5) {
	case 0:
		return matcher{"!(" + a.text + ")", func(q asked) bool { return !a.holds(q) }}
	case 1:
		return matcher{"(" + a.text + " || " + b.text + ")", func(q asked) bool { return a.holds(q) || b.holds(q) }}
	}
	return matcher{a.text + " && " + b.text, func(q asked) bool { return a.holds(q) && b.holds(q) }}
}

// any request, now and then with what rules ask for.
func anyRequest(r *rand.Rand) asked {
	a := asked{host: hosts[r.IntN(len(hosts))], path: paths[r.IntN(len(paths))], method: methods[r.IntN(len(methods))]}
	a.x, a.y, a.q = []string{"", "1", "2"}[r.IntN(3)], []string{"", "1"}[r.IntN(2)], []string{"", "1"}[r.IntN(2)]
	return a
}

// Of routers with any rules and priorities, edge takes the one that Traefik does: the first whose rule holds.
func TestImport_choosesAsTraefikDoes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	all := matchers()
	for range 60 {
		var rules []matcher
		text := "http:\n  routers:\n"
		order := r.Perm(100)
		count := 1 + r.IntN(8)
		for i := range count {
			rules = append(rules, rule(r, all, 3))
			text += fmt.Sprintf("    r%d: {rule: %q, service: s%d, priority: %d}\n", i, rules[i].text, i, order[i]+1)
		}
		text += "  services:\n"
		for i := range count {
			text += fmt.Sprintf("    s%d: {loadBalancer: {servers: [{url: \"http://127.0.0.1:%d\"}]}}\n", i, 3000+i)
		}
		table, result := tableOf(t, text)
		for range 60 {
			a := anyRequest(r)
			want := ""
			best := 0
			for i, m := range rules {
				if m.holds(a) && order[i]+1 > best {
					want, best = fmt.Sprintf("s%d", i), order[i]+1
				}
			}
			if got := take(t, table, a); got != want {
				t.Fatalf("%+v: %q, want %q\n%s\n%s", a, got, want, text, result)
			}
		}
	}
}

// tableOf returns the routes that an import of a text makes.
func tableOf(t *testing.T, text string) (table *route.Table[string], result string) {
	t.Helper()
	p, err := traefik.Import([]string{"f.yml"}, &plan.Reader{Files: fstest.MapFS{"f.yml": {Data: []byte(text)}}})
	if err != nil {
		t.Fatal(err, text)
	}
	if p.Losses() > 0 {
		t.Fatal(p.Findings(), text)
	}
	result = string(p.Text(plan.TextOnly))
	if p.Losses() > 0 {
		t.Fatal(p.Findings(), text)
	}
	c, report := config.Parse("edge.toml", []byte(result))
	if !report.OK() {
		t.Fatal(report.Errors)
	}
	table = &route.Table[string]{}
	for i := range c.Routes {
		to := ""
		if d := c.Routes[i].Dest; d.Kind == config.DestUpstream {
			to = c.Upstreams[d.Upstream].Name
		}
		if err := table.Add(c.Routes[i].Rule(), to); err != nil {
			t.Fatal(err)
		}
	}
	return table, result
}

// arrival is a request by the one listener.
type arrival struct{ head *message.Head }

func (arrival) ListenerName() string                                    { return "web" }
func (arrival) CertificateVerified() bool                               { return false }
func (arrival) CertificateNames() (s, i string, sans []string, ok bool) { return "", "", nil, false }

func (a arrival) Holds(c *lang.Condition, path []byte) bool {
	return c.Holds(&lang.X{Request: a.head, Path: path, State: lang.NewState(1)})
}

// take returns the upstream that a request goes to, "" where it is answered 404.
func take(t *testing.T, table *route.Table[string], a asked) string {
	t.Helper()
	var h message.Head
	h.SetMethod(a.method)
	target := a.path
	if a.q != "" {
		target += "?q=" + a.q
	}
	h.SetTarget(target)
	h.SetAuthority(a.host)
	for _, f := range []plan.Field{{Name: "X", Value: a.x}, {Name: "Y", Value: a.y}} {
		if f.Value != "" {
			h.Add(f.Name, f.Value)
		}
	}
	var local route.Local
	to, err := table.Find(&h, arrival{&h}, route.Reading{}, &local)
	if err != nil {
		t.Fatal(err)
	}
	return to
}
