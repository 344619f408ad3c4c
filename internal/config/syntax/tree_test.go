package syntax

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/edge-proxy/edge/internal/test/testutil"
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
	src := NewSource("f", []byte(strings.Replace(text, "é", "e", 1)), 0)
	rep := &Report{}
	root, whole := ParseTOML(src, rep)
	if !whole {
		t.Fatal(rep.Errors)
	}
	cut := func(s Span) string { return string(src.Text[s.From:s.To]) }
	list := root.Child("a key").Child("b")
	table := list.Children[2]
	header := root.Child("s").Child("t u")
	for _, test := range []struct {
		what, got, want string
	}{
		{"dotted key", cut(root.Child("a key").Name), `"a key"`},
		{"last part", cut(list.Name), "b"},
		{"string", cut(list.Children[0].Value), `"x"`},
		{"array", cut(list.Children[1].Value), "[1, 2 ]"},
		{"number", cut(list.Children[1].Children[1].Value), "2"},
		{"inline table", cut(table.Value), "{ c = 'y', d.e = [ ] }"},
		{"inline value", cut(table.Child("c").Value), "'y'"},
		{"empty array", cut(table.Child("d").Child("e").Value), "[ ]"},
		{"header", cut(header.Head), `[ s . "t u" ]`},
		{"header's name", cut(header.Name), `"t u"`},
		{"whole list", cut(list.Value)[:15], "[ # comment ]\n "},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %q, want %q", test.what, test.got, test.want)
		}
	}
	if got := list.Children[1].Value.Pos(); got != (Pos{"f", 3, 8}) {
		t.Errorf("array at %v", got)
	}
}

func TestSource_columnsCountCharacters(t *testing.T) {
	src := NewSource("f", []byte("a\r\nñandú = 1\n"), 0)
	at := src.Span(strings.Index(string(src.Text), "="), len(src.Text))
	if got := at.Pos(); got != (Pos{"f", 2, 7}) {
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
		ParseTOML(NewSource("f", []byte(test.text), 0), rep)
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
	testutil.OnlyPlain(t)
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
	ParseTree(NewSource(name, []byte(text), 0), rep)
	rep.Finish(name, nil)
	return rep
}

// plain turns a tree into what go-toml decodes the same file to.
func plain(n *Node) any {
	switch n.Kind {
	case KindTable:
		m := make(map[string]any)
		for _, c := range n.Children {
			m[c.Key] = plain(c)
		}
		return m
	case KindList:
		list := make([]any, 0)
		for _, c := range n.Children {
			list = append(list, plain(c))
		}
		return list
	case KindInt:
		return n.Integer
	case KindFloat:
		return n.Fraction
	case KindBool:
		return n.Truth
	}
	return n.Text
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

func datesOf(n *Node) {
	if n.Kind == KindDatetime {
		n.Kind, n.Text = KindString, "date"
	}
	for _, c := range n.Children {
		datesOf(c)
	}
}

// againstReference checks that what go-toml accepts gives the same tree here.
func againstReference(t *testing.T, text []byte) {
	var want map[string]any
	src, rep := NewSource("f", text, 0), &Report{}
	if toml.Unmarshal(src.Text, &want) != nil {
		return
	}
	root, _ := ParseTOML(src, rep)
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
		paths, err := filepath.Glob("../testdata/" + folder + "/*")
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
