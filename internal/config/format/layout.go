package format

import "strings"

// line is what stands on a line, or on several where its value takes several.
type line struct {
	gap   bool   // a blank line stands before it
	key   string // "" for a header, a comment, and elements of a list
	text  string // the value with its line ends, or the header
	note  string // the comment
	alone bool   // its comment is aligned with no other
}

const (
	indentation = "  "
	noteMargin  = "  " // between what a comment is about and the comment
)

// space sets where blank lines stand between the statements at the top level of a file.
func space(all []statement) {
	for i := range all {
		st := &all[i]
		if i == 0 || all[i-1].header != "" {
			st.gap = false
		}
		if st.header == "" || i == 0 {
			continue
		}
		first := i // of the comments that stand right above the header
		for first > 0 && !all[first].gap && isComment(&all[first-1]) {
			first--
		}
		all[first].gap = first > 0
	}
}

func isComment(st *statement) bool { return st.header == "" && st.value == nil }

func topLines(all []statement) []line {
	lines := make([]line, len(all))
	for i := range all {
		st := &all[i]
		if st.header != "" {
			end := strings.Repeat("]", len(st.header))
			lines[i] = line{gap: st.gap, text: st.header + strings.Join(st.key, ".") + end, note: st.note, alone: true}
			continue
		}
		lines[i] = lineOf(st, "")
	}
	return lines
}

// lineOf returns the line of a key with its value, of an element or of a comment.
func lineOf(st *statement, indent string) line {
	l := line{gap: st.gap, key: strings.Join(st.key, "."), note: st.note}
	if st.value != nil {
		l.text = textOf(st.value, indent)
		l.alone = strings.Contains(l.text, "\n")
	}
	return l
}

// textOf returns a value as it is written on lines that begin with indent.
func textOf(v *value, indent string) string {
	if v.open == 0 {
		return v.text
	}
	opening, closing, margin := "[", "]", ""
	if v.open == '{' {
		opening, closing, margin = "{", "}", " "
	}
	if len(v.elements) == 0 && v.note == "" {
		return opening + closing
	}
	if !v.broken {
		parts := make([]string, len(v.elements))
		for i := range v.elements {
			parts[i] = inLine(lineOf(&v.elements[i], indent))
		}
		return opening + margin + strings.Join(parts, ", ") + margin + closing
	}
	if v.note != "" {
		opening += noteMargin + v.note
	}
	inner := indent + indentation
	return opening + "\n" + render(rows(v.elements, inner), inner) + indent + closing
}

// inLine returns an element as it stands among others on a line.
func inLine(l line) string {
	if l.key == "" {
		return l.text
	}
	return l.key + " = " + l.text
}

// rows returns the lines of the elements of a broken value. What stood on one line stays on one.
func rows(elements []statement, indent string) (lines []line) {
	for i := range elements {
		st := &elements[i]
		l := lineOf(st, indent)
		if st.value != nil {
			l.text += ","
		}
		if i == 0 || !st.joined || st.value == nil || elements[i-1].note != "" {
			lines = append(lines, l)
			continue
		}
		last := &lines[len(lines)-1]
		last.text = inLine(*last) + " " + inLine(l)
		last.key, last.note, last.alone = "", l.note, last.alone || l.alone
	}
	if len(lines) > 0 {
		lines[0].gap = false
	}
	return lines
}
