package route

import (
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/lang"
)

// when compiles a condition of a rule.
func when(t testing.TB, text string) *lang.Condition {
	t.Helper()
	s, err := lang.NewScope(lang.Names{})
	testutil.Must(t, err)
	c, err := s.Condition(text, lang.Request)
	testutil.Must(t, err)
	return c
}

// A condition counts as one, after the query. What is hidden in the path is refused where it decides.
func TestTable_when(t *testing.T) {
	var table Table[string]
	for _, r := range []struct {
		to   string
		rule Rule
	}{
		{"all", Rule{}},
		{"admin", Rule{When: when(t, `path starts_with "/admin"`)}},
		{"q", Rule{Query: []Condition{{"q", "1"}}}},
		{"both", Rule{Query: []Condition{{"q", "1"}}, When: when(t, `path ends_with ".txt"`)}},
		{"posts", Rule{Methods: []string{"POST"}, When: when(t, `path == "/post"`)}},
	} {
		testutil.Must(t, table.Add(r.rule, r.to))
	}
	for _, c := range []struct{ method, target, want string }{
		{"GET", "/", "all"},
		{"GET", "/admin/x", "admin"},
		{"GET", "/%61dmin", "admin"},
		{"GET", "/x/../admin", "admin"},
		{"GET", "/admin?q=1", "q"},
		{"GET", "/admin.txt?q=1", "both"},
		{"POST", "/post", "posts"},
		{"GET", "/post", "all"},
		{"GET", "//admin", "the path can be read in two ways"},
		{"GET", "/x%2f..%2fadmin", "the path can be read in two ways"},
		{"GET", "//other", "all"},
	} {
		var l Local
		got, err := table.Find(ask(c.method, "h", c.target), here, Reading{}, &l)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s %s: %q, want %q", c.method, c.target, got, c.want)
		}
	}
}

func TestTable_explainsWhen(t *testing.T) {
	var table Table[int]
	for i, r := range []Rule{
		{}, {When: when(t, `path == "/a"`)}, {Query: []Condition{{"q", ""}}, When: when(t, `true`)},
	} {
		testutil.Must(t, table.Add(r, i))
	}
	all, _, err := table.Explain(ask("GET", "h", "/b"), here, Reading{})
	if err != nil || all[0].Why != Takes || all[1].Why != OtherWhen || all[2].Why != OtherQuery {
		t.Errorf("%v, %v", all, err)
	}
	all, _, _ = table.Explain(ask("GET", "h", "/a"), here, Reading{})
	if all[0].Why != LessSpecific || all[1].Why != Takes {
		t.Errorf("%v", all)
	}
}

// Rules are equal where the texts of their conditions are, and one with a condition hides none without.
func TestRule_hidesWithWhen(t *testing.T) {
	a, b := Rule{When: when(t, `path == "/a"`)}, Rule{When: when(t, `path == "/b"`)}
	both := Rule{When: a.When, Query: []Condition{{"q", ""}}}
	for _, c := range []struct {
		name        string
		rule, other *Rule
		want        bool
	}{
		{"itself", &a, &a, false}, // neither is before the other
		{"another one", &a, &b, false},
		{"none", &a, &Rule{}, false},
		{"more specific", &both, &a, false},
	} {
		if got := c.rule.Hides(c.other, nil); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	var table Table[int]
	testutil.Must(t, table.Add(a, 1))
	if table.Add(Rule{When: when(t, `path == "/a"`)}, 2) == nil {
		t.Error("two rules with one condition and no weight")
	}
}
