package admin

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

var update = flag.Bool("update", false, "write the table of docs/admin.md anew")

// The marks around the table in the page.
const (
	tableBegin = "<!-- endpoints: go test ./internal/server/admin -update -->\n"
	tableEnd   = "<!-- end of endpoints -->\n"
)

func TestReference_isUpToDate(t *testing.T) {
	path := filepath.Join(testutil.Root(t), "docs", "admin.md")
	page, err := os.ReadFile(path)
	testutil.Must(t, err)
	before, rest, begun := strings.Cut(string(page), tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !begun || !ended {
		t.Fatalf("%s has no table of endpoints", path)
	}
	want := before + tableBegin + reference() + tableEnd + after
	if *update {
		testutil.Must(t, os.WriteFile(path, []byte(want), 0o644))
		return
	}
	if want != string(page) {
		t.Errorf("%s is out of date: go test ./internal/server/admin -update writes its table", path)
	}
}

// reference is the part of docs/admin.md that lists the endpoints, in Markdown.
func reference() string {
	var b strings.Builder
	b.WriteString("| method and path | right | command | what it does |\n|---|---|---|---|\n")
	for _, e := range Endpoints() {
		command := "–"
		if e.Command != "" {
			command = "`edge " + e.Command + "`"
		}
		doc := e.Doc
		for _, q := range e.Query {
			doc += fmt.Sprintf(" `%s`: %s", q.Name, lowerFirst(q.Doc))
		}
		for _, f := range e.Fields {
			doc += fmt.Sprintf(" `%s`: %s", f.Name, lowerFirst(f.Doc))
		}
		fmt.Fprintf(&b, "| `%s %s` | %s | %s | %s |\n", e.Method, e.Pattern, e.Needs, command,
			strings.ReplaceAll(doc, "|", `\|`))
	}
	return b.String()
}

// lowerFirst makes the first letter a small one.
func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// Each row of the table is whole.
func TestEndpoints_areWhole(t *testing.T) {
	ids := make(map[string]bool)
	for _, e := range Endpoints() {
		if (e.answer == nil) == (e.serve == nil) || e.Doc == "" || e.Needs == MayNothing || ids[e.ID()] {
			t.Errorf("%s %s: answers in no way or in two, has no doc or no rights, or an ID twice: %s",
				e.Method, e.Pattern, e.ID())
		}
		if (e.Method == "GET") == (e.Needs == MayChange) && !e.Profile {
			t.Errorf("%s %s needs the right to %s", e.Method, e.Pattern, e.Needs)
		}
		if e.answer != nil && e.Out == nil {
			t.Errorf("%s %s does not say what it answers", e.Method, e.Pattern)
		}
		ids[e.ID()] = true
	}
}
