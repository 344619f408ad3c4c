package builtin

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestNewOriginSet_refusesWhatNoBrowserSends(t *testing.T) {
	for text, hint := range map[string]string{
		"null":                         "an origin of its own",
		"example.com":                  `write "https://example.com"`,
		"https://Example.com":          `write "https://example.com"`,
		"https://example.com/":         `write "https://example.com"`,
		"https://example.com/path":     `write "https://example.com"`,
		"https://example.com?x":        `write "https://example.com"`,
		"https://example.com:443":      `write "https://example.com"`,
		"http://example.com:80":        `write "http://example.com"`,
		"http*://example.com":          "for each scheme",
		"https://*.*.example.com":      "one star",
		"https://*example.com":         `"https://*.example.com"`,
		"https://app*":                 "a dot after it",
		"https://app.*":                "a dot after it",
		"https://app-*example.com":     "a dot after it",
		"https://app.*.com":            "a dot after it",
		"https://user@example.com":     "",
		"https://":                     "",
		"://example.com":               "",
		"https://exa mple.com":         "",
		"https://a..b":                 "",
		"https://[::1":                 "",
		"https://example.com:":         "",
		"https://example.com:99999":    "",
		"https://a\x00b":               "",
		"":                             "",
		"https://example.com,http://b": "",
	} {
		_, err := newOriginSet([]string{"https://fine.example", text})
		if err == nil || err.Origin != text || !strings.Contains(err.Hint, hint) {
			t.Errorf("%q: %+v", text, err)
		}
	}
}

func TestOriginSet_has(t *testing.T) {
	set, err := newOriginSet([]string{
		"https://app.example.com", "http://[::1]:8080", "https://*.example.org", "http://localhost:*",
		"https://preview-*--site.apps.example", "chrome-extension://abcdef", "http://127.0.0.1",
	})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"https://app.example.com":                   true,
		"http://app.example.com":                    false,
		"https://app.example.com:8443":              false,
		"https://app.example.com.evil":              false,
		"https://App.example.com":                   false,
		"https://app.example.com/":                  false,
		"http://[::1]:8080":                         true,
		"http://[::1]":                              false,
		"https://a.example.org":                     true,
		"https://a.b.example.org":                   true,
		"https://example.org":                       false,
		"https://.example.org":                      false,
		"https://evil.com/.example.org":             false,
		"https://evil.com:1.example.org":            false,
		"https://a@b.example.org":                   false,
		"https://evilexample.org":                   false,
		"http://localhost:3000":                     true,
		"http://localhost":                          false,
		"https://preview-12--site.apps.example":     true,
		"https://preview---site.apps.example":       false,
		"https://preview-a--site.evil.apps.example": false,
		"chrome-extension://abcdef":                 true,
		"http://127.0.0.1":                          true,
		"null":                                      false,
		"*":                                         false,
		"":                                          false,
	} {
		if got := set.Has([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if set.Any() || set.AnyHost() {
		t.Error("it has neither")
	}
	value := []byte("https://a.example.org")
	if n := testutil.Allocs(1000, func() { set.Has(value) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOriginSet_any(t *testing.T) {
	for text, want := range map[string][2]bool{
		"*": {true, false}, "https://*": {false, true}, "http://*:8080": {false, true}, "http://*.localhost": {},
	} {
		set, err := newOriginSet([]string{text})
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{set.Any(), set.AnyHost()}; got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestOriginOfAuthority(t *testing.T) {
	for _, c := range []struct {
		origin, authority string
		want              bool
	}{
		{"https://a.example", "a.example", true},
		{"http://a.example:8080", "a.example:8080", true},
		{"http://[::1]:80", "[::1]:80", true},
		{"a+b-c.9://a", "a", true},
		{"https://a.example", "a.example:443", false},
		{"https://a.example", "A.example", false},
		{"https://a.example/", "a.example", false},
		{"//a.example", "a.example", false},
		{"://a.example", "a.example", false},
		{"9a://a", "a", false},
		{"ht tp://a", "a", false},
		{"null", "null", false},
		{"https://", "", false},
	} {
		if got := isOriginOf([]byte(c.origin), []byte(c.authority)); got != c.want {
			t.Errorf("%q at %q: %v", c.origin, c.authority, got)
		}
	}
}
