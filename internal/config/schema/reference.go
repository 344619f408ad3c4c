package schema

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config/syntax"
)

// Reference writes the reference page of all keys in Markdown, after an introduction.
func (s *Schema) Reference(w io.Writer, introduction string) error {
	var b page
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
func (s *Section) describe(b *page, all []*Section) {
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
	b.describeKeys(title, keys)
	for _, v := range s.Variants.List {
		title := "`" + s.Variants.By + " = " + syntax.Quote(v.Name) + "`"
		fmt.Fprintf(b, "\n### %s\n\n%s\n", title, v.Doc)
		b.describeKeys(title, v.Keys)
	}
}

// page is the reference page, with the tables of keys that it has so far.
type page struct {
	strings.Builder
	tables []table
}

type table struct {
	title string
	keys  []*Key
}

// has reports whether a row of t says what one of k would, other spellings and the tables inside the section aside.
func (t table) has(k *Key) bool {
	return slices.ContainsFunc(t.keys, func(o *Key) bool {
		a, b := *k, *o
		a.Path, b.Path = strings.TrimPrefix(k.Path, levelOf(k.Path)), strings.TrimPrefix(o.Path, levelOf(o.Path))
		a.Aliases, b.Aliases = nil, nil
		return a.Path == b.Path && a.row() == b.row()
	})
}

// describeKeys writes the keys below a title. A line names those that an earlier table has, in place of their rows.
func (b *page) describeKeys(title string, keys []*Key) {
	var home table
	rows := keys
	for _, t := range b.tables {
		if rest := slices.DeleteFunc(slices.Clone(keys), t.has); len(rest) < len(rows) {
			home, rows = t, rest
		}
	}
	b.tables = append(b.tables, table{title, keys})
	var names []string
	also := ""
	for _, k := range keys {
		if slices.Contains(rows, k) {
			continue
		}
		names = append(names, code(k.Path))
		for _, a := range k.Aliases {
			if a[0] != '.' { // the others are as there
				also += " " + code(k.Path) + " is also written " + code(a) + " (top level)."
			}
		}
	}
	link := "[" + home.title + "](#" + strings.ToLower(unmarked.Replace(home.title)) + ")"
	if len(names) > 0 && len(names) == len(home.keys) {
		fmt.Fprintf(b, "\nThe section has the keys of %s.%s\n", link, also)
	} else if len(names) > 0 {
		fmt.Fprintf(b, "\nThese keys mean the same as in %s: %s.%s\n", link, strings.Join(names, ", "), also)
	}
	if len(rows) > 0 {
		b.WriteString("\n| key | type | default | meaning |\n|---|---|---|---|\n")
	}
	for _, k := range rows {
		b.WriteString(k.row())
	}
}

// unmarked takes the marks out of a title that its anchor does not have.
var unmarked = strings.NewReplacer("`", "", "[", "", "]", "", ".", "", "=", "", "\"", "", " ", "-")

func (k *Key) row() string {
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", k.Path, k.typeText(), code(k.Default), k.meaning())
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
