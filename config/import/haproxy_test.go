package importer_test

import (
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

// Every file of testdata/haproxy does here what HAProxy does with it, but for what its golden file lists.
func TestHAProxy_answersAreTheSame(t *testing.T) {
	binary, err := exec.LookPath("haproxy")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/haproxy"); err != nil {
			t.Skip("haproxy is not installed")
		}
	}
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
			strings.Count(out, `"f-tls-2"`) < 2 {
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

// A backend that refuses another value of a field than the rule asks for that leads there is closed: a request may have
// both values.
func TestHAProxy_twoValuesOfAField(t *testing.T) {
	p := planOf(t, "haproxy", "frontend f\n mode http\n bind :80\n use_backend b if { hdr(X) yes }\n"+
		"backend b\n http-request deny if { hdr(X) no }\n server s 127.0.0.1:1\n")
	out := string(p.Text(plan.TextOnly))
	if !strings.Contains(out, "status:403") || strings.Contains(out, "dest   = \"b\"") {
		t.Errorf("%s", out)
	}
	wantAll(t, "two values", p, []string{"not carried: the answer of backend b"})
}
