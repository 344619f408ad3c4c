package syntax

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
)

const expansionBytesMax = 64 << 10 // of a file that a string quotes; certificates and keys stay far below

// Expand replaces ${NAME}, ${NAME:-default} and ${file:/path} in every string below root. $${ stands for ${.
// lookup finds variables. A relative path begins at dir, or at the working directory when dir is empty.
// A string that cannot be expanded is reported, and becomes KindLost so that it is reported once.
// It returns the paths of the files that it has opened, or tried to.
func Expand(root *Node, rep *Report, lookup func(name string) (string, bool), dir string) (files []string) {
	e := expander{rep: rep, lookup: lookup, dir: dir}
	e.tree(root)
	return e.files
}

// expander is one run of Expand.
type expander struct {
	rep    *Report
	lookup func(name string) (string, bool)
	dir    string
	files  []string // that were opened
}

func (e *expander) tree(n *Node) {
	if n.Kind == KindString && strings.Contains(n.Text, "${") {
		e.string(n)
	}
	for _, c := range n.Children {
		e.tree(c)
	}
}

// string expands the text of n. A node that an alias brought a second time is the same text again.
func (e *expander) string(n *Node) {
	var b strings.Builder
	var values []string
	rest := n.Text
	for {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			b.WriteString(rest)
			break
		}
		b.WriteString(before)
		if strings.HasSuffix(before, "$") {
			b.WriteByte('{') // the dollar before it is there already
			rest = after
			continue
		}
		reference, tail, closed := strings.Cut(after, "}")
		value, wrong, hint := e.value(reference, closed)
		if wrong != "" {
			e.rep.Errorf(n.Value, hint, "%s", wrong)
			n.Kind = KindLost
			return
		}
		b.WriteString(value)
		values = append(values, value)
		rest = tail
	}
	e.rep.hide(secret{at: n.Value, written: n.Text, text: b.String(), values: values})
	n.Text, n.Expanded = b.String(), len(values) > 0
}

// value returns what stands for ${reference}.
func (e *expander) value(reference string, closed bool) (value, wrong, hint string) {
	const escape = "a literal ${ is written $${"
	if !closed {
		return "", "\"${\" has no \"}\"", escape
	}
	if path, found := strings.CutPrefix(reference, "file:"); found {
		return e.file(path)
	}
	name, preset, hasPreset := strings.Cut(reference, ":-")
	if !variableName(name) {
		return "", Quote("${"+reference+"}") + " is neither ${NAME}, ${NAME:-default} nor ${file:/path}", escape
	}
	if strings.Contains(preset, "${") {
		return "", "the default of ${" + name + "} must not hold another \"${\"", ""
	}
	value, found := e.lookup(name)
	switch {
	case hasPreset && value == "":
		value = preset
	case !found:
		return "", "the environment variable " + Quote(name) + " is not set",
			"${" + name + ":-default} gives it a default"
	}
	return value, "", ""
}

// otherVariable is an environment variable as shells, Caddy and templates write it.
var otherVariable = Expr(`\{\$([A-Za-z_]\w*)\}|\$\(([A-Za-z_]\w*)\)|\$([A-Za-z_]\w*)|` +
	`\{\{-? *(?:\.Env\.|env "?)([A-Za-z_]\w*)"? *-?\}\}`)

// VariableHint returns the hint for a string that names environment variables as other programs do, or "".
func VariableHint(s string) string {
	if meant := otherVariable().ReplaceAllString(s, "$${$1$2$3$4}"); meant != s {
		return "did you mean " + Quote(meant) + "?"
	}
	return ""
}

func variableName(s string) bool {
	for _, c := range []byte(s) {
		if !IsLetterOrDigit(c) && c != '_' {
			return false
		}
	}
	return s != "" && (s[0] < '0' || s[0] > '9')
}

// file returns what a file holds, without the line end that editors add.
func (e *expander) file(path string) (value, wrong, hint string) {
	if path == "" {
		return "", "${file:} names no file", "write ${file:/run/secrets/name}"
	}
	from := path
	if !filepath.IsAbs(path) {
		from = filepath.Join(e.dir, path)
	}
	e.files = append(e.files, from)
	text, err := ReadRegular(from, expansionBytesMax, errTooLong)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			hint = "it has to be there when edge reads this"
		}
		return "", "cannot read " + QuotePath(path) + ": " + WithoutPath(err), hint
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), "", ""
}

var errTooLong = errors.New("larger than 64 KiB")
