package config

import (
	_ "embed"
	"fmt"
	"io"
	"strings"

	"github.com/edge-proxy/edge/config/syntax"
)

// referenceIntro is what the page says before it comes to the keys.
//
//go:embed reference.md
var referenceIntro string

// Reference writes the reference page of all keys in Markdown.
func Reference(w io.Writer) error {
	var b strings.Builder
	b.WriteString(referenceIntro)
	schema() // prepares the rows
	for _, s := range sections() {
		s.describe(&b)
	}
	b.WriteString("\n## Keys without a meaning\n\nThese may stand at the top of a file written for another server. " +
		"They are accepted and ignored, with a note:\n")
	for i, k := range ignoredKeys {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n`%s`", k)
	}
	b.WriteString(".\n\nThe same goes for `" + strings.Join(dormantKeys, "`, `") + "`, which will have a meaning.")
	b.WriteString("\n\n## Warnings and notes\n\n`allow = [\"code\"]` silences them.\n\n" +
		"| code | meaning |\n|---|---|\n")
	for _, c := range codes {
		fmt.Fprintf(&b, "| `%s` | %s |\n", c.code, c.doc)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *section) describe(b *strings.Builder) {
	title := "`" + titleOf(s.path, s.shape) + "`"
	if s.path == "" {
		title = "Top level"
	}
	fmt.Fprintf(b, "\n## %s\n\n%s\n", title, s.doc)
	for _, a := range s.aliases {
		fmt.Fprintf(b, "\nAlso written `%s`: %s.\n", titleOf(a.path, a.shape), a.doc)
	}
	if s.top {
		b.WriteString("\nThese keys may stand at the top of the file as well.\n")
	}
	b.WriteString("\n| key | type | default | meaning |\n|---|---|---|---|\n")
	for _, k := range s.keys {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", k.path, k.typeText(), code(k.def), k.meaning())
	}
}

func (k *key) typeText() string {
	if len(k.enum) == 0 {
		text := k.typ.name
		if len(k.words) > 0 {
			text += " or " + code(syntax.Alternatives(k.words))
		}
		return text
	}
	words := make([]string, len(k.enum))
	for i, e := range k.enum {
		words[i] = code(syntax.Quote(e))
	}
	text := strings.Join(words, ", ")
	if k.typ.name == typeChoices.name {
		text = "list of " + text
	}
	return text
}

func (k *key) meaning() string {
	text := k.doc
	if k.min != "" {
		text += " From " + k.min + " to " + k.max + "."
	}
	if k.example != "" {
		text += " Example: " + code(k.example) + "."
	}
	if len(k.aliases) > 0 {
		var names []string
		for _, a := range k.aliases {
			name, sameLevel := strings.CutPrefix(a, ".")
			where := ""
			if !sameLevel {
				where = " (top level)"
			}
			names = append(names, code(name)+where)
		}
		text += " Also written " + strings.Join(names, ", ") + "."
	}
	if k.restart {
		text += " *restart*"
	}
	return text
}

// code sets text in the type of a program, without breaking a table.
func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(text, "|", "\\|") + "`"
}
