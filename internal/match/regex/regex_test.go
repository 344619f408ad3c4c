package regex

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestCompile_choosesTheCheapestRung(t *testing.T) {
	for _, c := range []struct {
		pattern string
		rung    Rung
	}{
		{``, Literal}, {`.*`, Literal}, {`^`, Literal}, {`^/$`, Literal}, {`^/api/`, Literal}, {`wp-admin`, Literal},
		{`\.(jpe?g|png|gif|css|js)$`, Literal}, {`(?i)(bot|crawl|spider)`, Literal}, {`(?i)\.(jpe?g|png)$`, Literal},
		{`^(GET|HEAD)$`, Literal}, {`^/a$|^/b$`, Literal}, {`.*foo.*`, Literal}, {`^/api(/.*)?`, Literal},
		{`(?i)^(www\.)?example\.com$`, Literal}, {`^[a-d]$`, Literal}, {`(?i)straße`, DFA}, {`a+`, Literal},
		{`(?i)(bot|crawl|spider)[/ ]v?\d+`, Word}, {`^/api/v[0-9]+/items/[0-9]+`, Word}, {`\bsqlmap\b`, Word},
		{`(?m)^Host: x$`, Word}, {`[0-9]+`, Literal}, {`[0-9]{3}x`, DFA}, {`^\d+$`, DFA}, {`^[^/]*x`, DFA},
		{`\pL`, DFA},
		{strings.Repeat("abcdefgh", 120), Literal}, {"^" + strings.Repeat("a", 900), Literal},
		{"(?i)" + strings.Repeat("a", 513), Word}, {strings.Repeat(strings.Repeat("a", 300)+"|", 2) + "b{300}", Word},
		{`^/user/[0-9]+$`, Word}, {`union\s+select`, Word}, {`(?i)union\s+select`, Word},
	} {
		if p := compile(t, c.pattern); p.Rung() != c.rung {
			t.Errorf("%q: %v, want %v", c.pattern, p.Rung(), c.rung)
		}
	}
}

// K and ſ are k and s in any case. A table of words knows them not, and says so.
func TestMatch_otherCasesOfASCII(t *testing.T) {
	p, c := compile(t, `(?i)spark`), NewCache(nil)
	for _, text := range []string{"SPARK", "\u017fpark", "spar\u212a", "é spark", "é spar"} {
		if got, want := p.Match(c, []byte(text)), p.machine().MatchString(text); got != want {
			t.Errorf("%q: %v, regexp %v", text, got, want)
		}
	}
	if p.Rung() != Literal {
		t.Errorf("rung %v", p.Rung())
	}
}

func TestCompile_errorsSayWhere(t *testing.T) {
	for _, c := range []struct {
		pattern, part, says string
	}{
		{`a(b`, `(`, `missing closing )`}, {`a)b(`, `)`, `unexpected )`},
		{`(a)[)](b`, `(`, `missing closing )`}, {`[^)](b`, `(`, `missing closing )`},
		{`[a)](b\)`, `(`, `missing closing )`}, {`\Q(\E(x`, `(`, `missing closing )`},
		{`[[:alpha:])](b`, `(`, "missing"},
		{`a**`, `**`, `nested repetition`}, {`*a`, `*`, `argument to repetition`}, {`a{2}b++`, `++`, `possessive`},
		{`(?=a)`, `(?=`, `look-around`}, {`x(?<!a)`, `(?<!a)`, `look-around`}, {`(a)\1`, `\1`, `references back`},
		{`[z-a]`, `z-a`, `character class range`}, {`[a`, `[a`, `missing closing ]`}, {`a\`, `\`, `trailing backslash`},
		{`a{1001}`, `{1001}`, `1000 at most`}, {"a\xff", "\xff", `UTF-8`}, {`(?>a)`, `(?>`, `atomic`},
		{`\d[z-a]\w[z-a]`, `z-a`, `range`},
	} {
		_, err := Compile(c.pattern, Limits{})
		var wrong *Error
		if !errors.As(err, &wrong) {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		if part := c.pattern[wrong.Offset:wrong.End]; part != c.part || !strings.Contains(wrong.Error(), c.says) {
			t.Errorf("%q: %v, about %q, want %q about %q", c.pattern, wrong, part, c.says, c.part)
		}
	}
}

// The bound is checked on the tree, so what would be written out is not.
func TestCompile_boundsInstructions(t *testing.T) {
	for _, pattern := range []string{`a{1000}`, `(a{30}){33}`, `((a{9}){9}){12}`,
		`(\pL{99}){10}b{50}`, strings.Repeat("ab*", 500)} {
		if _, err := Compile(pattern, Limits{}); err == nil || !strings.Contains(err.Error(), "1000 instructions") {
			t.Errorf("%.20q: %v", pattern, err)
		}
	}
	if _, err := Compile(`a{1000}`, Limits{Instructions: 2000}); err != nil {
		t.Error(err)
	}
	if _, err := Compile(strings.Repeat("a", patternMax+1), Limits{}); err == nil {
		t.Error("a pattern of more than 16 KiB is taken")
	}
	if _, err := Compile("["+strings.Repeat(`\pL`, propertiesMax+1)+"]", Limits{}); err == nil {
		t.Error("a pattern with \\p 101 times is taken")
	}
	for _, row := range seeds {
		p, err := Compile(row[0], Limits{Instructions: 5000})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Compile(row[0], Limits{Instructions: len(p.prog.Inst) - 1}); err == nil {
			t.Errorf("%q has %d instructions and is taken with fewer", row[0], len(p.prog.Inst))
		}
	}
}

func TestMatch_allocatesNothingWarm(t *testing.T) {
	for _, row := range rows {
		p, c, text := compile(t, row.pattern), NewCache(nil), []byte(row.text)
		p.Match(c, text)
		var g Groups
		p.Submatches(c, text, &g)
		if n := testutil.Allocs(100, func() { p.Match(c, text) }); n != 0 {
			t.Errorf("%s: %v allocations", row.name, n)
		}
		if n := testutil.Allocs(100, func() { p.Submatches(c, text, &g) }); n != 0 {
			t.Errorf("%s: %v allocations for groups", row.name, n)
		}
	}
}

func TestMatch_withoutCache(t *testing.T) {
	for _, row := range rows {
		if got, want := compile(t, row.pattern).Match(nil, []byte(row.text)), regexp.MustCompile(row.pattern).
			MatchString(row.text); got != want {
			t.Errorf("%s: %v, regexp %v", row.name, got, want)
		}
	}
}

func TestSubmatches_moreGroupsThanAreReturned(t *testing.T) {
	p, c := compile(t, strings.Repeat("(a)", 12)), NewCache(nil)
	var g, plain Groups
	text := []byte(strings.Repeat("a", 13))
	if !p.Submatches(c, text, &g) || !p.submatches(text, &plain) || g != plain || g[9] != [2]int32{8, 9} {
		t.Errorf("%v, regexp %v", g, plain)
	}
	if p.Groups() != 12 {
		t.Errorf("%d groups", p.Groups())
	}
	const before = 300 << 10
	long := []byte(strings.Repeat("b", before) + strings.Repeat("a", 12))
	if !p.Submatches(c, long, &g) || g[1] != [2]int32{before, before + 1} || c.Stats().Ungrouped != 0 {
		t.Errorf("%v in a long text", g)
	}
	long = append(append(long, long...), long...)
	if !p.Submatches(c, long, &g) || g != noGroups || c.Stats().Ungrouped != 1 {
		t.Errorf("%v in a text that is too long", g)
	}
}

func TestRung_String(t *testing.T) {
	for rung, want := range map[Rung]string{Literal: "literal", Word: "word", DFA: "dfa", NFA: "nfa"} {
		if rung.String() != want {
			t.Errorf("%v, want %s", rung, want)
		}
	}
}
