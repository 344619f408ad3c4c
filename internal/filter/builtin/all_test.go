package builtin

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/plugin"
)

var registers = regexp.MustCompile(`(?m)^\s*(?:func init\(\) \{ )?plugin\.Register\(plugin\.Filters, "(\w+)"`)

// Every type that a package below filter registers is here, and plugins.OwnFilters names it.
func TestAll(t *testing.T) {
	files, err := filepath.Glob("../*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") {
			for _, m := range registers.FindAllStringSubmatch(string(text), -1) {
				want = append(want, m[1])
			}
		}
	}
	var got []string
	for _, k := range plugin.Types() {
		if k.Kind == plugin.Filters {
			got = append(got, k.Name)
		}
	}
	slices.Sort(want)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("registered are %v, below filter are %v", got, want)
	}
	if own := slices.Sorted(slices.Values(plugins.OwnFilters)); !slices.Equal(own, want) {
		t.Errorf("plugins.OwnFilters has %v, want %v", own, want)
	}
}

// types are those of filters, as files see them.
func types() []schema.Variant { return plugins.Sections()[0].Variants.List }

// Each key that names a file says so: a client over TCP may not name files that the process reads.
func TestAll_filesAreLocal(t *testing.T) {
	for _, of := range types() {
		for _, k := range of.Keys {
			if k.Path == "file" && !k.Local {
				t.Errorf("%s: the key %s = %s lacks local:\"true\"", of.Name, k.Path, k.Example)
			}
		}
	}
}

// The example of each key is a value that the key takes.
func TestAll_examples(t *testing.T) {
	for _, of := range types() {
		var required strings.Builder
		for _, k := range of.Keys {
			if k.Required && k.Example == "" {
				t.Errorf("%s: the key %s is required and has no example", of.Name, k.Path)
			}
			if k.Required && !strings.Contains(k.Path, ".") {
				required.WriteString(k.Path + " = " + k.Example + "\n")
			}
		}
		for _, k := range of.Keys {
			value := k.Example
			if value == "" && k.Default != "false" {
				value = k.Default
			}
			text := "[filters.x]\ntype = \"" + of.Name + "\"\n" + required.String()
			if value != "" && !strings.Contains(required.String(), "\n"+k.Path+" = ") &&
				!strings.HasPrefix(required.String(), k.Path+" = ") {
				text += k.Path + " = " + value + "\n"
			}
			_, rep := config.Options{TextOnly: true}.Parse("edge.toml", []byte(text))
			for _, e := range rep.Errors {
				if e.Line < 3 {
					continue // the table as a whole lacks something
				}
				t.Errorf("%s: %s: %s (%s)\n%s", of.Name, k.Path, e.Message, e.Hint, text)
			}
		}
	}
}
