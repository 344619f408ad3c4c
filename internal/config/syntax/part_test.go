package syntax

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// quotings are the ways to write a text as the value of the key "k". One that cannot write it returns "".
var quotings = map[string]func(text string) string{
	"f.toml basic":    func(s string) string { return "k = " + basic(s, false) },
	"f.toml escaped":  func(s string) string { return "k = " + basic(s, true) },
	"f.toml literal":  func(s string) string { return unless(s, "'\n\r\x01", "k = '"+s+"'") },
	"f.toml lines":    func(s string) string { return unless(s, "\r", "k = \"\"\"\n"+escapeAll(s)+`"""`) },
	"f.toml joined":   func(s string) string { return "k = \"\"\"" + strings.Join(pieces(s), "\\\n\n  \t") + `"""` },
	"f.toml literals": func(s string) string { return unless(s, "'\r\x01", "k = '''\n"+s+"'''") },
	"f.json plain":    func(s string) string { return `{"k": ` + marshal(s) + `}` },
	"f.json escaped":  func(s string) string { return `{"k": "` + asUTF16(s) + `"}` },
	"f.yaml":          func(s string) string { return asYAML(s, 0) },
	"f.yaml double":   func(s string) string { return asYAML(s, yaml.DoubleQuotedStyle) },
	"f.yaml single":   func(s string) string { return asYAML(s, yaml.SingleQuotedStyle) },
	"f.yaml literal":  func(s string) string { return asYAML(s, yaml.LiteralStyle) },
	"f.yaml folded":   func(s string) string { return asYAML(s, yaml.FoldedStyle) },
	"f.yaml nested": func(s string) string {
		return "x:\n  - &a " + strings.TrimPrefix(asYAML(s, 0), "k: ") + "\nk: *a\n"
	},
}

func unless(s, no, text string) string {
	if strings.ContainsAny(s, no) {
		return ""
	}
	return text
}

func escapeAll(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\x01", `\u0001`).Replace(s)
}

func pieces(s string) (all []string) {
	for _, r := range s {
		all = append(all, strings.Trim(basic(string(r), r == ' ' || r == '"'), `"`))
	}
	return all
}

func basic(s string, all bool) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case all && r > 0xffff:
			fmt.Fprintf(&b, `\U%08X`, r)
		case all || r < ' ':
			fmt.Fprintf(&b, `\u%04x`, r)
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		default:
			b.WriteRune(r)
		}
	}
	return `"` + b.String() + `"`
}

func marshal(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

func asUTF16(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r > 0xffff {
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04X`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		} else {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func asYAML(s string, style yaml.Style) string {
	n := yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		{Kind: yaml.ScalarNode, Value: "k"}, {Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: style},
	}}
	text, err := yaml.Marshal(&n)
	if err != nil {
		return ""
	}
	return string(text)
}

// TestNode_partMarksTheBytes writes random texts in every way there is, and asks where each of their bytes stands.
func TestNode_partMarksTheBytes(t *testing.T) {
	alphabet := []string{"a", "b", "c", "d", "/", " ", "  ", "\n", "\n\n", `"`, "'", `\`, "é", "😀", "{", "}", "#", ":",
		"\t", "path == ", "\x01"}
	random := rand.New(rand.NewPCG(1, 2))
	exact := make(map[string]int)
	for range 600 {
		var b strings.Builder
		for range random.IntN(12) {
			b.WriteString(alphabet[random.IntN(len(alphabet))])
		}
		want := b.String()
		for name, write := range quotings {
			text := write(want)
			if text == "" {
				continue
			}
			if n := valueIn(name, text); n != nil && n.Text == want && checkParts(t, name, n) {
				exact[name]++
			}
			if n := valueIn(name, strings.ReplaceAll(text, "\n", "\r\n")); n != nil {
				checkParts(t, name, n)
			}
		}
	}
	for name := range quotings {
		if exact[name] < 60 {
			t.Errorf("%s: only %d texts were found exactly", name, exact[name])
		}
	}
}

// valueIn returns the string of the key "k", nil where there is none: not every way of writing has every text.
func valueIn(name, text string) *Node {
	file, _, _ := strings.Cut(name, " ")
	root, _ := ParseTree(NewSource(file, []byte(text), 0), &Report{})
	if n := root.Child("k"); n != nil && n.Kind == KindString {
		return n
	}
	return nil
}

// checkParts compares each character of n with what its place has in the file.
func checkParts(t *testing.T, name string, n *Node) bool {
	t.Helper()
	src := n.Value.Source.Text
	last, before := n.Value.From, Span{}
	for i, c := range n.Text {
		at := n.Part(i, i+len(string(c)))
		raw := string(src[at.From:at.To])
		if at == n.Value && strings.TrimSpace(n.Text) == "" {
			return false // a block of YAML without text
		}
		if at == n.Value && len([]rune(n.Text)) > 1 {
			t.Fatalf("%s: %q in %q: the whole string for byte %d", name, n.Text, src, i)
		}
		if at.From < last && at != before { // the ends of lines that are folded have one place
			t.Fatalf("%s: %q in %q: byte %d stands before the one before it", name, n.Text, src, i)
		}
		last, before = at.To, at
		switch {
		case raw == string(c):
		case strings.HasPrefix(raw, `\`): // an escape, of more than one letter where it is of a number
			if c > ' ' && c < 0x7f && len(raw) == 2 && raw[1] != byte(c) {
				t.Fatalf("%s: %q in %q: byte %d is %q", name, n.Text, src, i, raw)
			}
		case c == '\'' && raw == "''":
		case (c == ' ' || c == '\n') && strings.Trim(raw, " \t\r\n") == "":
		default:
			t.Fatalf("%s: %q in %q: byte %d is %q", name, n.Text, src, i, raw)
		}
	}
	end := n.Part(len(n.Text), len(n.Text))
	if end.From < last-1 || end.From >= len(src) {
		t.Fatalf("%s: %q in %q: the end is at %d, after %d", name, n.Text, src, end.From, last)
	}
	return true
}

func TestNode_partIsTheWholeStringWhereTheFileHasAnotherText(t *testing.T) {
	src, rep := NewSource("f.toml", []byte(`k = "x ${NAME} y"`), 0), &Report{}
	root, _ := ParseTree(src, rep)
	Expand(root, rep, func(string) (string, bool) { return "value", true }, "")
	n := root.Child("k")
	if at := n.Part(2, 7); at != n.Value || n.Text != "x value y" {
		t.Errorf("%q at %v, want all of %v", n.Text, at, n.Value)
	}
}

func TestNode_partInABlock(t *testing.T) {
	const text = "a:\n  k: |2-\n\n     one\n    two\n  m: >+\n    x\n\n    y\n      z\n\n"
	src, rep := NewSource("f.yaml", []byte(text), 0), &Report{}
	root, _ := ParseTree(src, rep)
	for _, test := range []struct{ key, part, at string }{
		{"k", "one", "4:6"}, {"k", "two", "5:5"}, {"m", "x", "7:5"}, {"m", "y", "9:5"}, {"m", "z", "10:7"},
	} {
		n := root.Child("a").Child(test.key)
		i := strings.Index(n.Text, test.part)
		at := n.Part(i, i+len(test.part))
		if got := string(src.Text[at.From:at.To]); got != test.part {
			t.Errorf("%q: %s is %q", n.Text, test.part, got)
		}
		if got := at.Pos().String(); got != "f.yaml:"+test.at {
			t.Errorf("%s at %s, want %s", test.part, got, test.at)
		}
	}
}

// Whatever a file is, the places of parts of its strings lie in it, and follow each other.
func FuzzNode_part(f *testing.F) {
	for _, text := range []string{
		"k = \"a\\u00e9\\n\"", "k = \"\"\"\n a\\\n  b\"\"\"", "k: >2+\n  a\n\n   b\n\n", "k: 'a''b\n\n  c'",
		"k: \"\\\n x\\x41\"",
		`{"k": "\ud83d\ude00\/"}`, "k: |\n\n\n", "k: &a !!str x y\nz: *a",
	} {
		f.Add("f", text)
		f.Add("f.yaml", text)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		rep := &Report{}
		root, _ := ParseTree(NewSource(name, []byte(text), 0), rep)
		var walk func(n *Node)
		walk = func(n *Node) {
			for _, c := range n.Children {
				walk(c)
			}
			if n.Kind != KindString || !n.Value.IsValid() {
				return
			}
			last := 0
			for i := range min(len(n.Text), 100) {
				at := n.Part(i, i+1)
				if at.From < 0 || at.From >= at.To || at.To > len(at.Source.Text) || at.From < last && at != n.Value {
					t.Fatalf("byte %d of %q in %q is at %d to %d, after %d", i, n.Text, text, at.From, at.To, last)
				}
				last = at.From
			}
			n.Part(len(n.Text), len(n.Text)).Pos()
		}
		walk(root)
	})
}
