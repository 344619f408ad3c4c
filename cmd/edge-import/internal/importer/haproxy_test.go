package importer_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// leftOutHAProxy are lines that HAProxy does not start with on this machine.
var leftOutHAProxy = regexp.MustCompile(`(?m)^\s*(user haproxy|group|chroot|daemon|errorfile|stats socket|log)\b.*$`)

// haproxy returns the program, or skips the test.
func haproxy(t *testing.T) string {
	for _, name := range []string{"haproxy", "/usr/sbin/haproxy"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("haproxy is not installed")
	return ""
}

// Every file of testdata/haproxy does here what HAProxy does with it, but for what its golden file lists.
func TestHAProxy_answersAreTheSame(t *testing.T) { compare(t, haproxyDialect(t)) }

func haproxyDialect(t *testing.T) *dialect {
	binary := haproxy(t)
	return &dialect{
		program: "haproxy", pattern: "[0-9]*.cfg",
		listen:  regexp.MustCompile(`\bbind\s+(?:\*|[\d.]*):(\d+)`),
		backend: regexp.MustCompile(`\bserver\s+\S+\s+([\d.]+:\d+)`),
		files:   regexp.MustCompile(`\bcrt\s+(\S+)`),
		paths:   regexp.MustCompile(`\bpath(?:_beg)?\s+(/\S*)`),
		hosts:   regexp.MustCompile(`hdr(?:_end)?\(host\)\s+-i\s+([^}\n]*[^}\s])`),
		start: func(t *testing.T, dir, text string) {
			path := filepath.Join(dir, "main.cfg")
			write(t, path, leftOutHAProxy.ReplaceAllString(text, ""))
			testutil.Start(t, testutil.Command{Path: binary, Dir: dir, Args: []string{"-db", "-f", path}})
		},
	}
}

// Addresses of a frontend that ask for TLS with other options are other listeners, in whatever order they stand.
func TestHAProxy_optionsOfTLS(t *testing.T) {
	binds := []string{
		" bind :8443 ssl crt site.pem ca-file ca.pem verify required crl-file gone.pem\n",
		" bind :443,:444 ssl crt site.pem\n",
	}
	for range 2 {
		slices.Reverse(binds)
		p := planOf(t, "haproxy", "frontend f\n mode http\n"+strings.Join(binds, "")+
			" http-request deny if { ssl_fc }\n default_backend b\nbackend b\n server s 127.0.0.1:1\n")
		out := string(p.Text(plan.TextOnly))
		mutual, rest, _ := strings.Cut(out[strings.Index(out, "client_ca"):], "[[")
		if !strings.Contains(out, `listen      = "0.0.0.0:8443"`) || strings.Contains(rest, "client_ca") ||
			mutual == "" || !strings.Contains(out, `["0.0.0.0:443", "0.0.0.0:444"]`) ||
			!strings.Contains(out, "when = 'has(tls.version)'\ndeny = 403") {
			t.Errorf("%s", out)
		}
		wantAll(t, "crl-file", p, []string{"not carried: bind … crl-file"})
	}
}

// What default-server says holds for each server that does not say otherwise.
func TestHAProxy_defaultServer(t *testing.T) {
	p := planOf(t, "haproxy", "defaults\n mode http\n default-server inter 3s rise 4\n"+
		"frontend f\n bind :80\n default_backend b\n"+
		"backend b\n default-server ssl verify required check weight 7 send-proxy\n server a 127.0.0.1:1\n"+
		" server c 127.0.0.1:2 weight 9 rise 5\n")
	out := string(p.Text(plan.TextOnly))
	for _, want := range []string{`{ address = "127.0.0.1:1", weight = 7 }`, `{ address = "127.0.0.1:2", weight = 9 }`,
		"tls.verify", `interval = "3s", rise = 4`} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is missing:\n%s", want, out)
		}
	}
	wantAll(t, "send-proxy", p, []string{`not carried: proxy_protocol = "v1"`})
}

// What a frontend leads to that edge has no address of is not reached by those of another one.
func TestHAProxy_frontendsWithoutAnAddress(t *testing.T) {
	p := planOf(t, "haproxy", "frontend a\n mode http\n bind :80\n use_backend a if { hdr(host) a.test }\n"+
		"frontend b\n mode http\n bind abns@b\n default_backend b\n"+
		"backend a\n server s 127.0.0.1:1\nbackend b\n server s 127.0.0.1:2\n")
	if out := string(p.Text(plan.TextOnly)); strings.Contains(out, "127.0.0.1:2") {
		t.Error(out)
	}
	wantAll(t, "b", p, []string{":5: not carried: frontend b ("})
}

// Requests that no line of a frontend takes do not reach a backend that has its name.
func TestHAProxy_frontendsAndBackendsOfOneName(t *testing.T) {
	p := planOf(t, "haproxy", "frontend a\n mode http\n bind :80\n use_backend a if { path /x }\n"+
		"backend a\n server s 127.0.0.1:1\n")
	wantAll(t, "a", p, []string{`path = "/*" dest = "status:503"`})
}

// rawPath is the path as it came: one with dot segments is another one in normal form. With paramA match.1 is the
// parameter a as it came.
const (
	rawPath = `split(target, "?")[0]`
	paramA  = `query ~ "(?:^|[?&;])a=([^?&;]*)"`
)

// Conditions, as rules have them. What is not known holds where a rule refuses, and does not elsewhere.
func TestHAProxy_conditions(t *testing.T) {
	for line, want := range map[string]string{ // a condition and what is done
		"deny if { src 10.0.0.0/8 192.0.2.7 }": `'client.ip in {10.0.0.0/8 192.0.2.7}' deny=403`,
		"deny unless { path_beg /a }":          `'not (split(target, "?")[0] starts_with "/a")' deny=403`,
		"deny if { path_beg /a } or { path /b }": `'path starts_with "/a" or ` + rawPath +
			` starts_with "/a" or path == "/b"' deny=403`,
		"deny if two { method PUT }": `'(path == "/x" or path ends_with "y" or ` + rawPath +
			` ends_with "y") and method == "PUT"' deny=403`,
		"deny if { nbsrv(b) lt 1 } { method PUT }": `'method == "PUT"' deny=403`,
		"deny if !{ nbsrv(b) lt 1 }":               `deny=403`,
		"deny if { hdr(X) a b }":                   `'split(header.x, ",").trim() in {"a" "b"}' deny=403`,
		"deny if { hdr(X) -m sub a }":              `'header.x contains "a"' deny=403`,
		"deny if { hdr(host) -i A.test }":          `'host == "a.test"' deny=403`,
		"deny unless { hdr(host) -i A.test }":      `'not (lower(header.host ?? host) == "a.test")' deny=403`,
		"deny unless { hdr(host),field(1,:) A.b }": `'not (split(header.host ?? host, ":")[0] == "A.b")' deny=403`,
		`deny if { path_reg "\.php$" }`:            `'path ~ "\.php$" or ` + rawPath + ` ~ "\.php$"' deny=403`,
		"deny if { path,field(2,/) b }": `'split(path, "/")[1] == "b" or split(` + rawPath +
			`, "/")[1] == "b"' deny=403`,
		"deny if { path_dir img }": `'path ~ "(^|/)img(/|$)" or ` + rawPath +
			` ~ "(^|/)img(/|$)"' deny=403`,
		"deny if { cook(a) 1 } { dst_port 80 }": `'cookie.a == "1" and server.port == 80' deny=403`,
		"deny unless { url_param(a) 1 2 }":      `'not (` + paramA + ` and match.1 in {"1" "2"})' deny=403`,
		"deny if { url_param(a) -m found }":     `'has(query.a) or ` + paramA + ` and has(match.1)' deny=403`,
		"deny if { url_param(a) -m sub x y }": `'query.a contains "x" or ` + paramA +
			` and match.1 contains "x" or query.a contains "y" or ` + paramA + ` and match.1 contains "y"' deny=403`,
		"deny if { hdr_dom(X) a }": "" +
			`'split(header.x, ",").trim() ~ "(^|[/?.:])a([/?.:]|$)"' deny=403`,
		"deny if { hdr(host) a.test:80 }":            `deny=403`,
		"deny if { path_beg / }":                     `deny=403`,
		"deny if { method }":                         `deny=403`,
		`deny if { hdr(X) -m str "" }`:               `deny=403`,
		`deny if { hdr(X) -m reg ( }`:                `deny=403`,
		"deny if { hdr(X) -M -m str a }":             `deny=403`,
		"deny deny_status 99 if { method PUT }":      `'method == "PUT"' deny=true`,
		"lua.check if { method PUT }":                `'method == "PUT"' deny=403`,
		"redirect prefix /x drop-query":              ``,
		"redirect prefix /x append-slash drop-query": ``,
		"redirect location %[rand(2)]":               ``,
		"tarpit if METH_POST":                        `'method == "POST"' tarpit="3s" deny=500`,
		"reject if { ssl_fc_sni a.test }":            `'tls.sni == "a.test"' drop=true`,
		"auth if { path_beg /a } !{ http_auth(u) }": `'path starts_with "/a" or ` + rawPath +
			` starts_with "/a"' filters=["users-u"]`,
		"auth unless { http_auth(gone) }":            `deny=403`,
		"return status 200 string hi if { path /a }": `'` + rawPath + ` == "/a"' respond={ status = 200, body = "hi" }`,
		"return status 200 if { nbsrv(b) lt 1 }":     ``,
		"set-header X %[path] if { path /a }":        `'path == "/a"' headers.request={ X = "{path}" }`,
		`replace-path ^/a/(.*) /\1`:                  `'path ~ "^/a/(.*)"' rewrite="/{match.1}"`,
	} {
		p := planOf(t, "haproxy", "userlist u\n user a password $2y$04$abcdefghijklmnopqrstuudMegMbPN37MbpdEfAtP66w1z0"+
			"RBCtLG\nfrontend f\n mode http\n bind :80\n timeout tarpit 3s\n acl two path /x\n acl two path_end y\n"+
			" http-request "+line+"\n http-request deny if { path /last }\n default_backend b\n"+
			"backend b\n server s 127.0.0.1:1\n")
		_, rule, _ := strings.Cut(string(p.Text(plan.TextOnly)), "[[rules]]\n")
		rule, _, _ = strings.Cut(rule, "\n\n")
		if rule = strings.Join(strings.Fields(rulesKey.ReplaceAllString(rule, "$1=")), " "); rule ==
			`when='path == "/last"' deny=403` {
			rule = ""
		}
		if rule != want && rule != "when="+want {
			t.Errorf("%s\ngot  %s\nwant %s", line, rule, want)
		}
	}
}

var rulesKey = regexp.MustCompile(`(?m)^([\w.]+) *= `)

// A line that answers stands after one that asks for a password: it answers nobody who has none.
func TestHAProxy_answersAfterAPassword(t *testing.T) {
	port := freePort(t)
	(&dialect{program: "haproxy"}).startEdge(t, t.TempDir(), proxyHead+hashed(t)+"\nfrontend f\n"+
		" bind 127.0.0.1:"+port+"\n http-request auth unless { http_auth(staff) } || { path_beg /open/ }\n"+
		" http-request return status 200 string in if { path /ping /open/ping }\n"+
		" http-request redirect location /new if { path /old }\n"+
		" use_backend b if { path_beg /b/ }\nbackend b\n http-request return status 204\n")
	ask := clientOf(t, port)
	for path, want := range map[string][2]int{ // without a password, and with it
		"/ping": {401, 200}, "/old": {401, 302}, "/b/": {401, 204}, "/open/ping": {200, 200}, "/none": {401, 503},
	} {
		without := ask(&request{method: "GET", host: "h.test", path: path, header: http.Header{}})
		with := ask(&request{method: "GET", host: "h.test", path: path,
			header: http.Header{"Authorization": {"Basic dTpw"}}})
		if without != want[0] || with != want[1] {
			t.Errorf("%s: %d without a password and %d with it, want %v", path, without, with, want)
		}
	}
}

// A name of a backend that is computed leads to each that it may be, and else to the default.
func TestHAProxy_computedBackends(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts.map")
	const hosts = "# hosts\na.test one\nb.test\ttwo\nc.test one\nd.test gone\n"
	write(t, file, hosts)
	const backs = "\n default_backend one\nbackend one\n server s 127.0.0.1:1\nbackend two\n server s 127.0.0.1:2\n" +
		"backend app_x\n server s 127.0.0.1:3\n"
	for line, want := range map[string][]string{
		"%[req.hdr(host),lower,map(" + file + ")]": {`host = ["a.test", "c.test"] path = "/*" dest = "one"`,
			`host = "b.test" path = "/*" dest = "two"`, `[[routes]] path = "/*" dest = "one"`},
		"%[req.hdr(host),map_str(" + file + ",two)] if { path_beg /in/ }": {`host = "d.test"`, `dest = "two"`},
		"app_%[url_param(v)]":                {`when = 'query.v == "x"'`, `dest = "app_x"`},
		"%[path,map_beg(" + file + ".gone)]": {"not carried: use_backend %[path,map_beg", "edge does not know all"},
		"%[rand(2),mul(2)]":                  {"not carried: use_backend %[rand(2),mul(2)]"},
	} {
		wantAll(t, line, planOf(t, "haproxy", "frontend f\n mode http\n bind :80\n use_backend "+line+backs), want)
	}
}

// What edge has for lines of HAProxy.
func TestHAProxy_carries(t *testing.T) {
	file := filepath.Join(t.TempDir(), "503.http")
	write(t, file, "HTTP/1.0 503 Busy\r\nContent-Type: text/html\r\n\r\n<h1>\"Busy\"</h1>\r\n")
	for line, want := range map[string]string{
		"errorfile 503 " + file: `error_pages.503 = { body = "<h1>\"Busy\"</h1>" }`,
		`http-request return content-type text/html lf-string "<p>{%[src]}</p>" if { path /ip }`: "respond = " +
			`{ status = 200, body = "<p>{{{client.ip}}}</p>", type = "text/html" }`,
		"http-request return lf-string %[rand(2)] if { path /ip }": "not carried: the text or fields of http-request",
		"cookie id insert indirect":                                `sticky.cookie = "id"`,
		"cookie id prefix":                                         "not carried: cookie id prefix",
		"option httpchk GET /h HTTP/1.1\\r\\nHost:\\ h.test":       `host = "h.test"`,
		"default-server maxconn 9 slowstart 5s":                    `breaker.max_requests = 9 slow_start = "5s"`,
		"option forwardfor":                                        "note: option forwardfor (" + plan.Forwarded,
		"stick-table type ip store gpc0,http_req_rate(10s)\n http-request track-sc0 src\n http-request deny if " +
			"{ sc_http_req_rate(0) gt 20 } or { path /x }": "not carried: http-request track-sc0 src",
		"stick-table type ip store gpc0,http_req_rate(10s)\n http-request track-sc0 hdr(X)\n http-request deny " +
			"deny_status 429 if { path_beg /a } { sc_http_req_rate(0) gt 20 }": `limit = { key = '{header.x}', ` +
			`rate = "1/s", burst = 10, status = 429 }`,
		"bind :81 ssl crt a.pem verify optional ca-file ca.pem": `client_ca = "ca.pem" client_auth = "request"`,
		"http-request allow if { path /x }\n http-request replace-path /x /y\n http-request deny": "not carried: " +
			"http-request replace-path /x /y",
		"http-request allow if { path /x }\n http-request deny":                   "# file.yml:5, 6 [[rules]] when = ",
		"http-request replace-path ^/a /b\n http-request deny if { path_beg /b }": "not carried: http-request deny",
		"bind :81 nice 7":                        "not carried: bind … nice 7",
		"bind *:http":                            "edge does not know this address",
		"bind [::1]:81":                          `, "[::1]:81"]`,
		"bind :::81 v4v6":                        `, ":81"]`,
		"bind unix@/run/s":                       `, "unix:/run/s"]`,
		"bind :81 ssl crt /etc/certs/":           `cert = "internal"`,
		"server t /run/t":                        `{ address = "unix:/run/t" }`,
		"server t 127.0.0.1":                     "a backend has an address and a port",
		"server t 127.0.0.1:2 no-check":          "not carried: server … no-check",
		"server t 127.0.0.1:2 disabled weight 9": `{ address = "127.0.0.1:2", weight = 0 }`,
		"server t 127.0.0.1:2 maxconn 9\n server u 127.0.0.1:3 maxconn 8": "do not differ in breaker.max_requests",
		"use_backend default if { path /x }\nbackend default\n server d 127.0.0.1:9": "" +
			"[upstreams.default-2]",
		"balance rdp-cookie": "edge does not choose like this",
		"user nobody":        "note: user nobody (no section reads it)",
		"monitor-uri /up":    `path == "/up"' respond = { status = 200 }`,
		"option httpchk\n http-check send meth GET uri /h ver HTTP/1.1 hdr Host h.test\n " +
			"http-check expect status 200,204": "" +
			`path = "/h", method = "GET", expected_status = ["200", "204"]`,
		"http-response set-header X y if { ssl_fc }": "fields of answers are set for all",
		"http-response set-header X %[hdr(Y)]":       "not carried: http-response set-header X %[hdr(Y)]",
		"stick-table type ip store http_req_rate(7s)\n http-request track-sc0 src\n http-request deny if " +
			"{ sc0_http_req_rate ge 20 }": `limit = { rate = "5142/h", burst = 9, status = 403 }`,
		strings.Repeat("http-request allow if { path /x }\n ", 1000) +
			"http-request return status 200 if { path /z }\n http-request deny if { path /y }": "" +
			"(edge does not know all of the condition: rules after it may refuse more)",
		`http-request set-header X "a # \"b\" 'c' d\\\e" # no`: `X = "a # \"b\" 'c' d\\\\e"`,
	} {
		text := "listen f\n mode http\n bind :80\n server s 127.0.0.1:1 check\n " + line + "\n"
		wantAll(t, line, planOf(t, "haproxy", text), []string{want})
	}
}

// A long list of addresses stays in its file.
func TestHAProxy_lists(t *testing.T) {
	file := filepath.Join(t.TempDir(), "blocked.lst")
	text := "# blocked\n"
	for i := range 1000 {
		text += fmt.Sprintf("10.0.%d.%d\n", i/250, i%250)
	}
	write(t, file, text)
	p := planOf(t, "haproxy", "listen f\n mode http\n bind :80\n acl blocked src -f "+file+"\n"+
		" http-request deny if blocked\n server s 127.0.0.1:1\n")
	wantAll(t, "blocked", p, []string{`[lists.from-blocked-lst] file = "` + file + `"`,
		`when = 'client.ip in list.from-blocked-lst' deny = 403`})
	if report := plan.TextOnly(p.Text(plan.TextOnly)); !report.OK() || p.Losses() > 0 {
		t.Error(report.Errors, p.Findings())
	}
}

// No finding shows a password, or its hash.
func TestHAProxy_findingsHideSecrets(t *testing.T) {
	said := fmt.Sprint(findingsOf(t, "haproxy", `userlist staff
  user bob password $5$abc$SECRET
  user al insecure-password SECRET
frontend f
  bind :80
  stats auth admin:SECRET
  default_backend b
backend b
  server s 127.0.0.1:3000
`))
	if strings.Contains(said, "SECRET") || !strings.Contains(said, "user bob password …") {
		t.Error(said)
	}
}
