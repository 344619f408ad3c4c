package policy

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/message"
)

func TestTags(t *testing.T) {
	for value, want := range map[string]string{
		"": "", " ,\t,": "", "a": "a", "a b": "a|b", "a,b": "a|b", " a ,\t, b, ": "a|b", "a,a": "a|a",
		`"a b" c;d=1`: `"a|b"|c;d=1`, "\xff\u00a0\u2003": "\xff\u00a0\u2003",
	} {
		if got := joined(slices.Collect(Tags([]byte(value)))); got != want {
			t.Errorf("%q has the tags %q, want %q", value, got, want)
		}
	}
}

func FuzzTags(f *testing.F) {
	for _, value := range []string{"a, b\tc", ",, \t", "\xc2,\xa0 \xff", "a\u2003b", "a\nb", strings.Repeat("x ", 65)} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		text := ""
		for tag := range Tags([]byte(value)) {
			if len(tag) == 0 || strings.ContainsAny(string(tag), " \t,") {
				t.Fatalf("%q is no tag", tag)
			}
			text += string(tag)
		}
		if want := strings.NewReplacer(" ", "", "\t", "", ",", "").Replace(value); text != want {
			t.Fatalf("the tags of %q are %q", value, text)
		}
	})
}

func TestGroups(t *testing.T) {
	for _, c := range []struct{ lines, want string }{
		{"", ""},
		{"Cache-Groups:", ""},
		{`Cache-Groups: "a"`, "a"},
		{"Cache-Groups: \"a\" \t,\t \"b\" ", "a|b"},
		{`CACHE-GROUPS: "a"|cache-groups: "b", "a"`, "a|b|a"}, // no member is left out
		{`Cache-Groups: "a"|Cache-Groups:|Cache-Groups: "b"`, "a|b"},
		{`Cache-Groups: "a"|-Cache-Groups: "b"|X-Groups: "c"`, "a"},
		{`Cache-Groups: "", " a, b ", "\"\\"`, `| a, b |\"\\`},
		{`Cache-Groups: "a";p;q=1;*r=?0;  s=x/y;t=:YQ==:;u="v,w";x=-1.123, "b"`, "a|b"},
		// No List of Strings: then no group counts, of no line.
		{`Cache-Groups: "a"|Cache-Groups: b`, ""},
		{`Cache-Groups: "a", ("b")`, ""},
		{`Cache-Groups: "a", 1`, ""},
		{`Cache-Groups: "a",`, ""},
		{`Cache-Groups: , "a"`, ""},
		{`Cache-Groups: "a",, "b"`, ""},
		{`Cache-Groups: "a" "b"`, ""},
		{`Cache-Groups: "a`, ""},
		{`Cache-Groups: "a\`, ""},
		{`Cache-Groups: "\a"`, ""},
		{"Cache-Groups: \"a\tb\"", ""},
		{`Cache-Groups: "ä"`, ""},
		{`Cache-Groups: "a" ;p`, ""},
		{`Cache-Groups: "a";P`, ""},
		{`Cache-Groups: "a";`, ""},
		{`Cache-Groups: "a";p=`, ""},
		{`Cache-Groups: "a";p=(1)`, ""},
		{`Cache-Groups: "a";p=1234567890123456`, ""},
		{`Cache-Groups: "a";p=1.`, ""},
		{`Cache-Groups: "a";p=1.1234`, ""},
	} {
		if got := joined(Groups(heads(200, c.lines), "Cache-Groups")); got != c.want {
			t.Errorf("%s: %q, want %q", c.lines, got, c.want)
		}
	}
}

// The second reading of a List of Strings, by the grammar of RFC 9651 (appendix C): a member, its parameters, and the
// comma after it. Base64 is not decoded.
var (
	bareItem = `(?:"(?:[ !#-\[\]-~]|\\["\\])*"|-?[0-9]{1,15}|-?[0-9]{1,12}\.[0-9]{1,3}|\?[01]|:[A-Za-z0-9+/=]*:|` +
		"[A-Za-z*][-A-Za-z0-9!#$%&'*+.^_`|~:/]*" + `|@-?[0-9]{1,15}|%"(?:[ !#$&-~]|%[0-9a-f]{2})*")`
	listed = regexp.MustCompile(
		`^"((?:[ !#-\[\]-~]|\\["\\])*)"(?:; *[a-z*][-a-z0-9_.*]*(?:=` + bareItem + `)?)*[ \t]*(,[ \t]*|$)`)
	// The scanner has no Dates and no Display Strings.
	newItem = regexp.MustCompile(`=(@|%")`)
)

// readGroups returns the members of a line, or false where it is no List of Strings.
func readGroups(line string) (all []string, ok bool) {
	for more := line != ""; more; {
		m := listed.FindStringSubmatch(line)
		if m == nil {
			return nil, false
		}
		all = append(all, m[1])
		line, more = line[len(m[0]):], m[2] != ""
	}
	return all, true
}

func FuzzGroups(f *testing.F) {
	f.Add(`"a", "b"`, `"c"`)
	f.Add(`"\"", "\\";p;q=1;r=1.123`, "")
	f.Add(`"a";*=-1 , "b";s=x/:y;t=:YQ==:`, `"c";u="\"";  v=?1`)
	f.Add(`"a";p=123456789012.1`, `"a";p=1234567890123.1`)
	f.Add(`"a";p=@1;q=%"%c3%a4"`, `"a",`)
	f.Add(`"";a="";a=A0;b=é`, "\"\"\t,\t\"\"")
	f.Fuzz(func(t *testing.T, first, second string) {
		h, want := new(message.Head), []string{}
		valid := true
		for _, line := range []string{first, second} {
			if line = strings.Trim(line, " \t"); !message.ValidValue(line) {
				return
			}
			h.Add("Cache-Groups", line)
			members, ok := readGroups(line)
			want, valid = append(want, members...), valid && ok
		}
		got := Groups(h, "cache-groups")
		if !valid {
			want = nil
		} else if got == nil && newItem.MatchString(first+second) {
			return
		}
		if joined(got) != strings.Join(want, "|") || len(got) != len(want) {
			t.Fatalf("%q, %q: %q, want %q", first, second, got, want)
		}
	})
}

// joined returns texts with "|" between them.
func joined(texts [][]byte) string { return string(bytes.Join(texts, []byte{'|'})) }
