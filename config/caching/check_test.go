package caching

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/syntax"
)

var update = flag.Bool("update", false, "write the golden file anew")

// Each mistake has its place and what helps, and the codes of warnings silence them. The file is as those of config.
func TestCheck_mistakes(t *testing.T) {
	const path, fileMark, reportMark = "testdata/caching.mistakes", "-- edge.toml\n", "-- report\n"
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for entry := range strings.SplitSeq(strings.TrimPrefix("\n"+string(want), "\n== "), "\n== ") {
		name, text, _ := strings.Cut(strings.TrimSuffix(entry, "\n")+"\n", "\n"+fileMark)
		text, _, _ = strings.Cut(text, reportMark)
		_, rep := config.Parse("edge.toml", []byte(text))
		if len(rep.Errors)+len(rep.Warnings) == 0 {
			t.Errorf("%s: accepted in silence", name)
		}
		got.WriteString("== " + name + "\n" + fileMark + text + reportMark)
		if err := rep.Render(&got); err != nil {
			t.Fatal(err)
		}
		var codes []string
		for _, p := range rep.Warnings {
			codes = append(codes, syntax.Quote(p.Code))
		}
		if more := said("allow = [" + strings.Join(codes, ", ") + "]\n" + text); rep.OK() && len(more) > 0 {
			t.Errorf("%s: with its codes in allow it still says %q", name, more)
		}
	}
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got.String() != string(want) {
		t.Errorf("%s is out of date (-update writes it); now it is\n%s", path, got.String())
	}
}

// What is meant is not warned of.
func TestCheck_silence(t *testing.T) {
	const status = "[[routes]]\npattern = \"/*\"\ndest = \"status:404\"\n"
	const sticky = "[upstreams.u]\nsticky.cookie = \"c\"\nbackends = [{ address = \"10.0.0.1:80\" }]\n" +
		"[[routes]]\npattern = \"/*\"\ndest = \"u\"\n"
	const named = "[[routes]]\npattern = \"/*\"\ndest = \"http://{header:X}.b.test:80\"\n" +
		"allow_dest = [\"http://*.b.test:80\"]\n"
	for _, text := range []string{
		web + "cache = true\n",
		status + "cache = false\n",
		named + "cache = false\n",
		"[defaults]\ncache = true\n" + named,
		"[defaults]\ncache = true\n" + sticky + "cache = false\n",
		sticky,
		web + "cache.key = \"{client.ip in {10.0.0.0/8} ? 'in' : 'out'}\"\n",
		web + "cache = { enabled = false, cookies = \"ignore\", key = \"{client.ip}\" }\n",
		"[defaults]\ncache.ttl = 5\n" + web + "cache.obey = \"ttl\"\n",
		"[cache]\nmemory = \"9g\"\n" + web,
		"[global]\nmemory_limit = \"2g\"\n[cache]\nmemory = \"1g\"\n" + web,
		"[global]\nmemory_limit = \"auto\"\n[cache]\nmemory = \"9g\"\n" + web,
		"[global]\nmemory_limit = \"16m\"\n[cache]\nmemory = \"auto\"\n" + web,
	} {
		if got := said(base + text); len(got) > 0 {
			t.Errorf("%s\ngives %q", text, got)
		}
	}
}

// A backend is told a value that the key lacks.
func TestCheck_unkeyed(t *testing.T) {
	const field = "headers.request.X-A = "
	for _, c := range []struct{ value, key, lacks string }{
		{`"{header.x}"`, ``, "header.x"},
		{`'{header["x-b"]}'`, ``, `header["x-b"]`},
		{`"{cookie.lang}"`, `"{cookie.lang}"`, ""},
		{`"{cookie.lang}"`, `"{cookie.other}"`, "cookie.lang"},
		{`"{cookie.lang.lower()}"`, `"{cookie.lang}"`, ""},
		{`"{cookie.lang}"`, `"{cookie.lang.lower()}"`, "cookie.lang"},
		{`"{cookie.lang.lower()}"`, `"{cookie.lang.lower()}"`, ""},
		{`"{host}{path}{query}{query.a}{target}{method}{scheme}{port}{rest}"`, ``, ""},
		{`"{host.lower()} {path.cut_prefix('/a')}"`, ``, ""},
		{`"{client.ip} {client.port} {request.id} {trace.id} {time} {header.x-request-id}"`, ``, ""},
		{`"{client.ip in {10.0.0.0/8} ? 'in' : 'out'}"`, ``, "client.ip in {10.0.0.0/8} ? 'in' : 'out'"},
		{`"{map.m[client.ip]}"`, ``, "map.m[client.ip]"},
		{`"{map.m[client.ip]}"`, `"{map.m[client.ip]}"`, ""},
		{`"{map.n[host]}"`, ``, ""},
		{`"{map.n[cookie.a]}"`, ``, "map.n[cookie.a]"},
		{`"{cookie.a ?? 'none'}"`, ``, "cookie.a ?? 'none'"},
		{`"{cookie.a ?? 'cookie.b'}"`, `"{cookie.a}"`, ""},
		{`"{hmac(secret.s, host)}"`, ``, ""},
		{`"{tls.version}"`, ``, "tls.version"},
		{`"{route}"`, ``, "route"},
		{`"constant"`, ``, ""},
		{`""`, ``, ""},
	} {
		text := base + "[maps.m]\ntype = \"addresses\"\nvalues = { \"10.0.0.0/8\" = \"x\" }\n[maps.n]\n" +
			"values = { a = \"b\" }\n" +
			"[secrets]\ns = \"correct horse\"\n" + web + field + c.value + "\ncache = true\n"
		if c.key != "" {
			text = strings.Replace(text, "cache = true", "cache.key = ["+c.key+"]", 1)
		}
		want := ""
		if c.lacks != "" {
			want = "edge.toml:14:17: warning: the backend is told {" + c.lacks + "} in X-A, and the key lacks it   " +
				`[cache-unkeyed] | key = ["{` + strings.ReplaceAll(c.lacks, `"`, `\"`) +
				`}"], or Vary: X-A from the backend`
			if c.key != "" {
				want = strings.NewReplacer("key = [", "add ", "], or", " to key, or").Replace(want)
			}
		}
		if got := strings.Join(said(text), "\n"); got != want {
			t.Errorf("%s with key %s\n got %s\nwant %s", c.value, c.key, got, want)
		}
	}
}

// Rules tell backends values too, and match.N is of what their conditions ask.
func TestCheck_unkeyedByRules(t *testing.T) {
	const says = " and the key lacks it   [cache-unkeyed]"
	two := web + "cache = true\n" + strings.Replace(strings.Replace(web, "/*", "/b/*", 1), "web", "b", 1) +
		"cache = { key = \"{cookie.a}\" }\n"
	for _, c := range []struct {
		text string
		want []string
	}{
		{web + "cache = true\n[[routes.rules]]\nheaders.request = { X-A = \"{cookie.a}\", X-B = \"b\" }\n",
			[]string{"edge.toml:9:21"}},
		{web + "[[routes.rules]]\nheaders.request = { X-A = \"{cookie.a}\" }\n", nil},
		{two + "[[rules]]\nheaders.request.X-A = \"{cookie.a}\"\n", []string{"edge.toml:14:17"}},
		{two + "[[rules]]\nheaders.request.X-A = \"{cookie.b}\"\n", []string{"edge.toml:14:17"}},
		{"[[listeners]]\nlisten = \":81\"\n[[listeners.rules]]\nheaders.request.X-A = \"{cookie.a}\"\n" + web +
			"cache = true\n", []string{"edge.toml:6:17"}},
		{web + "cache = true\n[[routes.rules]]\nwhen = 'path ~ \"^/(.*)$\"'\n" +
			"headers.request.X-A = \"{match.1}\"\n", nil},
		{web + "cache = true\n[[routes.rules]]\nwhen = 'header.x ~ \"^/(.*)$\"'\n" +
			"headers.request.X-A = \"{match.1}\"\n",
			[]string{"edge.toml:10:17"}},
		{"[defaults]\ncache = true\n" + web + "headers.request.X-A = \"{cookie.a}\"\n", []string{"edge.toml:9:17"}},
		{"[defaults]\ncache = true\n" + web + "cache = false\nheaders.request.X-A = \"{cookie.a}\"\n", nil},
	} {
		got := said(base + c.text)
		right := len(got) == len(c.want)
		for i := range got {
			right = right && strings.HasPrefix(got[i], c.want[i]+": ") && strings.Contains(got[i], says)
		}
		if !right {
			t.Errorf("%s\ngot %q, want %q", c.text, got, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	for source, want := range map[string]string{
		"client.ip": "client.ip", `header["user-agent"].lower()`: "header.user-agent", "lower(host)": "host",
		`path.cut_prefix("/x.y")`: "path", `a.b == "c.d" and not e in list.f ? 5m : '(g)'`: "a.b e list.f",
		`header.x.split(",")[0] ?? cookie.y`: "header.x cookie.y", "client.ip == ::1": "client.ip",
		`("a" + query.b)`: "query.b",
	} {
		if got := strings.Join(names(source), " "); got != want {
			t.Errorf("%s: got %s, want %s", source, got, want)
		}
	}
}

// Places are dropped once the entries are checked, unless they are asked for.
func TestCheck_dropsPlaces(t *testing.T) {
	text := []byte(base + "[cache]\nmemory = \"1g\"\n" + web + "cache.ttl = 5\n")
	for _, places := range []bool{false, true} {
		c, rep := config.Options{Places: places}.Parse("edge.toml", text)
		if c == nil {
			t.Fatal(rep.Errors)
		}
		if Of(c).Has("memory") != places || c.Routes[0].Features[0].(*entry).Has("ttl") != places {
			t.Errorf("with places: %v", places)
		}
	}
}
