package importer_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// traefikAsked is a request of the model.
type traefikAsked struct{ host, path, method, x, y, q string }

// traefikMatcher is a matcher of a rule: its text, and whether a request meets it, as Traefik's documentation has it.
type traefikMatcher struct {
	text  string
	holds func(a traefikAsked) bool
}

// traefikMatchers returns those that edge can ask for exactly.
func traefikMatchers() (list []traefikMatcher) {
	add := func(text string, holds func(a traefikAsked) bool) { list = append(list, traefikMatcher{text, holds}) }
	for _, host := range modelHosts {
		add("Host(`"+host+"`)", func(a traefikAsked) bool { return a.host == host })
	}
	for _, above := range []string{".test", ".x.test"} {
		add("HostRegexp(`^.+"+strings.ReplaceAll(above, ".", `\.`)+"$`)", func(a traefikAsked) bool {
			return len(a.host) > len(above) && strings.HasSuffix(a.host, above)
		})
	}
	for _, path := range []string{"/p", "/p/", "/p/q", "/"} {
		add("Path(`"+path+"`)", func(a traefikAsked) bool { return a.path == path })
	}
	for _, prefix := range []string{"/", "/p/", "/p/q/", "/r/"} {
		add("PathPrefix(`"+prefix+"`)", func(a traefikAsked) bool { return strings.HasPrefix(a.path, prefix) })
	}
	add("PathPrefix(`/p`)", func(a traefikAsked) bool { return strings.HasPrefix(a.path, "/p") })
	add("PathRegexp(`^/(p|r)/`)", func(a traefikAsked) bool {
		return strings.HasPrefix(a.path, "/p/") || strings.HasPrefix(a.path, "/r/")
	})
	add("PathRegexp(`^/[pr]`)", func(a traefikAsked) bool {
		return strings.HasPrefix(a.path, "/p") || strings.HasPrefix(a.path, "/r")
	})
	add("PathRegexp(`q.?$`)", func(a traefikAsked) bool {
		return strings.HasSuffix(a.path, "q") || strings.HasSuffix(a.path[:len(a.path)-1], "q")
	})
	add("HostRegexp(`^[ab]`)", func(a traefikAsked) bool { return a.host[0] == 'a' || a.host[0] == 'b' })
	for _, method := range modelMethods {
		add("Method(`"+method+"`)", func(a traefikAsked) bool { return a.method == method })
	}
	add("Header(`X`, `1`)", func(a traefikAsked) bool { return a.x == "1" })
	add("Header(`X`, `2`)", func(a traefikAsked) bool { return a.x == "2" })
	add("Header(`Y`, `1`)", func(a traefikAsked) bool { return a.y == "1" })
	add("Query(`q`, `1`)", func(a traefikAsked) bool { return a.q == "1" })
	return list
}

var (
	modelHosts   = []string{"a.test", "b.x.test", "c.x.test", "x.test", "z"}
	modelPaths   = []string{"/", "/p", "/p/", "/p/q", "/p/q/", "/p/q/s", "/pq", "/r/1", "/other"}
	modelMethods = []string{"GET", "POST", "PUT"}
)

// traefikRule returns a rule of some matchers.
func traefikRule(r *rand.Rand, all []traefikMatcher, depth int) traefikMatcher {
	if depth == 0 || r.IntN(3) == 0 {
		return all[r.IntN(len(all))]
	}
	a, b := traefikRule(r, all, depth-1), traefikRule(r, all, depth-1)
	switch r.IntN(5) {
	case 0:
		return traefikMatcher{"!(" + a.text + ")", func(q traefikAsked) bool { return !a.holds(q) }}
	case 1:
		return traefikMatcher{"(" + a.text + " || " + b.text + ")",
			func(q traefikAsked) bool { return a.holds(q) || b.holds(q) }}
	}
	return traefikMatcher{a.text + " && " + b.text, func(q traefikAsked) bool { return a.holds(q) && b.holds(q) }}
}

// anyTraefikRequest is any request, now and then with what rules ask for.
func anyTraefikRequest(r *rand.Rand) traefikAsked {
	one := func(list ...string) string { return list[r.IntN(len(list))] }
	return traefikAsked{one(modelHosts...), one(modelPaths...), one(modelMethods...), one("", "1", "2"), one("", "1"),
		one("", "1")}
}

// Of routers with any rules and priorities, edge takes the one that Traefik does, the first whose rule holds, and
// refuses what its list of addresses refuses.
func TestTraefik_choosesAsTheProgram(t *testing.T) {
	addresses, r, all := numbered(t, 8), modelRandom(t), traefikMatchers()
	for range 25 {
		addr := testutil.FreeAddr(t)
		text := "entryPoints: {web: {address: \"" + addr + "\"}}\nhttp:\n  middlewares:\n" +
			"    closed: {ipAllowList: {sourceRange: [192.0.2.0/24]}}\n  routers:\n"
		var rules []traefikMatcher
		order, refuses := r.Perm(100), make([]bool, 1+r.IntN(8))
		for i := range refuses {
			rules = append(rules, traefikRule(r, all, 3))
			use := ""
			if refuses[i] = r.IntN(5) == 0; refuses[i] {
				use = ", middlewares: [closed]"
			}
			text += fmt.Sprintf("    r%d: {rule: %q, service: s%d, priority: %d%s}\n", i, rules[i].text, i, order[i]+1,
				use)
		}
		text += "  services:\n"
		for i := range rules {
			text += fmt.Sprintf("    s%d: {loadBalancer: {servers: [{url: \"http://%s\"}]}}\n", i, addresses[i])
		}
		p := planOf(t, "traefik", text)
		p.Block("[global]").Set("grace_period", `"0s"`, plan.Place{})
		result := p.Text(plan.TextOnly)
		run := runEdge(t, result, addr)
		for range 150 {
			a := anyTraefikRequest(r)
			want, best := "", 0
			for i, m := range rules {
				if m.holds(a) && order[i]+1 > best {
					want, best = fmt.Sprint(i), order[i]+1
					if refuses[i] {
						want = "refused"
					}
				}
			}
			got := asked(t, a.request(t, addr))
			if want == "refused" && got != "refused" || p.Losses() == 0 && got != want {
				t.Fatalf("%+v: %q, want %q\n%s\n%s\n%v", a, got, want, text, result, p.Findings())
			}
		}
		run.Stop()
	}
}

// request is what asks edge for it.
func (a traefikAsked) request(t *testing.T, addr string) *http.Request {
	q, err := http.NewRequest(a.method, "http://"+addr+a.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Host = a.host
	if a.q != "" {
		q.URL.RawQuery = "q=" + a.q
	}
	for _, f := range []plan.Field{{Name: "X", Value: a.x}, {Name: "Y", Value: a.y}} {
		if f.Value != "" {
			q.Header.Set(f.Name, f.Value)
		}
	}
	return q
}

// Many routers with many middlewares make as many routes and rules as a reader of the result keeps in mind, at once.
func TestTraefik_manyRoutersStaySmall(t *testing.T) {
	text := "http:\n  middlewares:\n    auth: {basicAuth: {users: [\"ops:" +
		"$2y$04$abcdefghijklmnopqrstuudMegMbPN37MbpdEfAtP66w1z0RBCtLG\"]}}\n" +
		"    office: {ipAllowList: {sourceRange: [10.0.0.0/8]}}\n    slow: {rateLimit: {average: 10}}\n" +
		"    strip: {stripPrefix: {prefixes: [/a, /b]}}\n    add: {addPrefix: {prefix: /x}}\n" +
		"    swap: {replacePathRegex: {regex: ^/old/(.*), replacement: /new/$1}}\n" +
		"    size: {buffering: {maxRequestBodyBytes: 9000}}\n" +
		"    mark: {headers: {customRequestHeaders: {X-A: b}}}\n    safe: {headers: {frameDeny: true}}\n" +
		"    again: {retry: {attempts: 2}}\n  routers:\n"
	uses := []string{"auth", "office", "slow", "add", "size", "mark", "safe", "again", "auth, mark", "office, safe"}
	conds := []string{"PathPrefix(`/p%d/`)", "Path(`/x%d`)", "PathPrefix(`/q%d`) && Method(`POST`)",
		"PathRegexp(`^/r%d/[0-9]+$`)", "PathPrefix(`/s%d/`) && !Path(`/s/x`)",
		"Header(`X`, `%d`)", "Query(`q`, `%d`)", "ClientIP(`10.0.%d.0/24`)"}
	for i := range 40 {
		text += fmt.Sprintf("    r%d: {rule: \"Host(`a.test`) && "+conds[i%len(conds)]+
			"\", service: s, middlewares: [%s]}\n", i, i, uses[i%len(uses)])
	}
	text += "  services:\n    s: {loadBalancer: {servers: [{url: \"http://127.0.0.1:9\"}]}}\n"
	start := time.Now()
	p := planOf(t, "traefik", text)
	result := string(p.Text(plan.TextOnly))
	t.Logf("%v", time.Since(start))
	if n := strings.Count(result, "[[routes]]") + strings.Count(result, "rules]]"); n > 60 {
		t.Errorf("%d routes and rules:\n%s", n, result)
	}
}
