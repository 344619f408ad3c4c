package syntax

import (
	"strings"
	"testing"
)

// FuzzExpand holds what ${…} gives against a slow reading of the rules.
func FuzzExpand(f *testing.F) {
	for _, text := range []string{"", "a${NAME}b", "$${NAME}", "$$${A}", "${A:-x}${B}", "${", "${A:-${B}}", "$$$",
		"${1}", "}${}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "${file:") {
			return
		}
		lookup := func(name string) (string, bool) { return "<" + name + ">", name != "UNSET" }
		rep := &Report{}
		src := NewSource("f", []byte(text+" "), 0)
		n := &Node{Kind: KindString, Text: text, Value: src.Span(0, 1)}
		Expand(n, rep, lookup, "")
		want, ok := slowExpand(text, lookup)
		if ok != rep.OK() || ok != (n.Kind == KindString) || ok && n.Text != want {
			t.Errorf("%q: got %q, %v, want %q, %t", text, n.Text, rep.Errors, want, ok)
		}
	})
}

func slowExpand(text string, lookup func(string) (string, bool)) (string, bool) {
	out := ""
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		switch {
		case strings.HasPrefix(rest, "$${"):
			out += "${"
			i += 2
		case strings.HasPrefix(rest, "${"):
			end := strings.IndexByte(rest, '}')
			if end < 0 {
				return "", false
			}
			name, preset, hasPreset := strings.Cut(rest[2:end], ":-")
			value, found := lookup(name)
			if !variableName(name) || strings.Contains(preset, "${") || !found && !hasPreset {
				return "", false
			}
			if value == "" {
				value = preset
			}
			out += value
			i += end
		default:
			out += rest[:1]
		}
	}
	return out, true
}
