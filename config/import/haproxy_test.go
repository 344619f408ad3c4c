package importer_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/config/import/plan"
	"github.com/edge-proxy/edge/internal/testutil"
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
func TestHAProxy_answersAreTheSame(t *testing.T) {
	binary := haproxy(t)
	compare(t, &dialect{
		program: "haproxy", pattern: "[0-9]*.cfg",
		listen:  regexp.MustCompile(`\bbind\s+(?:\*|[\d.]*):(\d+)`),
		backend: regexp.MustCompile(`\bserver\s+\S+\s+([\d.]+:\d+)`),
		files:   regexp.MustCompile(`\bcrt\s+(\S+)`),
		paths:   regexp.MustCompile(`\bpath(?:_beg)?\s+(/\S*)`),
		hosts:   regexp.MustCompile(`hdr(?:_end)?\(host\)\s+-i\s+([^}\n]*[^}\s])`),
		start: func(t *testing.T, dir, text string) {
			path := filepath.Join(dir, "main.cfg")
			text = leftOutHAProxy.ReplaceAllString(text, "")
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			testutil.Start(t, testutil.Command{Path: binary, Dir: dir, Args: []string{"-db", "-f", path}})
		},
	})
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
		if !strings.Contains(out, `listen    = "0.0.0.0:8443"`) || strings.Contains(rest, "client_ca") ||
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
	wantAll(t, "send-proxy", p, []string{"not carried: default-server … send-proxy"})
}

// rawPath is the path as it came: one with dot segments is another one in normal form. With paramA match.1 is the
// parameter a as it came.
const (
	rawPath = `split(target, "?")[0]`
	paramA  = `query ~ "(?:^|[&;])a=([^&;]*)"`
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
		"tarpit if METH_POST":             `'method == "POST"' tarpit="3s" deny=500`,
		"reject if { ssl_fc_sni a.test }": `'tls.sni == "a.test"' drop=true`,
		"auth if { path_beg /a } !{ http_auth(u) }": `'path starts_with "/a" or ` + rawPath +
			` starts_with "/a"' filters=["users-u"]`,
		"auth unless { http_auth(gone) }":            `deny=true`,
		"return status 200 string hi if { path /a }": `'path == "/a"' respond={ status = 200, body = "hi" }`,
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
