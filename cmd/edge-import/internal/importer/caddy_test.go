package importer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// caddyOf is how Caddyfiles are run by a binary.
func caddyOf(binary string) *dialect {
	return &dialect{
		program: "caddy", pattern: "[0-9]*.caddy",
		listen:  regexp.MustCompile(`(?m)(?:^:|https?_port )(\d+)`),
		backend: regexp.MustCompile(`(127\.0\.0\.1:\d+)`),
		files:   regexp.MustCompile(`\s(site\w*\.pem)`),
		paths:   regexp.MustCompile(`(?:^|\s)(/[a-z0-9][^\s*{?]*)[\s*]`),
		hosts:   regexp.MustCompile(`(?m)(?:^(?:http://)?|host )((?:[a-z*]+\.)+(?:com|test)(?:,? [a-z]+\.[a-z.]+)*)`),
		fields:  regexp.MustCompile(`^(X-|Cache|Strict|Referrer|Access)`),
		start: func(t *testing.T, dir, text string) {
			path := filepath.Join(dir, "Caddyfile")
			write(t, path, text)
			p := testutil.Start(t, testutil.Command{Path: binary, Dir: dir,
				Env:  []string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir},
				Args: []string{"run", "--adapter", "caddyfile", "--config", path}})
			for _, site := range secureSite.FindAllStringSubmatch(text, -1) {
				for _, host := range strings.Split(site[1], ", ") {
					if !strings.Contains(site[2], "tls /") && !strings.HasPrefix(host, "http:") { // tls /… has a file
						p.WaitLine(`obtained successfully","identifier":"` + regexp.QuoteMeta(host))
					}
				}
			}
		},
	}
}

// caddy returns the program, or skips the test.
func caddy(t *testing.T) string {
	binary := os.Getenv("EDGE_CADDY")
	if binary == "" {
		t.Skip("make import-check builds Caddy and runs this")
	}
	return binary
}

// Every file of testdata/caddy becomes what its golden file says.
func TestCaddy_becomes(t *testing.T) {
	for _, file := range caddyfiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			golden(t, strings.TrimSuffix(file, ".caddy")+".golden", imported(t, caddyOf(""), file))
		})
	}
}

func caddyfiles(t *testing.T) []string {
	files, err := filepath.Glob(filepath.Join("testdata", "caddy", "[0-9]*.caddy"))
	if err != nil || len(files) < 12 {
		t.Fatal(files, err)
	}
	return files
}

// Every file of testdata/caddy does here what Caddy does with it, but for what is listed beside it. Caddy is built by
// make import-check.
func TestCaddy_answersAreTheSame(t *testing.T) {
	d := caddyOf(caddy(t))
	for _, file := range caddyfiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			var findings []string
			for _, f := range planOfFile(t, "caddy", file).Findings() {
				findings = append(findings, f.String())
			}
			got := ""
			for _, line := range d.answers(t, file, withPorts(read(t, file))) {
				got += line + "\n"
				if because(line, findings) == "" {
					t.Errorf("no finding tells of it: %s", line)
				}
			}
			golden(t, strings.TrimSuffix(file, ".caddy")+".answers", got)
		})
	}
}

var (
	secureSite = regexp.MustCompile(`(?m)^([a-z*]+\.[a-z.]+(?:, [a-z.:/]+)*) \{\n(.*)$`)
	options    = regexp.MustCompile(`^\{\n`)
)

// withPorts names the ports of a Caddyfile that are usual ones, so that a test has others, and asks no authority.
func withPorts(text string) string {
	more := "\tadmin off\n\tskip_install_trust\n\tlocal_certs\n"
	secure := secureSite.MatchString(text)
	if (secure || strings.Contains(text, "\nhttp://") || strings.HasPrefix(text, "http://")) &&
		!strings.Contains(text, "http_port") {
		more += "\thttp_port 80\n"
	}
	if secure {
		more += "\thttps_port 443\n"
	}
	if options.MatchString(text) {
		return options.ReplaceAllString(strings.Replace(text, "\tadmin off\n", "", 1), "{\n"+more)
	}
	return "{\n" + more + "}\n" + text
}

// Where requests are refused by conditions that edge does not have, alone or together, all that may meet them are
// refused; by those that it has, these alone, however many there are.
func TestCaddy_refusalsByWhatIsNotKnown(t *testing.T) {
	const closed, proxied = "[[rules]] deny = 403", `[[routes]] path = "/*" dest = "http://localhost:3000"`
	many := func(format string) (text string) {
		for i := range 250 {
			text += fmt.Sprintf(format, i)
		}
		return text
	}
	for text, want := range map[string][]string{
		many("respond /p%d 403\n"): {proxied,
			`when = 'lower(local.path) == "/p249"' respond = { status = 403 }`},
		many("@m%d host h%[1]d.test\nrespond @m%[1]d 403\n"): {proxied,
			`[[routes]] host = "h249.test" path = "/*" dest = "status:403"`},
		many("@m%d method M%[1]d\nrespond @m%[1]d 403\n"): {proxied,
			`[[rules]] when = 'method == "M248"' respond = { status = 403 }`},
		"respond /a//b 403\n": {proxied,
			`when = 'lower(url_decode(path)) == "/a//b"' respond = { status = 403 }`},
		"@a vars x y\n@b vars x z\nhandle @a {\nrespond @b 403\n}\n": {closed,
			"not carried: @b vars x z"},
		many("@m%d vars x %[1]d\nheader @m%[1]d X-%[1]d 1\n") + "respond @m249 403\n": {closed},
	} {
		name, _, _ := strings.Cut(text, "\n")
		wantAll(t, name, planOf(t, "caddy", ":8080 {\n"+text+"reverse_proxy localhost:3000\n}\n"), want)
	}
}

// What routes do not ask by their own keys is a condition in the language, and basic_auth with bcrypt a filter.
func TestCaddy_conditions(t *testing.T) {
	const users = "basic_auth bcrypt Staff {\nu $2y$04$abcdefghijklmnopqrstuudMegMbPN37MbpdEfAtP66w1z0RBCtLG\n}\n"
	const open = `path = "/*" dest = "http://localhost:3000"`
	const decoded = `url_decode(path).re_replace("/+", "/")`
	for text, want := range map[string][]string{
		"@a remote_ip 10.0.0.0/8 192.0.2.7\nrespond @a 403\n": {open,
			`path = "/*" when = 'peer.ip in {10.0.0.0/8 192.0.2.7}' dest = "status:403"`},
		"@a not client_ip private_ranges\nrespond @a 403\n": {open, `dest = "status:403"`,
			`'not (client.ip in {192.168.0.0/16 172.16.0.0/12 10.0.0.0/8 127.0.0.0/8 fd00::/8 ::1/128})'`},
		"@a path *.php */.*\nrespond @a 404\n": {open, `when = 'lower(` + decoded + `) ends_with ".php" or lower(` +
			decoded + `) contains "/."' respond = { status = 404 }`},
		"@a path_regexp \\.(png|jpg)$\nrespond @a 404\n": {open,
			`when = '` + decoded + ` ~ "\.(png|jpg)$"' respond = { status = 404 }`},
		"@a path /a/*/c\nrespond @a 404\n": {open,
			`when = 'lower(` + decoded + `) ~ "^/a/[^/]*/c$"' respond = { status = 404 }`},
		"@a header X-Key a*\nredir @a /other\n": {open, `when = 'header.x-key starts_with "a"' redirect`},
		"@a remote_ip 10.0.0.0/99\nrespond @a 403\n": {`[[rules]] deny = 403`,
			"edge does not know these addresses"},
		users: {`type = "basic_auth" realm = "Staff" users = { u = "$2y$04$`,
			`path = "/*" dest = "http://localhost:3000" filters = ["users"]`},
		strings.Replace(users, "$2y$04", "$1$04", 1): {
			`[[rules]] deny = 403`, open, "not carried: basic_auth"},
		strings.Replace(users, "bcrypt", "/admin/* bcrypt", 1): {
			open, `lower(` + decoded + `) starts_with "/admin/"' filters = ["users"]`},
	} {
		wantAll(t, text, planOf(t, "caddy", ":8080 {\n"+text+"reverse_proxy localhost:3000\n}\n"), want)
	}
}

// A refusal below a condition that edge does not have refuses all that meet the other conditions that it needs.
func TestCaddy_refusalsBelowWhatIsNotKnown(t *testing.T) {
	const open, denied = `path = "/*" dest = "http://localhost:3000"`, ` == "%s"' deny = 403`
	foo, post := "header.foo"+fmt.Sprintf(denied, "bar"), "method"+fmt.Sprintf(denied, "POST")
	for text, want := range map[string][]string{
		"@a {\nvars x y\nheader Foo bar\n}\nrespond @a 403\n": {open, foo},
		"@a {\nvars x y\nmethod POST\n}\nrespond @a 403\n":    {open, post},
		"@a vars x y\nhandle @a {\n@b header Foo bar\nrespond @b 403\nreverse_proxy localhost:4000\n}\n": {
			foo, "not carried: handle @a (edge does not know all"},
		"@a vars x y\n@b vars x z\nrespond @a 403\nrespond @b 401\n": {
			`[[rules]] deny = 403`, "not carried: respond @b 401 ("},
		"route {\nrespond 204\nrespond 403\n}\n": {`dest = "status:204"`, "note: respond 403 (nothing to write"},
	} {
		wantAll(t, text, planOf(t, "caddy", ":8080 {\n"+text+"reverse_proxy localhost:3000\n}\n"), want)
	}
}

// What a site guards is asked for the password whatever comes after: rules that answer do not come before filters.
func TestCaddy_passwordsBeforeAnswers(t *testing.T) {
	const users = "basic_auth {\nu $2y$04$abcdefghijklmnopqrstuudMegMbPN37MbpdEfAtP66w1z0RBCtLG\n}\n"
	const first = ` filters = ["users"]`
	for text, want := range map[string]string{
		users + "respond secret\n":                                     `dest = "status:200"` + first,
		"route {\n" + users + "redir https://x.test{uri}\n}\n":         `status = 302 }` + first,
		users + "handle /a/* {\nrespond 204\n}\nrespond 404\n":         `dest = "status:404"` + first,
		"route {\nrequest_header -Auth*\n" + users + "respond ok\n}\n": "not carried: basic_auth",
		"handle /a/* {\n" + users + "respond ok\n}\nrespond no\n":      `starts_with "/a/"' set = { to = "a" }`,
	} {
		wantAll(t, text, planOf(t, "caddy", ":8080 {\n"+text+"}\n"), []string{want})
	}
}

// Matchers look at the path that directives before them have made of it.
func TestCaddy_rewrittenPaths(t *testing.T) {
	for text, want := range map[string][]string{
		"rewrite /a /b\nrespond /b 204\n": {`lower(url_decode(path).re_replace("/+", "/")) == "/a"' rewrite = "/b"`,
			`path = "/b" dest`},
		"rewrite * /a\nrewrite * /b{uri}\nrespond /b/a 403\nrespond 204\n": {`rewrite = "/b{path}"`},
		"redir /b /c\nrewrite /a /b\nrespond /b 204\n": {
			`when = 'lower(path) == "/b"' redirect = { to = "/c?", status = 302 } # file.yml:3 [[rules]]`},
		"rewrite /a/* /b\nhandle /a/* {\nrespond 403\n}\nrespond 204\n": {`rewrite = "/b"`}, // handle asks anew
		"handle_path /a/* {\nrespond /b 403\nrespond 204\n}\n": {
			`lower(url_decode(path.re_replace("(?i)^/+a/*", "/"))`},
		"rewrite /b/c /a/b\nrewrite /a/* /x\nrespond /a/b 403\nrespond 204\n": { // one of both runs
			`== "/b/c"' set = { rewritten1 = "yes" }`, `when = 'has(local.rewritten1)' rewrite = "/a/b"`,
			`starts_with "/a/" and not (has(local.rewritten1))' rewrite = "/x"`},
		"route {\nhandle /b/* {\nheader X-A 1\n}\nrewrite /a/* /b/x\nhandle {\nrespond 403\n}\nrespond 204\n}\n": {
			`starts_with "/b/"' set = { rewritten1 = "yes" }`,
			`when = 'not (has(local.rewritten1))' dest = "status:403"`},
		"@a method GET\n@b method GET\nroute {\nhandle @a {\nheader A 1\n}\nhandle @b {\nerror 403\n}\n}\n": {
			`when = 'method == "GET"' dest = "status:403"`}, // Caddy joins both
		"request_body /a/* {\nmax_size 1MB\n}\nrewrite * /b\nreverse_proxy localhost:3000\n": {
			`starts_with "/a/"' filters = ["body"]`, `[[routes.rules]] rewrite = "/b"`},
		"uri strip_suffix /a\nrespond / 403\nrespond 204\n": {
			`"{path.re_replace(\"(?i)(?:/+|%2f)a$\", \"\").re_replace(\"^$\", \"/\")}"`},
		"uri strip_prefix /a/@b\nreverse_proxy localhost:3000\n": {`(?i)^/+a(?:/+|%2f)(?:@|%40)b/*`},
		"uri replace /a /b\n@q query q=1\nrespond @q 403\nrespond 204\n": {
			"not carried: @q query q=1", "note: uri replace",
			`{path.re_replace(\"/+\", \"/\").replace(\"/a\", \"/b\")`, `[57][\da]|5f|7e)"' deny = 400`},
		"handle /a/* {\nrewrite * /x{uri}\nreverse_proxy localhost:3000\n}\n": {`rewrite = "/x{path}"`},
		"handle /a/* {\nrewrite /a/b /y\nrespond /y 403\nreverse_proxy localhost:3000\n}\n": {
			`set = { rewritten1 = "/y" }`, `(local.rewritten1 ?? path)`},
		"handle /a/* {\n@a vars x y\nrewrite @a /y\nrespond /y 403\nreverse_proxy localhost:3000\n}\n": {
			`starts_with "/a/")' deny = 403`},
		"@a vars x y\nhandle @a {\nrewrite /a /y\nrespond /y 403\nreverse_proxy localhost:3000\n}\n": {
			`"/a"' set = { rewritten1 = "/y" }`, `lower((local.rewritten1 ?? path)) == "/y"`},
	} {
		wantAll(t, text, planOf(t, "caddy", ":8080 {\n"+text+"}\n"), want)
	}
}

// Directives that follow each other with the same matcher run for the same requests, though the first changes the path.
func TestCaddy_oneMatcherIsAskedOnce(t *testing.T) {
	text := ":8080 {\nuri /api/* strip_prefix /api\nbasic_auth /api/* {\nu $2y$04$abcdefghijklmnopqrstuudMegMb" +
		"PN37MbpdEfAtP66w1z0RBCtLG\n}\nreverse_proxy localhost:3000\n}\n"
	wantAll(t, text, planOf(t, "caddy", text), []string{
		`when = 'lower(path) starts_with "/api/" or lower(local.path) starts_with "/api/"' filters = ["users"]`})
}

// A matcher asks for TLS anew for each of the listeners that a site has.
func TestCaddy_protocolOfEachListener(t *testing.T) {
	text := "https://a.test, http://b.test {\ntls internal\n@plain protocol http\nrespond @plain 403\n" +
		"reverse_proxy localhost:3000\n}\n"
	wantAll(t, text, planOf(t, "caddy", text), []string{
		`host = "b.test" path = "/*" listener = "http-80" dest = "status:403"`,
		`host = "a.test" path = "/*" listener = "https-443" dest = "http://localhost:3000"`})
}

// HTTP/3 is carried where a file names it; a listener without TLS serves the other protocols. The default of Caddy is
// edge's.
func TestCaddy_http3(t *testing.T) {
	const sites = "https://a.test {\ntls internal\nrespond ok\n}\nhttp://b.test {\nrespond ok\n}\n"
	for protocols, want := range map[string][]string{
		"protocols h1 h2 h3": {`listen = ":443" tls = true cert = "internal" protocols = ["h1", "h2", "h3"]`,
			`listen = ":80" protocols = ["h1", "h2"]`},
		"protocols h3 h1": {`protocols = ["h3", "h1"]`, `listen = ":80" protocols = ["h1"]`},
		"protocols h1 h2": {`listen = ":443" tls = true cert = "internal" protocols = ["h1", "h2"]`},
		"protocols h1 h2 h2c h3": {`listen = ":443" tls = true cert = "internal" protocols = ["h1", "h2", "h3"]`,
			`listen = ":80" protocols = ["h1", "h2"]`},
		"protocols h1 h2c": {`tls = true cert = "internal" protocols = ["h1"]`,
			`listen = ":80" protocols = ["h1", "h2"]`},
		"protocols h3": {`not carried: protocols = ["h3"] (`},
		"":             {`listen = ":443" tls = true cert = "internal" # file`},
	} {
		text := "{\nservers {\n" + protocols + "\n}\n}\n" + sites
		wantAll(t, protocols, planOf(t, "caddy", text), want)
	}
}

// What only sets fields has no branches of its own: many such blocks are as many steps.
func TestCaddy_blocksOfFields(t *testing.T) {
	text := ""
	for i := range 40 {
		text += fmt.Sprintf("route /a%d* {\nheader X-%[1]d 1\nrequest_header X-%[1]d 1\n}\n", i)
	}
	wantAll(t, "fields", planOf(t, "caddy", ":8080 {\n"+text+"reverse_proxy localhost:3000\n}\n"), []string{
		`when = 'lower(path) starts_with "/a39"' headers.request = { X-39 = "1" }`,
		`[[routes]] path = "/*" dest = "http://localhost:3000"`})
}

// wantAll reports which texts are neither in the result, where any space is one, nor in the findings.
func wantAll(t *testing.T, name string, p *plan.Plan, want []string) {
	t.Helper()
	out := strings.Join(strings.Fields(string(p.Text(plan.TextOnly))), " ")
	for _, f := range p.Findings() {
		out += "\n" + f.String()
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("%q: no %q in\n%s", name, w, out)
		}
	}
}

// Lines that protect a backend to which no rule that is carried leads are losses where a rule was lost, and so are
// guards of routes that are closed.
func TestImport_guardsThatAreNotCarried(t *testing.T) {
	const front = "frontend f\n mode http\n bind :8080\n default_backend d\n"
	const backs = "backend d\n server s 127.0.0.1:1\nbackend b\n http-request deny\n server s 127.0.0.1:2\n"
	closed := []string{"[[rules]] deny = 403",
		"requests may be refused here or after it: all that may meet it are refused"}
	wantAll(t, "lost rule", planOf(t, "haproxy", front+" use_backend b if { nbsrv(b) gt 1 }\n"+backs), closed)
	wantAll(t, "lost form", planOf(t, "haproxy", front+" use_backend %[req.hdr(x)]\n"+backs), closed)
	wantAll(t, "no rule", planOf(t, "haproxy", front+backs),
		[]string{"note: http-request deny (it is inside backend b, to which nothing leads"})
	wantAll(t, "traefik", planOf(t, "traefik", `{"http": {
		"routers": {"a": {"rule": "ClientIP(`+"`10.0.0.1`"+`)", "middlewares": ["own", "all"], "service": "s"}},
		"middlewares": {
			"own": {"ipAllowList": {"sourceRange":
				["192.0.2.1/32"], "ipStrategy": {"depth": 1}}},
			"all": {"ipAllowList": {"sourceRange":
				["0.0.0.0/0", "::/0"]}}},
		"services": {"s": {"loadBalancer": {"servers": [{"url": "http://127.0.0.1:3000"}]}}}}}`),
		[]string{"not carried: http.middlewares.own.ipAllowList", `allow = ["0.0.0.0/0", "::/0"]`})
}

// A time of checks that Caddy has by default, and that edge refuses, is told of at the line that turns checks on.
func TestCaddy_defaultsOfChecksHaveALine(t *testing.T) {
	list := findingsOf(t, "caddy", ":80 {\n reverse_proxy 127.0.0.1:3000 {\n  health_uri /h\n  health_interval 2s\n"+
		" }\n}\n")
	if len(list) != 1 || list[0].Line != 3 || !strings.Contains(list[0].What, "health_check.timeout") {
		t.Error(list)
	}
}

// Conditions in all forms are what edge has for them, and all that may meet a refusal by another one are refused.
func TestCaddy_matchers(t *testing.T) {
	const denied, lost = "[[rules]] deny = 403", "not carried: @a "
	for matcher, want := range map[string][]string{
		"path {http.vars.a} /a": {denied, lost},
		"protocol https":        {"note: respond @a 403"},
		"not {\nmethod GET\n}":  {`not (method == "GET")`},
		"host *.a.test":         {"host ~ `^[^.]+\\.a\\.test$`"},
		"path /*":               {`path = "/*" dest = "status:403"`},
		"host *":                {"host ~ \"^[^.]+$\""},
		"host a.test b.*":       {`host == "a.test" or host ~ "^b\.[^.]+$"`},
		"header Host a.test":    {denied, lost},
		"query a.b=1":           {denied, lost},
		"remote_ip":             {denied, lost},
		"{\nremote_ip 10.0.0.0/8\nremote_ip 192.0.2.1\n}": {
			`when = 'peer.ip in {10.0.0.0/8} or peer.ip in {192.0.2.1}' respond = { status = 403 }`},
		"path_regexp name ^/a":    {`~ "^/a"`},
		"path_regexp":             {denied, lost},
		"header_regexp Name X ^a": {`header.x ~ "^a"`},
		"header_regexp X (":       {denied, lost},
		"path /a%zz":              {denied, lost},
	} {
		text := ":8080 {\n@a " + matcher + "\nrespond @a 403\nrespond no\n}\n"
		wantAll(t, text, planOf(t, "caddy", text), want)
	}
}

// Directives in all forms are what edge has for them, or findings.
func TestCaddy_directives(t *testing.T) {
	t.Setenv("EDGE_TEST_BACKEND", "127.0.0.1:9000")
	const failed, backend = `path = "/*" dest = "status:503"`, `dest = "http://127.0.0.1:9000"`
	for text, want := range map[string][]string{
		"reverse_proxy https://a.test":       {`address = "a.test:443"`, `host = "backend"`, "tls = true"},
		"reverse_proxy h2c://127.0.0.1:9000": {`protocol = "h2"`},
		"reverse_proxy unix//run/a.sock":     {`dest = "unix:/run/a.sock"`},
		"reverse_proxy {env.BACKEND}":        {failed, "edge does not know the address {env.BACKEND}"},
		"reverse_proxy {$EDGE_TEST_BACKEND}": {backend, "note: {$EDGE_TEST_BACKEND}"},
		"reverse_proxy {$EDGE_TEST_NONE}":    {failed, "not carried: {$EDGE_TEST_NONE}"},
		"reverse_proxy :1 :2 {\nlb_policy uri_hash\n}": {
			`hash_key = "uri"`, `load_balancing = "ketama"`},
		"reverse_proxy :1 {\ntransport fastcgi\n}": {failed, "backends speak HTTP"},
		"respond @a 403\nrespond no":               {"not carried: respond @a 403 (no matcher"},
		"request_body {\nmax_size much\n}":         {"not carried: max_size much"},
		"respond no {http.error.status_code}":      {`dest = "status:500"`, "not carried: respond no"},
		"respond {http.vars.a}": {
			`dest = "status:200"`, "not carried: respond {http.vars.a}"},
		"redir * /b html":       {failed, "not carried: redir * /b html"},
		"redir /b{http.vars.a}": {failed, "not carried: redir /b{http.vars.a}"},
		"redir /b{uri}?a":       {failed, "not carried: redir /b{uri}?a"},
		"rewrite * /a?{query}":  {`rewrite = "/a"`},
		"handle_path /a* {\nrewrite * /b{uri}\nrespond /b 403\nrespond ok\n}\n": {
			"(\"/b\" + path.re_replace(\"(?i)^/+a/*\", \"/\"))"},
		"uri strip_suffix %zz":   {"not carried: uri strip_suffix"},
		"header +A 1":            {"not carried: header +A 1"},
		"header A {http.vars.a}": {"not carried: header A"},
		"@q query q=1\nrewrite * {http.vars.a}\nrespond @q 403":      {`deny = 403`, "not carried: @q query"},
		"@a vars x y\n@q query q=1\nrewrite @a ?q=1\nrespond @q 403": {`deny = 403`, "not carried: @q query"},
		"@a vars x y\n@q query q=1\nroute {\nrewrite @a ?q=1\n}\nroute {\nrewrite * /x?{query}\nrespond @q 403\n}\n": {
			`deny = 403`, "not carried: @q query"},
		"@k header !Foo\nrequest_header -Foo\nhandle @k {\nerror 403\n}": {
			`deny = 403`, "not carried: @k header !Foo ("},
		"@k header_regexp Foo a\nrequest_header F* b\nhandle @k {\nerror 403\n}": {
			`deny = 403`, "not carried: @k header_re"},
		"@p method POST\nmethod GET\nhandle @p {\nerror 403\n}": {
			`deny = 403`, "not carried: @p method POST ("},
		"rewrite * {http.vars.a}\nrespond /a 403": {
			`deny = 403`, "not carried: rewrite"},
		"root * /x\ntry_files {path} /in.html\n@s path *.html\nbasic_auth @s {\nu x\n}\nfile_server": {
			`deny = 403`, `dest = "static:/x"`, "not carried: try_files"},
		"root * /x\ntry_files {path} /in.html\nhandle /api/* {\nrespond 403\n}\nhandle {\nfile_server\n}": {
			`try = ["{path}", "/in.html"]`},
		"root * /x\ntry_files {path} /in.php\nfile_server": {
			`dest = "static:/x"`, "does not look for /in.php"},
		"@app not file\nroot * /x\nreverse_proxy @app :1\nfile_server": {
			`root = "/x" fallback = "http://localhost:1"`, `path = "/*" dest = "x-files"`},
		"@app {\nnot file\n}\nroot * /x\nreverse_proxy @app :1\nfile_server browse": {"not carried: not file"},
		"root * /x\nhandle_errors 404 {\nrewrite * /no.html\nfile_server\n}\nfile_server": {
			`error_pages = { 404 = "/x/no.html" }`},
		"root * /x\nhandle_errors {\nrewrite * /{err.status_code}.html\nfile_server\n}\nfile_server": {
			"not carried: rewrite * /{err.status_code}.html"},
		"root /x /y\nfile_server": {`dest = "status:404"`, "note: root /x /y"},
		"encode br\nreverse_proxy :1": {
			`dest = "http://localhost:1"`, "not carried: encode br"},
		"header Content-Type application/json\nrespond {\"a\":1}":       {`type = "application/json"`},
		"handle_errors {\nrewrite * /x\n}\nerror 404":                   {"not carried: rewrite * /x"},
		"route /a* {\nrewrite * /b?a=1\nredir https://b.test{uri}\n}\n": {`to = "https://b.test/b?a=1"`},
	} {
		wantAll(t, text, planOf(t, "caddy", ":8080 {\n"+text+"\n}\n"), want)
	}
}

// Addresses of sites and options before them are what edge has for them, or findings.
func TestCaddy_sites(t *testing.T) {
	const one, closed = " {\nreverse_proxy :1\n}\n", `dest = "status:403"`
	for text, want := range map[string][]string{
		"{\nservers :80 {\nprotocols h1\n}\nlog a {\nlevel DEBUG\n}\n}\n:80" + one: {
			"not carried: servers :80", "not carried: log a"},
		"{\nauto_https off\n}\na.test" + one:               {`listen = ":443" tls = true`, "note: auto_https off"},
		"a.test/b" + one + "a.test" + one:                  {closed, "not carried: a.test/b", "not carried: a.test ("},
		"a.test" + one + "a.test/b" + one:                  {closed, "not carried: a.test/b"},
		"https://a.test:80" + one + "http://" + one:        {"another site has its port with TLS, or without"},
		":80 {\nbind 127.0.0.1 127.0.0.2\n}\n":             {`name = "http-80"`, `name = "http-80-2"`},
		"a.test:8443" + one + "http://b.test" + one:        {`to = "https://{host}:8443{path}"`},
		"a.test {\ntls {\nprotocols tls1.2 tls1.2\n}\n}\n": {"not carried: protocols tls1.2 tls1.2"},
		":80\nrespond ok\n}\n":                             {"not carried: }"},
	} {
		wantAll(t, text, planOf(t, "caddy", text), want)
	}
}

// Sites that ask for certificates are closed to requests without one, and altogether where edge cannot verify them.
func TestCaddy_clientAuth(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.pem", "b.pem"} {
		testutil.NewAuthority(t).Write(t, filepath.Join(dir, name))
	}
	site := func(host, mode string, files ...string) string {
		text := host + " {\ntls internal {\nclient_auth {\nmode " + mode + "\n"
		for _, f := range files {
			text += "trust_pool file " + filepath.Join(dir, f) + "\n"
		}
		return text + "}\n}\nreverse_proxy :1\n}\n"
	}
	const asked, closed = `when = 'not cert.verified' dest = "status:403"`, `path = "/*" dest = "status:403"`
	const ask = "require_and_verify"
	for text, want := range map[string][]string{
		site("a.test", ask, "a.pem"):                                {asked, `client_auth = "request"`, `a.pem"`},
		site("a.test", "verify_if_given", "a.pem"):                  {`client_auth = "request"`},
		site("a.test", ask, "c.pem"):                                {closed, "not carried: client_auth"},
		site("a.test", ask, "a.pem") + site("b.test", ask, "b.pem"): {asked, "not carried: b.test"},
		site("a.test", ask, "a.pem") + site("b.test", ask, "a.pem"): {asked},
	} {
		wantAll(t, text, planOf(t, "caddy", text), want)
	}
}

// A site with more conditions than can be put together is closed where they end.
func TestCaddy_tooManyConditions(t *testing.T) {
	text := ""
	for i := range 20 {
		text += fmt.Sprintf("@m%d header X-%[1]d 1\nroute @m%[1]d {\nuri replace a b\n}\n", i)
	}
	wantAll(t, "routes", planOf(t, "caddy", ":8080 {\nroute {\n"+text+"reverse_proxy :1\n}\n}\n"), []string{
		"too many conditions: the rest is closed", `path = "/*" when = 'local.to == ""' dest = "status:403"`})
}
