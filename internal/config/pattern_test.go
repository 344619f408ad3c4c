package config

import "testing"

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
