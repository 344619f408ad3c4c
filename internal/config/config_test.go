package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with the file at path, or writes it.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is out of date (-update writes it).\n--- got\n%s--- want\n%s", path, got, want)
	}
}

// files returns the configurations in a folder of testdata. What was found in each stands in a .txt beside it.
func files(tb testing.TB, folder string) []string {
	all, err := filepath.Glob(filepath.Join("testdata", folder, "*"))
	all = slices.DeleteFunc(all, func(path string) bool { return strings.HasSuffix(path, ".txt") })
	if err != nil || len(all) == 0 {
		tb.Fatalf("no test data in %s: %v", folder, err)
	}
	return all
}

// goldenOf returns the path of what was found in the configuration at path.
func goldenOf(path string) string { return strings.TrimSuffix(path, ".toml") + ".txt" }

// environment is what the variables of the test data stand for.
var environment = Options{LookupEnv: func(name string) (string, bool) {
	v, found := map[string]string{
		"LEVEL": "hunter-of-levels", "PORT": "8085", "SECRET": "Tr0ub4dor&3", "WORDS": "two words", "THREADS": "3",
		"SIZE": "10m", "URL": "http://10.0.0.1:80", "LONG": strings.Repeat("correct-horse-battery-staple ", 5),
	}[name]
	return v, found
}}

// eachFile runs f for every configuration in a folder of testdata.
func eachFile(t *testing.T, folder string, f func(t *testing.T, name string, src []byte)) {
	for _, path := range files(t, folder) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			f(t, path, src)
		})
	}
}

// write makes a file, with the folder it is in.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func rendered(t *testing.T, rep *Report) string {
	t.Helper()
	var b strings.Builder
	if err := rep.Render(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestParse_errors(t *testing.T) {
	eachFile(t, "errors", func(t *testing.T, path string, src []byte) {
		c, rep := environment.Parse(filepath.Base(path), src)
		if c != nil || rep.OK() {
			t.Errorf("no error found")
		}
		golden(t, goldenOf(path), []byte(rendered(t, rep)))
	})
}

func TestParse_valid(t *testing.T) {
	eachFile(t, "valid", func(t *testing.T, path string, src []byte) {
		c, rep := environment.Parse(filepath.Base(path), src)
		if c == nil {
			t.Fatalf("refused:\n%s", rendered(t, rep))
		}
		golden(t, goldenOf(path), found(t, path, c, rep))
	})
}

func TestLoad_reportsUnreadableFile(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "none.toml"): "none.toml: error: cannot read: no such file or directory\n",
		dir:                             ": error: cannot read: is a directory\n",
	} {
		c, rep := Options{}.Load(path)
		if c != nil || !strings.HasSuffix(rendered(t, rep), want) {
			t.Errorf("Load(%s) = %v, %q, want an error ending in %q", path, c, rendered(t, rep), want)
		}
	}
}

func TestLoad_acceptsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edge.toml")
	if err := os.WriteFile(path, []byte("\xef\xbb\xbf[http]\r\nlisten = \":80\"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, rep := Options{}.Load(path)
	if c == nil {
		t.Fatal(rendered(t, rep))
	}
	if got, want := c.Listeners[0].Pos, (Pos{File: path, Line: 1, Column: 1}); got != want {
		t.Errorf("listener at %v, want %v", got, want)
	}
	if got, want := c.Listeners[0].Addresses[0].Pos, (Pos{File: path, Line: 2, Column: 10}); got != want {
		t.Errorf("address at %v, want %v", got, want)
	}
}

func TestReport_JSON(t *testing.T) {
	_, rep := Parse("edge.toml", []byte("threads = 1\nworker_threads = 2\n"))
	var got struct {
		Errors []struct {
			File         string
			Line, Column int
			Severity     string
			Message      string
			Related      []Pos
		}
		Warnings, Notes []any
	}
	if err := json.Unmarshal(rep.JSON(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Errors) != 1 || got.Warnings == nil || got.Notes == nil {
		t.Fatalf("got %s", rep.JSON())
	}
	e := got.Errors[0]
	if e.File != "edge.toml" || e.Line != 2 || e.Column != 1 || e.Severity != "error" || e.Message == "" {
		t.Errorf("got %+v", e)
	}
	if len(e.Related) != 1 || e.Related[0].Line != 1 {
		t.Errorf("related to %v, want line 1", e.Related)
	}
}

// A few errors of one kind each, so that the golden files may change without the kinds getting lost.
func TestParse_citesBothPlaces(t *testing.T) {
	for name, test := range map[string]struct{ src, at, other, message string }{
		"key": {"[log]\nformat = \"json\"\nformat = \"json\"\n", "3:1", "2:1", `"format" is set twice`},
		"alias": {"threads = 1\n[global]\nworker_threads = 2\n", "3:1", "1:1",
			`"worker_threads" and "threads" at line 1 mean the same, but have different values`},
		"section": {"[log]\n[http]\nlisten=':1'\n[log]\n", "4:1", "1:1", "[log] is there twice"},
		"address": {"[http]\nlisten=':1'\n[network]\nlisten=[':2', ':1']\n", "4:15", "2:8",
			`address ":1" is given twice, first at line 2`},
	} {
		t.Run(name, func(t *testing.T) {
			_, rep := Parse("f", []byte(test.src))
			if len(rep.Errors) != 1 {
				t.Fatalf("got %s", rendered(t, rep))
			}
			e := rep.Errors[0]
			if e.Pos.String() != "f:"+test.at || len(e.Related) != 1 || e.Related[0].String() != "f:"+test.other {
				t.Errorf("at %v, related %v, want %s and %s", e.Pos, e.Related, test.at, test.other)
			}
			if e.Message != test.message {
				t.Errorf("message %q, want %q", e.Message, test.message)
			}
		})
	}
}

// A configuration with errors still says what could be read of the process, where that is asked for.
func TestOptions_partial(t *testing.T) {
	partial := Options{Partial: true, LookupEnv: environment.LookupEnv}
	eachFile(t, "errors", func(t *testing.T, name string, src []byte) {
		if c, rep := partial.Parse(name, src); c == nil || rep.OK() || c.Routes != nil {
			t.Errorf("%+v, %v", c, rep.OK())
		}
	})
	const head = "[global]\npid_file = \"/run/a.pid\"\n"
	for _, wrong := range []string{"bad = 1\n", "dest = \"x\n", "[http]\nlisten = 1\n"} {
		if c, rep := partial.Parse("edge.toml", []byte(head+wrong)); c.Global.PIDFile != "/run/a.pid" || rep.OK() {
			t.Errorf("%q: %q, %v", wrong, c.Global.PIDFile, rep.OK())
		}
	}
}

// seeds returns the configurations in a folder of testdata.
func seeds(tb testing.TB, folder string) [][]byte {
	var all [][]byte
	for _, path := range files(tb, folder) {
		src, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, src)
	}
	return all
}

func TestReport_hidesUsersOfRegistries(t *testing.T) {
	_, rep := Parse("edge.toml", []byte("[upstreams.u]\ndiscover = \"consul://user:sesame@h:8500\"\n"+
		"[register]\nto = \"etcd://user:sesame@h:2379/x?z\"\n"))
	text := rendered(t, rep)
	if strings.Contains(text+string(rep.JSON()), "sesame") || strings.Count(text, "://…@h:") != 4 {
		t.Error(text)
	}
}

func TestReport_hidesControlCharacters(t *testing.T) {
	_, rep := Parse("edge.toml", []byte("# \nx = \"\x1b[31m\"\n\"\\u001b[0m\" = 1\ny = \"\u202e\"\n"))
	if text := rendered(t, rep); strings.ContainsAny(text, "\x1b\u202e") {
		t.Errorf("a character that hides reaches the terminal: %q", text)
	}
}
