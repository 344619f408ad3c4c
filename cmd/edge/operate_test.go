package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/admin"
	"github.com/edge-proxy/edge/internal/testutil"
)

// operated is a configuration with an admin surface, two upstreams and no pid file.
const operated = `
[admin]
listen = ["unix:%s", "127.0.0.1:0"]
token = "0123456789abcdef0123456789abcdef"
writable = true
[http]
listen = "127.0.0.1:0"
[[routes]]
name = "api"
pattern = "api.example/*"
dest = "api"
[[routes]]
pattern = "spare.example/*"
dest = "spare"
[[routes]]
name = "rest"
pattern = "/*"
dest = "status:204"
[upstreams.api]
backends = [ { address = "127.0.0.1:1" }, { address = "127.0.0.1:2", weight = 3 } ]
[upstreams.spare]
discover = "file:///dev/null/list"
`

// administered runs edge with the admin surface at a Unix socket.
func administered(t *testing.T, format string, args ...any) (r *running, socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "admin.sock")
	r = start(t, "[admin]\nlisten = %q\n%s", "unix:"+socket, fmt.Sprintf(format, args...))
	return r, socket
}

// idleClient opens a connection to addr, has one request answered, and keeps the connection until the test ends.
func idleClient(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return c
}

// Each command does with the process what it says, and prints it for people and for programs.
func TestOperate(t *testing.T) {
	socket := testutil.SocketPath(t)
	e := start(t, operated, socket)
	e.WaitLine(`"section":"admin"`)
	c := idleClient(t, e.addr)
	pid := strconv.Itoa(e.PID())
	for _, s := range []struct{ args, want string }{
		{"status", "runs as process " + pid + " since"},
		{"status", "api: 2 of 2 backends serve"},
		{"status --json", `"state": "serving"`},
		{"routes", "api api.example /* api"},
		{"routes", "rest * /* 204"},
		{"upstreams", "UPSTREAM BACKEND STATE WEIGHT UNDER WAY LATENCY WHY"},
		{"upstreams", "api 127.0.0.1:2 serving 3 0"},
		{"upstreams", "spare - no members"},
		{"upstreams --json", `"address": "127.0.0.1:2"`},
		{"conns", "h1 idle 1 0 - -"},
		{"conns --json --filter requests>5", `"items": []`},
		{"certs", "CERTIFICATE HOSTS STATE EXPIRES NEXT ORDER ERROR"},
		{"drain api/127.0.0.1:2 --for 1h", "draining 3 0 0s draining (operator) until"},
		{"status", "api: 1 of 2 backends serve"},
		{"drain 127.0.0.1:2 --down", "down 3 0 0s admin (operator)"},
		{"enable api/127.0.0.1:2 --share 50", "serving 3 × 50% 0"},
		{"enable api/127.0.0.1:2", "serving 3 0"},
		{"log debug --for 1h", "the level debug until"},
		{"status", "log debug until"},
		{"reload", "the configuration was applied, version 1"}, // it is the same one
		{"status --live", ""},
	} {
		code, out := e.tell(t, strings.Fields(s.args)...)
		if code != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), s.want) {
			t.Errorf("%s: %d, want %q:\n%s", s.args, code, s.want, out)
		}
	}
	out, err := exec.Command("curl", "-sS", "--unix-socket", socket, "http://edge/v1/config").CombinedOutput()
	if text := string(out); err != nil || strings.Contains(text, "0123456789abcdef") ||
		!strings.Contains(text, `"token":"(hidden)"`) || !strings.Contains(text, `"weight":3`) {
		t.Errorf("/v1/config: %v %s", err, text)
	}
	for args, want := range map[string]string{
		"drain api/127.0.0.1:3": "there is no backend", "conns --filter x==1": "there is no field",
		"log loud": "level is debug", "enable": "takes one UPSTREAM/BACKEND, got 0",
	} {
		if code, out := e.tell(t, strings.Fields(args)...); code == 0 || !strings.Contains(out, want) {
			t.Errorf("%s: %d, want %q:\n%s", args, code, want, out)
		}
	}
	more := fmt.Appendf(nil, operated+"[[routes]]\npattern = \"/more\"\ndest = \"status:200\"\n", socket)
	if err := os.WriteFile(e.file, more, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range [][2]string{{"reload --json", `"version": 2`}, {"status", "version 2, applied"}} {
		if code, out := e.tell(t, strings.Fields(s[0])...); code != 0 || !strings.Contains(out, s[1]) {
			t.Errorf("%s after a change: %d, want %q:\n%s", s[0], code, s[1], out)
		}
	}
	c.Close() // it would be waited for
	if code, out := e.tell(t, "stop"); code != 0 || !strings.Contains(out, pid+" has ended") {
		t.Errorf("stop: %d %s", code, out)
	}
	if code := e.Wait(testutil.Minutes); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	e.WaitLine(`"admin: change","method":"POST","path":"/v1/stop","status":202,"uid":` + strconv.Itoa(os.Geteuid()))
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket stays")
	}
	for _, args := range []string{"status", "routes", "stop", "status --live", "reload"} {
		code, out := e.tell(t, strings.Fields(args)...)
		if code != 1 || !strings.Contains(out, "edge answers at unix:") &&
			!strings.Contains(out, "has no pid_file") {
			t.Errorf("%s after the end: %d %s", args, code, out)
		}
	}
}

// A reload that fails says why, changes nothing, and the surface moves with one that does not.
func TestOperate_reload(t *testing.T) {
	first, second := testutil.SocketPath(t), testutil.SocketPath(t)
	e := start(t, operated, first)
	taken := testutil.Listen(t).Addr().String()
	text := strings.Replace(fmt.Sprintf(operated, second), `listen = "127.0.0.1:0"`, `listen = "`+taken+`"`, 1)
	if err := os.WriteFile(e.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := e.tell(t, "reload", "--admin", "unix:"+first)
	if code != 1 || !strings.Contains(out, "nothing has changed") || !strings.Contains(out, taken) {
		t.Errorf("a taken address: %d %s", code, out)
	}
	if _, err := os.Stat(second); err == nil {
		t.Error("its surface has moved")
	}
	if err := os.WriteFile(e.file, []byte("htp = 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out = e.tell(t, "reload", "--admin", "unix:"+first)
	if code != 1 || !strings.Contains(out, "edge.toml:1:1") || !strings.Contains(out, "did you mean") {
		t.Errorf("a wrong file: %d %s", code, out)
	}
	if err := os.WriteFile(e.file, fmt.Appendf(nil, operated, second), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out = e.tell(t, "reload", "--admin", "unix:"+first)
	if code != 0 || !strings.Contains(out, "version 2") || !strings.Contains(out, "~ admin") {
		t.Errorf("another socket: %d %s", code, out)
	}
	if code, out := e.tell(t, "status"); code != 0 || !strings.Contains(out, second) {
		t.Errorf("status there: %d %s", code, out)
	}
	code, out = e.tell(t, "status", "--admin", "unix:"+first)
	if code != 1 || !strings.Contains(out, "no edge answers") {
		t.Errorf("status where it was: %d %s", code, out)
	}
}

// Over TCP a command shows the token, that of the environment before that of the configuration.
func TestOperate_overTCP(t *testing.T) {
	e := start(t, operated, testutil.SocketPath(t))
	at := e.WaitLine(`"section":"admin","address":"(127[^"]+)"`)[1]
	if code, out := e.tell(t, "status", "--admin", at); code != 0 || !strings.Contains(out, at) {
		t.Errorf("%d %s", code, out)
	}
	run := func(env string, args ...string) (int, string) {
		cmd := exec.Command(testutil.Binary(t, "./cmd/edge"), args...)
		cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "EDGE_ADMIN=http://"+at, env)
		out, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(out)
	}
	if code, out := run("EDGE_ADMIN_TOKEN=0123456789abcdef0123456789abcdef", "upstreams"); code != 0 {
		t.Errorf("%d %s", code, out)
	}
	if code, out := run("X=1", "upstreams"); code != 1 || !strings.Contains(out, "show the token of [admin]") {
		t.Errorf("without a token: %d %s", code, out)
	}
	if code, out := run("X=1", "status", "--live"); code != 0 {
		t.Errorf("--live: %d %s", code, out)
	}
	if code, out := run("EDGE_ADMIN_TOKEN=0123456789abcdef0123456789abcdef", "stop", "--now"); code != 0 {
		t.Errorf("stop: %d %s", code, out)
	}
	e.Wait(testutil.Minutes)
	e.WaitLine(`"msg":"admin: change",.*"client":"127`)
}

// A token of the environment is sent to an address of --admin by TLS, where the configuration has a certificate.
func TestOperate_tokenByTLS(t *testing.T) {
	base := filepath.Join(t.TempDir(), "admin")
	cert, key := testutil.NewAuthority(t).Issue(t, nil, "127.0.0.1")
	testutil.WritePair(t, base, cert, key)
	const token = "0123456789abcdef0123456789abcdef"
	text := strings.Replace(operated, "token = ", fmt.Sprintf("cert = %q\nkey = %q\ntoken = ",
		base+".pem", base+".key"), 1)
	e := start(t, text, testutil.SocketPath(t))
	at := e.WaitLine(`"section":"admin","address":"(127[^"]+)"`)[1]
	t.Setenv("EDGE_ADMIN_TOKEN", token)
	for _, args := range [][]string{
		{"status", "--admin", at}, {"reload", "--admin", at}, {"status", "--admin", at, "-c", e.file},
	} {
		if code, out := e.tell(t, args...); code != 0 {
			t.Errorf("%q: %d %s", args, code, out)
		}
	}
}

// The surface answers while the process drains: it is not ready then, says how many connections are left, and takes
// no reload. The next process takes its address.
func TestOperate_whileItDrains(t *testing.T) {
	socket := testutil.SocketPath(t)
	e := start(t, "grace_period = \"20s\"\n"+operated, socket)
	idleClient(t, e.addr)
	if code, out := e.tell(t, "status", "--json"); code != 0 || !strings.Contains(out, `"connections": 1`) {
		t.Errorf("%d %s", code, out)
	}
	e.Signal(syscall.SIGTERM)
	testutil.Eventually(t, testutil.Minutes, func() bool {
		code, out := e.tell(t, "status", "--json")
		return code == 0 && strings.Contains(out, `"state": "draining"`)
	}, "it drains")
	if code, out := e.tell(t, "reload"); code != 1 || !strings.Contains(out, "drains") {
		t.Errorf("reload: %d %s", code, out)
	}
	next := start(t, operated, socket)
	if code, out := next.tell(t, "status"); code != 0 || !strings.Contains(out, strconv.Itoa(next.PID())) {
		t.Errorf("the next process: %d %s", code, out)
	}
	e.Signal(syscall.SIGINT)
	e.Wait(testutil.Minutes)
	if code, out := next.tell(t, "status", "--live"); code != 0 {
		t.Errorf("after the end of the first one: %d %s", code, out)
	}
	code, out := next.tell(t, "run", "-c", next.file)
	if code != 1 || !strings.Contains(out, "another process serves") {
		t.Errorf("a third one: %d %s", code, out)
	}
}

// Without [admin] the socket is in the runtime folder. A second process goes without, and no command takes one process
// for the other.
func TestOperate_defaultSocket(t *testing.T) {
	dir := filepath.Dir(testutil.SocketPath(t))
	t.Setenv("RUNTIME_DIRECTORY", dir+":/elsewhere")
	first := start(t, oneRoute, "/one")
	if code, out := first.tell(t, "routes"); code != 0 || !strings.Contains(out, "/one") {
		t.Errorf("%d %s", code, out)
	}
	second := start(t, oneRoute, "/two")
	second.WaitLine(`"level":"INFO","msg":"no admin surface","reason":".*another process serves there`)
	if code, out := second.tell(t, "routes"); code != 1 || !strings.Contains(out, fmt.Sprint("process ", first.PID())) {
		t.Errorf("of the second one: %d %s", code, out)
	}
	if code, out := second.tell(t, "reload"); code != 1 || !strings.Contains(out, "has no pid_file") {
		t.Errorf("reload of the second one: %d %s", code, out)
	}
	if code, out := second.tell(t, "upstreams"); !strings.Contains(out, "[admin]\nlisten = \"unix:") {
		t.Errorf("no two lines to paste: %d %s", code, out)
	}
	if code, out := in(t, t.TempDir(), "status"); code != 0 || !strings.Contains(out, fmt.Sprint(first.PID())) {
		t.Errorf("without a configuration: %d %s", code, out)
	}
	third := start(t, controlled, "/three")
	if code, out := third.tell(t, "status"); code != 0 || !strings.Contains(out, fmt.Sprint("process ", third.PID())) {
		t.Errorf("by the pid file: %d %s", code, out)
	}
	first.Stop()
	if _, err := os.Stat(filepath.Join(dir, "admin.sock")); err == nil {
		t.Error("the socket stays")
	}
	fourth := start(t, "admin.listen = false\n"+oneRoute, "/four")
	if code, out := fourth.tell(t, "upstreams"); code != 1 || !strings.Contains(out, "no admin surface is known") {
		t.Errorf("turned off: %d %s", code, out)
	}
}

// Without a session's runtime folder, as in a container or by su, the commands find the process without a flag: its
// socket is in a folder below /tmp that no other user may enter.
func TestOperate_socketBelowTmp(t *testing.T) {
	binary := testutil.Binary(t, "./cmd/edge")
	file := write(t, "http.listen = \"127.0.0.1:0\"\nroutes = [{pattern = \"/*\", dest = \"127.0.0.1:1\"}]\n")
	for name, args := range map[string][]string{
		"proxy": {"proxy", "--from", "127.0.0.1:0", "--to", "127.0.0.1:1"},
		"run":   {"run", "-c", file},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_RUNTIME_DIR", "")
			t.Setenv("TMPDIR", filepath.Dir(testutil.SocketPath(t)))
			p := testutil.Start(t, testutil.Command{Path: binary, Args: args})
			address := p.WaitLine(`"msg":"listening".*"address":"(127[^"]+)"`)[1]
			p.WaitLine(`"msg":"listening","section":"admin"`)
			if resp, _ := testutil.Get(t, client(t), "http://"+address+"/asked"); resp.StatusCode != 502 {
				t.Errorf("status %d", resp.StatusCode)
			}
			number := p.WaitLine(`(?:request failed","request|Z","id)":"([^"]+)"`)[1]
			for _, ask := range [][]string{{"why", number}, {"conns"}, {"status"}, {"upstreams"}} {
				if code, out := in(t, t.TempDir(), ask...); code != 0 {
					t.Errorf("%v: %d %s", ask, code, out)
				}
			}
			if strings.Contains(p.Output(), `"msg":"no admin surface"`) {
				t.Error(p.Output())
			}
		})
	}
}

// With the files of the quick start, and with edge proxy, the commands find the process: by a socket beside the pid
// file, or by one in the runtime folder of the user.
func TestOperate_socketWithoutAdmin(t *testing.T) {
	run := filepath.Dir(testutil.SocketPath(t))
	t.Setenv("XDG_RUNTIME_DIR", run)
	p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"),
		Args: []string{"proxy", "--from", "127.0.0.1:0", "--to", "127.0.0.1:1"}})
	address := p.WaitLine(`edge: (http://\S+/) ->`)[1]
	p.WaitLine(`listening.*edge\.admin\.sock`)
	if resp, _ := testutil.Get(t, client(t), address+"asked"); resp.StatusCode != 502 {
		t.Errorf("status %d", resp.StatusCode)
	}
	number := p.WaitLine(`request failed","request":"([^"]+)"`)[1]
	if code, out := in(t, t.TempDir(), "why", number); code != 0 || !strings.Contains(out, "backend:connect") {
		t.Errorf("why: %d %s", code, out)
	}
	dir, err := os.MkdirTemp("", "edge") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "edge.toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "pid_file = \"edge.pid\"\n"+oneRoute, "/quick"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Args: []string{"run"}, Dir: dir})
	e.WaitLine(`listening.*/edge\.admin\.sock`)
	for _, args := range [][]string{{"upstreams"}, {"routes"}, {"diff"}, {"rollback", "--list"}, {"status"}} {
		if code, out := in(t, dir, args...); code != 0 || strings.Contains(out, "admin surface") {
			t.Errorf("%v: %d %s", args, code, out)
		}
	}
	if code, out := in(t, dir, "status"); code != 0 || !strings.Contains(out, fmt.Sprint("process ", e.PID())) {
		t.Errorf("of two processes: %d %s", code, out)
	}
}

// A process that does not answer at one of the usual sockets, and a folder whose path is too long for a socket, keep no
// command from the process: it is found by the next socket, or by the pid file.
func TestOperate_usualSocketOfAnother(t *testing.T) {
	t.Parallel()
	taken := filepath.Join(filepath.Dir(testutil.SocketPath(t)), "admin.sock")
	silent, err := net.Listen("unix", taken)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	short, err := os.MkdirTemp("", "edge")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	long := filepath.Join(short, strings.Repeat("x", 75)) // which leaves room for the socket under its hidden name
	for _, one := range []struct{ runtime, dir, want string }{
		{filepath.Dir(taken), short, "was applied"}, {short + "/none", long, "reads the configuration again"},
	} {
		dir := one.dir
		env := []string{"RUNTIME_DIRECTORY=" + one.runtime}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		text := fmt.Appendf(nil, "pid_file = \"edge.pid\"\n"+oneRoute, "/usual")
		if err := os.WriteFile(filepath.Join(dir, "edge.toml"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		edge := testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Args: []string{"run"}, Dir: dir, Env: env}
		testutil.Start(t, edge).WaitLine(`"listening","listener"`)
		if code, out := inWith(t, dir, env, "reload"); code != 0 || !strings.Contains(out, one.want) {
			t.Errorf("%s: %d %s", dir, code, out)
		}
	}
}

// Where an upstream leads to the admin surface of its own process, clients of the listener get none of its rights.
func TestAdmin_refusesItsOwnProcess(t *testing.T) {
	socket := testutil.SocketPath(t)
	e := start(t, "[admin]\nlisten = \"unix:%s\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\n"+
		"dest = \"unix:%[1]s\"\nheaders.request = { Via = \"\" }\n", socket)
	e.WaitLine(`"section":"admin"`)
	for _, path := range []string{"/v1/config", "/v1/status", "/livez"} {
		resp, body := testutil.Get(t, client(t), "http://"+e.addr+path)
		if resp.StatusCode != 403 || !strings.Contains(body, `"code":"proxied"`) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if code, out := e.tell(t, "status", "--admin", "unix:"+socket); code != 0 {
		t.Errorf("another process: %d %s", code, out)
	}
}

// Requests that name their own destination reach no address of the process itself: neither [admin] nor [metrics].
func TestAllowDest_neverToThePorts(t *testing.T) {
	e := start(t, "[admin]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n"+
		"[http]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\n"+
		"dest = \"http://{header:X-To}\"\nallow_dest = [\"http://127.0.0.1:*\"]\n")
	for _, section := range []string{"admin", "metrics"} {
		at := e.WaitLine(`"section":"` + section + `","address":"([^"]+)"`)[1]
		for to, want := range map[string]int{at: 403, origin(t): 200} {
			req, err := http.NewRequest("GET", "http://"+e.addr+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-To", to)
			resp, body := testutil.Do(t, client(t), req)
			if resp.StatusCode != want || strings.Contains(body, "proxied") {
				t.Errorf("to %s of %s: %d %s", to, section, resp.StatusCode, body)
			}
		}
	}
}

// The last backend of an upstream that serves is taken out by force alone, by the command and by the API, be the others
// drained or found down by checks.
func TestDrain_lastBackendThatServes(t *testing.T) {
	t.Parallel()
	first, second, dead := origin(t), origin(t), testutil.FreeAddr(t)
	r, socket := administered(t, `
[http]
listen = "127.0.0.1:0"
[[routes]]
pattern = "/*"
dest = "api"
[upstreams.api]
backends = [ { address = %q }, { address = %q } ]
[[routes]]
pattern = "/checked/*"
dest = "checked"
[upstreams.checked]
backends = [ { address = %q }, { address = %q } ]
health_check = { type = "tcp", interval = "50ms", rise = 1, fall = 1 }
`, first, second, first, dead)
	testutil.Eventually(t, testutil.Minutes, func() bool {
		_, out := r.tell(t, "upstreams", "--json")
		return strings.Contains(out, `"checks"`)
	}, "the checks find a backend down")
	api := "no other backend of api serves: --force takes it out all the same"
	checked := strings.Replace(api, "api", "checked", 1)
	for _, s := range []struct {
		args string
		code int
		want string
	}{
		{"drain checked/" + dead, 0, "draining"}, // it does not serve
		{"enable checked/" + dead, 0, "checks"},
		{"drain checked/" + first, 1, checked},
		{"drain api/" + first, 0, "draining"},
		{"drain api/" + first + " --for 1h", 0, "draining"},
		{"drain api/" + second, 1, api},
		{"drain api/" + second + " --down", 1, api},
		{"enable api/" + second + " --share 10", 0, "serving"},
		{"enable api/" + first + " --share 0", 0, "serving"},
		{"drain api/" + second, 1, api},
		{"enable api/" + first, 0, "serving"},
		{"drain api/" + second, 0, "draining"},
		{"drain api/" + first + " --force", 0, "draining"},
	} {
		if code, out := r.tell(t, strings.Fields(s.args)...); code != s.code || !strings.Contains(out, s.want) {
			t.Errorf("%s: %d, want %d and %q:\n%s", s.args, code, s.code, s.want, out)
		}
	}
	client, err := admin.NewClient(admin.Target{Address: "unix:" + socket})
	if err != nil {
		t.Fatal(err)
	}
	last := `no other backend of checked serves: "force": true takes it out all the same`
	path := "/v1/upstreams/checked/backends/" + first
	for _, c := range []struct{ body, want string }{
		{`{"state":"down"}`, "409 last-backend " + last},
		{`{"state":"draining","for":"1h"}`, "409 last-backend " + last},
		{`{"state":"draining","force":true}`, ""},
		{`{"state":"draining","for":"1h"}`, ""}, // it drains already
	} {
		got := ""
		err := client.Do(t.Context(), "PATCH", path, json.RawMessage(c.body), nil)
		if r := (*admin.Refused)(nil); errors.As(err, &r) {
			got = fmt.Sprintf("%d %s %s", r.Status, r.Code, r.Problem.Error)
		} else if err != nil {
			t.Fatal(err)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.body, got, c.want)
		}
	}
}
