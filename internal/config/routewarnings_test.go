package config

import (
	"fmt"
	"strings"
	"testing"
)

// What cannot do what it seems to be for gets a warning with its code, which allow silences; what is right gets none.
func TestParse_warnsOfRoutes(t *testing.T) {
	const plain = "[[listeners]]\nname = \"plain\"\nlisten = \":80\"\n"
	const secure = "[[listeners]]\nname = \"secure\"\nlisten = \":443\"\ncert = \"a.pem\"\nkey = \"a.key\"\n"
	const redirects = plain + "redirect_to_https = true\n"
	route := func(pattern string, keys ...string) string {
		text := fmt.Sprintf("[[routes]]\npattern = %q\n", pattern)
		if !strings.Contains(strings.Join(keys, "\n"), "redirect") {
			text += "dest = \"status:200\"\n"
		}
		return text + strings.Join(keys, "\n") + "\n"
	}
	to := func(location string) string { return fmt.Sprintf("redirect.to = %q", location) }
	for _, c := range []struct{ text, code, want string }{
		// Conditions that another route has, too.
		{plain + route("/a/*", `header = { X = "1" }`) + route("/a/*", `header = "x"`), "shadowed-route",
			"at line 8 has the same pattern, takes all that this one would take, and goes before it"},
		{plain + route("/a/*", `methods = ["DELETE", "GET"]`) + route("/a/*", `methods = "GET"`), "shadowed-route", ""},
		{plain + route("/a/*", `listener = "plain"`) + route("/a/*"), "shadowed-route", ""},
		{plain + secure + route("/a/*", `listener = "plain"`) + route("/a/*"), "", ""},
		{plain + route("/a/*", `header = { X = "1" }`) + route("/b/*", `header = "X"`), "", ""},
		{plain + route("/a/*", `header = { X = "1" }`) + route("/a/*", `header = "Y"`), "", ""},
		{plain + route("/a/*", `methods = "GET"`) + route("/a/*"), "", ""},
		// Weights.
		{plain + route("/a/*", "weight = 90") + route("/a", "weight = 10"), "lone-weight", "whatever its weight"},
		{plain + route("/a/*", "weight = 90") + route("/a/*", "weight = 10"), "", ""},
		{plain + route("/a/*", "weight = 90") + route("/a/*", "weight = 0"), "", ""},
		{plain + route("/a/*", "weight = 1") + route("/b/*", "weight = 1"), "", ""},
		// Listeners.
		{plain + secure + route("/*", `listener = "plain"`), "idle-listener", "every answer is 404"},
		{plain + secure + route("/*", `listener = "plain"`) +
			"[upstreams.default]\nbackends = [{ address = \"a:1\" }]\n", "", ""},
		{redirects + secure + route("/*", `listener = "secure"`), "", ""},
		{redirects + secure + route("/*") + route("/a/*", `listener = "plain"`), "unreachable-route",
			"its listeners redirect all of them to https"},
		{redirects + "trusted_proxies = [\"10.0.0.0/8\"]\n" + secure + route("/*") +
			route("/a/*", `listener = "plain"`), "", ""},
		// Redirects.
		{plain + route("/old/*", to("/old/new")), "redirect-loop", "/old/x -> http://localhost:80/old/new -> http"},
		{plain + route("/old/*", to("/old/new")) + route("/old/new"), "", ""},
		{plain + route("/a/*", to("{path}")), "redirect-loop", "http://localhost:80/a/x -> http://localhost:80/a/x"},
		{plain + route("/a/*", to("/b{rest}")) + route("/b/*", to("/a{rest}")), "redirect-loop",
			"http://localhost:80/a/x -> http://localhost:80/b/x -> http://localhost:80/a/x"},
		{plain + route("/a/*", to("/b{rest}")) + route("/b/*", to("{path}")), "redirect-loop",
			"itself: http://localhost:80/b"},
		{plain + route("/a/*", to("/b{rest}")) + route("/b/*"), "", ""},
		{plain + secure + route("/*", to("https://{host}{path}")), "redirect-loop", "https://localhost:443/x -> https"},
		{plain + secure + route("/*", to("https://{host}{path}"), `listener = "plain"`) + route("/*"), "", ""},
		{redirects + secure + route("/*", to("http://{host}{path}")), "redirect-loop",
			"https://localhost:443/x -> http://localhost:80/x -> https://localhost:443/x"},
		{secure + route("a.test/*", to("https://b.test{path}")) + route("b.test/*", to("https://a.test{path}")),
			"redirect-loop", "https://a.test:443/x -> https://b.test:443/x -> https://a.test:443/x"},
		{secure + route("/*", to("https://other.test{path}")), "", ""}, // perhaps another machine
		{secure + route("/*", to("https://{host}:8443{path}")), "", ""},
		{plain + route("/*", to("{path}{path}{path}{path}")), "", ""}, // not followed until memory is short
	} {
		for _, silent := range []bool{false, true} {
			text, want := c.text, c.code
			if silent {
				text, want = "allow = ["+strings.Join(quotedCodes(), ", ")+"]\n"+text, ""
			}
			_, rep := Parse("edge.toml", []byte(text))
			got := rendered(t, rep)
			if want != "" && (strings.Count(got, "["+want+"]") == 0 || !strings.Contains(got, c.want)) ||
				want == "" && got != "" {
				t.Errorf("%s\ngives\n%s\nwant %s %s", text, got, want, c.want)
			}
		}
	}
}

func quotedCodes() (all []string) {
	for _, code := range []string{codeShadowedRoute, codeLoneWeight, codeUnreachableRoute, codeIdleListener,
		codeRedirectLoop} {
		all = append(all, fmt.Sprintf("%q", code))
	}
	return all
}
