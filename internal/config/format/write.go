package format

import (
	"strings"
	"unicode/utf8"
)

// render returns the text of lines that begin with indent, aligned.
func render(lines []line, indent string) string {
	alignKeys(lines)
	starts := make([]string, len(lines)) // without comments
	for i := range lines {
		starts[i] = inLine(lines[i])
	}
	margins := noteMargins(lines, starts)
	var b strings.Builder
	for i := range lines {
		l := &lines[i]
		if l.gap {
			b.WriteByte('\n')
		}
		b.WriteString(indent + starts[i])
		if l.note != "" {
			b.WriteString(margins[i] + l.note)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// alignKeys pads the keys of each block to the same width.
func alignKeys(lines []line) {
	blocks(lines, func(l *line) bool { return l.key != "" }, func(block []line, _ int) {
		width := 0
		for i := range block {
			width = max(width, utf8.RuneCountInString(block[i].key))
		}
		for i := range block {
			block[i].key += strings.Repeat(" ", width-utf8.RuneCountInString(block[i].key))
		}
	})
}

// noteMargins returns what stands before the comment of each line, so that comments of a block are aligned.
func noteMargins(lines []line, starts []string) []string {
	margins := make([]string, len(lines))
	for i := range lines {
		if starts[i] != "" {
			margins[i] = noteMargin
		}
	}
	blocks(lines, func(l *line) bool { return l.note != "" && l.text != "" && !l.alone }, func(block []line, at int) {
		width := 0
		for i := range block {
			width = max(width, utf8.RuneCountInString(starts[at+i]))
		}
		for i := range block {
			margins[at+i] += strings.Repeat(" ", width-utf8.RuneCountInString(starts[at+i]))
		}
	})
	return margins
}

// blocks calls do for each longest run of adjacent lines that belong to a block. at is the index of its first one.
func blocks(lines []line, belongs func(l *line) bool, do func(block []line, at int)) {
	for from := 0; from < len(lines); {
		to := from
		for to < len(lines) && belongs(&lines[to]) && (to == from || !lines[to].gap) {
			to++
		}
		if to > from {
			do(lines[from:to], from)
		}
		from = max(to, from+1)
	}
}
