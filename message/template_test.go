package message

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// request makes a head of a request line and a host.
func request(method, target, host string) *Head {
	h := &Head{}
	h.SetMethod(method)
	h.SetTarget(target)
	h.SetAuthority(host)
	return h
}

func TestTemplate_Append(t *testing.T) {
	for _, c := range []struct{ template, target, want string }{
		{"https://example.com{path}", "/a/b?c=d", "https://example.com/a/b?c=d"},
		{"https://example.com{path}", "/a/b", "https://example.com/a/b"},
		{"https://example.com{path}", "//evil.example/", "https://example.com//evil.example/"},
		{"https://example.com{path}", "*", "https://example.com/"},
		{"https://example.com{path}", ".evil.example:443", "https://example.com/"},
		{"https://example.com/x?{query}", "/a?c=d", "https://example.com/x?c=d"},
		{"https://example.com/x?{query}", "/a", "https://example.com/x"},
		{"https://example.com/x?", "/a?c=d", "https://example.com/x"},
		{"https://example.com/#top", "/a?c=d", "https://example.com/#top"},
		{"{scheme}://{host}{path}", "/a", "http://www.example.org/a"},
		{"{scheme}://{host}:8443{path}", "/a", "http://www.example.org:8443/a"},
		{"//cdn.example.com{path}", "/a", "//cdn.example.com/a"},
		{"/new/{method}{path}", "/a?b", "/new/GET/a?b"},
		{"{path}", "//evil.example/a", "/evil.example/a"},
		{"/{path}", "/evil.example/a", "/evil.example/a"},
		{"{path}", "/\\evil.example/a", "/evil.example/a"},
		{"{path}/", "///", "/"},
		{"/{query}", "/?/evil.example", "/evil.example"},
	} {
		tm, err := ParseLocation(c.template)
		if err != nil {
			t.Errorf("%q: %v", c.template, err)
			continue
		}
		if got := string(tm.Append(nil, request("GET", c.target, "www.example.org:8080"), "http", nil)); got != c.want {
			t.Errorf("%q of %q: %q, want %q", c.template, c.target, got, c.want)
		}
	}
}

func TestTemplate_rest(t *testing.T) {
	for _, c := range []struct{ template, rest, want string }{
		{"/new{rest}", "/a/b", "/new/a/b?c=d"},
		{"/new{rest}", "/", "/new/?c=d"},
		{"/new{rest}", "", "/new?c=d"},
		{"/new{rest}?", "/a", "/new/a"},
		{"{rest}", "", "/?c=d"},
		{"{rest}", "//evil.example", "/evil.example?c=d"},
		{"https://example.com{rest}", "/a", "https://example.com/a?c=d"},
		{"https://example.com{rest}", "", "https://example.com/?c=d"},
		{"https://example.com{rest}{query}", "", "https://example.com/c=d"},
		{"https://{host}{rest}{rest}", "", "https://www.example.org/?c=d"},
		{"https://example.com/new{rest}", "", "https://example.com/new?c=d"},
	} {
		tm, err := ParseLocation(c.template)
		if err != nil || !tm.HasRest() {
			t.Errorf("%q: %v", c.template, err)
			continue
		}
		got := string(tm.Append(nil, request("GET", "/old?c=d", "www.example.org"), "http", []byte(c.rest)))
		if got != c.want {
			t.Errorf("%q with %q: %q, want %q", c.template, c.rest, got, c.want)
		}
	}
}

func TestTemplate_refuses(t *testing.T) {
	for _, text := range []string{
		"", "example.com", "ftp://example.com/", "javascript:alert(1)", "{query}", "{host}/x", "/a\r\nSet-Cookie: a=b",
		"/a b", "/a\x00", "/ä", "/{path", "/path}", "/{}", "/{nothing}", "/\"", "https://example.com{query}",
		"https://example.com{host}", "https://{path}@example.com{query}", "https://user@example.com/",
		"https://{host}{query}", "https://{host}{method}", "https://{query}", "//{query}",
		"/" + strings.Repeat("a", templateMax), strings.Repeat("{path}", templatePartsMax+1), "https://a\\b/",
	} {
		if _, err := ParseLocation(text); err == nil {
			t.Errorf("ParseLocation(%q) accepts it", text)
		}
	}
	for _, text := range []string{"", "a", "http://example.com/", "/#a", "{host}", "/\n"} {
		if _, err := ParsePath(text); err == nil {
			t.Errorf("ParsePath(%q) accepts it", text)
		}
	}
}

func TestTemplate_allocatesNothing(t *testing.T) {
	tm, err := ParseLocation("https://example.com{path}?a=b&{query}")
	if err != nil {
		t.Fatal(err)
	}
	h, buf := request("GET", "/a/b?c=d", "example.org"), make([]byte, 0, 256)
	if n := testutil.Allocs(100, func() { buf = tm.Append(buf[:0], h, "http", nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What a template makes of a request never has a line end or a blank, and leads where the template says.
func FuzzTemplate(f *testing.F) {
	f.Add("https://example.com{path}", "/a?b")
	f.Add("{path}", "//a")
	f.Add("https://example.com/?{query}", "*")
	f.Add("https://example.com{rest}{query}", "/?.evil.example")
	f.Fuzz(func(t *testing.T, text, target string) {
		for _, c := range []byte(target) {
			if c <= ' ' || c >= 0x7f || c == '#' {
				return
			}
		}
		tm, err := ParseLocation(text)
		if err != nil || target == "" {
			return
		}
		got := string(tm.Append(nil, request("GET", target, "www.example.org"), "http", nil))
		if strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Fatalf("%q of %q: %q", text, target, got)
		}
		if strings.HasPrefix(text, "https://example.com{") && !strings.HasPrefix(got, "https://example.com/") ||
			strings.HasPrefix(text, "{path}") && (strings.HasPrefix(got, "//") || strings.HasPrefix(got, "/\\")) {
			t.Fatalf("%q of %q leads to %q", text, target, got)
		}
	})
}
