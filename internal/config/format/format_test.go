package format

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

var update = flag.Bool("update", false, "write the golden files again")

// formatted returns text formatted, and fails the test if formatting it again changes anything.
func formatted(t *testing.T, name, text string) string {
	t.Helper()
	out, rep := TOML(syntax.NewSource(name, []byte(text), 0))
	if !rep.OK() {
		var b strings.Builder
		_ = rep.Render(&b)
		t.Fatal(b.String())
	}
	again, rep := TOML(syntax.NewSource(name, out, 0))
	if !rep.OK() || string(again) != string(out) {
		t.Fatalf("once:\n%s\ntwice:\n%s", out, again)
	}
	return string(out)
}

func TestTOML_golden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.in.toml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := formatted(t, file, string(text))
			golden := strings.Replace(file, ".in.", ".out.", 1)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, _ := os.ReadFile(golden); string(want) != got {
				t.Errorf("%s differs from\n%s", golden, got)
			}
		})
	}
}

func TestTOML_form(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"blank", " \n\t\n", ""},
		{"byte order mark", "\ufeffa = 1", "a = 1\n"},
		{"alignment", "a=1\nlonger  =2\n\nb =   3\n", "a      = 1\nlonger = 2\n\nb = 3\n"},
		{"characters, not bytes", "'é' = 1 # x\n'éé'=2# y\n", "\"é\"  = 1  # x\n\"éé\" = 2  # y\n"},
		{"comments", "a = 1 # x\nbb = 22   # y\nc = 3\n#  z  \n", "a  = 1   # x\nbb = 22  # y\nc  = 3\n#  z\n"},
		{"comment ends a block", "a = 1\n# x\nlong = 2\n", "a = 1\n# x\nlong = 2\n"},
		{"carriage returns", "a = 1 # x\r\n\r\n\r\n[ b ]\r\nc=[\r\n1\r\n]\r\n",
			"a = 1  # x\n\n[b]\nc = [\n  1,\n]\n"},
		{"headers", "[a]\n\n\nb = 1\n[[ c . 'd' ]]# x\n# about e\n[e.\"f.g\"]\n",
			"[a]\nb = 1\n\n[[c.d]]  # x\n\n# about e\n[e.\"f.g\"]\n"},
		{"no blank line at the start", "\n\n[a]\n", "[a]\n"},
		{"indentation", "[http]\n  listen = ':80'\n\tvia=true\n", "[http]\nlisten = \":80\"\nvia    = true\n"},
		{"dotted", "a . b.'c' = 1\n", "a.b.c = 1\n"},
		{"quotes", `a = 'x'` + "\n" + `b = 'say "x"'` + "\n" + `c = '\d'` + "\n" + `d = "\u00e9"` + "\n",
			`a = "x"` + "\n" + `b = 'say "x"'` + "\n" + `c = '\d'` + "\n" + `d = "\u00e9"` + "\n"},
		{"one line", "a=[ 1,2 , [ ],{b=1 , c={ }}, ]\n", "a = [1, 2, [], { b = 1, c = {} }]\n"},
		{"several lines", "a = [1,2,\n\n    3, # x\n  # y\n\n\n 4 # z\n  ,5]\n",
			"a = [\n  1, 2,\n\n  3,  # x\n  # y\n\n  4,  # z\n  5,\n]\n"},
		{"comment after a bracket", "a = [ # x\n]\n", "a = [  # x\n]\n"},
		{"comment after a comma", "a = [1 # x\n, # y\n 2]\n", "a = [\n  1,  # x\n  # y\n  2,\n]\n"},
		{"nested", "a = [{ b = 1,\n c=[1,\n2] },\n{ b = 2 }]\n",
			"a = [\n  {\n    b = 1,\n    c = [\n      1,\n      2,\n    ],\n  },\n  { b = 2 },\n]\n"},
		{"a long value is in a block", "a = 1 # x\nlong = [\n1 ]# y\nb = 2 # z\nlonger = 3\n",
			"a      = 1  # x\nlong   = [\n  1,\n]  # y\nb      = 2  # z\nlonger = 3\n"},
		{"strings of several lines", "a = \"\"\"\n x  \r\n\t\"\"\\\"\"\"\"\"\" # c\nb = '''\n  y'''''\n",
			"a = \"\"\"\n x  \r\n\t\"\"\\\"\"\"\"\"\"  # c\nb = '''\n  y'''''\n"},
		{"numbers", "a = 0xFF\nb = 1_000\nc = +1e3\nd = 1979-05-27 07:32:00 # x\ne = inf\nf = nan\n",
			"a = 0xFF\nb = 1_000\nc = +1e3\nd = 1979-05-27 07:32:00  # x\ne = inf\nf = nan\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := formatted(t, "edge.toml", c.in); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestTOML_refusesWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a = 1\nb = \n", "edge.toml:2:5"},
		{"a = 1\na = 2\n", "edge.toml:2:1"},
		{"[a]\n[a]\n", "edge.toml:2:1"},
		{"a = 99999999999999999999\n", "edge.toml:1:5"},
		{"a = hello\n", "edge.toml:1:5"},
	} {
		out, rep := TOML(syntax.NewSource("edge.toml", []byte(c.in), 0))
		if out != nil || rep.OK() || rep.Errors[0].Pos.String() != c.want {
			t.Errorf("%q: %q, %v", c.in, out, rep.Errors)
		}
	}
}

// corpus calls f for each TOML file of the tests of packages that read configurations.
func corpus(t testing.TB, f func(name string, text []byte)) {
	root := testutil.Root(t)
	for _, pattern := range []string{
		"internal/config/testdata/*/*.toml", "internal/config/testdata/*/*/*.toml",
		"internal/config/format/testdata/*.toml", "examples/*/*.toml", "packaging/*/*.toml",
		"cmd/edge-import/internal/importer/testdata/*/*.toml",
	} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			f(file, text)
		}
	}
}

// Whatever parses is formatted: there is no form of TOML that the scanner does not know.
func TestTOML_takesWhatParses(t *testing.T) {
	n := 0
	corpus(t, func(name string, text []byte) { n += check(t, name, text) })
	if n < 30 {
		t.Errorf("%d files only", n)
	}
}

// check formats a text if it parses, and returns 1 then.
func check(t *testing.T, name string, text []byte) int {
	t.Helper()
	if !utf8Text(text) {
		return 0
	}
	rep := &syntax.Report{}
	before, whole := syntax.ParseTOML(syntax.NewSource(name, text, 0), rep)
	if !whole || !rep.OK() {
		return 0
	}
	out := formatted(t, name, string(text))
	after, _ := syntax.ParseTOML(syntax.NewSource(name, []byte(out), 0), rep)
	if !Same(before, after) {
		t.Errorf("%s: the trees differ:\n%s", name, out)
	}
	return 1
}

func utf8Text(text []byte) bool { return bytes.Equal(bytes.ToValidUTF8(text, nil), text) }

func FuzzTOML(f *testing.F) {
	corpus(f, func(_ string, text []byte) { f.Add(text) })
	f.Fuzz(func(t *testing.T, text []byte) { check(t, "edge.toml", text) })
}
