package config

import (
	"strconv"
	"testing"

	"github.com/edge-proxy/edge/route"
)

func TestParseListen(t *testing.T) {
	for text, want := range map[string]Address{
		":80":            {Network: "tcp", Port: 80},
		":0":             {Network: "tcp"},
		"0.0.0.0:80":     {Network: "tcp4", Host: "0.0.0.0", Port: 80},
		"[::]:80":        {Network: "tcp6", Host: "::", Port: 80},
		"[0:0::1]:80":    {Network: "tcp6", Host: "::1", Port: 80},
		"127.0.0.1:0":    {Network: "tcp4", Host: "127.0.0.1"},
		"unix:/run/a":    {Network: "unix", Path: "/run/a"},
		"":               {},
		":":              {},
		"80":             {},
		":65536":         {},
		":-1":            {},
		":+1":            {},
		"::80":           {},
		"[127.0.0.1]:80": {},
		"[::1]":          {},
		"[::1]80":        {},
		"[::1:80":        {},
		"256.0.0.1:80":   {},
		"example.com:80": {},
		"unix:":          {},
		"unix:@a":        {},
		"tcp://:80":      {},
	} {
		got, wrong, _ := parseListen(text)
		if wrong != "" {
			got = Address{}
		}
		got.Text = ""
		if got != want {
			t.Errorf("parseListen(%q) = %+v %s, want %+v", text, got, wrong, want)
		}
	}
}

func TestParseURL(t *testing.T) {
	for text, want := range map[string]string{
		"h:80": "h:80", "H.Example:80": "h.example:80", "10.0.0.1:1": "10.0.0.1:1", "[::1]:80": "[::1]:80",
		"http://h": "h:80", "http://h:81/": "h:81", "http://[::1]": "[::1]:80", "http://[::1]:8": "[::1]:8",
		"unix:/run/a": "unix:/run/a", "a_b.c-d:1": "a_b.c-d:1", "https://h": "https://h:443",
		"https://h:8/": "https://h:8",
		"h2c://h":      "h2c://h:80", "ftp://h": "", "https://h/x": "",
		"h": "", "": "", ":80": "", "h:0": "", "h:65536": "", "h:x": "", "::1:80": "", "http://": "", "http:///": "",
		"http://h/x": "", "http://u@h": "", "h/x:80": "", "h..i:80": "", "[h]:80": "", "http://::1": "", "unix:": "",
	} {
		e, scheme, wrong, _ := parseURL(text)
		got := scheme + e.String()
		if wrong != "" {
			got = ""
		}
		if got != want {
			t.Errorf("parseURL(%q) = %q %s, want %q", text, got, wrong, want)
		}
	}
}

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
		got, wrong, _ := parsePattern(text)
		if wrong != "" || got != want {
			t.Errorf("parsePattern(%q) = %+v %s, want %+v", text, got, wrong, want)
		}
	}
	for _, text := range []string{
		"", "x", "example.com", "*/", "a.*.example/", "*.*.example/", "*.[::1]/", "*.example.com:80/",
		"/a*", "//", "//*", "/a//", "/a//*", "a.b//", "/a/*/", "/a/**", "/*/a", "=/*a", "/a b", "/a?b", "/a#b", "/ä",
		"ä.example/", "a..b/", "example.com:80/", "[::1/", "-/\x00", "http://a/", "=x", "==/",
	} {
		if got, wrong, _ := parsePattern(text); wrong == "" {
			t.Errorf("parsePattern(%q) = %+v, want it refused", text, got)
		}
	}
}

func TestWarnForeignVariables(t *testing.T) {
	for value, want := range map[string]int{
		"$remote_addr $host": 2, "$1": 1, "a$host": 1, "%[src]": 1, "%{HTTP_HOST}e": 1, "{http.request.host}": 1,
		"%REQ(:PATH)%": 1, "$TOKEN": 1, "Bearer ${SECRET}": 0, "100%": 0, "$": 0, "a$": 0, "$$": 0, "{tls_version}": 0,
		"Basic dXNlcjpwYXNz": 0, "default-src 'self'; img-src *": 0, "%E2%82%AC": 0, "a%20b": 0, "max-age=60": 0,
		"W/{}": 0, "50% of %d": 0,
	} {
		_, rep := environment.Parse("f.toml",
			[]byte("http.listen = \":80\"\n[[routes]]\npath = \"/\"\ndest = \"h:1\"\n"+
				"headers = { request = { X = "+strconv.Quote(value)+" } }\n"))
		if !rep.OK() || len(rep.Warnings) != want {
			t.Errorf("%s gives\n%swant %d warnings", value, rendered(t, rep), want)
		}
		for _, p := range rep.Warnings {
			if p.Code != codeForeignVariable || p.Hint == "" {
				t.Errorf("%s: [%s] %s", value, p.Code, p.Hint)
			}
		}
	}
}
