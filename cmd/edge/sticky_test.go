package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// Two curls with cookie jars stay at their backends over HTTP/1, HTTP/2 and TLS, through two edges with one secret. One
// whose backend is killed gets another one, and stays there when the first is back.
func TestBalancing_stickyThroughCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl")
	}
	p := newPKI(t, "a")
	var backends []*testutil.Process
	var list []string
	for range 3 {
		process, at := demoBackend(t, "127.0.0.1:0")
		backends, list = append(backends, process), append(list, at)
	}
	dir := folder(t, map[string]string{"secret": "a secret of 26 characters.\n", "edge.toml": fmt.Sprintf(`
log.output = []
[https]
listen = "127.0.0.1:0"
%s
[upstreams.all]
backends = [{ address = %q }, { address = %q }, { address = %q }]
load_balancing = "round_robin"
host = "backend"
sticky = { cookie = "at", secret = "${file:secret}" }
[[routes]]
pattern = "/*"
dest = "all"
`, p.pair("a"), list[0], list[1], list[2])})
	// ask returns the backend that answers.
	ask := func(e *running, client, version string) string {
		_, port, _ := strings.Cut(e.addr, ":")
		jar := filepath.Join(dir, client)
		out := curlWith(t, version, "--cacert", p.path("ca.pem"), "--resolve", "a.example.org:"+port+":127.0.0.1",
			"-b", jar, "-c", jar, "https://a.example.org:"+port+"/echo")
		return regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(out)
	}
	first, second := runIn(t, dir, "run"), runIn(t, dir, "run")
	own := map[string]string{}
	for _, client := range []string{"one", "two"} {
		own[client] = ask(first, client, "--http1.1")
		for _, e := range []*running{first, second} {
			if got := ask(e, client, "--http2"); got != own[client] {
				t.Errorf("%s: %s after %s", client, got, own[client])
			}
		}
	}
	if own["one"] == own["two"] {
		t.Errorf("both are at %s", own["one"])
	}
	i := slices.Index(list, own["one"])
	backends[i].Signal(syscall.SIGKILL)
	backends[i].Wait(testutil.Minutes)
	next := ask(first, "one", "--http2")
	if next == own["one"] {
		t.Fatal("a backend that was killed answers")
	}
	demoBackend(t, list[i])
	for range 2 {
		if got := ask(second, "one", "--http1.1"); got != next {
			t.Errorf("%s after %s, although that is up", got, next)
		}
		if got := ask(first, "two", "--http2"); got != own["two"] {
			t.Errorf("the other client: %s after %s", got, own["two"])
		}
	}
	jar, err := os.ReadFile(filepath.Join(dir, "one"))
	fields := strings.Split(strings.TrimSpace(string(jar)), "\t")
	if err != nil || len(fields) < 6 || !strings.Contains(fields[0], "#HttpOnly_a.example.org") || fields[3] != "TRUE" {
		t.Errorf("the jar has %q, %v", jar, err)
	}
}
