package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Table is rows of cells below a title and a head, either of which may be empty. Columns below a head are of numbers,
// but for the first one and those whose head is empty or "what".
type Table struct {
	Title string
	Head  []string
	Rows  [][]string
}

// NewTable returns a table without rows. The names in head are parted by tabs.
func NewTable(title, head string) *Table {
	return &Table{Title: title, Head: strings.Split(head, "\t")}
}

// Add adds a row. Its cells are parted by tabs.
func (t *Table) Add(format string, args ...any) {
	t.Rows = append(t.Rows, strings.Split(fmt.Sprintf(format, args...), "\t"))
}

func (t *Table) words(column int) bool {
	return column == 0 || t.Head == nil || t.Head[column] == "" || t.Head[column] == "what"
}

// WriteText writes tables in columns.
func WriteText(w io.Writer, tables ...*Table) error {
	var b strings.Builder
	for _, t := range tables {
		if t.Title != "" {
			b.WriteString("\n" + t.Title + "\n\n")
		}
		rows := t.Rows
		if t.Head != nil {
			rows = append([][]string{t.Head}, rows...)
		}
		var widths []int
		for _, row := range rows {
			for i, cell := range row {
				if i == len(widths) {
					widths = append(widths, 0)
				}
				widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			}
		}
		for _, row := range rows {
			line := ""
			for i, cell := range row {
				pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
				if t.words(i) {
					line += cell + pad + "  "
				} else {
					line += pad + cell + "  "
				}
			}
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteMarkdown writes tables in Markdown.
func WriteMarkdown(w io.Writer, tables ...*Table) error {
	var b strings.Builder
	for _, t := range tables {
		if t.Title != "" {
			b.WriteString("\n" + t.Title + ":\n\n")
		}
		b.WriteString("| " + strings.Join(t.Head, " | ") + " |\n|---|" + strings.Repeat("---:|", len(t.Head)-1) + "\n")
		for _, row := range t.Rows {
			b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes v for programs.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
