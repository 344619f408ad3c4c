package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/tlsconn"
)

// ask makes the head of a request; fields are "Name: value".
func ask(method, host, target string, fields ...string) *message.Head {
	h := &message.Head{}
	h.SetMethod(method)
	h.SetAuthority(host)
	h.SetTarget(target)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Add(name, value)
	}
	return h
}

// here is where requests come by of which nothing else is said.
var here = &arrival{listener: &Listener{Name: "here"}}

func routerOf(t testing.TB, routes ...Route) *router {
	t.Helper()
	r := &router{}
	for i := range routes {
		if err := r.add(&routes[i]); err != nil {
			t.Fatalf("%+v: %v", routes[i], err)
		}
	}
	return r
}

func nameOf(r *Route) string {
	if r == nil {
		return ""
	}
	return r.Name
}

func TestRouter_mostSpecificWins(t *testing.T) {
	routes := []Route{
		{Name: "all"},
		{Name: "api", Path: "/api"},
		{Name: "api root", Path: "/api", Exact: true},
		{Name: "v1", Path: "/api/v1/"},
		{Name: "v1 put", Path: "/api/v1", Methods: []string{"PUT", "PURGE"}},
		{Name: "v1 beta", Path: "/api/v1", Header: []Condition{{"X-Beta", ""}}},
		{Name: "v1 beta put", Path: "/api/v1", Methods: []string{"PUT"}, Header: []Condition{{"X-Beta", "yes"}}},
		{Name: "tie q", Path: "/tie", Query: []Condition{{"q", ""}}},
		{Name: "tie b", Path: "/tie", Header: []Condition{{"X-B", ""}}},
		{Name: "tie a", Path: "/tie", Header: []Condition{{"X-A", ""}}},
		{Name: "query", Path: "/q", Query: []Condition{{"a b", "c&d"}}},
		{Name: "regexp", Path: "/q", Header: []Condition{{"User-Agent", "~(?i)curl/[0-9]+"}}},
		{Name: "example", Host: "Example.com"},
		{Name: "below", Host: "*.example.com", Path: "/api"},
		{Name: "far below", Host: "*.b.example.com"},
		{Name: "tunnel", Host: "tunnel.example", Methods: []string{"CONNECT"}},
		{Name: "ip", Host: "[::1]", Path: "/"},
	}
	for _, c := range []struct {
		method, host, target string
		fields               string
		want                 string
	}{
		{"GET", "a", "/", "", "all"},
		{"GET", "", "/", "", "all"},
		{"GET", "a", "/apix", "", "all"},
		{"GET", "a", "/api", "", "api root"},
		{"GET", "a", "/api?x=/api/v1", "", "api root"},
		{"GET", "a", "/api/", "", "api"},
		{"GET", "a", "/api//v1", "", "api"},
		{"GET", "a", "/api/v1", "", "v1"},
		{"GET", "a", "/api/v1/x/y", "", "v1"},
		{"PUT", "a", "/api/v1/x", "", "v1 put"},
		{"PURGE", "a", "/api/v1/x", "", "v1 put"},
		{"PURG", "a", "/api/v1/x", "", "v1"},
		{"GET", "a", "/api/v1/x", "x-beta: ", "v1 beta"},
		{"PUT", "a", "/api/v1/x", "X-BETA: yes", "v1 beta put"},
		{"PUT", "a", "/api/v1/x", "X-Beta: no", "v1 put"}, // as specific as "v1 beta"; methods come first
		{"PUT", "a", "/tie", "X-A: 1|X-B: 1", "tie a"},
		{"PUT", "a", "/tie?q", "X-B: 1", "tie b"},
		{"GET", "a", "/q?a+b=c%26d", "", "query"},
		{"GET", "a", "/q?x&a%20b=c%26d&y", "", "query"},
		{"GET", "a", "/q?a+b=c", "", "all"},
		{"GET", "a", "/q", "User-Agent: CURL/8", "regexp"},
		{"GET", "EXAMPLE.com:8080", "/api/v1", "", "example"},
		{"GET", "example.com.", "/", "", "example"},
		{"GET", "a.example.com", "/api/x", "", "below"},
		{"GET", "a.example.com", "/", "", "all"},
		{"GET", "a.b.example.com", "/api/x", "", "far below"},
		{"GET", "b.example.com", "/api/x", "", "below"},
		{"GET", "xexample.com", "/api/x", "", "api"},
		{"GET", ".example.com", "/api/x", "", "api"},
		{"GET", "[::1]:80", "/api/x", "", "ip"},
		{"CONNECT", "tunnel.example:443", "tunnel.example:443", "", "tunnel"},
		{"CONNECT", "other.example:443", "other.example:443", "", ""},
		{"TRACE", "a", "/", "", ""},
		{"OPTIONS", "a", "/", "", "all"},
	} {
		for range 3 {
			rand.Shuffle(len(routes), func(i, j int) { routes[i], routes[j] = routes[j], routes[i] })
			var fields []string
			if c.fields != "" {
				fields = strings.Split(c.fields, "|")
			}
			r := routerOf(t, routes...)
			got := nameOf(r.match(ask(c.method, c.host, c.target, fields...), here, &turns{}))
			if got != c.want {
				t.Errorf("%s %s%s %s: %q, want %q", c.method, c.host, c.target, c.fields, got, c.want)
			}
		}
	}
}

func TestRouter_refuses(t *testing.T) {
	for name, routes := range map[string][]Route{
		"twice":           {{Path: "/a"}, {Path: "/a/"}},
		"one weight":      {{Path: "/a", Weight: 1}, {Path: "/a/"}},
		"conditions":      {{Header: []Condition{{"A", "1"}, {"B", ""}}}, {Header: []Condition{{"b", ""}, {"a", "1"}}}},
		"path":            {{Path: "a"}},
		"star":            {{Host: "a.*.example"}},
		"star alone":      {{Host: "*"}},
		"empty wildcard":  {{Host: "*."}},
		"method":          {{Methods: []string{"GE T"}}},
		"name of a field": {{Header: []Condition{{"a b", ""}}}},
		"expression":      {{Header: []Condition{{"A", "~("}}}},
		"listeners":       {{Listeners: []string{"a", "b"}}, {Listeners: []string{"b", "a", "b"}}},
		"certificates":    {{ClientCert: &ClientCert{SAN: "a"}}, {ClientCert: &ClientCert{SAN: "a"}}},
		"of a subject":    {{ClientCert: &ClientCert{Subject: "~("}}},
	} {
		r, err := &router{}, error(nil)
		for i := range routes {
			if err == nil {
				err = r.add(&routes[i])
			}
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Of any run of requests each route gets its share, and never two more in a row than the weights ask for.
func TestRouter_splitsByWeight(t *testing.T) {
	r := routerOf(t, Route{Name: "stable", Weight: 90}, Route{Name: "canary", Weight: 10},
		Route{Name: "a", Path: "/x", Weight: 2}, Route{Name: "b", Path: "/x", Weight: 1},
		Route{Name: "c", Path: "/x", Weight: 1})
	var one, other turns
	for _, c := range []struct {
		target string
		want   string
	}{
		{"/", "map[canary:100 stable:900]"}, {"/x", "map[a:500 b:250 c:250]"},
	} {
		for _, t1 := range []*turns{&one, &other} {
			got, last, gap := map[string]int{}, 0, 0
			for i := range 1000 {
				name := nameOf(r.match(ask("GET", "a", c.target), here, t1))
				if got[name]++; name == "canary" {
					gap = max(gap, i-last)
					last = i
				}
			}
			if fmt.Sprint(got) != c.want || gap > 10 {
				t.Errorf("%s: %v, canaries %d apart, want %s", c.target, got, gap, c.want)
			}
		}
	}
}

// What a request came by decides as its head does, and comes before it.
func TestRouter_conditionsOfTheConnection(t *testing.T) {
	routes := []Route{
		{Name: "all"},
		{Name: "inner", Listeners: []string{"inner", "middle"}},
		{Name: "cert", ClientCert: &ClientCert{}},
		{Name: "get", Methods: []string{"GET"}},
		{Name: "beta", Header: []Condition{{"X-Beta", ""}}},
		{Name: "inner cert", Listeners: []string{"inner"}, ClientCert: &ClientCert{}},
		{Name: "named", ClientCert: &ClientCert{Subject: "~."}},
		{Name: "outer get", Listeners: []string{"outer"}, Methods: []string{"GET"}},
	}
	shown, unproved := &tlsconn.Digest{Verified: true}, &tlsconn.Digest{}
	for _, c := range []struct {
		listener string
		digest   *tlsconn.Digest
		method   string
		want     string
	}{
		{"other", nil, "PUT", "all"},
		{"other", nil, "GET", "get"},
		{"other", unproved, "PUT", "all"},
		{"other", shown, "PUT", "cert"},
		{"other", shown, "GET", "cert"}, // as specific as "get"; what the client cannot write comes first
		{"inner", nil, "GET", "inner"},
		{"middle", shown, "GET", "inner"}, // listeners come before certificates
		{"inner", unproved, "PUT", "inner"},
		{"inner", shown, "PUT", "inner cert"},
		{"outer", nil, "GET", "outer get"},
		{"outer", shown, "PUT", "cert"},
		{"Inner", nil, "PUT", "all"},
	} {
		for range 3 {
			rand.Shuffle(len(routes), func(i, j int) { routes[i], routes[j] = routes[j], routes[i] })
			from := &arrival{&Listener{Name: c.listener}, c.digest}
			got := nameOf(routerOf(t, routes...).match(ask(c.method, "a", "/"), from, &turns{}))
			if got != c.want {
				t.Errorf("%s %+v %s: %q, want %q", c.listener, c.digest, c.method, got, c.want)
			}
		}
	}
}

// The router against a model that looks at every route.
func TestRouter_agreesWithAModel(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for round := range 300 {
		var routes []Route
		r := &router{}
		for i := range 1 + rng.IntN(60) {
			route := randomRoute(rng)
			route.Name = fmt.Sprint(i)
			given := route
			if r.add(&route) == nil {
				routes = append(routes, given)
			}
		}
		for range 60 {
			h, from := randomRequest(rng), randomArrival(rng)
			got, want := nameOf(r.match(h, from, &turns{})), nameOf(modelMatch(routes, h, from))
			if got != want {
				t.Fatalf("seed %d round %d: %s %s %s %q %s %+v: route %q, want %q", seed, round, h.MethodBytes(),
					h.Bytes(h.Authority), h.Bytes(h.Target), h.Get("X-A"), from.listener.Name, from.digest, got, want)
			}
		}
	}
}

func pick(rng *rand.Rand, list ...string) string { return list[rng.IntN(len(list))] }

func randomPath(rng *rand.Rand) string {
	path := ""
	for range rng.IntN(4) {
		path += "/" + pick(rng, "a", "b", "ab", "")
	}
	if path == "" {
		return "/"
	}
	return path
}

func randomHost(rng *rand.Rand) string {
	return pick(rng, "a.example", "b.a.example", "c.b.a.example", "example", "other", "A.Example")
}

func randomRoute(rng *rand.Rand) Route {
	r := Route{Path: randomPath(rng), Exact: rng.IntN(3) == 0}
	switch rng.IntN(3) {
	case 0:
		r.Host = randomHost(rng)
	case 1:
		r.Host = "*." + randomHost(rng)
	}
	if rng.IntN(4) == 0 {
		r.Methods = []string{pick(rng, "GET", "POST", "PURGE", "CONNECT")}
	}
	if rng.IntN(3) == 0 {
		r.Header = []Condition{{pick(rng, "X-A", "Accept", "x-a"), pick(rng, "", "1", "~^[12]$", "~2")}}
	}
	if rng.IntN(4) == 0 {
		r.Query = []Condition{{pick(rng, "k", "l m"), pick(rng, "", "v", "~v|w")}}
	}
	if rng.IntN(4) == 0 {
		r.Listeners = []string{pick(rng, "one", "two"), pick(rng, "one", "three")}
	}
	if rng.IntN(5) == 0 {
		r.ClientCert = &ClientCert{}
	}
	return r
}

func randomArrival(rng *rand.Rand) *arrival {
	from := &arrival{listener: &Listener{Name: pick(rng, "one", "two", "three")}}
	if rng.IntN(3) > 0 {
		from.digest = &tlsconn.Digest{Verified: rng.IntN(2) == 0}
	}
	return from
}

func randomRequest(rng *rand.Rand) *message.Head {
	target := randomPath(rng) + pick(rng, "", "?", "?k", "?k=v", "?l+m=w&k=x", "?l%20m=v", "?k=1&k=v")
	var fields []string
	for range rng.IntN(3) {
		fields = append(fields, pick(rng, "X-A", "x-A", "Accept")+": "+pick(rng, "1", "2", "12"))
	}
	method := pick(rng, "GET", "GET", "POST", "PURGE", "OTHER")
	return ask(method, randomHost(rng)+pick(rng, "", ":80"), target, fields...)
}

// modelMatch is the rule in words: of the routes that match the one with the best host, path, number of conditions;
// then listeners come before certificates before methods before fields before the query, and the alphabet decides last.
func modelMatch(routes []Route, h *message.Head, from *arrival) *Route {
	var best *Route
	var rank [7]int
	for i := range routes {
		r := &routes[i]
		now, ok := modelRank(r, h)
		if len(r.Listeners) > 0 {
			now[2]++
			now[3]++
			ok = ok && slices.Contains(r.Listeners, from.listener.Name)
		}
		if r.ClientCert != nil {
			now[2]++
			now[4]++
			ok = ok && from.digest != nil && from.digest.Verified
		}
		if !ok {
			continue
		}
		order := slices.Compare(now[:], rank[:])
		if best == nil || order > 0 || order == 0 && conditionsKey(r) < conditionsKey(best) {
			best, rank = r, now
		}
	}
	return best
}

func modelRank(r *Route, h *message.Head) (rank [7]int, ok bool) {
	host, _, _ := strings.Cut(strings.ToLower(string(h.Bytes(h.Authority))), ":")
	pattern := strings.ToLower(r.Host)
	above, wild := strings.CutPrefix(pattern, "*")
	switch {
	case pattern == host:
		rank[0] = 1 << 20
	case wild && strings.HasSuffix(host, above) && len(host) > len(above):
		rank[0] = len(above)
	case pattern != "":
		return rank, false
	}
	path, prefix := string(h.Path()), strings.TrimSuffix(r.Path, "/")
	switch {
	case r.Exact && path == r.Path:
		rank[1] = 1 << 20
	case !r.Exact && (path == prefix || strings.HasPrefix(path, prefix+"/")):
		rank[1] = len(prefix)
	default:
		return rank, false
	}
	rank[2], rank[6] = len(r.Header)+len(r.Query), len(r.Header)
	if len(r.Methods) > 0 {
		rank[2]++
		rank[5]++
		if r.Methods[0] != string(h.MethodBytes()) {
			return rank, false
		}
	}
	for _, c := range r.Header {
		if !modelHolds(c.Value, h.Fields, func(i int) (string, string) {
			return strings.ToLower(string(h.Name(i))), string(h.Value(i))
		}, strings.ToLower(c.Name)) {
			return rank, false
		}
	}
	query, _ := url.ParseQuery(string(h.Query()))
	for _, c := range r.Query {
		values := query[c.Name]
		if !modelHolds(c.Value, values, func(i int) (string, string) { return c.Name, values[i] }, c.Name) {
			return rank, false
		}
	}
	return rank, true
}

func modelHolds[T any](want string, list []T, at func(int) (name, value string), name string) bool {
	for i := range list {
		n, value := at(i)
		expr, isExpr := strings.CutPrefix(want, "~")
		if n == name && (want == "" || value == want || isExpr && regexp.MustCompile(expr).MatchString(value)) {
			return true
		}
	}
	return false
}

// Any target, host and field may come: nothing panics, nothing is found that the model does not find.
func FuzzRouter_match(f *testing.F) {
	f.Add("a.example", "/a/b?k=v", "1")
	f.Add("[::1]:80", "*", "")
	f.Add("x.a.example.:", "//%2f?&&=&k", "~")
	var routes []Route
	r := &router{}
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range 200 {
		route := randomRoute(rng)
		route.Name = fmt.Sprint(i)
		given := route
		if r.add(&route) == nil {
			routes = append(routes, given)
		}
	}
	f.Fuzz(func(t *testing.T, host, target, value string) {
		h := ask("GET", host, target, "X-A: "+value)
		got := r.match(h, here, &turns{})
		if strings.ContainsAny(host, ":[]") || strings.HasSuffix(host, ".") || strings.ContainsAny(target, ";%") ||
			!strings.HasPrefix(target, "/") || len(host) > 255 {
			return // where the model is too simple
		}
		for _, c := range []byte(host) {
			if c >= 0x80 {
				return
			}
		}
		if want := modelMatch(routes, h, here); nameOf(got) != nameOf(want) {
			t.Fatalf("%q %q %q: route %q, want %q", host, target, value, nameOf(got), nameOf(want))
		}
	})
}

// manyRoutes are n routes of 100 hosts, and a catch-all.
func manyRoutes(n int) []Route {
	routes := []Route{{Name: "all"}}
	for i := range n - 1 {
		routes = append(routes, Route{
			Name: fmt.Sprint(i), Host: fmt.Sprintf("host-%d.example.com", i%100),
			Path: fmt.Sprintf("/v%d/users/%d", i%7, i),
		})
	}
	return routes
}

func TestRouter_matchAllocatesNothing(t *testing.T) {
	r := routerOf(t, append(manyRoutes(10_000),
		Route{Host: "*.example.org", Path: "/x", Methods: []string{"GET"}, Header: []Condition{{"X-A", "~b+"}},
			Query: []Condition{{"q", "1"}}, Weight: 3},
		Route{Host: "*.example.org", Path: "/x", Methods: []string{"GET"}, Header: []Condition{{"X-A", "~b+"}},
			Query: []Condition{{"q", "1"}}, Weight: 1},
		Route{Path: "/v1/users/1", Listeners: []string{"there", "here"}, ClientCert: &ClientCert{}})...)
	for _, h := range []*message.Head{
		ask("GET", "HOST-42.example.com:80", "/v0/users/42/x"),
		ask("GET", "a.b.example.org", "/x/y?p=%31&q=%31", "X-A: abbb"),
		ask("GET", "nowhere", "/v1/users/1"),
	} {
		var t1 turns
		if n := testutil.Allocs(100, func() { r.match(h, here, &t1) }); n != 0 {
			t.Errorf("%s: %v allocations", h.Bytes(h.Authority), n)
		}
	}
}

func BenchmarkRouter(b *testing.B) {
	for _, c := range []struct {
		name   string
		routes []Route
		head   *message.Head
	}{
		{"one", []Route{{}}, ask("GET", "example.com", "/v0/users/42/x")},
		{"10000/hit", manyRoutes(10_000), ask("GET", "host-42.example.com", "/v0/users/42/x")},
		{"10000/miss", manyRoutes(10_000), ask("GET", "example.com", "/v0/users/42/x")},
		{"10000/deep", manyRoutes(10_000), ask("GET", "host-42.example.com", strings.Repeat("/v0", 1000))},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := routerOf(b, c.routes...)
			var t1 turns
			b.ReportAllocs()
			for b.Loop() {
				r.match(c.head, here, &t1)
			}
		})
	}
}
