package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, folder := range []string{"errors", "valid"} {
		for _, src := range seeds(f, folder) {
			f.Add(src)
		}
	}
	f.Add([]byte("a = [1, 2.5, true, 1979-05-27T07:32:00Z, inf]\n[\"\\u0000\"]\n[[x]]\ny.z = '''\n'''"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, rep := Parse("f.toml", text)
		checkResult(t, "f.toml", text, c, rep)
		if strings.ContainsAny(rendered(t, rep), "\x00\x1b\r") {
			t.Errorf("control characters in the report")
		}
	})
}

func FuzzParseYAML(f *testing.F) { fuzzFormat(f, "f.yaml") }

func FuzzParseJSON(f *testing.F) { fuzzFormat(f, "f.json") }

func FuzzParseEither(f *testing.F) { fuzzFormat(f, "f") }

// fuzzFormat parses any text in the format that name says.
func fuzzFormat(f *testing.F, name string) {
	for _, folder := range []string{"errors", "valid"} {
		for _, path := range files(f, folder) {
			src, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			if ext := filepath.Ext(path); name == "f" || ext == filepath.Ext(name) {
				f.Add(src)
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o := Options{LookupEnv: func(name string) (string, bool) { return name, len(name)%2 == 0 }}
		if strings.Contains(string(text), "${file:") || len(text) > 64<<10 {
			return
		}
		c, rep := o.Parse(name, text)
		checkResult(t, name, text, c, rep)
	})
}

// checkResult checks what holds for any text: there is a Config, or there are errors, each at a place of the file, in
// order.
func checkResult(t *testing.T, name string, text []byte, c *Config, rep *Report) {
	if (c == nil) == rep.OK() {
		t.Fatalf("a Config: %t, but OK: %t", c != nil, rep.OK())
	}
	lines := strings.Count(string(text), "\n") + 1
	for i, e := range rep.Errors {
		if e.Line < 1 || e.Line > lines || e.Column < 1 || e.File != name {
			t.Errorf("%q is at %v of %d lines", e.Message, e.Pos, lines)
		}
		if i == 0 {
			continue
		}
		if last := rep.Errors[i-1].Pos; e.Line < last.Line || e.Line == last.Line && e.Column < last.Column {
			t.Errorf("%v comes after %v", e.Pos, last)
		}
	}
	rendered(t, rep)
	if !json.Valid(rep.JSON()) {
		t.Error("the report is not JSON")
	}
}
