package route

import (
	"strings"
	"testing"
)

func TestParsePattern(t *testing.T) {
	for text, want := range map[string]Pattern{
		"/":                    {"", "/", false},
		"/*":                   {"", "/", false},
		"=/":                   {"", "/", true},
		"/api":                 {"", "/api", true},
		"/api/":                {"", "/api", false},
		"/api/*":               {"", "/api", false},
		"=/api/":               {"", "/api/", true},
		"Example.COM/api/v1/*": {"example.com", "/api/v1", false},
		"example.com./":        {"example.com", "/", false},
		"example.com=/":        {"example.com", "/", true},
		"[::1]/":               {"[::1]", "/", false},
		"*.Example.com/a":      {"*.example.com", "/a", true},
	} {
		got, err := ParsePattern(text)
		if err != nil || got != want {
			t.Errorf("ParsePattern(%q) = %+v %v, want %+v", text, got, err, want)
		}
		if again, err := ParsePattern(got.String()); err != nil || again != got {
			t.Errorf("%q is written as %q, which is %+v %v", text, got, again, err)
		}
	}
}

// An error says what to write, where that can be told.
func TestParsePattern_saysWhatToWrite(t *testing.T) {
	long := strings.Repeat("x", 60)
	for text, want := range map[string]string{
		"api":                   `"api" has no path; write "api/*"`,
		"http://a.test/x":       `a pattern has no scheme such as "http://"; write "a.test/x"`,
		"GET /x":                `a pattern has no method: Methods of the route names them; write "/x"`,
		"/users/{id}":           `a path has no parameters`,
		"a.test:80/":            `the host of a route has no port: the listener's port decides; write "a.test"`,
		"[::1]:80/":             `the host of a route has no port: the listener's port decides; write "[::1]"`,
		"a.*.test/":             `a star stands for the first labels of a host: "*.example.com"`,
		"a..test/":              `"a..test" is not a host name`,
		"/api*":                 `a star stands only at the end, after a slash; write "/api/*"`,
		"/*/x":                  `a star stands only at the end, after a slash`,
		"/api//*":               `a prefix ends with one slash; write "/api/*"`,
		"/a?b":                  `a path stands as it is sent: no blanks, no "?", no "#", the rest percent-encoded`,
		strings.Repeat("x", 99): `"` + long + `…" has no path; write "` + long + `…"`,
	} {
		if got, err := ParsePattern(text); err == nil || err.Error() != want {
			t.Errorf("ParsePattern(%q) = %+v %v, want %s", text, got, err, want)
		}
	}
}

// What no request would ever be is refused with what to write instead.
func TestTable_refusesRulesThatTakeNothing(t *testing.T) {
	for _, c := range []struct {
		rule Rule
		want string
	}{
		{Rule{Path: "/api/*"}, `path "/api/*": a path takes all below it by itself, unless it is Exact; write "/api"`},
		{Rule{Path: "/*"}, `path "/*": a path takes all below it by itself, unless it is Exact; write "/"`},
		{Rule{Path: "/a*b"}, `path "/a*b": a path has no star`},
		{Rule{Path: "/users/{id}"}, `path "/users/{id}": a path has no parameters`},
		{Rule{Path: "api"}, `path "api": a path begins with "/"; write "/api"`},
		{Rule{Path: "/a b"},
			`path "/a b": a path stands as it is sent: no blanks, no "?", no "#", the rest percent-encoded`},
		{Rule{Host: "a.test:80"},
			`host "a.test:80": the host of a route has no port: the listener's port decides; write "a.test"`},
		{Rule{Host: "https://a.test"},
			`host "https://a.test": a host has no scheme such as "https://"; write "a.test"`},
		{Rule{Host: "http://a.test:80"},
			`host "http://a.test:80": a host has no scheme such as "http://"; write "a.test"`},
		{Rule{Host: "a.test."}, `host "a.test.": write "a.test"`},
		{Rule{Host: "a.test/x"}, `host "a.test/x": "a.test/x" is not a host name`},
		{Rule{Methods: []string{"GET", "get"}},
			`methods are told apart by case (RFC 9110 §9.1): write "GET" for "get"`},
		{Rule{Weight: -1}, `a weight is between 0 and 65535`},
	} {
		var table Table[int]
		if err := table.Add(c.rule, 0); err == nil || err.Error() != c.want {
			t.Errorf("%+v: %v, want %s", c.rule, err, c.want)
		}
	}
}
