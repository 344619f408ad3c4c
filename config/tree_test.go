package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func TestParseTOML_spans(t *testing.T) {
	const text = `# ünï
"a key" . b = [ # comment ]
  "x", [1, 2 ], # ]
  { c = 'y', d.e = [ ] } ,
]
[ s . "t u" ] # comment
é = 1
`
	src := newSource("f", []byte(strings.Replace(text, "é", "e", 1)))
	rep := &Report{}
	root, whole := parseTOML(src, rep)
	if !whole {
		t.Fatal(rep.Errors)
	}
	cut := func(s span) string { return string(src.text[s.from:s.to]) }
	list := root.child("a key").child("b")
	table := list.children[2]
	header := root.child("s").child("t u")
	for _, test := range []struct {
		what, got, want string
	}{
		{"dotted key", cut(root.child("a key").name), `"a key"`},
		{"last part", cut(list.name), "b"},
		{"string", cut(list.children[0].value), `"x"`},
		{"array", cut(list.children[1].value), "[1, 2 ]"},
		{"number", cut(list.children[1].children[1].value), "2"},
		{"inline table", cut(table.value), "{ c = 'y', d.e = [ ] }"},
		{"inline value", cut(table.child("c").value), "'y'"},
		{"empty array", cut(table.child("d").child("e").value), "[ ]"},
		{"header", cut(header.head), `[ s . "t u" ]`},
		{"header's name", cut(header.name), `"t u"`},
		{"whole list", cut(list.value)[:15], "[ # comment ]\n "},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %q, want %q", test.what, test.got, test.want)
		}
	}
	if got := list.children[1].value.pos(); got != (Pos{"f", 3, 8}) {
		t.Errorf("array at %v", got)
	}
}

func TestSource_columnsCountCharacters(t *testing.T) {
	src := newSource("f", []byte("a\r\nñandú = 1\n"))
	at := src.span(strings.Index(string(src.text), "="), len(src.text))
	if got := at.pos(); got != (Pos{"f", 2, 7}) {
		t.Errorf("got %v", got)
	}
}

// The examples of the TOML specification about defining things twice.
func TestParseTOML_definitions(t *testing.T) {
	for _, test := range []struct {
		text string
		ok   bool
	}{
		{"[a.b]\n[a]\n", true},
		{"[a]\n[a.b]\n[a.c]\n", true},
		{"a.b = 1\na.c = 2\n", true},
		{"[f]\na.c = 1\na.t.s = 2\n[f.a.x]\ny = 1\n", true},
		{"[[a]]\nx = 1\n[[a]]\nx = 2\n[a.b]\nx = 1\n[[a.c]]\n[[a.c]]\n", true},
		{"[[a]]\n[a.b]\n[[a]]\n[a.b]\n", true},
		{"x = { a.b = 1, a.c = 2 }\n", true},
		{"[a]\n[a]\n", false},
		{"[a]\nb = 1\n[a.b]\n", false},
		{"a = 1\na = 1\n", false},
		{"a = 1\na.b = 1\n", false},
		{"a.b = 1\n[a]\n", false},
		{"[f]\na.c = 1\n[f.a]\n", false},
		{"[a.b]\nx = 1\n[a]\nb.y = 2\n", false},
		{"x = { a = 1 }\nx.b = 2\n", false},
		{"x = { a = 1 }\n[x.b]\n", false},
		{"x = { a.b = 1 }\n[x.a.c]\n", false},
		{"x = { a = 1, a = 2 }\n", false},
		{"a = []\n[[a]]\n", false},
		{"a = [{}]\n[a.b]\n", false},
		{"[[a]]\n[a]\n", false},
		{"[a]\n[[a]]\n", false},
		{"[a.b]\n[[a]]\n", false},
	} {
		rep := &Report{}
		parseTOML(newSource("f", []byte(test.text)), rep)
		if rep.OK() != test.ok {
			t.Errorf("%q: accepted %t, want %t", test.text, rep.OK(), test.ok)
		}
	}
}

func TestParseTree_refusesOtherEncodings(t *testing.T) {
	for _, name := range []string{"f.toml", "f.yaml", "f.json", "f"} {
		for _, text := range []string{"\xff\xfet\x00", "# caf\xe9\n", "a: \"\xc3\"\n"} {
			rep := parsed(name, text)
			if len(rep.Errors) != 1 || rep.Errors[0].Message != "the file is not UTF-8" {
				t.Errorf("%s %q: got %v", name, text, rep.Errors)
			}
		}
	}
}

func TestParseYAML_limits(t *testing.T) {
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	wide := "a: &a [1]\nb: [" + strings.Repeat("*a,", 200_000) + "]\n"
	for _, text := range []string{"a: " + deep, deep, wide, strings.Repeat("- ", 9000), strings.Repeat("? ", 9000)} {
		if rep := parsed("f.yaml", text); rep.OK() {
			t.Errorf("accepted %.20s…", text)
		}
	}
	if rep := parsed("f.json", `{"a":`+strings.Repeat("[", 1_000_000)); rep.OK() {
		t.Error("accepted a million brackets")
	}
}

func TestParseTOML_limitsNesting(t *testing.T) {
	for _, text := range []string{
		"a = " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"a = " + strings.Repeat("{b=", 500) + "1" + strings.Repeat("}", 500),
		"a = " + strings.Repeat("[", 1_000_000),
	} {
		if rep := parsed("f", text); rep.OK() {
			t.Errorf("accepted %.20s…", text)
		}
	}
}

// parsed returns what is wrong with the text of a file.
func parsed(name, text string) *Report {
	rep := &Report{}
	parseTree(newSource(name, []byte(text)), rep)
	rep.finish(name, nil)
	return rep
}

// plain turns a tree into what go-toml decodes the same file to.
func plain(n *node) any {
	switch n.kind {
	case kindTable:
		m := make(map[string]any)
		for _, c := range n.children {
			m[c.key] = plain(c)
		}
		return m
	case kindArray:
		list := make([]any, 0)
		for _, c := range n.children {
			list = append(list, plain(c))
		}
		return list
	case kindInt:
		return n.integer
	case kindFloat:
		return n.fraction
	case kindBool:
		return n.truth
	}
	return n.text
}

// withoutDates replaces what plain leaves as text, and NaN, which equals nothing.
func withoutDates(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = withoutDates(e)
		}
	case []any:
		for i, e := range v {
			v[i] = withoutDates(e)
		}
	case string, bool, int64:
	case float64:
		if v != v {
			return "nan"
		}
	default:
		return "date"
	}
	return v
}

func datesOf(n *node) {
	if n.kind == kindDatetime {
		n.kind, n.text = kindString, "date"
	}
	for _, c := range n.children {
		datesOf(c)
	}
}

// againstReference checks that what go-toml accepts gives the same tree here.
func againstReference(t *testing.T, text []byte) {
	var want map[string]any
	src, rep := newSource("f", text), &Report{}
	if toml.Unmarshal(src.text, &want) != nil {
		return
	}
	root, _ := parseTOML(src, rep)
	if !rep.OK() {
		if strings.Contains(rep.Errors[0].Message, "levels deep") {
			return
		}
		t.Fatalf("refused what go-toml accepts:\n%v", rep.Errors)
	}
	datesOf(root)
	got := withoutDates(plain(root))
	if want == nil {
		want = map[string]any{}
	}
	if !reflect.DeepEqual(got, withoutDates(want)) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// FuzzTOML holds the tree against what go-toml makes of the same text.
func FuzzTOML(f *testing.F) {
	for _, folder := range []string{"errors", "valid"} {
		paths, err := filepath.Glob("testdata/" + folder + "/*")
		if err != nil || len(paths) == 0 {
			f.Fatalf("no test data in %s: %v", folder, err)
		}
		for _, path := range paths {
			src, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	f.Add([]byte("a = [1, 2.5, true, 1979-05-27T07:32:00Z, inf]\n[\"\\u0000\"]\n[[x]]\ny.z = '''\n'''"))
	f.Fuzz(againstReference)
}
