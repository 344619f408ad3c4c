package variables_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

var update = flag.Bool("update", false, "write the table of docs/DSL.md")

// The page has the variables that there are.
func TestPage(t *testing.T) {
	file := filepath.Join(testutil.Root(t), "docs", "DSL.md")
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- edge variables -->\n", "<!-- end of them -->\n"
	before, rest, found := strings.Cut(string(page), begin)
	got, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("the page has no %s", begin)
	}
	var want strings.Builder
	want.WriteString("| name | kind | known in | what it is | example |\n|---|---|---|---|---|\n")
	for _, v := range variables.All() {
		kind := strings.TrimPrefix(v.Kind.String(), "a ")
		fmt.Fprintf(&want, "| `%s` | %s | %v | %s | `%s` |\n", v.Name, kind, v.Phases,
			strings.ReplaceAll(v.Doc, "|", `\|`), strings.ReplaceAll(v.Example, "|", `\|`))
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+want.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != want.String() {
		t.Error("the table is old: go test ./internal/exchange/variables -run Page -update")
	}
}
