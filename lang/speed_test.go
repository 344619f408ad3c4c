package lang

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

// thousand returns a thousand prefixes, of which the last holds the client of the tests.
func thousand() (list []netip.Prefix, text string) {
	for i := range 999 {
		list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{20 + byte(i>>8), byte(i), 0, 0}), 16+i%8))
	}
	list = append(list, netip.MustParsePrefix("10.1.2.0/24"))
	var b bytes.Buffer
	for _, p := range list {
		fmt.Fprintf(&b, "%v ", p.Masked())
	}
	return list, b.String()
}

// row is a text and the same by hand.
type row struct {
	name, text string
	template   bool
	hand       func(x *X) bool
}

var words = regexp.MustCompile(`(?i)(bot|crawl|spider)`)

func rows() []row {
	_, prefixes := thousand()
	return []row{
		{"path", `path starts_with "/api/" and method == "GET"`, false, func(x *X) bool {
			return bytes.HasPrefix(x.Path, []byte("/api/")) && x.Request.Verb == message.VerbGet
		}},
		{"words", `header.user-agent ~ "(?i)(bot|crawl|spider)"`, false, func(x *X) bool {
			return words.Match(x.Request.Peek(message.UserAgent))
		}},
		{"prefixes", `client.ip in {` + prefixes + `}`, false, nil},
		{"cookie", `cookie.beta == "yes"`, false, func(x *X) bool {
			return string(x.Request.PeekCookie("beta")) == "yes"
		}},
		{"split", `split(path, "/")[2] == "v2"`, false, func(x *X) bool {
			_, rest, _ := bytes.Cut(x.Path, []byte("/"))
			_, rest, _ = bytes.Cut(rest, []byte("/"))
			second, _, _ := bytes.Cut(rest, []byte("/"))
			return string(second) == "v2"
		}},
		{"template", `https://{host}{path}?from={client.ip}&role={header.x-role}`, true, func(x *X) bool {
			var lower [256]byte
			dst := append(handmade[:0], "https://"...)
			dst = append(dst, x.Request.LowerHost(&lower)...)
			dst = append(append(dst, x.Path...), "?from="...)
			dst = append(of(x).client.AppendTo(dst), "&role="...)
			if i := x.Request.Find("x-role"); i >= 0 {
				dst = append(dst, x.Request.Value(i)...)
			}
			handmade = dst
			return len(dst) > 0
		}},
		{"five", five, false, func(x *X) bool {
			var lower [256]byte
			return bytes.HasPrefix(x.Path, []byte("/api/")) &&
				(x.Request.Verb == message.VerbGet || x.Request.Verb == message.VerbHead) &&
				string(x.Request.LowerHost(&lower)) == "shop.example.com" && ten.Contains(of(x).client) &&
				!bytes.Contains(x.Request.Peek(message.UserAgent), []byte("curl"))
		}},
	}
}

var handmade []byte

var ten = netip.MustParsePrefix("10.0.0.0/8")

const five = `path starts_with "/api/" and method in {"GET" "HEAD"} and host == "shop.example.com" and ` +
	`client.ip in {10.0.0.0/8} and header.user-agent not contains "curl"`

// evaluation returns what evaluates a row.
func (r *row) evaluation(t testing.TB, names *Scope) func(x *X) bool {
	if r.template {
		compiled := template(t, names, r.text, Request)
		var dst []byte
		return func(x *X) bool {
			dst = compiled.Append(dst[:0], x)
			return len(dst) > 0
		}
	}
	return condition(t, names, r.text, Request).Holds
}

func BenchmarkCondition(b *testing.B) {
	names := scope(b)
	x := browser()
	for _, r := range rows() {
		f := r.evaluation(b, names)
		b.Run(r.name+"/lang", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f(x)
			}
		})
		if r.hand == nil {
			continue
		}
		b.Run(r.name+"/hand", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.hand(x)
			}
		})
	}
}

func BenchmarkScope_Condition(b *testing.B) {
	names := scope(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := names.Condition(five, Request); err != nil {
			b.Fatal(err)
		}
	}
}

// Evaluation allocates nothing, whatever is asked, but for what the package's doc names.
func TestCondition_allocations(t *testing.T) {
	names := scope(t)
	x := browser()
	for _, r := range rows() {
		f := r.evaluation(t, names)
		f(x)
		if n := testutil.Allocs(100, func() { f(x) }); n != 0 {
			t.Errorf("%s: %v allocations", r.name, n)
		}
	}
	groups := regexp.MustCompile(`re_replace|geo\.|map\.`) // the fixture's own maps and country allocate
	for _, c := range holding {
		if groups.MatchString(c.text) || regexp.MustCompile(`cert\.sans|local\.`).MatchString(c.text) {
			continue
		}
		compiled := condition(t, names, c.text, Log)
		compiled.Holds(x)
		if n := testutil.Allocs(20, func() { compiled.Holds(x) }); n != 0 {
			t.Errorf("%s: %v allocations", c.text, n)
		}
	}
}

// Ten thousand rules are compiled in little time and memory. The bounds are those of a machine under load, times ten:
// what grows faster than the number of rules is found.
func TestScope_tenThousand(t *testing.T) {
	if testing.Short() || testutil.RaceOn {
		t.Skip("compiles ten thousand rules")
	}
	names := scope(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begin := time.Now()
	rules := make([]*Condition, 10_000)
	for i := range rules {
		var err error
		if rules[i], err = names.Condition(five, Request); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(begin)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (after.HeapAlloc - before.HeapAlloc) / uint64(len(rules))
	t.Logf("%v, %d bytes each", took, each)
	if each > 10<<10 {
		t.Errorf("%d bytes each", each)
	}
	runtime.KeepAlive(rules)
}

// jsonBodies are bodies as clients send them, each with a condition on a member.
func jsonBodies() []struct{ name, body, text string } {
	chat := func(n int) string {
		return `{"messages":[{"role":"user","content":"` + string(bytes.Repeat([]byte("some words "), n)) +
			`"}],"temperature":0.7,"model":"small"}`
	}
	var many bytes.Buffer
	for i := range 200 {
		fmt.Fprintf(&many, `"field_%d":%d,`, i, i)
	}
	return []struct{ name, body, text string }{
		{"1k", chat(90), `json(body, "model") == "small"`},
		{"64k", chat(5900), `json(body, "model") == "small"`},
		{"members", `{` + many.String() + `"model":"small"}`, `json(body, "model") == "small"`},
		{"nested", `{"user":{"name":"x","id":17},"model":"small"}`, `json(body, "user.id") == "17"`},
		{"number", `{"account":1234567,"model":"small"}`, `int(json(body, "account")) == 1234567`},
	}
}

func BenchmarkJSON(b *testing.B) {
	names := scope(b)
	x := browser()
	for _, c := range jsonBodies() {
		when, err := names.Condition(c.text, Content)
		if err != nil {
			b.Fatal(err)
		}
		body := []byte(c.body)
		x.Body = new(Body)
		for name, again := range map[string]bool{"": false, "/again": true} {
			b.Run(c.name+name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					if !again || x.Body.Bytes == nil {
						*x.Body = Body{Bytes: body}
					}
					if !when.Holds(x) {
						b.Fatal("it does not hold")
					}
				}
			})
		}
		x.Body = nil
	}
}
