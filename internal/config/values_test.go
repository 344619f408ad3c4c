package config

import (
	"strconv"
	"testing"

	"github.com/edge-proxy/edge/internal/config/value"
)

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

func TestWarnForeignVariables(t *testing.T) {
	for sent, want := range map[string]int{
		"$remote_addr $host": 2, "$1": 1, "a$host": 1, "%[src]": 1, "%{HTTP_HOST}e": 1, "{http.request.host}": 1,
		"%REQ(:PATH)%": 1, "$TOKEN": 1, "Bearer ${SECRET}": 0, "100%": 0, "$": 0, "a$": 0, "$$": 0, "{tls_version}": 0,
		"Basic dXNlcjpwYXNz": 0, "default-src 'self'; img-src *": 0, "%E2%82%AC": 0, "a%20b": 0, "max-age=60": 0,
		"W/{}": 0, "50% of %d": 0,
	} {
		_, rep := environment.Parse("f.toml",
			[]byte("http.listen = \":80\"\n[[routes]]\npath = \"/\"\ndest = \"h:1\"\n"+
				"headers = { request = { X = "+strconv.Quote(sent)+" } }\n"))
		if !rep.OK() || len(rep.Warnings) != want {
			t.Errorf("%s gives\n%swant %d warnings", sent, rendered(t, rep), want)
		}
		for _, p := range rep.Warnings {
			if p.Code != value.CodeForeignVariable || p.Hint == "" {
				t.Errorf("%s: [%s] %s", sent, p.Code, p.Hint)
			}
		}
	}
}
