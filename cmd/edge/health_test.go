package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// nginx starts an nginx that answers everything with a text, in one process.
func nginx(t *testing.T, address, text string) *testutil.Process {
	t.Helper()
	path := testutil.Nginx(t)
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	body := fmt.Sprintf("daemon off; master_process off; pid %[1]s/pid; error_log stderr;\nevents {}\n"+
		"http { access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f;\n"+
		"uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;\n"+
		"server { listen %[2]s; location / { return 200 %[3]s; } } }\n", dir, address, text)
	if err := os.WriteFile(conf, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	p := testutil.Start(t, testutil.Command{Path: path, Args: []string{"-e", "stderr", "-c", conf}})
	p.WaitPort(address)
	return p
}

// One of two backends is killed, and comes back: the configuration has nothing but the section [health_check]. No
// request fails, the log tells of both, and the backend gets its share again.
func TestRun_checksBackends(t *testing.T) {
	one, two := testutil.FreeAddr(t), testutil.FreeAddr(t)
	nginx(t, one, "one")
	second := nginx(t, two, "two")
	e := start(t, "[http]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"%s, %s\"\n"+
		"[health_check]\ninterval = \"1s\"\nfast_interval = \"20ms\"\ntimeout = \"1s\"\n", one, two)
	c := client(t)
	answers := func(n int) map[string]int {
		got := make(map[string]int)
		for range n {
			resp, body := testutil.Get(t, c, "http://"+e.addr+"/")
			if resp.StatusCode != 200 {
				t.Fatalf("%s: %s", resp.Status, body)
			}
			got[body]++
		}
		return got
	}
	if got := answers(10); got["one"] == 0 || got["two"] == 0 {
		t.Errorf("answers of %v", got)
	}
	second.Signal(syscall.SIGKILL)
	second.Wait(testutil.Minutes)
	answers(10)
	e.WaitLine(`backend down.*` + two + `.*refused`)
	if got := answers(10); got["one"] != 10 {
		t.Errorf("one is alone, and there are answers of %v", got)
	}
	nginx(t, two, "two")
	e.WaitLine(`backend up.*` + two)
	if got := answers(10); got["two"] == 0 {
		t.Errorf("two is back, and there are answers of %v", got)
	}
	c.CloseIdleConnections()
	if code := e.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
