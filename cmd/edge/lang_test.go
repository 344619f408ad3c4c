package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// langRun is arguments of edge lang with what comes of them.
type langRun struct {
	args []string
	code int
	want []string
}

func (c *langRun) run(t *testing.T, before ...string) (out string) {
	t.Helper()
	code, out := in(t, t.TempDir(), slices.Concat([]string{"lang"}, before, c.args)...)
	for _, want := range c.want {
		if code != c.code || !strings.Contains(out, want) {
			t.Errorf("%q: exit %d, no %q in\n%s", c.args, code, want, out)
		}
	}
	return out
}

// With a configuration a text may have what that defines, and no secret is shown.
func TestLang_configuration(t *testing.T) {
	t.Parallel()
	file := write(t, `
[[listeners]]
name = "web"
listen = "127.0.0.1:8080"
trusted_proxies = ["192.0.2.1"]
[lists]
office = ["10.0.0.0/8"]
[maps.tier.values]
a = "gold"
[secrets]
pass = "open sesame"
[[routes]]
name = "api"
pattern = "/api/*"
dest = "status:200"
[[routes]]
name = "all"
pattern = "/*"
dest = "status:200"
`)
	for _, c := range []langRun{
		{[]string{`client.ip in list.office`, "-H", "X-Forwarded-For: 10.1.2.3"}, 0,
			[]string{"true\n", "it is 10.1.2.3"}},
		{[]string{`route == "api" and listener == "web" and map.tier[query.t] == "gold"`,
			"http://127.0.0.1:8080/api/x?t=a"}, 0, []string{"true\n", "it is api ", " ns\n"}},
		{[]string{`header.x-key == secret.pass`, "-H", "X-Key: open sesame"}, 0, []string{"true\n", "it is (secret)"}},
		{[]string{"--template", `{path} {hex(hmac(secret.pass, path))}.`}, 0, []string{"/ (secret).\n"}},
		{[]string{"--log", "--template", `{{"t":"{time}","{route}","{status}{duration}"}}`}, 0,
			[]string{`{"t":"20`, `Z","all","0.000000"}`}},
		{[]string{"--log", `status >= 500 or attempts == 0`}, 0, []string{"true\n", "it is missing"}},
		{[]string{"--template", `{duration}`}, 1, []string{"duration is not known before an answer"}},
		{[]string{`client.ip in list.ofice`}, 1, []string{"error: there is no list ofice", "did you mean office?"}},
		{[]string{`true`, "https://x/"}, 2, []string{"no listener of the configuration takes the request"}},
	} {
		if out := c.run(t, "-c", file); strings.Contains(out, "open sesame") {
			t.Errorf("%q shows the secret: %s", c.args, out)
		}
	}
	commands(t, "", command{"lang true -c " + write(t, "http.listen = 1"), 1, "edge.toml:1:15: error: "})
}

// edge lang says what a text makes of a request, and what is wrong with one.
func TestLang(t *testing.T) {
	for _, c := range []langRun{
		{[]string{`path like "/api/*" and header.x-beta == "1"`, "http://localhost/api/v1", "-H", "X-Beta: 1"}, 0,
			[]string{"true\n", `path like "/api/*"`, "it is /api/v1", `header.x-beta == "1"`}},
		{[]string{`scheme == "https" and method == "GET"`, "-X", "POST"}, 0,
			[]string{"false\n", "it is http ", " ns\n", "not asked"}},
		{[]string{`path == "/a b"`, "http://x/%61%20b"}, 0, []string{"false", "it is /a%20b"}},
		{[]string{`client.ip in {10.0.0.0/8}`, "--client-ip", "10.1.2.3"}, 0, []string{"true\n", "it is 10.1.2.3"}},
		{[]string{`cookie.id ~ "^a(b)" and match.1 == "b"`, "http://x/", "-H", "Cookie: id=abc"}, 0,
			[]string{"true\n"}},
		{[]string{"--template", `https://{host}{target}`, "http://Example.com/a?b=c"}, 0,
			[]string{"https://example.com/a?b=c\n"}},
		{[]string{`pth == "a"`}, 1, []string{"error: there is no variable pth", "^^^ did you mean path?"}},
		{[]string{`status == 200`}, 1, []string{"error: ", "^^^^^^"}},
		{[]string{`http.request.uri.path matches "^/u"`}, 1, []string{"here it is called path"}},
		{[]string{}, 2, []string{"takes a text and a URL"}},
		{[]string{"true", "ftp://x/"}, 2, []string{"the URL begins with http://"}},
		{[]string{"true", "--client-ip", "me"}, 2, []string{"--client-ip takes an IP address"}},
	} {
		c.run(t)
	}
	_, out := in(t, t.TempDir(), "lang", "--json", `header.x == "a" or true`)
	var got evaluated
	err := json.Unmarshal([]byte(out), &got)
	if err != nil || got.Holds == nil || !*got.Holds || len(got.Clauses) != 2 ||
		!got.Clauses[0].Missing || got.Clauses[0].Holds || !got.Clauses[1].Holds {
		t.Errorf("%v: %s", err, out)
	}
}
