package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const expansionBytesMax = 64 << 10 // of a file that a string quotes; certificates and keys stay far below

// expand replaces ${NAME}, ${NAME:-default} and ${file:/path} in every string below root. $${ stands for ${. lookup finds
// variables; a relative path begins at dir, or at the working directory when dir is empty. A string that cannot be
// expanded is reported and becomes kindLost, so that it is reported once.
func expand(root *node, rep *Report, lookup func(name string) (string, bool), dir string) {
	e := expander{rep: rep, lookup: lookup, dir: dir}
	e.tree(root)
}

// expander is one run of expand.
type expander struct {
	rep    *Report
	lookup func(name string) (string, bool)
	dir    string
}

func (e *expander) tree(n *node) {
	if n.kind == kindString && strings.Contains(n.text, "${") {
		e.string(n)
	}
	for _, c := range n.children {
		e.tree(c)
	}
}

// string expands the text of n. A node that an alias brought a second time is the same text again.
func (e *expander) string(n *node) {
	var b strings.Builder
	var values []string
	rest := n.text
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
			e.rep.error(n.value, hint, "%s", wrong)
			n.kind = kindLost
			return
		}
		b.WriteString(value)
		values = append(values, value)
		rest = tail
	}
	e.rep.hide(secret{at: n.value, written: n.text, text: b.String(), values: values})
	n.text, n.expanded = b.String(), len(values) > 0
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
		return "", quote("${"+reference+"}") + " is neither ${NAME}, ${NAME:-default} nor ${file:/path}", escape
	}
	if strings.Contains(preset, "${") {
		return "", "the default of ${" + name + "} must not hold another \"${\"", ""
	}
	value, found := e.lookup(name)
	switch {
	case hasPreset && value == "":
		value = preset
	case !found:
		return "", "the environment variable " + quote(name) + " is not set",
			"${" + name + ":-default} gives it a default"
	}
	return value, "", ""
}

func variableName(s string) bool {
	for _, c := range []byte(s) {
		if !letterOrDigit(c) && c != '_' {
			return false
		}
	}
	return s != "" && (s[0] < '0' || s[0] > '9')
}

// file returns what a file holds, without the line end that editors leave behind.
func (e *expander) file(path string) (value, wrong, hint string) {
	if path == "" {
		return "", "${file:} names no file", "write ${file:/run/secrets/name}"
	}
	from := path
	if !filepath.IsAbs(path) {
		from = filepath.Join(e.dir, path)
	}
	text, err := readSmall(from)
	if err != nil {
		return "", "cannot read " + quotePath(path) + ": " + reason(err), ""
	}
	return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"), "", ""
}

var (
	errNotRegular = errors.New("not a regular file")
	errTooLong    = errors.New("larger than 64 KiB")
)

// readSmall reads a regular file: opening a pipe could wait for ever.
func readSmall(path string) (string, error) {
	if at, err := os.Stat(path); err != nil {
		return "", err
	} else if !at.Mode().IsRegular() {
		return "", errNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, expansionBytesMax+1))
	if err == nil && len(text) > expansionBytesMax {
		err = errTooLong
	}
	return string(text), err
}

// reason drops the path from an error of the file system: the message begins with it.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}
