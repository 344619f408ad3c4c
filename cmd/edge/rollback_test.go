package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/admin"
	"github.com/edge-proxy/edge/internal/testutil"
)

// askAdmin asks the admin surface at a Unix socket, and reads the answer into out.
func askAdmin(t *testing.T, socket, method, path, body string, out any) (status int) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }}}
	req, err := http.NewRequest(method, "http://edge"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil && resp.StatusCode < 400 || resp.StatusCode == 422 {
		if err := json.Unmarshal(text, out); err != nil {
			t.Fatalf("%s %s: %d %s: %v", method, path, resp.StatusCode, text, err)
		}
	}
	return resp.StatusCode
}

// numbersOf returns the versions that a process keeps: "2 signal".
func numbersOf(t *testing.T, socket string) (all []string) {
	t.Helper()
	var list admin.List[admin.Version]
	if status := askAdmin(t, socket, "GET", "/v1/versions", "", &list); status != 200 {
		t.Fatalf("status %d", status)
	}
	for _, v := range list.Items {
		text := fmt.Sprint(v.Version, " ", v.Cause)
		if v.InForce {
			text += "*"
		}
		if len(v.Files) != 2 || v.Bytes == 0 || v.Applied.IsZero() {
			t.Errorf("%+v", v)
		}
		all = append(all, text)
	}
	return all
}

// A rollback applies the texts of before, of all files, says that the disk differs, and is there after a restart.
func TestRollback_process(t *testing.T) {
	socket, dir := testutil.SocketPath(t), t.TempDir()
	file, part := filepath.Join(dir, "edge.toml"), filepath.Join(dir, "r.toml")
	put := func(path, format string, args ...any) {
		t.Helper()
		if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const route = "[[routes]]\nname = \"r\"\npattern = \"%s\"\ndest = \"status:410\"\n"
	put(file, "versions_dir = %q\nadmin = { listen = %q, writable = true }\ninclude = \"r.toml\"\n"+
		"http.listen = \"127.0.0.1:0\"\n", filepath.Join(dir, "versions"), "unix:"+socket)
	put(part, route, "/a")
	run := func() *testutil.Process {
		p := testutil.Start(t, testutil.Command{
			Path: testutil.Binary(t, "./cmd/edge"), Args: []string{"run"}, Dir: dir})
		p.WaitLine(`"msg":"listening","section"`)
		return p
	}
	p := run()
	put(part, route, "/b")
	var plan admin.Plan
	if status := askAdmin(t, socket, "GET", "/v1/diff", "", &plan); status != 200 ||
		strings.Join(plan.Changed, " ") != "route r" || len(plan.Entries) != 1 {
		t.Errorf("diff: %d %+v", status, plan)
	}
	var done admin.Reloaded
	if status := askAdmin(t, socket, "POST", "/v1/rollback", "{}", &done); status != 404 {
		t.Errorf("rollback to nothing: %d", status)
	}
	if status := askAdmin(t, socket, "POST", "/v1/reload", "", &done); status != 200 || done.Version != 2 {
		t.Errorf("reload: %d %+v", status, done)
	}
	put(part, "wrong")
	if status := askAdmin(t, socket, "GET", "/v1/diff", "", &plan); status != 422 || len(plan.Findings) == 0 {
		t.Errorf("diff with a wrong file: %d %+v", status, plan)
	}
	done = admin.Reloaded{}
	if status := askAdmin(t, socket, "POST", "/v1/rollback", "{}", &done); status != 200 || done.Version != 3 ||
		!done.Differs || strings.Join(done.Changed, " ") != "route r" {
		t.Errorf("rollback: %d %+v", status, done)
	}
	p.WaitLine(`the files on the disk differ`)
	var routes admin.List[admin.Route]
	if askAdmin(t, socket, "GET", "/v1/routes", "", &routes); routes.Items[0].Path != "/a" {
		t.Errorf("%+v", routes)
	}
	want := "1 start, 2 api, 3 rollback to version 1*"
	if got := strings.Join(numbersOf(t, socket), ", "); got != want {
		t.Errorf("kept: %s, want %s", got, want)
	}
	if code := p.Stop(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	put(part, route, "/c")
	p = run()
	done = admin.Reloaded{}
	status := askAdmin(t, socket, "POST", "/v1/rollback", `{"version":2}`, &done)
	if status != 200 || done.Version != 5 {
		t.Errorf("rollback after a restart: %d %+v", status, done)
	}
	if askAdmin(t, socket, "GET", "/v1/routes", "", &routes); routes.Items[0].Path != "/b" {
		t.Errorf("%+v", routes)
	}
	if got := strings.Join(numbersOf(t, socket), ", "); got != strings.TrimSuffix(want, "*")+
		", 4 start, 5 rollback to version 2*" {
		t.Errorf("kept: %s", got)
	}
}
