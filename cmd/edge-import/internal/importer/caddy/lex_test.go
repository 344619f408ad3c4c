package caddy

import (
	"fmt"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

func TestLexer(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string // line, text; a + after the line where the token is the first of it, a ' where it is quoted
	}{
		{"a b\n  c", []string{"1+ a", "1 b", "2+ c"}},
		{"a # b\nc#d", []string{"1+ a", "2+ c#d"}},
		{"a \\\n b\nc", []string{"1+ a", "2 b", "3+ c"}},
		{"a \\\r\n b", []string{"1+ a", "2 b"}},
		{`a "b \" \n {" c`, []string{"1+ a", `1' b " \n {`, "1 c"}},
		{"\"a\nb\" c", []string{"1+' a\nb", "2 c"}},
		{"`a \"b\\`", []string{"1+' a \"b\\"}},
		{"a <<END\n    x\n      y\n\n    END b\nc", []string{"1+ a", "1' x\n  y\n", "5 b", "6+ c"}},
		{"a << b", []string{"1+ a", "1 <<", "1 b"}},
		{`a \<<END`, []string{"1+ a", "1 <<END"}},
		{"{$X} {a.b}", []string{"1+ {$X}", "1 {a.b}"}},
		{"a {\n}", []string{"1+ a", "1 {", "2+ }"}},
		{"a{ }b", []string{"1+ a{", "1 }b"}},
		{"", nil},
		{" \n # only\n", nil},
	} {
		var got []string
		for _, token := range lex(test.text, "", func(at plan.Place, what, why string) {
			t.Errorf("%q: %s: %s: %s", test.text, at, what, why)
		}) {
			marks := ""
			if token.first {
				marks += "+"
			}
			if token.quoted {
				marks += "'"
			}
			got = append(got, fmt.Sprintf("%d%s %s", token.at.Line, marks, token.text))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.text, got, test.want)
		}
	}
}

// What is open when a file ends is said.
func TestLexer_saysWhatIsOpen(t *testing.T) {
	for _, text := range []string{`a "b`, "a `b", "a <<END\nb\n", "a <<END\n b\n  c\n  END"} {
		said := 0
		lex(text, "", func(plan.Place, string, string) { said++ })
		if said != 1 {
			t.Errorf("%q: %d findings", text, said)
		}
	}
}
