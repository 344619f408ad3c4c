package admin

import (
	"fmt"
	"io"
	"strings"
)

// Reference writes the part of docs/admin.md that lists the endpoints, in Markdown.
func Reference(w io.Writer) error {
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
	_, err := io.WriteString(w, b.String())
	return err
}

// lowerFirst makes the first letter a small one.
func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }
