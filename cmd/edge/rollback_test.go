package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// overSocket is a client of the admin surface at a Unix socket.
func overSocket(socket string) *http.Client { return dialing("unix", socket) }

// dialing is a client whose connections all lead to one address.
func dialing(network, address string) *http.Client {
	return &http.Client{Timeout: testutil.Patience, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial(network, address) }}}
}

// send sends a request with fields: names and values in turn.
func send(t *testing.T, c *http.Client, method, url, body string, fields ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	testutil.Must(t, err)
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	return testutil.Do(t, c, req)
}

// askAdmin asks the admin surface at a Unix socket, and reads the answer into out.
func askAdmin(t *testing.T, socket, method, path, body string, out any) (status int) {
	t.Helper()
	resp, text := send(t, overSocket(socket), method, "http://edge"+path, body, "Content-Type", "application/json")
	if out != nil && resp.StatusCode < 400 || resp.StatusCode == 422 {
		if err := json.Unmarshal([]byte(text), out); err != nil {
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

// commandsOfRollback tries commands while version 3 is in force, and r.toml is wrong.
func commandsOfRollback(t *testing.T, dir, socket string) {
	t.Helper()
	at := " --admin unix:" + socket
	commands(t, dir,
		command{"rollback --list" + at, 0, "3 *"},
		command{"rollback --list --json" + at, 0, `"in_force": true`},
		command{"rollback 99" + at, 1, "no such version is kept: 99"},
		command{"rollback x" + at, 2, "takes the number of a version"},
		command{"rollback --list 1" + at, 2, "takes one version"},
		command{"diff" + at, 1, "r.toml:1:5: error"},
		command{"diff --json" + at, 1, `"applicable": false`},
		command{"diff r.toml" + at, 1, "serves " + filepath.Join(dir, "edge.toml") + ", not r.toml"},
		command{"diff edge.toml" + at, 1, "r.toml:1:5: error"},
	)
}

// A rollback applies the texts of before, of all files, says that the disk differs, and is there after a restart.
func TestRollback_process(t *testing.T) {
	t.Parallel()
	socket, dir := testutil.SocketPath(t), t.TempDir()
	file, part := filepath.Join(dir, "edge.toml"), filepath.Join(dir, "r.toml")
	const route = "[[routes]]\nname = \"r\"\npattern = \"%s\"\ndest = \"status:410\"\n"
	putFile(t, file, "versions_dir = %q\nadmin = { listen = %q, writable = true }\ninclude = \"r.toml\"\n"+
		"http.listen = \"127.0.0.1:0\"\n", filepath.Join(dir, "versions"), "unix:"+socket)
	putFile(t, part, route, "/a")
	run := func() *testutil.Process {
		p := launch(t, dir, "run")
		p.WaitLine(`"msg":"listening","section"`)
		return p
	}
	p := run()
	putFile(t, part, route, "/b")
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
	putFile(t, part, "wrong")
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
	commandsOfRollback(t, dir, socket)
	putFile(t, part, route, "/d")
	commands(t, dir, command{"diff --admin unix:" + socket, 3, "~ route r: path"})
	const want = "1 start, 2 api, 3 rollback to version 1*"
	if got := strings.Join(numbersOf(t, socket), ", "); got != want {
		t.Errorf("kept: %s, want %s", got, want)
	}
	p.Stop()
	putFile(t, part, route, "/c")
	p = run()
	done = admin.Reloaded{}
	status := askAdmin(t, socket, "POST", "/v1/rollback", `{"version":2}`, &done)
	if status != 200 || done.Version != 5 {
		t.Errorf("rollback after a restart: %d %+v", status, done)
	}
	if askAdmin(t, socket, "GET", "/v1/routes", "", &routes); routes.Items[0].Path != "/b" {
		t.Errorf("%+v", routes)
	}
	commands(t, dir, command{"rollback --admin unix:" + socket, 0, "version 6|~ route r|!differ"})
	if got := strings.Join(numbersOf(t, socket), ", "); got != strings.TrimSuffix(want, "*")+
		", 4 start, 5 rollback to version 2, 6 rollback to version 4*" {
		t.Errorf("kept: %s", got)
	}
}

// A reload after which a route fails is taken back, and the log says why. One after which it goes on well is not.
func TestRollback_automatic(t *testing.T) {
	t.Parallel()
	const file = "global.rollback = { errors = \"20%%\", requests = 10 }\nhttp.listen = \"127.0.0.1:0\"\n[[routes]]\n" +
		"name = \"shop\"\npattern = \"/*\"\ndest = \"%s\"\n"
	e := start(t, file, "status:200")
	c := client(t)
	ask := func(want int) {
		t.Helper()
		testutil.Eventually(t, testutil.Minutes, func() bool {
			resp, _ := testutil.Get(t, c, "http://"+e.addr+"/")
			return resp.StatusCode == want
		})
		for range 20 {
			testutil.Get(t, c, "http://"+e.addr+"/")
		}
	}
	ask(200)
	e.change(t, file, "status:404")
	ask(404)
	e.change(t, file, "status:503")
	ask(503)
	e.WaitLine(`a route fails since the reload.*"route":"shop","requests":\d\d,"failed":"\d+%","version":2`)
	e.WaitLine(`the files on the disk differ`)
	ask(404)
}

// A file with errors names the process still: by its admin surface for a rollback, by its pid file for an end.
func TestControl_fileWithErrors(t *testing.T) {
	t.Parallel()
	const text = "[http]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"
	head := fmt.Sprintf("[admin]\nlisten = \"unix:%s\"\n", testutil.SocketPath(t))
	e := start(t, "%s", head+text)
	putFile(t, e.file, "%s", head+strings.Replace(text, ":200", ":201", 1))
	e.commands(t, command{"reload -c " + e.file, 0, ""})
	for name, wrong := range map[string]string{
		"a key": head + text + "bad = 1\n", "the syntax": head + text + "dest = \"x\n",
		"an include": "include = \"/none.toml\"\n" + head + text,
	} {
		t.Run("an error in "+name, func(t *testing.T) {
			putFile(t, e.file, "%s", wrong)
			e.commands(t,
				command{"status -c " + e.file, 0, "configuration"},
				command{"rollback --list -c " + e.file, 0, "2 *"},
				command{"diff -c " + e.file, 1, "edge.toml:"},
				command{"drain none/x -c " + e.file, 1, "there is no"},
			)
		})
	}
	e.commands(t, command{"rollback -c " + e.file, 0, "version 3"})
	e.commands(t, command{"stop -c " + e.file, 0, "has ended"})
	head = fmt.Sprintf("[global]\npid_file = %q\n[admin]\nlisten = false\n", filepath.Join(t.TempDir(), "pid"))
	e = start(t, "%s", head+text)
	putFile(t, e.file, "%s", head+text+"bad = 1\n")
	e.commands(t, command{"stop -c " + e.file, 0, "has ended"}) // stop by the pid file
}
