package syntax

import (
	"bytes"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// format is a way to write the tree.
type format struct {
	name  string
	parse func(*Source, *Report) (root *Node, whole bool)
}

var (
	formatTOML = format{"TOML", ParseTOML}
	formatYAML = format{"YAML", parseYAML}
	formatJSON = format{"JSON", parseJSON}
)

// formats are told by the extension of the file's name.
var formats = map[string]format{
	".toml": formatTOML, ".yaml": formatYAML, ".yml": formatYAML, ".json": formatJSON,
}

// ParseTree builds the tree of src, in the format that the extension of its name says, else in the format that its
// content has. whole is false when something was left out: names may then seem to be missing that are not.
func ParseTree(src *Source, rep *Report) (root *Node, whole bool) {
	if at := notUTF8(src.Text); at >= 0 {
		rep.Errorf(Span{src, at, at + 1}, "", "the file is not UTF-8")
		return newTable(OriginHeader), false
	}
	f, found := formats[strings.ToLower(filepath.Ext(src.Name))]
	switch {
	case found:
		src.Colon = f.name != formatTOML.name
		return f.parse(src, rep)
	case bytes.HasPrefix(bytes.TrimLeft(src.Text, " \t\r\n"), []byte("{")):
		// Neither TOML nor the YAML that people write begins so.
		src.Colon = true
		return parseJSON(src, rep)
	}
	return parseEither(src, rep)
}

// parseEither reads src as TOML or, when that fails, as YAML. When both fail rep has the errors of both.
func parseEither(src *Source, rep *Report) (root *Node, whole bool) {
	asTOML, asYAML := &Report{}, &Report{}
	root, whole = ParseTOML(src, asTOML)
	if whole {
		rep.Take(asTOML, "")
		return root, whole
	}
	if other, ok := parseYAML(src, asYAML); ok {
		src.Colon = true
		rep.Take(asYAML, "")
		return other, ok
	}
	rep.Take(asTOML, "as TOML: ")
	rep.Take(asYAML, "as YAML: ")
	return root, false
}

// notUTF8 returns the offset of the first byte that is not UTF-8, or -1.
func notUTF8(text []byte) int {
	for i, r := range string(text) {
		if r == utf8.RuneError && !bytes.HasPrefix(text[i:], []byte("\ufffd")) {
			return i
		}
	}
	return -1
}

// builder is what the builders of all formats have.
type builder struct {
	src    *Source
	rep    *Report
	broken bool // something was left out of the tree
}

// span returns a place of the source. One at the very end is at the last byte, which has a line to show.
func (b *builder) span(from, to int) Span {
	from = max(0, min(from, len(b.src.Text)-1))
	return Span{b.src, from, max(from, min(to, len(b.src.Text)))}
}

// fault reports an error because of which something is left out.
func (b *builder) fault(at Span, hint, format string, args ...any) {
	b.broken = true
	b.rep.Errorf(at, hint, format, args...)
}
