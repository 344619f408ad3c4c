package config

import (
	"testing"

	"github.com/edge-proxy/edge/route"
)

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
		in, wrong, _ := parsePattern(s)
		code, err := route.ParsePattern(s)
		if wrong == "" && err != nil {
			t.Fatalf("%q: code says %v", s, err)
		}
		if wrong == "" && in != code {
			t.Fatalf("%q: %+v in a file, %+v in code", s, in, code)
		}
	})
}

// Logs and metrics know a route by its name: it stays as it is.
func TestParse_namesRoutesByTheirPatterns(t *testing.T) {
	for keys, want := range map[string]string{
		`host = "a.test"`:                "a.test/*",
		`path = "/x/"`:                   "/x/*",
		`path = "=/x/"`:                  "=/x/",
		"host = 'a.test'\npath = '=/x/'": "a.test/x/ (exact)",
		"host = 'a.test'\npath = '/x'":   "a.test/x",
		`pattern = "a.test=/x/"`:         "a.test=/x/",
	} {
		c, rep := Parse("f.toml", []byte("[http]\nlisten = ':80'\n[[routes]]\ndest = 'status:200'\n"+keys+"\n"))
		if c == nil {
			t.Errorf("%s: %s", keys, rendered(t, rep))
		} else if got := c.Routes[0].Name; got != want {
			t.Errorf("%s is called %q, want %q", keys, got, want)
		}
	}
}
