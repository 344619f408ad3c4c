package admin

import (
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A configuration is taken from a client that says what it replaces, in one of three types, none of which a web page
// could send without having asked first.
func TestConfigure(t *testing.T) {
	p := &fake{stored: &Configuration{InForce: InForce{Version: 3, Tag: "3"}, Values: 1}}
	var said testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&said, nil))
	s := open(t, p, tcpText+"writable = true")
	c, token, at := over(t, "tcp", s.Addresses()[0]), "Authorization: Bearer "+testToken, "http://127.0.0.1/v1/config"
	const toml, match = "; Content-Type: application/toml", "; If-Match: \"3\""
	for _, o := range []one{
		{"PUT", at, toml[2:] + match, "right", 401, "unauthorized"},
		{"PUT", at, token + match, "right", 415, "content-type"},
		{"PUT", at, token + match + "; Content-Type: text/plain", "right", 415, "content-type"},
		{"PUT", at, token + match + "; Content-Type: application/x-www-form-urlencoded", "right", 415, "content-type"},
		{"PUT", at, token + match + toml + "; Origin: http://evil.example", "right", 403, "origin"},
		{"PUT", at, token + toml, "right", 428, "unconditional"},
		{"PUT", at, token + toml + "; If-Match: \"2\"", "right", 412, "stale"},
		{"PUT", at, token + toml + "; If-Match: W/\"3\"", "right", 412, "stale"},
		{"PUT", at, token + toml + "; If-Match: 3", "right", 400, "invalid"},
		{"PUT", at, token + toml + "; If-Match: *, *", "right", 400, "invalid"},
		{"PUT", at, token + toml + match, "", 400, "invalid"},
		{"PUT", at, token + toml + match, "wrong", 422, ""},
		{"PUT", at, token + toml + match, strings.Repeat("r", bodyMost+1), 413, "too-large"},
		{"PUT", at + "?dry_run=yes", token + toml + match, "right", 400, "invalid"},
		{"PUT", at + "?dry_run=1", token + toml, "right", 200, ""},
		{"PUT", at + "?dry_run=1", token + toml, "wrong", 422, ""},
		{"PUT", at + "?dry_run=1", token + toml + "; If-Match: \"2\"", "right", 412, "stale"},
		{"PUT", at, token + toml + match, "right 1", 200, ""},
		{"PUT", at, token + match + "; Content-Type: application/yaml; charset=utf-8", "right 2", 200, ""},
		{"PUT", at, token + match + "; Content-Type: application/json", "right 3", 200, ""},
		{"PUT", at, token + toml + "; If-Match: \"1\", \"3\"", "right 4", 200, ""},
		{"PUT", at, token + toml + "; If-Match: *", "right 5", 200, ""},
		{"POST", "http://127.0.0.1/v1/stop?dry_run=1", token + "; " + asJSON, "", 202, ""}, // which has no such thing
	} {
		ask(t, c, &o)
	}
	var taken []string
	for _, s := range p.sent {
		if s.Owner {
			t.Error("a client over TCP is taken for the owner")
		}
		if !s.DryRun && strings.HasPrefix(string(s.Text), "right") {
			taken = append(taken, string(s.Text)+" "+s.Format)
		}
	}
	if got := strings.Join(taken, ", "); got != "right 1 toml, right 2 yaml, right 3 json, right 4 toml, right 5 toml" {
		t.Errorf("applied: %s", got)
	}
	checkCounters(t, s)
	for _, want := range []string{
		"\"admin: change\" method=PUT path=/v1/config status=200",
		"\"admin: dry run\" method=PUT path=/v1/config status=200",
		"\"admin: change\" method=PUT path=/v1/config status=412",
		"\"admin: change\" method=POST path=/v1/stop status=202",
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("%q is not in %s", want, said.String())
		}
	}
}

// checkCounters checks what was counted of the requests of TestConfigure, and one of an unknown method more.
func checkCounters(t *testing.T, s *Surfaces) {
	t.Helper()
	c := over(t, "tcp", s.Addresses()[0])
	ask(t, c, &one{"BREW", "http://127.0.0.1/livez", "", "", 401, "unauthorized"})
	r := &observe.Registry{}
	s.Register(r)
	got := make(map[string]float64)
	testutil.Eventually(t, testutil.Patience, func() bool { // a client has its answer before it is counted
		r.Each(func(m observe.Sample) { got[fmt.Sprint(m.Name, m.Labels)] = m.Value })
		return got["edge_admin_requests_total[{code 401} {method other}]"] == 1
	})
	for name, want := range map[string]float64{
		"edge_admin_requests_total[{code 200} {method PUT}]": 6,
		"edge_admin_requests_total[{code 412} {method PUT}]": 3,
		"edge_admin_requests_total[{code 415} {method PUT}]": 3,
	} {
		if got[name] != want {
			t.Errorf("%s %v, want %v", name, got[name], want)
		}
	}
}

// The user of the process sends a configuration as large as the files may be: 16 MiB.
func TestConfigure_ownerSendsALargeOne(t *testing.T) {
	path := testutil.SocketPath(t)
	p := &fake{stored: &Configuration{InForce: InForce{Version: 3, Tag: "3"}, Values: 1}}
	open(t, p, unixText(path))
	c, large := over(t, "unix", path), "right"+strings.Repeat(" ", schema.FileBytesMax-len("right"))
	const fields = "Content-Type: application/toml; If-Match: *"
	ask(t, c, &one{"PUT", "http://edge/v1/config", fields, large, 200, ""})
	ask(t, c, &one{"PUT", "http://edge/v1/config", fields, large + " ", 413, "too-large"})
}

// PUT takes the ETag of GET, as curl sends it. The user of the process may name its files.
func TestConfigure_curl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	path := testutil.SocketPath(t)
	p := &fake{stored: &Configuration{InForce: InForce{Version: 3, Tag: "3"}, Values: 1}}
	open(t, p, unixText(path))
	ask := func(args ...string) string {
		t.Helper()
		args = append([]string{"-sS", "-i", "--unix-socket", path, "http://edge/v1/config"}, args...)
		out, err := exec.Command(curl, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.ToLower(string(out))
	}
	if got := ask(); !strings.Contains(got, "\netag: \"3\"\r") {
		t.Error(got)
	}
	got := ask("-X", "PUT", "-H", "Content-Type: application/toml", "-H", "If-Match: \"3\"", "--data-binary", "right")
	if !strings.Contains(got, " 200 ok") || !strings.Contains(got, "\netag: \"4\"\r") {
		t.Error(got)
	}
	if len(p.sent) != 1 || !p.sent[0].Owner {
		t.Errorf("%+v", p.sent)
	}
}

// What reads the configuration may have to look names up: its answer has no bound of time.
func TestEndpoints_slow(t *testing.T) {
	for _, e := range Endpoints() {
		switch e.Out.(type) {
		case Reloaded, Plan, Upgraded:
			if !e.Slow {
				t.Errorf("%s %s", e.Method, e.Pattern)
			}
		}
	}
}
