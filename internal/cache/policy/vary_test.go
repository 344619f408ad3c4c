package policy

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/message"
)

// list makes a list of names as AppendVary does, from names that commas separate.
func list(names string) (l []byte) {
	for name := range strings.SplitSeq(names, ",") {
		if name != "" {
			l = append(append(l, byte(len(name))), name...)
		}
	}
	return l
}

// names is the reverse of list.
func names(l []byte) string {
	var all []string
	for len(l) > 0 {
		var name []byte
		name, l = cutName(l)
		all = append(all, string(name))
	}
	return strings.Join(all, ",")
}

func TestAppendVary(t *testing.T) {
	long := strings.Repeat("n", nameMax)
	for lines, want := range map[string]string{
		"":                                     "",
		"Vary:":                                "",
		"Vary: , ,":                            "",
		"Vary: Accept-Encoding":                "accept-encoding",
		"Vary: b, A ,c":                        "a,b,c",
		"Vary: b, A|Vary: B|Vary: a, aa":       "a,aa,b",
		"Vary: a|-Vary: *":                     "a",
		"Vary: a, *":                           "vary",
		"Vary: *":                              "vary",
		"Vary: a|Vary: *":                      "vary",
		"Vary: a b":                            "vary",
		"Vary: a;b":                            "vary",
		`Vary: "a"`:                            "vary",
		"Vary: a,b,c,d|Vary: e,f,g,h":          "a,b,c,d,e,f,g,h",
		"Vary: a,b,c,d,e,f,g,h,a,B,h":          "a,b,c,d,e,f,g,h",
		"Vary: a,b,c,d,e,f,g,h,i":              "vary",
		"Vary: " + long:                        long,
		"Vary: n" + long:                       "vary",
		"Access-Control-Allow-Origin: *":       "",
		"Access-Control-Allow-Origin: null":    "origin",
		"Access-Control-Allow-Origin:":         "origin",
		"-Access-Control-Allow-Origin: null":   "",
		"access-control-allow-origin: h|Vary:": "origin",
		"Access-Control-Allow-Origin: *|Access-Control-Allow-Origin: h|Vary: Origin, z, A": "a,origin,z",
		"Vary: a,b,c,d,e,f,g,h|Access-Control-Allow-Origin: h":                             "vary",
	} {
		got, why := AppendVary([]byte("before"), heads(200, lines))
		text := names(got[len("before"):])
		if why != ReasonNone {
			text += why.String()
		}
		if text != want || !bytes.HasPrefix(got, []byte("before")) {
			t.Errorf("%q: %q, want %q", lines, text, want)
		}
	}
}

func TestUnionVary(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"", "", ""},
		{"a", "", "a"},
		{"", "b", "b"},
		{"a,c", "b,c,d", "a,b,c,d"},
		{"a,b,c,d,e,f,g,h", "a,h", "a,b,c,d,e,f,g,h"},
		{"a,b,c,d,e", "f,g,h", "a,b,c,d,e,f,g,h"},
		{"a,b,c,d,e", "f,g,h,i", "more"},
	} {
		got, ok := UnionVary([]byte("x"), list(c.a), list(c.b))
		text := names(got[1:])
		if !ok {
			text += "more"
		}
		if text != c.want {
			t.Errorf("%q and %q: %q, want %q", c.a, c.b, text, c.want)
		}
	}
}

// Requests of one group have one variant, requests of two groups have two.
func TestAppendVariant(t *testing.T) {
	for _, c := range []struct {
		names  string
		groups [][]string
	}{
		{"x-a", [][]string{
			{"", "X-B: 1", "-X-A: 1"}, {"X-A:", "x-a: "}, {"X-A: 1", "x-a:  1 "}, {"X-A: 1,2", "X-A: 1 ,\t2",
				"X-A: 1|X-A: 2"},
			{"X-A: 2,1"}, {"X-A: 1 2"}, {"X-A: 1  2"}, {"X-A: 1,,2"}, {"X-A: a"}, {"X-A: A"},
			{`X-A: "1,2"`}, {`X-A: "1 , 2"`}, {`X-A: "1, 2"|-X-A: 3`}, {`X-A: "a\" , b",c`, `X-A: "a\" , b" , c`},
			{`X-A: "a\\",b`, `X-A: "a\\" , b`}, {`X-A: "a|X-A: b , c"`}, {`X-A: "a,b,c"`}, {`X-A: ""`}, {"X-A: ,",
				"X-A:|X-A:"},
		}},
		{"cookie", [][]string{
			{""}, {"Cookie: a=1; b=2", "Cookie: a=1|Cookie: b=2"}, {"Cookie: a=1,b=2"}, {"Cookie: a=1, b=2"},
			{"Cookie: b=2; a=1"},
		}},
		{"accept-language", [][]string{
			{""}, {"Accept-Language:", "Accept-Language: ,"}, {"Accept-Language: de", "Accept-Language: DE,"},
			{"Accept-Language: en,de;q=0.5", "Accept-Language: EN , de ; Q=0.5",
				"Accept-Language: en|Accept-Language: de;q=0.5", "Accept-Language: de;q=0.5, en"},
			{"Accept-Language: de, en"}, {"Accept-Language: en, de"}, // most backends take the first
			{"Accept-Language: fr;q=0.5, de;q=0.5", "Accept-Language: fr; q=0.5, de;q=0.5"},
			{"Accept-Language: de, en, en"}, {"Accept-Language: d e"},
			{"Accept-Language: de-at"}, {"Accept-Language: de-at, de"}, {"Accept-Language: de, de-AT"},
		}},
		{"accept-encoding", [][]string{
			{""}, {"Accept-Encoding:", "Accept-Encoding: deflate"}, {"Accept-Encoding: gzip, br",
				"Accept-Encoding: br;q=0.1, x-gzip"},
			{"Accept-Encoding: gzip"}, {"Accept-Encoding: *"},
		}},
		{"x-a,x-b", [][]string{
			{""}, {"X-A: 1"}, {"X-B: 1"}, {"X-A: 1|X-B: 1"}, {"X-A: 1|X-B:"}, {"X-A: 11"}, {"X-A:|X-B:"},
			{"X-A: 1|X-B: 11"},
		}},
		{"accept-encoding,x-b", [][]string{{""}, {"X-B: 1"}, {"Accept-Encoding: br"}, {"Accept-Encoding: br|X-B: 1"}}},
	} {
		groupOf := map[string]int{}
		for i, group := range c.groups {
			for _, lines := range group {
				variant := string(AppendVariant([]byte("before"), list(c.names), heads(0, lines)))
				if other, ok := groupOf[variant]; ok && other != i {
					t.Errorf("%s: %q is a variant with %q: %q", c.names, lines, c.groups[other], variant)
				}
				groupOf[variant] = i
			}
		}
		if len(groupOf) != len(c.groups) {
			t.Errorf("%s: %d variants of %d groups: %v", c.names, len(groupOf), len(c.groups), groupOf)
		}
	}
}

// effective is what a field says to a backend that joins its lines (RFC 9110 §5.3), slowly: the members between
// commas that are outside of quotes, without blanks.
func effective(h *message.Head, name string) string {
	var lines []string
	for i := range h.Fields {
		if !h.Fields[i].Dropped() && strings.EqualFold(string(h.Name(i)), name) {
			lines = append(lines, string(h.Value(i)))
		}
	}
	if lines == nil {
		return "none"
	}
	if name == "cookie" {
		return "=" + strings.Join(lines, "; ")
	}
	text := strings.Join(lines, ",")
	var members []string
	for text != "" || members == nil {
		end, quoted := 0, false
		for end < len(text) && (quoted || text[end] != ',' || name == "accept-language" && text[end] != ',') {
			if quoted && text[end] == '\\' {
				end++
			} else if text[end] == '"' && name != "accept-language" {
				quoted = !quoted
			}
			end++
		}
		end = min(end, len(text))
		member := text[:end]
		text = text[end:]
		if !quoted {
			member = strings.Trim(member, " \t")
		} else {
			member = strings.TrimLeft(member, " \t")
		}
		members = append(members, member)
		if strings.HasPrefix(text, ",") {
			if text = text[1:]; text == "" {
				members = append(members, "")
			}
		}
	}
	if name == "accept-language" {
		for i, m := range members {
			parts := strings.Split(lowerASCII(m), ";")
			for k := range parts {
				parts[k] = strings.Trim(parts[k], " \t")
			}
			members[i] = strings.Join(parts, ";")
		}
		members = slices.DeleteFunc(members, func(m string) bool { return m == "" })
		if len(members) <= languagesMax {
			weight := func(m string) int {
				_, parameters, _ := strings.Cut(m, ";")
				return message.Quality([]byte(parameters))
			}
			slices.SortStableFunc(members, func(a, b string) int { return weight(b) - weight(a) })
		}
	}
	return "=" + strings.Join(members, "\x00")
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

// Two requests have one variant exactly where they say the same in every field.
func FuzzAppendVariant(f *testing.F) {
	f.Add(uint8(0), "a, b", "c", "a,b,c", "", true)
	f.Add(uint8(1), "de;q=0.1, EN", "fr", "en,fr", "de; q=0.1", true)
	f.Add(uint8(2), "a=1", "b=2", "a=1; b=2", "", false)
	f.Add(uint8(0), `"a`, `b , c"`, `"a,b , c"`, "", true)
	f.Add(uint8(0), `"\" , "`, ``, `"\","`, ``, false)
	f.Fuzz(func(t *testing.T, field uint8, a1, a2, b1, b2 string, both bool) {
		name := []string{"x-a", "accept-language", "cookie"}[field%3]
		a, b := heads(0, ""), heads(0, "")
		for i, v := range []string{a1, a2, b1, b2} {
			if !message.ValidValue(v) {
				return
			}
			if h := []*message.Head{a, b}[i/2]; i%2 == 0 || both || v != "" {
				h.Add(name, v)
			}
		}
		l := list(name + ",x-b")
		same := effective(a, name) == effective(b, name)
		if equal := bytes.Equal(AppendVariant(nil, l, a), AppendVariant(nil, l, b)); equal != same {
			t.Fatalf("one variant: %v, one meaning: %v: %q %q", equal, same, effective(a, name), effective(b, name))
		}
		b.Add("X-B", a1)
		if bytes.Equal(AppendVariant(nil, l, a), AppendVariant(nil, l, b)) {
			t.Fatal("a field that is missing meets one that is not")
		}
	})
}
