package route

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

// ends says what became of the rule called name.
func ends(t *testing.T, all []Explained[string], name string) Explained[string] {
	t.Helper()
	for _, e := range all {
		if e.Value == name {
			return e
		}
	}
	t.Fatalf("nothing is said of rule %q", name)
	return Explained[string]{}
}

// What is said of each rule holds: the one that takes the request is the one that Find returns; a rule alone takes it
// just where another one is said to have come first, and then that one wins against it; one that does not fit takes it
// once the part that is named is taken away.
func TestTable_explainAgreesWithFind(t *testing.T) {
	testutil.OnlyPlain(t)
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 2))
	reasons := map[Why]int{}
	for round := range 200 {
		table, rules := randomTable(rng, 1+rng.IntN(30))
		for range 30 {
			h, from := randomRequest(rng), randomArrival(rng)
			want, wantErr := table.Find(h, from, Reading{}, &Local{})
			all, path, err := table.Explain(h, from, Reading{})
			if err != wantErr {
				t.Fatalf("seed %d round %d: %v, want %v", seed, round, err, wantErr)
			}
			if err != nil {
				continue
			}
			if len(all) != len(rules) || want == "" && slices.ContainsFunc(all, Explained[string].fits) {
				t.Fatalf("seed %d round %d: %d of %d rules; Find found %q", seed, round, len(all), len(rules), want)
			}
			h.SetTarget(path + "?" + string(h.Query())) // so that it is read as it stands below
			for _, e := range all {
				reasons[e.Why]++
				if wrong := wrongAbout(t, e, want, all, h, from); wrong != "" {
					t.Fatalf("seed %d round %d: %s %s %s: rule %+v is said to end by %q %q: %s", seed, round,
						h.MethodBytes(), h.Bytes(h.Authority), h.Bytes(h.Target), e.Rule, e.Why, e.Below, wrong)
				}
			}
		}
	}
	for why := OtherHost; why <= Takes; why++ {
		if reasons[why] == 0 && why != Shares && why != OtherWhen { // weights and texts are not among the random ones
			t.Errorf("no rule ended by %q", why)
		}
	}
}

func (x Explained[T]) fits() bool { return x.Why >= LessSpecific }

// wrongAbout returns what is wrong with what is said of one rule, "" where it holds.
func wrongAbout(t *testing.T, e Explained[string], want string, all []Explained[string], h *message.Head,
	from *arrival) string {
	alone := found(tableOf(t, named{e.Rule, e.Value}), h, from, &Local{}) != ""
	eased := e.Rule
	switch e.Why {
	case Takes:
		if e.Value != want {
			return "Find found " + want
		}
	case LessSpecific:
		both := tableOf(t, named{e.Rule, e.Value}, named{ends(t, all, want).Rule, want})
		if got := found(both, h, from, &Local{}); got != want {
			return "it wins against " + want
		}
	case OtherHost:
		eased = Rule{}
	case OtherPath:
		eased = Rule{Host: e.Rule.Host}
	case OtherListener:
		eased = Rule{Host: e.Rule.Host, Path: e.Rule.Path, Exact: e.Rule.Exact}
	case OtherCert:
		eased = Rule{Host: e.Rule.Host, Path: e.Rule.Path, Exact: e.Rule.Exact, Listeners: e.Rule.Listeners}
	case OtherMethod:
		eased.Methods, eased.Header, eased.Query = nil, nil, nil
	case OtherField:
		eased.Header, eased.Query = nil, nil
	case OtherQuery:
		eased.Query = nil
	}
	if alone != e.fits() {
		return fmt.Sprintf("alone it takes it: %v", alone)
	}
	if found(tableOf(t, named{eased, e.Value}), h, from, &Local{}) == "" {
		return "it is not only that"
	}
	return ""
}

// Which condition does not hold, in what the winner is more specific, and shares by weight.
func TestTable_explain(t *testing.T) {
	table := tableOf(t,
		named{Rule{}, "all"},
		named{Rule{Host: "a.example", Path: "/api", Weight: 90}, "stable"},
		named{Rule{Host: "a.example", Path: "/api", Weight: 10}, "canary"},
		named{Rule{Host: "a.example"}, "host"},
		named{Rule{Host: "a.example", Path: "/api", Header: []Condition{{"X-A", "1"}, {"X-B", "2"}}}, "fields"},
		named{Rule{Host: "a.example", Path: "/api", Query: []Condition{{"v", "2"}}}, "query"},
		named{Rule{Host: "*.example", Path: "/api"}, "below"},
		named{Rule{Host: "a.example", Path: "/api", Methods: []string{"PUT"}}, "put"},
		named{Rule{Host: "a.example", Path: "/apix"}, "path"},
	)
	all, path, err := table.Explain(ask("get", "A.example", "/x/../%61pi?v=1", "X-A: 1"), here, Reading{})
	if err != nil || path != "/api" {
		t.Fatalf("%q, %v", path, err)
	}
	for name, want := range map[string]string{
		"all": "less_specific host", "stable": "takes  90/100", "canary": "weight  10/100",
		"host": "less_specific path", "fields": "header  X-B=2", "query": "query  v=2",
		"below": "less_specific host", "put": "method ", "path": "path ",
	} {
		e := ends(t, all, name)
		got := fmt.Sprintf("%s %s", e.Why, e.Below)
		if e.All > 0 {
			got += fmt.Sprintf(" %d/%d", e.Weight, e.All)
		}
		if e.Condition != (Condition{}) {
			got += " " + e.Condition.Name + "=" + e.Condition.Value
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if _, _, err := table.Explain(ask("GET", "a", "/..%2fapi"), here, Reading{}); err != ErrPath {
		t.Errorf("got %v, want ErrPath", err)
	}
}

// Allow has the methods with which a rule would take the request, and the request is what it was.
func TestTable_appendAllow(t *testing.T) {
	table := tableOf(t,
		named{Rule{Path: "/api", Methods: []string{"POST", "GET", "PURGE"}}, "api"},
		named{Rule{Path: "/api", Methods: []string{"LINK"}, Header: []Condition{{"X-A", ""}}}, "field"},
		named{Rule{Path: "/open"}, "open"},
		named{Rule{Host: "proxy.example", Methods: []string{"CONNECT"}}, "tunnel"},
	)
	for _, c := range []struct{ method, host, target, field, want string }{
		{"PUT", "a", "/api/x", "", "GET, POST, PURGE"},
		{"PUT", "a", "/api/x", "X-A: 1", "GET, POST, PURGE, LINK"},
		{"UNLINK", "a", "/%61pi", "", "GET, POST, PURGE"},
		{"PUT", "a", "/other", "", ""},
		{"TRACE", "a", "/open", "", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, PURGE, LINK"},
		{"TRACE", "proxy.example", "/x", "", "CONNECT"},
	} {
		h := ask(c.method, c.host, c.target)
		if c.field != "" {
			h = ask(c.method, c.host, c.target, c.field)
		}
		base := len(h.Base)
		var l Local
		if name, err := table.Find(h, here, Reading{}, &l); name != "" || err != nil {
			t.Fatalf("%s %s is taken by %q, %v", c.method, c.target, name, err)
		}
		if got := string(table.AppendAllow([]byte("Allow: "), h, here, &l)); got != "Allow: "+c.want {
			t.Errorf("%s %s%s: %q, want %q", c.method, c.host, c.target, got, c.want)
		}
		if string(h.MethodBytes()) != c.method || h.Verb != message.LookupVerb(c.method) || len(h.Base) != base {
			t.Errorf("%s %s: the request was changed", c.method, c.target)
		}
	}
}

// A rule that another one hides never takes a request, and rules that look alike are told apart.
func TestRule_hides(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 4))
	listeners, hidden := []string{"one", "two", "three"}, 0
	for range 60_000 {
		a, b := randomRule(rng), randomRule(rng)
		b.Host, b.Path, b.Exact = a.Host, a.Path, a.Exact
		if !a.Hides(&b, listeners) {
			continue
		}
		hidden++
		table := tableOf(t, named{a, "a"}, named{b, "b"})
		for range 10 {
			h, from := randomRequest(rng), randomArrival(rng)
			if found(table, h, from, &Local{}) == "b" {
				t.Fatalf("seed %d: %+v is not hidden by %+v: %s %s", seed, b, a, h.MethodBytes(), h.Bytes(h.Target))
			}
		}
	}
	if hidden < 50 {
		t.Errorf("seed %d: %d rules were hidden", seed, hidden)
	}
	for _, c := range []struct {
		a, b Rule
		want bool
	}{
		{Rule{Methods: []string{"DELETE", "GET"}}, Rule{Methods: []string{"GET"}}, true},
		{Rule{Methods: []string{"GET", "PUT"}}, Rule{Methods: []string{"GET"}}, false}, // goes after it
		{Rule{Header: []Condition{{"x", ""}}}, Rule{Header: []Condition{{"X", "1"}}}, true},
		{Rule{Header: []Condition{{"X", "1"}}}, Rule{Header: []Condition{{"X", ""}}}, false},
		{Rule{Listeners: listeners}, Rule{}, true},
		{Rule{Listeners: listeners[:2]}, Rule{}, false},
		{Rule{Listeners: []string{"one"}}, Rule{Methods: []string{"GET"}, Listeners: []string{"one"}}, false},
		{Rule{Listeners: []string{"one"}}, Rule{Listeners: []string{"one"}}, false}, // equal
		{Rule{Listeners: listeners}, Rule{Methods: []string{"TRACE"}}, false},
		{Rule{Path: "/a", Listeners: listeners}, Rule{Path: "/a", Exact: true}, false},
		{Rule{Query: []Condition{{"k", "~v"}}}, Rule{Query: []Condition{{"k", "v"}}}, false}, // goes after it
		{Rule{ClientCert: &ClientCert{}, Listeners: listeners}, Rule{ClientCert: &ClientCert{SAN: "a"}}, true},
	} {
		if got := c.a.Hides(&c.b, listeners); got != c.want {
			t.Errorf("%+v hides %+v: %v", c.a, c.b, got)
		}
	}
}
