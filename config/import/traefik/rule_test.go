package traefik

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestRule: what a rule means to edge, a line for each way to meet it.
func TestRule(t *testing.T) {
	for rule, want := range map[string]string{
		"Host(`a.test`)":                           "a.test",
		"Host(`A.test`, `b.test`)":                 "a.test|b.test",
		"host(`a.test`) && Path(`/x`)":             "a.test=/x",
		"Path(\"/x\")":                             "=/x",
		"Host(`a`) && (Path(`/x`) || Path(`/y`))":  "a=/x|a=/y",
		"Host(`a`) && Host(`b`)":                   "",
		"Host(`a`) || Host(`b`) && Path(`/x`)":     "a|b=/x",
		"!(Host(`a`) || Path(`/x`))":               " not a, not =/x",
		"!(Host(`a`) && Path(`/x`))":               " not a| not =/x",
		"!!Host(`a`)":                              "a",
		"PathPrefix(`/`)":                          "",
		"PathPrefix(`/x`)":                         "/x/* wide",
		"PathPrefix(`/x/`)":                        "/x/* not =/x",
		"!PathPrefix(`/x/`)":                       " not /x/*|=/x",
		"PathPrefix(`/x/`) && PathPrefix(`/x/y/`)": "/x/y/* not =/x, not =/x/y",
		"PathRegexp(`^/x$`)":                       "=/x",
		"PathRegexp(`^/(x|y)/z$`)":                 "=/x/z|=/y/z",
		"PathRegexp(`^/[ab]/`)":                    "/a/* not =/a|/b/* not =/b",
		"PathRegexp(`^/x(/|$)`)":                   "/x/*",
		"PathRegexp(`^/x(/.*)?$`)":                 "/x/*",
		"PathRegexp(`\\.png$`)":                    ` w path ~ "\.png$"`,
		"PathRegexp(`^/[0-9]+$`)":                  ` w path ~ "^/[0-9]+$"`,
		"Path(`/{id:[0-9]+}`)":                     " unknown",
		"Path(`/{kind:(?:a|b)}`)":                  "=/a|=/b",
		"HostRegexp(`^.+\\.a\\.test$`)":            "*.a.test",
		"HostRegexp(`^[a-z]+\\.a\\.test$`)":        "*.a.test wide",
		"HostRegexp(`{sub:[a-z]+}.a.test`)":        "*.a.test wide",
		"HostRegexp(`^(a|b)\\.test$`)":             "a.test|b.test",
		"HostRegexp(`^.+$`)":                       "",
		"HostRegexp(`a.*z`)":                       ` w host ~ "a.*z"`,
		"Host(`*.a.test`)":                         "*.a.test wide",
		"Host(`*`)":                                "",
		"Method(`get`)":                            " m GET",
		"Method(`GET`) && Method(`POST`)":          "",
		"Header(`X-A`, `1`)":                       " h x-a 1",
		"Headers(`X-A`, `~1`)":                     " h x-a ~^~1$",
		"HeaderRegexp(`X-A`, `^1`)":                " h x-a ~^1",
		"HeaderRegexp(`X-A`, `(`)":                 " unknown",
		"Header(`Host`, `a`)":                      " unknown",
		"Query(`a`, `1`)":                          " q a 1",
		"Query(`a=1`, `b=2`)":                      " q a 1 q b 2",
		"Query(`a`)":                               " q a ~^$",
		"QueryRegexp(`a`, `[0-9]`)":                " q a ~[0-9]",
		"ClientIP(`10.0.0.0/8`) && Host(`a`)":      "a w peer.ip in {10.0.0.0/8}",
		"Nonsense(`x`)":                            " unknown",
	} {
		e, err := parseRule(rule)
		if err != nil {
			t.Errorf("%s: %v", rule, err)
			continue
		}
		m := mean(e, false)
		var got []string
		for _, w := range m.ways {
			got = append(got, wayText(w))
		}
		text := strings.Join(got, "|")
		if len(m.wide) > 0 {
			text += " wide"
		}
		if text != want {
			t.Errorf("%s: %q, want %q", rule, text, want)
		}
	}
}

// wayText returns a way to meet a rule as the tables have it.
func wayText(w conj) string {
	text := w.host + w.path
	for _, c := range w.conds {
		text += strings.TrimRight(fmt.Sprintf(" %c %s %s", c.kind, c.name, c.value), " ")
	}
	for i, n := range w.nots {
		if i > 0 {
			text += ","
		}
		text += " not " + n.host + n.path
	}
	if len(w.unknown) > 0 {
		text += " unknown"
	}
	return text
}

func TestRule_wrong(t *testing.T) {
	for _, rule := range []string{"", "Host", "Host(", "Host(`a`", "Host(`a`) &&", "Host(`a`) Path(`/x`)", "(Host(`a`)",
		"Host(a)", "Host(`a` `b`)", "&& Host(`a`)", strings.Repeat("(", 100), strings.Repeat("!", 100)} {
		if _, err := parseRule(rule); err == nil {
			t.Errorf("%q is a rule", rule)
		}
	}
}

func TestLiterals(t *testing.T) {
	for text, want := range map[string]string{
		"^a$": "[a] true", "^a": "[a] false", "^a.*": "[a] false", "^a(.*)$": "[a] false", "^(a|b)c$": "[ac bc] true",
		"^a?b$": "[ab b] true", "^[ab]$": "[a b] true", "a": "none", "^a+$": "none", "^(?i)a$": "none", "(": "none",
		"^" + strings.Repeat("[ab]", 10): "none", "^a\\.b$": "[a.b] true",
	} {
		texts, whole, ok := literals(text)
		got := "none"
		if slices.Sort(texts); ok {
			got = fmt.Sprint(texts, whole)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// Edge's choice among the cells is the router that Traefik takes, for requests that meet any part of the rules.
func TestCells_chooseAlike(t *testing.T) {
	tests := []test{{}, {host: "a"}, {host: "*.x"}, {host: "b.x"}, {path: "/p/*"}, {path: "/p/q/*"}, {path: "=/p"},
		{conds: []cond{{'m', "GET", ""}}}, {conds: []cond{{'h', "x", "1"}}}, {host: "a", path: "/p/*"},
		{path: "/p/*", conds: []cond{{'q', "y", "2"}}}}
	cells, whole := closeTests(tests)
	if !whole {
		t.Fatal("too many")
	}
	for _, c := range cells {
		// A request that meets c and nothing more specific: the most specific cell that it meets is c.
		for _, o := range cells {
			if c.within(o) && rank(o, c) < 0 || c.within(o) && o.key() != c.key() && rank(o, c) == 0 {
				t.Errorf("edge takes %q for requests of %q", o.key(), c.key())
			}
		}
		for _, o := range cells {
			both, ok := c.and(o)
			if ok && !slices.ContainsFunc(cells, func(x test) bool { return x.key() == both.key() }) {
				t.Errorf("no cell for %q", both.key())
			}
		}
	}
}

// FuzzRule: no text is too wrong, and what a rule means is bounded.
func FuzzRule(f *testing.F) {
	for _, rule := range []string{"Host(`a.test`) && !PathPrefix(`/x/`)", "!(A(`b`)||C(\"d\\\"\",'e'))",
		"Path(`/{a:b{1,2}}`)", "HostRegexp(`^(a|b)$`)", "Query(`a=b`)", "((", "Host(`"} {
		f.Add(rule)
	}
	f.Fuzz(func(t *testing.T, rule string) {
		if len(rule) > 2000 {
			return
		}
		e, err := parseRule(rule)
		if err != nil {
			return
		}
		if m := mean(e, false); len(m.ways) > conjMax {
			t.Errorf("%d ways", len(m.ways))
		}
	})
}
