package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/test/testutil"
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
	c := dial(t, "tcp", addr)
	t.Cleanup(func() { _ = c.Close() })
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return c
}

// Each command does with the process what it says, and prints it for people and for programs.
func TestOperate(t *testing.T) {
	t.Parallel()
	socket := testutil.SocketPath(t)
	e := start(t, operated, socket)
	e.WaitLine(`"section":"admin"`)
	c := idleClient(t, e.addr)
	pid := strconv.Itoa(e.PID())
	e.commands(t,
		command{"status", 0, "runs as process " + pid + " since|api: 2 of 2 backends serve"},
		command{"status --json", 0, `"state": "serving"`},
		command{"routes", 0, "api api.example /* api|rest * /* 204"},
		command{"upstreams", 0, "UPSTREAM BACKEND STATE WEIGHT UNDER WAY LATENCY WHY|api 127.0.0.1:2 serving 3 0|" +
			"spare - no members"},
		command{"upstreams --json", 0, `"address": "127.0.0.1:2"`},
		command{"conns", 0, "h1 idle 1 0 - -"},
		command{"conns --json --filter requests>5", 0, `"items": []`},
		command{"certs", 0, "CERTIFICATE HOSTS STATE EXPIRES NEXT ORDER ERROR"},
		command{"drain api/127.0.0.1:2 --for 1h", 0, "draining 3 0 0s draining (operator) until"},
		command{"status", 0, "api: 1 of 2 backends serve"},
		command{"drain 127.0.0.1:2 --down", 0, "down 3 0 0s admin (operator)"},
		command{"enable api/127.0.0.1:2 --share 50", 0, "serving 3 × 50% 0"},
		command{"enable api/127.0.0.1:2", 0, "serving 3 0"},
		command{"log debug --for 1h", 0, "the level debug until"},
		command{"status", 0, "log debug until"},
		command{"reload", 0, "the configuration was applied, version 1"}, // it is the same one
		command{"status --live", 0, ""},
		command{"drain api/127.0.0.1:3", 1, "there is no backend"},
		command{"conns --filter x==1", 1, "there is no field"},
		command{"log loud", 1, "level is debug"},
		command{"enable", 2, "takes one UPSTREAM/BACKEND, got 0"},
	)
	out, err := exec.Command("curl", "-sS", "--unix-socket", socket, "http://edge/v1/config").CombinedOutput()
	if text := string(out); err != nil || strings.Contains(text, "0123456789abcdef") ||
		!strings.Contains(text, `"token":"(hidden)"`) || !strings.Contains(text, `"weight":3`) {
		t.Errorf("/v1/config: %v %s", err, text)
	}
	putFile(t, e.file, operated+"[[routes]]\npattern = \"/more\"\ndest = \"status:200\"\n", socket)
	e.commands(t, command{"reload --json", 0, `"version": 2`}, command{"status", 0, "version 2, applied"})
	c.Close() // it would be waited for
	e.commands(t, command{"stop", 0, pid + " has ended"})
	endsWell(t, e)
	e.WaitLine(`"admin: change","method":"POST","path":"/v1/stop","status":202,"uid":` + strconv.Itoa(os.Geteuid()))
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket stays")
	}
	const none = "edge answers at unix:"
	e.commands(t, command{"status", 1, none}, command{"routes", 1, none}, command{"stop", 1, "has no pid_file"},
		command{"status --live", 1, none}, command{"reload", 1, "has no pid_file"})
}

// A reload that fails says why, changes nothing, and the surface moves with one that does not.
func TestOperate_reload(t *testing.T) {
	first, second := testutil.SocketPath(t), testutil.SocketPath(t)
	e := start(t, operated, first)
	taken := testutil.Listen(t).Addr().String()
	text := strings.Replace(fmt.Sprintf(operated, second), `listen = "127.0.0.1:0"`, `listen = "`+taken+`"`, 1)
	putFile(t, e.file, "%s", text)
	e.commands(t, command{"reload --admin unix:" + first, 1, "nothing has changed|" + taken}) // a taken address
	if _, err := os.Stat(second); err == nil {
		t.Error("its surface has moved")
	}
	putFile(t, e.file, "htp = 1")
	e.commands(t, command{"reload --admin unix:" + first, 1, "edge.toml:1:1|did you mean"}) // a wrong file
	putFile(t, e.file, operated, second)
	e.commands(t, command{"reload --admin unix:" + first, 0, "version 2|~ admin"}) // another socket
	e.commands(t, command{"status", 0, second})
	e.commands(t, command{"status --admin unix:" + first, 1, "no edge answers"}) // status where it was
}

// Over TCP a command shows the token, that of the environment before that of the configuration.
func TestOperate_overTCP(t *testing.T) {
	e := start(t, operated, testutil.SocketPath(t))
	at := e.WaitLine(`"section":"admin","address":"(127[^"]+)"`)[1]
	e.commands(t, command{"status --admin " + at, 0, at})
	t.Setenv("EDGE_ADMIN", "http://"+at)
	commands(t, "", command{"upstreams", 1, "show the token of [admin]"}, command{"status --live", 0, ""})
	t.Setenv("EDGE_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef")
	commands(t, "", command{"upstreams", 0, ""}, command{"stop --now", 0, ""})
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
	e.commands(t, command{"status --admin " + at, 0, ""}, command{"reload --admin " + at, 0, ""},
		command{"status --admin " + at + " -c " + e.file, 0, ""})
}

// The surface answers while the process drains: it is not ready then, says how many connections are left, and takes
// no reload. The next process takes its address.
func TestOperate_whileItDrains(t *testing.T) {
	t.Parallel()
	socket := testutil.SocketPath(t)
	e := start(t, "grace_period = \"20s\"\n"+operated, socket)
	idleClient(t, e.addr)
	e.commands(t, command{"status --json", 0, `"connections": 1`})
	e.Signal(syscall.SIGTERM)
	testutil.Eventually(t, testutil.Minutes, func() bool {
		code, out := e.tell(t, "status", "--json")
		return code == 0 && strings.Contains(out, `"state": "draining"`)
	}, "it drains")
	e.commands(t, command{"reload", 1, "drains"})
	next := start(t, operated, socket)
	next.commands(t, command{"status", 0, strconv.Itoa(next.PID())})
	e.Signal(syscall.SIGINT)
	e.Wait(testutil.Minutes)
	next.commands(t, command{"status --live", 0, ""}, command{"run -c " + next.file, 1, "another process serves"})
}

// Without [admin] the socket is in the runtime folder. A second process goes without, and no command takes one process
// for the other.
func TestOperate_defaultSocket(t *testing.T) {
	dir := filepath.Dir(testutil.SocketPath(t))
	t.Setenv("RUNTIME_DIRECTORY", dir+":/elsewhere")
	first := start(t, oneRoute, "/one")
	first.commands(t, command{"routes", 0, "/one"})
	second := start(t, oneRoute, "/two")
	second.WaitLine(`"level":"INFO","msg":"no admin surface","reason":".*another process serves there`)
	second.commands(t,
		command{"routes", 1, fmt.Sprint("process ", first.PID())},
		command{"reload", 1, "has no pid_file"},
		command{"upstreams", 1, "[admin]\nlisten = \"unix:"}, // two lines to paste
	)
	commands(t, t.TempDir(), command{"status", 0, fmt.Sprint(first.PID())}) // without a configuration
	third := start(t, controlled, "/three")
	third.commands(t, command{"status", 0, fmt.Sprint("process ", third.PID())}) // by the pid file
	first.Stop()
	if _, err := os.Stat(filepath.Join(dir, "admin.sock")); err == nil {
		t.Error("the socket stays")
	}
	fourth := start(t, "admin.listen = false\n"+oneRoute, "/four")
	fourth.commands(t, command{"upstreams", 1, "no admin surface is known"}) // turned off
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
			answersWith(t, "http://"+address+"/asked", 502)
			number := p.WaitLine(`(?:request failed","request|Z","id)":"([^"]+)"`)[1]
			commands(t, "", command{"why " + number, 0, ""}, command{"conns", 0, ""}, command{"status", 0, ""},
				command{"upstreams", 0, ""})
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
	p := launch(t, "", "proxy", "--from", "127.0.0.1:0", "--to", "127.0.0.1:1")
	address := p.WaitLine(`edge: (http://\S+/) ->`)[1]
	p.WaitLine(`listening.*edge\.admin\.sock`)
	answersWith(t, address+"asked", 502)
	number := p.WaitLine(`request failed","request":"([^"]+)"`)[1]
	commands(t, t.TempDir(), command{"why " + number, 0, "backend:connect"})
	dir, err := os.MkdirTemp("", "edge") // the path of a socket is short
	testutil.Must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "edge.toml")
	putFile(t, file, "pid_file = \"edge.pid\"\n"+oneRoute, "/quick")
	e := launch(t, dir, "run")
	e.WaitLine(`listening.*/edge\.admin\.sock`)
	const found = "!admin surface"
	commands(t, dir, command{"upstreams", 0, found}, command{"routes", 0, found}, command{"diff", 0, found},
		command{"rollback --list", 0, found}, command{"status", 0, found + fmt.Sprint("|process ", e.PID())})
}

// A process that does not answer at one of the usual sockets, and a folder whose path is too long for a socket, keep no
// command from the process: it is found by the next socket, or by the pid file.
func TestOperate_usualSocketOfAnother(t *testing.T) {
	t.Parallel()
	taken := filepath.Join(filepath.Dir(testutil.SocketPath(t)), "admin.sock")
	silent, err := net.Listen("unix", taken)
	testutil.Must(t, err)
	t.Cleanup(func() { silent.Close() })
	short, err := os.MkdirTemp("", "edge")
	testutil.Must(t, err)
	t.Cleanup(func() { os.RemoveAll(short) })
	long := filepath.Join(short, strings.Repeat("x", 75)) // which leaves room for the socket under its hidden name
	for _, one := range []struct{ runtime, dir, want string }{
		{filepath.Dir(taken), short, "was applied"}, {short + "/none", long, "reads the configuration again"},
	} {
		dir := one.dir
		env := []string{"RUNTIME_DIRECTORY=" + one.runtime}
		testutil.Must(t, os.MkdirAll(dir, 0o755))
		putFile(t, filepath.Join(dir, "edge.toml"), "pid_file = \"edge.pid\"\n"+oneRoute, "/usual")
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
	e.commands(t, command{"status --admin unix:" + socket, 0, ""}) // another process
}

// Requests that name their own destination reach no address of the process itself: neither [admin] nor [metrics].
func TestAllowDest_neverToThePorts(t *testing.T) {
	e := start(t, "[admin]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n"+
		"[http]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\n"+
		"dest = \"http://{header:X-To}\"\nallow_dest = [\"http://127.0.0.1:*\"]\n")
	for _, section := range []string{"admin", "metrics"} {
		at := e.WaitLine(`"section":"` + section + `","address":"([^"]+)"`)[1]
		for to, want := range map[string]int{at: 403, origin(t): 200} {
			resp, body := send(t, client(t), "GET", "http://"+e.addr+"/", "", "X-To", to)
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
	r.commands(t,
		command{"drain checked/" + dead, 0, "draining"}, // it does not serve
		command{"enable checked/" + dead, 0, "checks"},
		command{"drain checked/" + first, 1, checked},
		command{"drain api/" + first, 0, "draining"},
		command{"drain api/" + first + " --for 1h", 0, "draining"},
		command{"drain api/" + second, 1, api},
		command{"drain api/" + second + " --down", 1, api},
		command{"enable api/" + second + " --share 10", 0, "serving"},
		command{"enable api/" + first + " --share 0", 0, "serving"},
		command{"drain api/" + second, 1, api},
		command{"enable api/" + first, 0, "serving"},
		command{"drain api/" + second, 0, "draining"},
		command{"drain api/" + first + " --force", 0, "draining"},
	)
	client, err := admin.NewClient(admin.Target{Address: "unix:" + socket})
	testutil.Must(t, err)
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
