package traefik

import (
	"strings"
	"testing"
)

// TestRule: what a rule means to edge.
func TestRule(t *testing.T) {
	for rule, want := range map[string]string{
		"Host(`a.test`)":                           `host == "a.test"`,
		"Host(`A.test`, `b.test`)":                 `host in {"a.test" "b.test"}`,
		"host(`a.test`) && Path(`/x`)":             `host == "a.test" and path == "/x"`,
		"Path(\"/x\")":                             `path == "/x"`,
		"Host(`a`) && (Path(`/x`) || Path(`/y`))":  `host == "a" and (path == "/x" or path == "/y")`,
		"Host(`a`) && Host(`b`)":                   `host == "a" and host == "b"`,
		"Host(`a`) || Host(`b`) && Path(`/x`)":     `host == "a" or host == "b" and path == "/x"`,
		"!(Host(`a`) || Path(`/x`))":               `not (host == "a" or path == "/x")`,
		"!(Host(`a`) && Path(`/x`))":               `not (host == "a" and path == "/x")`,
		"!!Host(`a`)":                              `host == "a"`,
		"PathPrefix(`/`)":                          `true`,
		"PathPrefix(`/x`)":                         `path starts_with "/x"`,
		"PathPrefix(`/x/`)":                        `path starts_with "/x/"`,
		"!PathPrefix(`/x/`)":                       `not (path starts_with "/x/")`,
		"PathPrefix(`/x/`) && PathPrefix(`/x/y/`)": `path starts_with "/x/" and path starts_with "/x/y/"`,
		"PathRegexp(`^/x$`)":                       `path ~ "^/x$"`,
		"PathRegexp(`^/(x|y)/z$`)":                 `path ~ "^/(x|y)/z$"`,
		"PathRegexp(`^/[ab]/`)":                    `path ~ "^/[ab]/"`,
		"PathRegexp(`^/x(/|$)`)":                   `path ~ "^/x(/|$)"`,
		"PathRegexp(`^/x(/.*)?$`)":                 `path ~ "^/x(/.*)?$"`,
		"PathRegexp(`\\.png$`)":                    `path ~ "\.png$"`,
		"PathRegexp(`^/[0-9]+$`)":                  `path ~ "^/[0-9]+$"`,
		"Path(`/{id:[0-9]+}`)":                     `path ~ "^/(?:[0-9]+)$"`,
		"Path(`/{kind:(?:a|b)}`)":                  `path ~ "^/(?:(?:a|b))$"`,
		"HostRegexp(`^.+\\.a\\.test$`)":            `host ends_with ".a.test"`,
		"HostRegexp(`^[a-z]+\\.a\\.test$`)":        `host ~ "^[a-z]+\.a\.test$"`,
		"HostRegexp(`{sub:[a-z]+}.a.test`)":        `host ~ "^(?:[a-z]+)\.a\.test$"`,
		"HostRegexp(`^(a|b)\\.test$`)":             `host ~ "^(a|b)\.test$"`,
		"HostRegexp(`^.+$`)":                       `true`,
		"HostRegexp(`a.*z`)":                       `host ~ "a.*z"`,
		"Host(`*.a.test`)":                         `host ends_with ".a.test"`,
		"Host(`*`)":                                `true`,
		"Method(`get`)":                            `method == "GET"`,
		"Method(`GET`) && Method(`POST`)":          `method == "GET" and method == "POST"`,
		"Header(`X-A`, `1`)":                       `header.X-A == "1"`,
		"Headers(`X-A`, `~1`)":                     `header.X-A == "~1"`,
		"HeaderRegexp(`X-A`, `^1`)":                `header.X-A ~ "^1"`,
		"HeaderRegexp(`X-A`, `(`)":                 `false`,
		"Header(`Host`, `a`)":                      `false`,
		"Query(`a`, `1`)":                          `query.a == "1"`,
		"Query(`a=1`, `b=2`)":                      `query.a == "1" and query.b == "2"`,
		"Query(`a`)":                               `query.a == "" and has(query.a)`,
		"QueryRegexp(`a`, `[0-9]`)":                `query.a ~ "[0-9]"`,
		"ClientIP(`10.0.0.0/8`) && Host(`a`)":      `peer.ip in {10.0.0.0/8} and host == "a"`,
		"Nonsense(`x`)":                            `false`,
		"Host()":                                   `false`,
		"Host(`a b`)":                              `false`,
		"Path(`/x y`)":                             `url_decode(path) == "/x y"`,
		"PathPrefix(`/{id:[0-9]+}/x`)":             `path ~ "^/(?:[0-9]+)/x"`,
		"PathPrefix(`x`)":                          `url_decode(path) starts_with "x"`,
		"PathRegexp(`^/é`)":                        `url_decode(path) ~ "^/é"`,
		"Query(`a={b}`)":                           `false`,
	} {
		e, err := parseRule(rule)
		if err != nil {
			t.Errorf("%s: %v", rule, err)
			continue
		}
		if got := e.cond().String(); got != want {
			t.Errorf("%s: %q, want %q", rule, got, want)
		}
	}
}

func TestRule_wrong(t *testing.T) {
	for _, rule := range []string{"", "Host", "Host(", "Host(`a`", "Host(`a`) &&", "Host(`a`) Path(`/x`)", "(Host(`a`)",
		"Host(a)", "a.Host(`a`)", "Host(`a` `b`)", "&& Host(`a`)", strings.Repeat("(", 100), strings.Repeat("!", 100)} {
		if _, err := parseRule(rule); err == nil {
			t.Errorf("%q is a rule", rule)
		}
	}
}

// FuzzRule: no text is too wrong, and what a rule means is bounded.
func FuzzRule(f *testing.F) {
	for _, rule := range []string{"Host(`a.test`) && !PathPrefix(`/x/`)", "!(A(`b`)||C(\"d\\\"\",'e'))",
		"Path(`/{a:b{1,2}}`)", "HostRegexp(`^(a|b)$`)", "Query(`a=b`)", "((", "Host(`"} {
		f.Add(rule)
	}
	f.Fuzz(func(t *testing.T, rule string) {
		if len(rule) > 2000 {
			return
		}
		if e, err := parseRule(rule); err == nil {
			e.cond()
		}
	})
}
