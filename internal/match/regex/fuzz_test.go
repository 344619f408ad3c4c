package regex

import (
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
)

// seeds are patterns and texts in which engines have differed, and rules as operators write them.
var seeds = [][2]string{
	{`(?i)(bot|crawl|spider)[/ ]v?\d+`, "Mozilla/5.0 (compatible; SpiderX/12)"},
	{`^/api/v[0-9]+/items/[0-9]+`, "/api/v2/items/77"},
	{`$$`, ""}, {`^$^$`, "a"}, {`a$b`, "ab"}, {`(|a)*`, "b"}, {`(a|b|ab)*c{0,100}`, "ababccc"},
	{`(?i)k`, "\u212a"}, {`(?i)spider`, "ſpider"}, {`(?i)[k-s]x`, "ſX"}, {`(?i)straße`, "STRAẞE"},
	{`\bfoo\b`, "a foo b"}, {`\Bfoo`, "xfoo"}, {`foo\B`, "foo"}, {`\b`, "é"}, {`\B`, ""}, {`\b\b`, "a"},
	{`(?m)^b$`, "a\nb\nc"}, {`(?m)$^`, "\n"}, {`(?m)\b^`, "\na"}, {`(?s)a.b`, "a\nb"}, {`a.b`, "a\xffb"},
	{`^.$`, "é"}, {`^.$`, "\xc3"}, {`^..$`, "\xe2\x82"}, {`^.{3}$`, "\xe2\x82x"}, {`\x{FFFD}`, "\xff"},
	{`[^a]b`, "\xf0\x90b"}, {`\x{D800}`, "\xed\xa0\x80"}, {`[\x{D000}-\x{E000}]`, "\xee\x80\x80"},
	{`\pL+\d`, "Ж7"}, {`[а-я]{2}$`, "привет"}, {`é+`, "\xc3\xa9"}, {`(?i)é`, "É"}, {`[^\x00-\x{10FFFF}]`, "a"},
	{`\.(jpe?g|png|gif)$`, "/a.jpeg"}, {`^a|b$`, "xb"},
	{`^a$|^b$`, "b"}, {`(^a)+b`, "ab"}, {`(?:^|/)\.git`, "/.git"},
	{`^(?s:.*)x`, "\n\xffx"}, {`^.*x`, "\nx"}, {`x(?s:.*)$`, "x\n"}, {`(?U)a+?b`, "aab"}, {`[Bb]ot`, "bOt"},
	{`\Qa.b\E+`, "a.bb"}, {`(a*)*b`, "aaaa"}, {`((a{0,9}){0,9}){0,9}c`, "aac"}, {`(a|aa)+$`, "aaab"},
	{`(a)(b)?(c)?`, "xac"}, {`(?:(a)|b)*`, "ab"}, {`(a??)(a*)`, "aa"}, {`(?i)(gptbot|gpt-4|bingbot)`, "x GPTBot/1"},
	{`(a|b)*a(a|b){9}x`, "abbabababbabaabababbabbabaaabbbx"},
	{`(ab){0,}c`, "ababc"}, {`a|[^\x00-\x{10FFFF}]b`, "a"}, {`a^b|^$c`, "ab"},
	{`[\x{2040}-\x{10FFFF}]`, "\u3000"}, {`[\x{10400}-\x{10FFFF}]`, "\U00011000"}, {`[^\x{800}-\x{10FFFF}]`, "\u07ff"},
	{`[\x{D900}-\x{10FFFF}]`, "\ue000"}, {`[^\x{D900}-\x{10FFFF}]`, "\ud7ff"}, {`[kKa]`, "\u212a"}, {`[sSa]`, "\u017f"},
	{`(?i:abcdef)ghi\d+`, "xABCDEFghi1"}, {`(ab){5,}c`, "abababababc"}, {`\bé\b`, "aéa"}, {`(?i)ab[^c]`, "ABé"},
	{`(?i)^A$`, "A0"}, {`(?i)^(admin|root)$`, "Admins"}, {`k{2}|(?i)sk`, "ſ\u212a"}, {`a?b?`, ""}, {`(?i)a|bc`, "BC"},
}

// FuzzMatch holds each rung against package regexp, cold and warm, with few states and with many.
func FuzzMatch(f *testing.F) {
	for _, s := range seeds {
		f.Add(s[0], []byte(s[1]))
	}
	for _, wrong := range []string{`a\`, `((a)`, `[[:x:]`, `\Q(\E)`, `a**a**`, `(?i`, "\xff"} {
		f.Add(wrong, []byte("a"))
	}
	budget := NewBudget(0)
	f.Fuzz(func(t *testing.T, pattern string, b []byte) {
		differ(t, pattern, b, budget)
	})
}

// FuzzGrammar does the same with patterns that are spelled by bytes, so that all of them can be compiled, and with
// texts of the runes that these are about.
func FuzzGrammar(f *testing.F) {
	f.Add([]byte("\x10\x21\x92\x03\x14\x25\xb6\x07"), []byte("\x00\x01\x02\x03\x0b"))
	f.Add([]byte("\x91\x02\x45\x81\x5f\x33"), []byte("\x0a\x07\x08\x05"))
	budget := NewBudget(0)
	f.Fuzz(func(t *testing.T, spelling, text []byte) {
		if len(spelling) > 60 || len(text) > 100 {
			return
		}
		s := speller{rest: spelling}
		var b strings.Builder
		for _, c := range text {
			b.WriteString(textParts[int(c)%len(textParts)])
		}
		differ(t, s.flags()+s.alternatives(3), []byte(b.String()), budget)
	})
}

// atoms and textParts are about borders of words, lines and texts, cases outside of ASCII, and bytes that are no UTF-8.
var (
	atoms = []string{"a", "b", "k", "s", "K", "ab", "sk", "foo", "/", "é", "ſ", "\u212a", "Ж",
		`\x{FFFD}`, ".", "[^a]", `\w`, `\W`, `\d`,
		"[a-k]", "[Kk]", "[sS]", "[é-Ж]", `[^é]`, `\pL`,
		"^", "$", `\b`, `\B`, `\A`, `\z`, "(?m:^)", "(?m:$)", "(?s:.)", "\n", "(?i:s)", "()"}
	textParts = []string{"a", "b", "k", "S", "K", "ab", "sk", "foo", "/", "é", "ſ", "\u212a", "Ж",
		"\uFFFD", "\n", "\xff", "\xc3", "\xe2\x84",
		"\xf0\x90\x80", "\xed\xa0\x80", "1", " ", "_", "\x80", "😀"}
	repetitions = []string{"*", "+", "?", "*?", "+?", "{2}", "{1,3}", "{0,2}"}
)

// speller makes a pattern of bytes.
type speller struct{ rest []byte }

func (s *speller) next(n int) int {
	if len(s.rest) == 0 {
		return 0
	}
	c := s.rest[0]
	s.rest = s.rest[1:]
	return int(c) % n
}

func (s *speller) flags() string { return []string{"", "", "(?i)", "(?m)", "(?s)", "(?is)"}[s.next(6)] }

func (s *speller) alternatives(depth int) string {
	var all []string
	for range 1 + s.next(3) {
		all = append(all, s.sequence(depth))
	}
	return strings.Join(all, "|")
}

func (s *speller) sequence(depth int) string {
	var b strings.Builder
	for range 1 + s.next(4) {
		switch {
		case depth > 0 && s.next(3) == 1:
			b.WriteString("(" + s.alternatives(depth-1) + ")")
		default:
			b.WriteString("(?:" + atoms[s.next(len(atoms))] + ")")
		}
		if s.next(4) == 1 {
			b.WriteString(repetitions[s.next(len(repetitions))])
		}
	}
	return b.String()
}

// differ fails where a pattern and package regexp are of two minds about a text.
func differ(t *testing.T, pattern string, b []byte, budget *Budget) {
	t.Helper()
	if len(pattern) > 200 || len(b) > 1000 {
		return
	}
	p, err := Compile(pattern, Limits{})
	want, wantErr := regexp.Compile(pattern)
	if err != nil {
		var wrong *Error
		if !errors.As(err, &wrong) || wrong.Offset < 0 || wrong.End < wrong.Offset || wrong.End > len(pattern) {
			t.Fatalf("%q: %#v", pattern, err)
		}
		if wantErr == nil && len(pattern) < 100 && p == nil && !tooLong(pattern) {
			t.Fatalf("%q: %v, regexp takes it", pattern, err)
		}
		return
	}
	if wantErr != nil {
		t.Fatalf("%q is compiled, regexp says %v", pattern, wantErr)
	}
	defer machines.Clear()
	few, _ := Compile(pattern, Limits{States: 3})
	c := NewCache(budget)
	defer c.Close()
	checkPattern(t, p)
	checkPattern(t, few)
	for cut := range 3 {
		text := b[min(cut, len(b)):]
		says := want.Match(text)
		for _, q := range []*Pattern{p, p, few} {
			if got := q.Match(c, text); got != says {
				t.Fatalf("%q on %q: %v on %v, regexp %v", pattern, text, got, q.Rung(), says)
			}
		}
		checkTables(t, c, p, few)
		if p.nfa != nil {
			if got := p.nfa.match(&c.tracks, p, text, 0); got != says {
				t.Fatalf("%q on %q: %v on sets, regexp %v", pattern, text, got, says)
			}
		}
		checkScan(t, p, c, text, want)
		var got, must Groups
		found := p.Submatches(c, text, &got)
		if found != p.submatches(text, &must) || found && got != must {
			t.Fatalf("%q on %q: groups %v %v, regexp %v", pattern, text, found, got, must)
		}
	}
}

// checkScan fails where Scan finds other matches than package regexp.
func checkScan(t *testing.T, p *Pattern, c *Cache, text []byte, want *regexp.Regexp) {
	t.Helper()
	all := want.FindAllSubmatchIndex(text, -1)
	var g Groups
	n := 0
	for s := p.Scan(c, text); s.Next(&g); n++ {
		if n == len(all) {
			t.Fatalf("%q on %q: more than %v", p, text, all)
		}
		for i := range min(len(all[n])/2, GroupsMax) {
			if g[i] != [2]int32{int32(all[n][2*i]), int32(all[n][2*i+1])} {
				t.Fatalf("%q on %q: match %d is %v, regexp %v", p, text, n, g, all[n])
			}
		}
	}
	if n != len(all) {
		t.Fatalf("%q on %q: %d matches, regexp %v", p, text, n, all)
	}
	checkBacktracker(t, &c.groups)
}

// checkBacktracker fails where a search has left something visited.
func checkBacktracker(t *testing.T, b *backtracker) {
	t.Helper()
	for i, w := range b.visited {
		if w != 0 {
			t.Fatalf("word %d of what was visited is %#x", i, w)
		}
	}
}

// tooLong reports whether a pattern has more instructions than Compile takes.
func tooLong(pattern string) bool {
	_, err := Compile(pattern, Limits{Instructions: instructionsMax, Load: math.MaxInt})
	return err == nil
}
