package route

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
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

// arrival is what a test says that a request came by.
type arrival struct {
	listener              string
	certificate, verified bool
}

func (a *arrival) ListenerName() string      { return a.listener }
func (a *arrival) CertificateVerified() bool { return a.verified }
func (a *arrival) CertificateNames() (subject, issuer string, sans []string, ok bool) {
	return "CN=me", "CN=ca", []string{"me.example"}, a.certificate
}
func (a *arrival) Holds(when *lang.Condition, path []byte) bool {
	return when.Holds(&lang.X{Path: path})
}

// here is where requests come by of which nothing else is said.
var here = &arrival{listener: "here"}

// named is a rule and the name that it leads to.
type named struct {
	Rule
	name string
}

func tableOf(t testing.TB, rules ...named) *Table[string] {
	t.Helper()
	table := &Table[string]{}
	for _, r := range rules {
		if err := table.Add(r.Rule, r.name); err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
	}
	return table
}

// found returns the name of the rule that takes h, "" where none does.
func found(t *Table[string], h *message.Head, from Arrival, l *Local) string {
	name, _ := t.Find(h, from, Reading{Paths: PathsRaw}, l)
	return name
}

func TestTable_mostSpecificWins(t *testing.T) {
	routes := []named{
		{Rule{}, "all"},
		{Rule{Path: "/api"}, "api"},
		{Rule{Path: "/api", Exact: true}, "api root"},
		{Rule{Path: "/api/v1/"}, "v1"},
		{Rule{Path: "/api/v1", Methods: []string{"PUT", "PURGE"}}, "v1 put"},
		{Rule{Path: "/api/v1", Header: []Condition{{"X-Beta", ""}}}, "v1 beta"},
		{Rule{Path: "/api/v1", Methods: []string{"PUT"}, Header: []Condition{{"X-Beta", "yes"}}}, "v1 beta put"},
		{Rule{Path: "/tie", Query: []Condition{{"q", ""}}}, "tie q"},
		{Rule{Path: "/tie", Header: []Condition{{"X-B", ""}}}, "tie b"},
		{Rule{Path: "/tie", Header: []Condition{{"X-A", ""}}}, "tie a"},
		{Rule{Path: "/q", Query: []Condition{{"a b", "c&d"}}}, "query"},
		{Rule{Path: "/q", Header: []Condition{{"User-Agent", "~(?i)curl/[0-9]+"}}}, "regexp"},
		{Rule{Host: "Example.com"}, "example"},
		{Rule{Host: "*.example.com", Path: "/api"}, "below"},
		{Rule{Host: "*.b.example.com"}, "far below"},
		{Rule{Host: "tunnel.example", Methods: []string{"CONNECT"}}, "tunnel"},
		{Rule{Host: "[::1]", Path: "/"}, "ip"},
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
			r := tableOf(t, routes...)
			got := found(r, ask(c.method, c.host, c.target, fields...), here, &Local{})
			if got != c.want {
				t.Errorf("%s %s%s %s: %q, want %q", c.method, c.host, c.target, c.fields, got, c.want)
			}
		}
	}
}

func TestTable_refuses(t *testing.T) {
	for name, rules := range map[string][]Rule{
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
		"weight":          {{Weight: weightMax + 1}},
	} {
		table, err := &Table[int]{}, error(nil)
		for i, r := range rules {
			if err == nil {
				err = table.Add(r, i)
			}
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Of any run of requests each rule gets its share, and never two more in a row than the weights ask for.
func TestTable_splitsByWeight(t *testing.T) {
	r := tableOf(t, named{Rule{Weight: 90}, "stable"}, named{Rule{Weight: 10}, "canary"},
		named{Rule{Path: "/x", Weight: 2}, "a"}, named{Rule{Path: "/x", Weight: 1}, "b"},
		named{Rule{Path: "/x", Weight: 1}, "c"})
	var one, other Local
	for _, c := range []struct {
		target string
		want   string
	}{
		{"/", "map[canary:100 stable:900]"}, {"/x", "map[a:500 b:250 c:250]"},
	} {
		for _, t1 := range []*Local{&one, &other} {
			got, last, gap := map[string]int{}, 0, 0
			for i := range 1000 {
				name := found(r, ask("GET", "a", c.target), here, t1)
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
func TestTable_conditionsOfTheConnection(t *testing.T) {
	routes := []named{
		{Rule{}, "all"},
		{Rule{Listeners: []string{"inner", "middle"}}, "inner"},
		{Rule{ClientCert: &ClientCert{}}, "cert"},
		{Rule{Methods: []string{"GET"}}, "get"},
		{Rule{Header: []Condition{{"X-Beta", ""}}}, "beta"},
		{Rule{Listeners: []string{"inner"}, ClientCert: &ClientCert{}}, "inner cert"},
		{Rule{ClientCert: &ClientCert{Subject: "~."}}, "named"},
		{Rule{Listeners: []string{"outer"}, Methods: []string{"GET"}}, "outer get"},
	}
	shown, unproved := arrival{verified: true}, arrival{certificate: true}
	for _, c := range []struct {
		listener string
		client   arrival
		method   string
		want     string
	}{
		{"other", arrival{}, "PUT", "all"},
		{"other", arrival{}, "GET", "get"},
		{"other", unproved, "PUT", "all"},
		{"other", shown, "PUT", "cert"},
		{"other", shown, "GET", "cert"}, // as specific as "get"; what the client cannot write comes first
		{"inner", arrival{}, "GET", "inner"},
		{"middle", shown, "GET", "inner"}, // listeners come before certificates
		{"inner", unproved, "PUT", "inner"},
		{"inner", shown, "PUT", "inner cert"},
		{"outer", arrival{}, "GET", "outer get"},
		{"outer", shown, "PUT", "cert"},
		{"Inner", arrival{}, "PUT", "all"},
	} {
		for range 3 {
			rand.Shuffle(len(routes), func(i, j int) { routes[i], routes[j] = routes[j], routes[i] })
			from := c.client
			from.listener = c.listener
			got := found(tableOf(t, routes...), ask(c.method, "a", "/"), &from, &Local{})
			if got != c.want {
				t.Errorf("%s %+v %s: %q, want %q", c.listener, c.client, c.method, got, c.want)
			}
		}
	}
}

// The table against a model that looks at every rule.
func TestTable_agreesWithAModel(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for round := range 300 {
		r, rules := randomTable(rng, 1+rng.IntN(60))
		for range 60 {
			h, from := randomRequest(rng), randomArrival(rng)
			got, want := found(r, h, from, &Local{}), modelFind(rules, h, from)
			if got != want {
				t.Fatalf("seed %d round %d: %s %s %s %q %s %v: rule %q, want %q", seed, round, h.MethodBytes(),
					h.Bytes(h.Authority), h.Bytes(h.Target), h.Get("X-A"), from.listener, from.verified, got, want)
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

// randomTable returns a table and the rules that it took.
func randomTable(rng *rand.Rand, n int) (*Table[string], []named) {
	table, rules := &Table[string]{}, []named(nil)
	for i := range n {
		r := named{randomRule(rng), fmt.Sprint(i)}
		if table.Add(r.Rule, r.name) == nil {
			rules = append(rules, r)
		}
	}
	return table, rules
}

func randomRule(rng *rand.Rand) Rule {
	r := Rule{Path: randomPath(rng), Exact: rng.IntN(3) == 0}
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
	from := &arrival{listener: pick(rng, "one", "two", "three")}
	if rng.IntN(3) > 0 {
		from.certificate, from.verified = true, rng.IntN(2) == 0
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

// modelFind is the rule in words: of those that match the one with the best host, path, number of conditions;
// then listeners come before certificates before methods before fields before the query, and the alphabet decides last.
func modelFind(rules []named, h *message.Head, from *arrival) string {
	var best *named
	var rank [7]int
	for i := range rules {
		r := &rules[i]
		now, ok := modelRank(&r.Rule, h)
		if len(r.Listeners) > 0 {
			now[2]++
			now[3]++
			ok = ok && slices.Contains(r.Listeners, from.listener)
		}
		if r.ClientCert != nil {
			now[2]++
			now[4]++
			ok = ok && from.verified
		}
		if !ok {
			continue
		}
		order := slices.Compare(now[:], rank[:])
		if best == nil || order > 0 || order == 0 && r.Conditions() < best.Conditions() {
			best, rank = r, now
		}
	}
	if best == nil {
		return ""
	}
	return best.name
}

func modelRank(r *Rule, h *message.Head) (rank [7]int, ok bool) {
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
func FuzzTable_find(f *testing.F) {
	f.Add("a.example", "/a/b?k=v", "1")
	f.Add("[::1]:80", "*", "")
	f.Add("x.a.example.:", "//%2f?&&=&k", "~")
	r, rules := randomTable(rand.New(rand.NewPCG(7, 7)), 200)
	f.Fuzz(func(t *testing.T, host, target, value string) {
		h := ask("GET", host, target, "X-A: "+value)
		got := found(r, h, here, &Local{})
		if strings.ContainsAny(host, ":[]") || strings.HasSuffix(host, ".") || strings.ContainsAny(target, ";%") ||
			!strings.HasPrefix(target, "/") || len(host) > 255 {
			return // where the model is too simple
		}
		for _, c := range []byte(host) {
			if c >= 0x80 {
				return
			}
		}
		if want := modelFind(rules, h, here); got != want {
			t.Fatalf("%q %q %q: rule %q, want %q", host, target, value, got, want)
		}
	})
}

// manyRules are n rules of 100 hosts, and a catch-all.
func manyRules(n int) []named {
	rules := []named{{name: "all"}}
	for i := range n - 1 {
		rules = append(rules, named{Rule{
			Host: fmt.Sprintf("host-%d.example.com", i%100), Path: fmt.Sprintf("/v%d/users/%d", i%7, i),
		}, fmt.Sprint(i)})
	}
	return rules
}

func TestTable_findAllocatesNothing(t *testing.T) {
	r := tableOf(t, append(manyRules(10_000),
		named{Rule{Host: "*.example.org", Path: "/x", Methods: []string{"GET"}, Header: []Condition{{"X-A", "~b+"}},
			Query: []Condition{{"q", "1"}}, Weight: 3}, "most"},
		named{Rule{Host: "*.example.org", Path: "/x", Methods: []string{"GET"}, Header: []Condition{{"X-A", "~b+"}},
			Query: []Condition{{"q", "1"}}, Weight: 1}, "some"},
		named{Rule{Path: "/v1/users/1", Listeners: []string{"there", "here"}, ClientCert: &ClientCert{}}, "cert"})...)
	for _, h := range []*message.Head{
		ask("GET", "HOST-42.example.com:80", "/v0/users/42/x"),
		ask("GET", "a.b.example.org", "/x/y?p=%31&q=%31", "X-A: abbb"),
		ask("GET", "nowhere", "/v1/users/1"),
	} {
		var l Local
		if n := testutil.Allocs(100, func() { found(r, h, here, &l) }); n != 0 {
			t.Errorf("%s: %v allocations", h.Bytes(h.Authority), n)
		}
	}
}

func BenchmarkTable(b *testing.B) {
	for _, c := range []struct {
		name  string
		rules []named
		head  *message.Head
	}{
		{"one", []named{{name: "all"}}, ask("GET", "example.com", "/v0/users/42/x")},
		{"10000/hit", manyRules(10_000), ask("GET", "host-42.example.com", "/v0/users/42/x")},
		{"10000/miss", manyRules(10_000), ask("GET", "example.com", "/v0/users/42/x")},
		{"10000/deep", manyRules(10_000), ask("GET", "host-42.example.com", strings.Repeat("/v0", 1000))},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := tableOf(b, c.rules...)
			var l Local
			b.ReportAllocs()
			for b.Loop() {
				found(r, c.head, here, &l)
			}
		})
	}
}
