package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/message"
)

func TestCutMember(t *testing.T) {
	for _, c := range []struct{ line, name, argument, rest, form string }{
		{"no-store", "no-store", "", "", "bare"},
		{"  no-store\t, x", "no-store", "", " x", "bare"},
		{", x", "", "", " x", "bare"},
		{" ", "", "", "", "bare"},
		{"", "", "", "", "bare"},
		{"a=b", "a", "b", "", "argued"},
		{"a=b ,c=d", "a", "b", "c=d", "argued"},
		{"a=,c", "a", "", "c", "argued"},
		{"a=b c, d", "a", "b c", " d", "argued"}, // an argument that no directive takes
		{`a="b, c" ,d`, "a", "b, c", "d", "argued"},
		{`a="b\", c",d`, "a", `b\", c`, "d", "argued"},
		{`a="",d`, "a", "", "d", "argued"},
		{`a="b"c,d`, "a", "b", "d", "invalid"},
		{`a="b" c,d`, "a", "b", "d", "invalid"},
		{"a =b,c", "a", "b", "c", "invalid"},
		{`a= "b,c",d`, "a", "b,c", "d", "invalid"},
		{line: `a="b"c"`, form: "malformed"},
		{line: `a=b"c", d"`, form: "malformed"},
		{line: `a="b"c"d"`, form: "malformed"},
		{line: `a="b`, form: "malformed"},
		{line: `a="`, form: "malformed"},
		{line: `a="b\"`, form: "malformed"},
		{line: `a="b\`, form: "malformed"},
		{line: `"a", b`, form: "malformed"},
		{line: `"a"=`, form: "malformed"},
		{line: `"a"=b`, form: "malformed"},
		{line: `a"b="`, form: "malformed"},
		{line: "=a, b", form: "malformed"},
		{line: "a b, c", form: "malformed"},
		{line: "a;b", form: "malformed"},
		{line: "a@b=c", form: "malformed"},
	} {
		m, rest := cutMember([]byte(c.line))
		if form := formOf(&m); form != c.form || form != "malformed" &&
			(string(m.name) != c.name || string(m.argument) != c.argument || string(rest) != c.rest) {
			t.Errorf("%q: %s %q %q, then %q", c.line, form, m.name, m.argument, rest)
		}
	}
}

func formOf(m *member) string {
	switch {
	case m.malformed:
		return "malformed"
	case m.bare && !m.number && !m.text:
		return "bare"
	case m.number && m.text:
		return "argued"
	case m.number:
		return "number"
	case m.text:
		return "text"
	}
	return "invalid"
}

// RFC 8941 §4.2.2. What is malformed has the whole field ignored: RFC 9213 §2.1.
func TestCutKeyed(t *testing.T) {
	for _, c := range []struct{ line, name, argument, rest, form string }{
		{"a", "a", "", "", "bare"},
		{"a=?1", "a", "?1", "", "bare"},
		{"*a-b_c.d*,b", "*a-b_c.d*", "", "b", "bare"},
		{"a \t,\t b", "a", "", "b", "bare"},
		{"a;b;c=1;  d=\"x,y\",z", "a", "", "z", "bare"},
		{"a=60", "a", "60", "", "number"},
		{"a=-60;p=1.5", "a", "-60", "", "number"},
		{"a=123456789012345", "a", "123456789012345", "", "number"},
		{`a="b, c";d,e`, "a", "b, c", "e", "text"},
		{`a=""`, "a", "", "", "text"},
		{`a="\"\\"`, "a", `\"\\`, "", "text"},
		{"a=1.5", "a", "1.5", "", "invalid"},
		{"a=123456789012.123", "a", "123456789012.123", "", "invalid"},
		{"a=?0", "a", "?0", "", "invalid"},
		{"a=b/c:d,e", "a", "b/c:d", "e", "invalid"},
		{"a=*b", "a", "*b", "", "invalid"},
		{"a=:YQ==:", "a", ":YQ==:", "", "invalid"},
		{"a=(),b", "a", "()", "b", "invalid"},
		{`a=( "b,(" c;d=1  e ) ;f`, "", "", "", "malformed"},
		{`a=( "b,(" c;d=1  e );f,g`, "a", `( "b,(" c;d=1  e )`, "g", "invalid"},
		{line: "", form: "malformed"},
		{line: ",a", form: "malformed"},
		{line: "a,", form: "malformed"},
		{line: "a, ", form: "malformed"},
		{line: "a,,b", name: "a", rest: ",b", form: "bare"}, // the next member is malformed
		{line: "A", form: "malformed"},
		{line: "aB", form: "malformed"},
		{line: "1a", form: "malformed"},
		{line: "a b", form: "malformed"},
		{line: "a =1", form: "malformed"},
		{line: "a= 1", form: "malformed"},
		{line: "a=", form: "malformed"},
		{line: "a=1 2", form: "malformed"},
		{line: "a=1234567890123456", form: "malformed"},
		{line: "a=1234567890123.1", form: "malformed"},
		{line: "a=1.", form: "malformed"},
		{line: "a=1.1234", form: "malformed"},
		{line: "a=-", form: "malformed"},
		{line: "a=+1", form: "malformed"},
		{line: `a="`, form: "malformed"},
		{line: `a="b`, form: "malformed"},
		{line: `a="\b"`, form: "malformed"},
		{line: `a="b\`, form: "malformed"},
		{line: "a=\"\t\"", form: "malformed"},
		{line: "a=\"\u00e4\"", form: "malformed"},
		{line: "a='1'", form: "malformed"},
		{line: "a=?", form: "malformed"},
		{line: "a=?2", form: "malformed"},
		{line: "a=:b", form: "malformed"},
		{line: "a=:b!:", form: "malformed"},
		{line: "a=(b", form: "malformed"},
		{line: "a=(b,c)", form: "malformed"},
		{line: `a=(b"c")`, form: "malformed"},
		{line: "a=(b)c", form: "malformed"},
		{line: "a;B", form: "malformed"},
		{line: "a;", form: "malformed"},
		{line: "a;b=", form: "malformed"},
		{line: "a=@1", form: "malformed"}, // RFC 9651 has Dates
		{line: `a=%"b"`, form: "malformed"},
	} {
		m, rest := cutKeyed([]byte(c.line))
		if form := formOf(&m); form != c.form || form != "malformed" &&
			(string(m.name) != c.name || string(m.argument) != c.argument || string(rest) != c.rest) {
			t.Errorf("%q: %s %q %q, then %q", c.line, form, m.name, m.argument, rest)
		}
	}
}

// The parser of dictionaries takes just what the grammar of RFC 8941 says, and never panics.
func FuzzCutKeyed(f *testing.F) {
	for _, s := range []string{
		"max-age=60, x=(a \"b,c\";d  1);e=:YQ==:", "a=1.5;b=?0,c", `a="\"\\", *b`, "a=-1;  b=c/d", "a,", "a=(",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if !message.ValidValue(line) {
			return
		}
		h := &message.Head{}
		h.Add("X-A", line)
		d, found := readDirectives(h, "x-a")
		if valid := sfDictionary.MatchString(line); !found || d.malformed == valid {
			t.Fatalf("%q: malformed %v, valid %v", line, d.malformed, valid)
		}
	})
}

// strictest reads the lines of Cache-Control by splitting at every comma, in quotes or not. Whatever the quotes mean,
// a reader that is stricter than this one does not exist for what it finds.
func strictest(lines ...string) (least int64, found map[string]bool) {
	least, found = -1, map[string]bool{}
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			name, argument, _ := strings.Cut(strings.ToLower(strings.Trim(part, " \t")), "=")
			found[strings.Trim(name, " \t")] = true
			if name != "max-age" {
				continue
			}
			var length int64
			for _, c := range strings.Trim(argument, `"`) {
				if c < '0' || c > '9' {
					length = 0
					break
				}
				length = min(length*10+int64(c-'0'), 1<<31)
			}
			if least < 0 || length < least {
				least = length
			}
		}
	}
	return least, found
}

// Whatever the lines are: nothing is fresher than the strictest reading of what stands outside of quotes, and a line
// more of no-store or max-age=0 is obeyed.
func FuzzDirectives(f *testing.F) {
	for _, s := range []string{
		"max-age=60", `private="a, b", no-cache=c`, `x="max-age=5\", no-store", max-age="60"`, "public max-age=1",
		`"no-store`,
		"max-age=60, max-age=6x, s-maxage = 9", "must-understand, no-store=1, must-revalidate,,",
	} {
		f.Add(s, "max-age=9")
		f.Add("public, max-age=999999999999", s)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		if !message.ValidValue(one) || !message.ValidValue(two) {
			return
		}
		judge := func(lines ...string) Answer {
			h := &message.Head{Status: 200}
			for _, line := range lines {
				h.Add("Cache-Control", line)
			}
			r := Rules{TTLMax: 1 << 62}
			a := r.Judge(heads(0, ""), h, received, received)
			for i := range h.Fields {
				a.Keeps(h, i)
			}
			return a
		}
		got := judge(one, two)
		if got.Reason == ReasonNone {
			unquoted := !strings.Contains(one+two, `"`)
			least, found := strictest(one, two)
			bare := unquoted && !strings.Contains(one+two, "=") // neither names fields
			switch {
			case unquoted && found["no-store"] && !found["must-understand"],
				bare && (found["no-cache"] || found["private"]):
				t.Fatalf("%q %q is stored", one, two)
			case unquoted && !found["s-maxage"] && got.Fresh.Lifetime != least*second:
				t.Fatalf("%q %q: %v, strictly %d s", one, two, time.Duration(got.Fresh.Lifetime), least)
			}
		}
		has := func(directive string) bool { return strings.Contains(strings.ToLower(one+two), directive) }
		for _, more := range []string{
			"no-store", "private", "no-cache", "max-age=0", "max-age", "max-age=1.5", `x="`, "a b",
		} {
			permitted := more == "no-store" && has("must-understand") ||
				strings.HasPrefix(more, "max-age") && has("s-maxage")
			for at := range 3 {
				lines := slices.Insert([]string{one, two}, at, more)
				again := judge(lines...)
				if again.Reason == ReasonNone && !permitted {
					t.Fatalf("%q is stored", lines)
				}
			}
		}
	})
}
