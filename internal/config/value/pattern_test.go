package value

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/route"
)

func TestParsePattern(t *testing.T) {
	for text, want := range map[string]route.Pattern{
		"/":                    {Path: "/"},
		"/*":                   {Path: "/"},
		"=/":                   {Path: "/", Exact: true},
		"/api":                 {Path: "/api", Exact: true},
		"/api/":                {Path: "/api"},
		"/api/*":               {Path: "/api"},
		"=/api/":               {Path: "/api/", Exact: true},
		"Example.COM/api/v1/*": {Host: "example.com", Path: "/api/v1"},
		"example.com./":        {Host: "example.com", Path: "/"},
		"example.com=/":        {Host: "example.com", Path: "/", Exact: true},
		"[::1]/":               {Host: "[::1]", Path: "/"},
		"10.0.0.1/":            {Host: "10.0.0.1", Path: "/"},
		"*.Example.com/a":      {Host: "*.example.com", Path: "/a", Exact: true},
	} {
		got, wrong, _ := ParsePattern(text)
		if wrong != "" || got != want {
			t.Errorf("ParsePattern(%q) = %+v %s, want %+v", text, got, wrong, want)
		}
	}
	for _, text := range []string{
		"", "x", "example.com", "*/", "a.*.example/", "*.*.example/", "*.[::1]/", "*.example.com:80/",
		"/a*", "//", "//*", "/a//", "/a//*", "a.b//", "/a/*/", "/a/**", "/*/a", "=/*a", "/a b", "/a?b", "/a#b", "/ä",
		"ä.example/", "a..b/", "example.com:80/", "[::1/", "-/\x00", "http://a/", "=x", "==/",
	} {
		if got, wrong, _ := ParsePattern(text); wrong == "" {
			t.Errorf("ParsePattern(%q) = %+v, want it refused", text, got)
		}
	}
}

// A pattern of a file means the same in code. A file refuses some more, in the language of other programs.
func FuzzPattern_isThatOfPackageRoute(f *testing.F) {
	for _, s := range []string{
		"/", "/*", "=/", "/api", "/api/", "/api/*", "=/api/", "Example.COM/api/v1/*", "example.com./", "example.com=/",
		"[::1]/", "[::1]:80/", "10.0.0.1/", "*.Example.com/a", "", "x", "*/", "a.*.example/", "*.*.example/",
		"*.[::1]/",
		"*.example.com:80/", "/a*", "//", "/a//", "/a//*", "/a/*/", "/a/**", "/*/a", "=/*a", "/a b", "/a?b", "/ä",
		"a..b/", "example.com:80/", "[::1/", "[:]/", "http://a/", "=x", "==/", "a:b:c/", "a_b.-/x", "A!/x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		in, wrong, _ := ParsePattern(s)
		code, err := route.ParsePattern(s)
		if wrong == "" && err != nil {
			t.Fatalf("%q: code says %v", s, err)
		}
		if wrong == "" && in != code {
			t.Fatalf("%q: %+v in a file, %+v in code", s, in, code)
		}
	})
}

// suggestion is a pattern in a hint.
var suggestion = regexp.MustCompile(`(?:did you mean|write|^) ?("(?:[^"\\]|\\.)*")(?:\?| takes| and query)`)

// What a hint suggests is a pattern that is taken.
func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{
		"~ \\.php$", "*.php", "a.test:80/*", "/api/*/x", "^/a$", "a.test/b*", "/a?b=c", "/a b%20c#d", "GET /x",
		"[::1]:80/a", "= /x", "^~ /a/", "/u/{id}", "a.test/**", "http://a:1", "/ä", "//*", "=x", ":80", "/a/(.*)",
		"[0]:0", "[::1]/a",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, wrong, hint := ParsePattern(s)
		if wrong == "" && hint != "" {
			t.Errorf("%q is right and has the hint %s", s, hint)
		}
		for _, m := range suggestion.FindAllStringSubmatch(hint, -1) {
			meant, err := strconv.Unquote(m[1])
			if _, wrong, _ := ParsePattern(meant); err == nil && wrong != "" && !strings.HasSuffix(meant, "…") {
				t.Errorf("%q has the hint %s, which is wrong: %s", s, hint, wrong)
			}
		}
	})
}

// What plainPattern lets pass unread is in no language of another program.
func TestPlainPattern_agrees(t *testing.T) {
	const letters = "aZ0/-_.*+^~$\\"
	plain := 0
	var every func(s string, more int)
	every = func(s string, more int) {
		if plainPattern(s) {
			plain++
			for _, text := range []func() *regexp.Regexp{
				patternMethod, patternRule, patternModifier, patternParameter, patternExpr,
			} {
				if text().MatchString(s) {
					t.Errorf("%q matches %s", s, text())
				}
			}
		}
		for i := 0; more > 0 && i < len(letters); i++ {
			every(s+letters[i:i+1], more-1)
		}
	}
	every("", 4)
	if plain < 1000 {
		t.Errorf("only %d texts are plain", plain)
	}
}
