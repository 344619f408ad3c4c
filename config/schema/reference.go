package schema

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/syntax"
)

// Reference writes the reference page of all keys in Markdown, after an introduction.
func (s *Schema) Reference(w io.Writer, introduction string) error {
	var b strings.Builder
	b.WriteString(introduction)
	for _, section := range s.Sections {
		if !section.Extends {
			section.describe(&b, s.Sections)
		}
	}
	b.WriteString("\n## Keys without a meaning\n\nThese may stand at the top of a file written for another server. " +
		"They are accepted and ignored, with a note:\n\n`" + strings.Join(s.Reserved.Ignored, "`,\n`") + "`.")
	b.WriteString("\n\n## Warnings and notes\n\n`allow = [\"code\"]` silences them.\n\n| code | meaning |\n|---|---|\n")
	for _, c := range s.Codes {
		fmt.Fprintf(&b, "| `%s` | %s |\n", c.Name, c.Doc)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// describe writes a section with the keys of those that extend it.
func (s *Section) describe(b *strings.Builder, all []*Section) {
	title := "`" + s.Title() + "`"
	if s.Path == "" {
		title = "Top level"
	}
	fmt.Fprintf(b, "\n## %s\n\n%s\n", title, s.Doc)
	for _, a := range s.Aliases {
		fmt.Fprintf(b, "\nAlso written `%s`: %s.\n", titleOf(a.Path, a.Shape), a.Doc)
	}
	if s.Single {
		fmt.Fprintf(b, "\nA single one may be written `[%s]`.\n", s.Path)
	}
	if s.Top {
		b.WriteString("\nThese keys may stand at the top of the file as well.\n")
	}
	keys := s.Keys
	for _, more := range all {
		if more.Extends && more.Path == s.Path {
			keys = slices.Concat(keys, more.Keys)
		}
	}
	describeKeys(b, keys)
	for _, v := range s.Variants.List {
		fmt.Fprintf(b, "\n### `%s = %s`\n\n%s\n", s.Variants.By, syntax.Quote(v.Name), v.Doc)
		if len(v.Keys) > 0 {
			describeKeys(b, v.Keys)
		}
	}
}

func describeKeys(b *strings.Builder, keys []*Key) {
	b.WriteString("\n| key | type | default | meaning |\n|---|---|---|---|\n")
	for _, k := range keys {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", k.Path, k.typeText(), code(k.Default), k.meaning())
	}
}

func (k *Key) typeText() string {
	if len(k.Enum) == 0 {
		text := k.Type.Name
		if len(k.Words) > 0 {
			text += " or " + code(syntax.Alternatives(k.Words))
		}
		return text
	}
	words := make([]string, len(k.Enum))
	for i, e := range k.Enum {
		words[i] = code(syntax.Quote(e))
	}
	text := strings.Join(words, ", ")
	if k.Type.Name == Choices.Name {
		text = "list of " + text
	}
	return text
}

func (k *Key) meaning() string {
	text := k.Doc
	if k.Min != "" {
		text += " From " + k.Min + " to " + k.Max + "."
	}
	if k.Example != "" {
		text += " Example: " + code(k.Example) + "."
	}
	if len(k.Aliases) > 0 {
		var names []string
		for _, a := range k.Aliases {
			name := strings.TrimLeft(a, ".")
			where := ""
			if name == a {
				where = " (top level)"
			}
			names = append(names, code(name)+where)
		}
		text += " Also written " + strings.Join(names, ", ") + "."
	}
	if k.Required {
		text += " *required*"
	}
	if k.Restart {
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
