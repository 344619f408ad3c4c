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
		{"a=b", "a", "b", "", "argued"},
		{"a=b ,c=d", "a", "b", "c=d", "argued"},
		{"a=,c", "a", "", "c", "argued"},
		{"a=b c, d", "a", "b c", " d", "argued"}, // an argument that no directive takes
		{`a="b, c" ,d`, "a", "b, c", "d", "argued"},
		{`a="b\", c",d`, "a", `b\", c`, "d", "argued"},
		{`a="b"c,d`, "a", "b", "d", "invalid"},
		{`a="b" c,d`, "a", "b", "d", "invalid"},
		{"a =b,c", "a", "b", "c", "invalid"},
		{`a= "b,c",d`, "a", "b,c", "d", "invalid"},
		{`a="b"c"`, "a", "b", "", "malformed"},
		{`a=b"c", d`, "a", `b"c"`, " d", "malformed"},
		{`a="b`, "a", "", "", "malformed"},
		{`a="b\"`, "a", "", "", "malformed"},
		{`a="b\`, "a", "", "", "malformed"},
		{`"a", b`, "", "", "", "malformed"},
		{"=a, b", "", "", "", "malformed"},
		{"a b, c", "a", "", "", "malformed"},
		{"a;b", "a;b", "", "", "malformed"},
		{"a@b=c", "a@b", "", "", "malformed"},
	} {
		m, rest := cutMember([]byte(c.line))
		form := []string{"bare", "argued", "invalid"}[m.form]
		if m.malformed {
			form = "malformed"
		}
		if string(m.name) != c.name || string(m.argument) != c.argument || string(rest) != c.rest || form != c.form {
			t.Errorf("%q: %s %q %q, then %q", c.line, form, m.name, m.argument, rest)
		}
	}
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
