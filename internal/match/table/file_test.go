package table

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// entries are what a file has, as texts.
func entries(keys Keys, pairs bool, text string) (all []Entry, f *fault) {
	s := newScanner(keys, pairs, []byte(text))
	for s.nextLine() {
		if s.hasEntry() {
			if f = s.entry(); f != nil {
				return all, f
			}
			all = append(all, Entry{string(s.key), string(s.value)})
		}
	}
	return all, nil
}

func TestScanner_entries(t *testing.T) {
	for _, c := range []struct {
		keys  Keys
		pairs bool
		text  string
		want  []Entry
	}{
		{Addresses, false, "10.0.0.0/8\n\n \t\n# a\n ::1 # b\r\n1.1.1.1#c",
			[]Entry{{"10.0.0.0/8", ""}, {"::1", ""}, {"1.1.1.1", ""}}},
		{Addresses, false, "\xef\xbb\xbf10.0.0.1\r\n", []Entry{{"10.0.0.1", ""}}},
		{Addresses, true, "10.0.0.0/8 DE\n::/0 \"a b\" # c\n1.1.1.1\ta  b # c",
			[]Entry{{"10.0.0.0/8", "DE"}, {"::/0", "a b"}, {"1.1.1.1", "a  b"}}},
		{Texts, false, "a b\n a#b # c\n\" # \"\n#\n\"\"\nx\\n",
			[]Entry{{"a b", ""}, {"a#b", ""}, {" # ", ""}, {"", ""}, {`x\n`, ""}}},
		{Texts, true, "a b\n\"a b\"\tc d\n\"\" \"\"\n", []Entry{{"a", "b"}, {"a b", "c d"}, {"", ""}}},
		{Texts, false, `"\b\t\n\f\r\"\\\u00e9\U0001F600"`, []Entry{{"\b\t\n\f\r\"\\é😀", ""}}},
		{Texts, true, `"a\tb" "c\td"`, []Entry{{"a\tb", "c\td"}}},
		{Texts, false, "\xff", []Entry{{"\xff", ""}}},
		{Texts, false, "", nil},
		{Texts, false, "# only a comment", nil},
	} {
		got, f := entries(c.keys, c.pairs, c.text)
		if f != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%q: %q, %v, want %q", c.text, got, f, c.want)
		}
	}
}

func TestPrepare_saysWhereAFileIsWrong(t *testing.T) {
	for _, c := range []struct {
		keys  Keys
		pairs bool
		text  string
		want  string
	}{
		{Addresses, false, "::1\n  10.1.0.0/8 # x",
			`2:3: "10.1.0.0/8" has bits beyond its length; did you mean 10.0.0.0/8?`},
		{Addresses, false, "10.0.0.0/33", `1:10: "33" is no length of a prefix; 0 to 32 are possible`},
		{Addresses, false, "10.0.0.0/+8", `1:10: "+8" is no length of a prefix; 0 to 32 are possible`},
		{Addresses, false, "10.0.0.0/08", `1:10: "08" is no length of a prefix; 0 to 32 are possible`},
		{Addresses, false, "10.0.0.0/", `1:10: "" is no length of a prefix; 0 to 32 are possible`},
		{Addresses, false, "10/8",
			`1:1: "10/8" is no address and no prefix; write it as 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32`},
		{Addresses, false, "10.0/8",
			`1:1: "10.0/8" is no address and no prefix; an IPv4 prefix has four numbers, as in 10.0.0.0/8`},
		{Addresses, false, "10.0.0.1;",
			`1:1: "10.0.0.1;" is no address and no prefix; remove what follows the address`},
		{Addresses, false, "1.1.1.1-1.1.1.9",
			`1:1: "1.1.1.1-1.1.1.9" is no address and no prefix; a range is written as its prefixes`},
		{Addresses, false, "; spam", `1:3: "spam" after the entry; a comment begins with #`},
		{Addresses, false, "//spam", `1:1: "//spam" is no address and no prefix; a comment begins with #`},
		{Addresses, false, "1.1.1.1 ; spam", `1:9: "; spam" after the entry; a comment begins with #`},
		{Addresses, false, "fe80::1%eth0", `1:8: a list has addresses without a zone`},
		{Addresses, false, "::ffff:10.0.0.0/95",
			`1:17: the prefix ends before its IPv4 address; write the IPv4 prefix, or a length of 96 to 128`},
		{Addresses, true, "10.0.0.0/8",
			`1:11: no value after the key "10.0.0.0/8"; an empty value is written as ""`},
		{Addresses, true, "::/0 a\n10.0.0.0/8 a\n::/0 b", `3:1: "::/0" has the value "a" already`},
		{Texts, true, "a,b", `1:4: no value after the key "a,b"; key and value are separated by blanks`},
		{Texts, true, "a b\nc d\na e", `3:1: "a" has the value "b" already`},
		{Texts, false, `é"`, ``},
		{Texts, false, `"é`,
			`1:1: the quote is not closed; it ends on the same line; a quote inside is written as \"`},
		{Texts, false, `"é"x`, `1:4: a blank must follow the closing quote`},
		{Texts, false, `"é" x`, `1:5: "x" after the entry; a comment begins with #`},
		{Texts, false, `"\x41"`,
			`1:2: unknown escape in quotes; \b \t \n \f \r \" \\ \u0000 \U00000000 are possible`},
		{Texts, false, `"\ud800"`,
			`1:2: unknown escape in quotes; \b \t \n \f \r \" \\ \u0000 \U00000000 are possible`},
		{Texts, false, `"\u00`,
			`1:2: unknown escape in quotes; \b \t \n \f \r \" \\ \u0000 \U00000000 are possible`},
		{Texts, false, "a\x00b",
			"1:2: control character 0x00; a text file is expected, in UTF-8, one entry a line"},
		{Texts, false, "a\rb\r",
			"1:2: control character 0x0d; a text file is expected, in UTF-8, one entry a line"},
		{Texts, false, "\xff\xfea\x00", "1:1: the file is in UTF-16; save it as UTF-8"},
		{Texts, false, strings.Repeat("x", 65536), "1:1: a text of 65536 bytes: no more than 65535 are possible"},
		{Texts, false, strings.Repeat("x", 65535), ""},
	} {
		h := &handle{}
		h.init("x", Options{Keys: c.keys}, c.pairs)
		path := write(t, []byte(c.text))
		_, err := h.Prepare(Source{File: path})
		got := ""
		if err != nil {
			got = strings.ReplaceAll(err.Error(), path+":", "")
		}
		kind := map[bool]string{false: "list x: ", true: "map x: "}[c.pairs]
		if want := c.want; want != "" && got != kind+want || want == "" && err != nil {
			t.Errorf("%.40q: %q, want %q", c.text, got, kind+want)
		}
	}
}

func TestPrepare_reportsTwentyProblems(t *testing.T) {
	var p Problems
	for _, c := range []struct{ wrong, want int }{{3, 3}, {20, 20}, {30, 20}} {
		path := write(t, []byte(strings.Repeat("1.1.1.1\nwrong\n", c.wrong)))
		_, err := NewList("x", Options{}).Prepare(Source{File: path})
		if !errors.As(err, &p) || len(p) != c.want || p[1].Line != 4 {
			t.Errorf("%d wrong lines: %v", c.wrong, err)
		}
	}
	inline := []Entry{{"::1", "a"}, {"::2", ""}, {"x", ""}, {"::1", "b"}}
	_, err := NewMap("x", Options{}).Prepare(Source{Inline: inline})
	const want = `map x: entry 3: "x" is no address and no prefix; write it as 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32`
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// FuzzFile: what a file of texts has is found again, and a file of what was found, with quotes, has the same.
func FuzzFile(f *testing.F) {
	for _, text := range []string{
		"a b # c\n\"d\\te\" f\r\n", "\xef\xbb\xbf10.0.0.0/8 x\n::1 y", "\"\\U0001F600\" \"\"", "a\na\n",
	} {
		f.Add(text, true, true)
		f.Add(text, false, false)
		f.Add(text, true, false)
	}
	f.Fuzz(func(t *testing.T, text string, texts, pairs bool) {
		keys := Addresses
		if texts {
			keys = Texts
		}
		all, wrong := entries(keys, pairs, text)
		h := &Map{}
		h.init("x", Options{Keys: keys}, pairs)
		u, err := h.Prepare(Source{File: write(t, []byte(text))})
		if wrong != nil && err == nil {
			t.Fatalf("%q is taken, although %v", text, wrong)
		}
		if err != nil {
			return
		}
		u.Commit()
		if u.Stats.Entries != len(all) {
			t.Fatalf("%d entries, want %d", u.Stats.Entries, len(all))
		}
		var again strings.Builder
		for _, e := range all {
			compareEntry(t, h, e)
			again.WriteString(basic(e.Key) + " ")
			if pairs {
				again.WriteString(basic(e.Value))
			}
			again.WriteString("\n")
		}
		if got, f := entries(keys, pairs, again.String()); f != nil || fmt.Sprint(got) != fmt.Sprint(all) {
			t.Fatalf("%q: %q, %v, want %q", again.String(), got, f, all)
		}
	})
}

// compareEntry looks up an entry that a table was built of.
func compareEntry(t *testing.T, m *Map, e Entry) {
	t.Helper()
	switch {
	case m.opts.Keys == Texts && !m.pairs:
		if !(&List{handle: handle{}}).sharing(m).HasText([]byte(e.Key)) {
			t.Fatalf("%q is not there", e.Key)
		}
	case m.opts.Keys == Texts:
		if v, ok := m.Text([]byte(e.Key)); !ok || string(v) != e.Value {
			t.Fatalf("%q leads to %q, %v, want %q", e.Key, v, ok, e.Value)
		}
	case m.pairs:
		p, err := netip.ParsePrefix(e.Key)
		if err != nil {
			return // an address
		}
		if _, ok := m.Addr(p.Addr()); !ok {
			t.Fatalf("%q is not there", e.Key)
		}
	}
}

// sharing has a list look at what a map has.
func (l *List) sharing(m *Map) *List {
	l.current.Store(m.current.Load())
	return l
}

// basic writes a text as a basic string of TOML.
func basic(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' && c != '\t' || c == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
