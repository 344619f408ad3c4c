package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/admin"
	"github.com/edge-proxy/edge/internal/testutil"
)

const controlled = "pid_file = \"edge.pid\"\nadmin.listen = false\ngrace_period = \"20s\"\n" + oneRoute

// tell runs a command in the folder of e's configuration.
func (r *running) tell(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	return in(t, filepath.Dir(r.file), args...)
}

func TestControl_ofOneProcess(t *testing.T) {
	e := start(t, controlled, "/one")
	pid := strconv.Itoa(e.PID())
	code, out := e.tell(t, "status")
	if code != 0 || !strings.Contains(out, "runs as process "+pid+" since ") {
		t.Errorf("status: %d %s", code, out)
	}
	code, out = e.tell(t, "status", "--json")
	var status struct {
		Running bool
		PID     int
		Since   time.Time
	}
	err := json.Unmarshal([]byte(out), &status)
	if age := time.Since(status.Since); err != nil || code != 0 || !status.Running || status.PID != e.PID() ||
		age < 0 || age > time.Hour {
		t.Errorf("status --json: %d %v %s", code, err, out)
	}
	if err := os.WriteFile(e.file, fmt.Appendf(nil, controlled, "/two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out = e.tell(t, "reload"); code != 0 || !strings.Contains(out, "process "+pid+" reads") {
		t.Errorf("reload: %d %s", code, out)
	}
	e.WaitLine(`"msg":"configuration reloaded"`)
	answers(t, "http://"+e.addr+"/two")
	if code, _ = e.tell(t, "-s", "reopen"); code != 0 {
		t.Errorf("-s reopen: %d", code)
	}
	e.WaitLine(`log files opened again`)
	code, out = e.tell(t, "stop")
	if code != 0 || !strings.Contains(out, "within 20s") || !strings.Contains(out, pid+" has ended") {
		t.Errorf("stop: %d %s", code, out)
	}
	if code := e.Wait(testutil.Minutes); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	e.WaitLine(`"msg":"drained"`)
	for _, args := range [][]string{{"status"}, {"stop"}, {"reload"}, {"-s", "quit"}} {
		if code, out := e.tell(t, args...); code != 1 || !strings.Contains(out, "no edge runs: there is no ") {
			t.Errorf("%s after the end: %d %s", args, code, out)
		}
	}
	if code, out := e.tell(t, "status", "--json"); code != 1 || !strings.Contains(out, `"running": false`) {
		t.Errorf("status --json after the end: %d %s", code, out)
	}
}

// A file with errors is not sent; the process can be ended all the same.
func TestControl_wrongFile(t *testing.T) {
	e := start(t, controlled, "/one")
	if err := os.WriteFile(e.file, []byte("htp.listen = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := e.tell(t, "reload"); code != 1 || !strings.Contains(out, "edge.toml:1:1: error") ||
		!strings.Contains(out, "was told nothing") {
		t.Errorf("reload: %d %s", code, out)
	}
	if code, out := e.tell(t, "stop"); code != 1 || !strings.Contains(out, "--pid-file") {
		t.Errorf("stop: %d %s", code, out)
	}
	if code, out := e.tell(t, "stop", "--now", "--pid-file", "edge.pid"); code != 0 || !strings.Contains(out, "cuts") {
		t.Errorf("stop --pid-file: %d %s", code, out)
	}
	e.Wait(testutil.Minutes)
	if strings.Contains(e.Output(), "configuration: ") {
		t.Errorf("it was told to reload:\n%s", e.Output())
	}
}

// A pipe can be read once: the pid_file comes from the text that was checked.
func TestControl_reloadReadsOnce(t *testing.T) {
	e := start(t, controlled, "/one")
	cmd := exec.Command(testutil.Binary(t, "./cmd/edge"), "reload", "-c", "/dev/stdin")
	cmd.Dir = filepath.Dir(e.file)
	cmd.Stdin = strings.NewReader(fmt.Sprintf(controlled, "/one"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	e.WaitLine(`"msg":"configuration reloaded`)
}

// A request in progress is given time by stop and "-s quit", and none by --now and "-s stop".
func TestControl_stopOfABusyProcess(t *testing.T) {
	for _, c := range []struct{ args, said string }{
		{"stop", "grace period over"}, {"-s quit", "grace period over"},
		{"stop --now", "stopping at once"}, {"-s stop", "stopping at once"},
	} {
		t.Run(c.args, func(t *testing.T) {
			e := start(t, "pid_file = \"edge.pid\"\ngrace_period = \"300ms\"\nhttp.listen = \"127.0.0.1:0\"\n"+
				"[[routes]]\npattern = \"/*\"\ndest = %q\n", origin(t))
			w := testutil.Dial(t, e.addr)
			w.Send("GET /stream HTTP/1.1\r\nHost: edge.test\r\n\r\n")
			w.ReadUntil("line 1\n")
			if code, out := e.tell(t, strings.Fields(c.args)...); code != 0 || !strings.Contains(out, "has ended") {
				t.Errorf("%d %s", code, out)
			}
			e.Wait(testutil.Minutes)
			e.WaitLine(c.said)
		})
	}
}

// What a pid file says is not believed.
func TestControl_pidFilesThatLie(t *testing.T) {
	other := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"),
		Args: []string{"serve-demo", "--listen", "127.0.0.1:0"}})
	other.WaitLine("demo origin")
	for name, c := range map[string]struct{ content, want string }{
		"another process":  {fmt.Sprintln(other.PID()), fmt.Sprintf("process %d is ", other.PID())},
		"a past process":   {"4194999\n", "was left by process 4194999"},
		"no number":        {"edge\n", "holds no number"},
		"all processes":    {"-1\n", "holds no number"},
		"the process zero": {"0\n", "holds no number"},
		"nothing":          {"", "is empty"},
	} {
		file := write(t, controlled, "/x")
		if err := os.WriteFile(filepath.Join(filepath.Dir(file), "edge.pid"), []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range []string{"stop", "stop --now", "reload", "status"} {
			code, out := in(t, filepath.Dir(file), strings.Fields(args)...)
			if code != 1 || !strings.Contains(out, c.want) {
				t.Errorf("%s, %s: %d, want %q in\n%s", name, args, code, c.want, out)
			}
		}
	}
	if !other.Running() {
		t.Error("another process was ended")
	}
	file := write(t, oneRoute, "/x")
	if code, out := in(t, filepath.Dir(file), "stop"); code != 1 || !strings.Contains(out, "has no pid_file") {
		t.Errorf("without a pid_file: %d %s", code, out)
	}
}

// A second process with the same pid file does not start, whatever else it would serve; it leaves the first one alone.
func TestPIDFile_ofASecondProcess(t *testing.T) {
	e := start(t, controlled, "/x")
	pid := fmt.Sprintf("%d\n", e.PID())
	for _, args := range [][]string{{"run"}, {"run", "-d"}} {
		noneLeft(t, e.file)
		code, out := e.tell(t, append(args, e.file)...)
		if code != 1 || !strings.Contains(out, "edge runs already, as process "+strings.TrimSpace(pid)) {
			t.Errorf("%s: %d %s", args, code, out)
		}
	}
	path := filepath.Join(filepath.Dir(e.file), "edge.pid")
	if text, err := os.ReadFile(path); err != nil || string(text) != pid {
		t.Errorf("the pid file holds %q %v", text, err)
	}
	answers(t, "http://"+e.addr+"/x")
}

// What a killed process has left does not keep the next one from starting, also when its number is another process's by
// now: in a container it always is.
func TestPIDFile_left(t *testing.T) {
	e := start(t, controlled, "/x")
	path := filepath.Join(filepath.Dir(e.file), "edge.pid")
	e.Signal(syscall.SIGKILL)
	e.Wait(testutil.Minutes)
	if text, err := os.ReadFile(path); err != nil || string(text) != fmt.Sprintf("%d\n", e.PID()) {
		t.Fatalf("it left %q %v", text, err)
	}
	for _, left := range []string{"", fmt.Sprintf("%d\n", os.Getpid())} {
		if left != "" {
			if err := os.WriteFile(path, []byte(left), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		next := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Dir: filepath.Dir(e.file),
			Args: []string{"run", e.file}})
		next.WaitLine(`"msg":"listening"`)
		if text, err := os.ReadFile(path); err != nil || string(text) != fmt.Sprintf("%d\n", next.PID()) {
			t.Errorf("the pid file holds %q %v, not %d", text, err, next.PID())
		}
		next.Stop()
		if _, err := os.Stat(path); err == nil {
			t.Error("the pid file is still there")
		}
	}
}

// The next process takes the file while the one before drains, and keeps it when that one ends.
func TestPIDFile_whileAnotherDrains(t *testing.T) {
	e := start(t, "pid_file = \"edge.pid\"\ngrace_period = \"1h\"\nhttp.listen = \"127.0.0.1:0\"\n[[routes]]\n"+
		"pattern = \"/*\"\ndest = %q\n", origin(t))
	w := testutil.Dial(t, e.addr)
	w.Send("GET /stream HTTP/1.1\r\nHost: edge.test\r\n\r\n")
	w.ReadUntil("line 1\n")
	path := filepath.Join(filepath.Dir(e.file), "edge.pid")
	e.Signal(syscall.SIGTERM)
	e.WaitLine(`"msg":"draining"`)
	if code, out := e.tell(t, "status"); code != 0 {
		t.Errorf("the status of a process that drains: %d %s", code, out)
	}
	next := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Dir: filepath.Dir(e.file),
		Args: []string{"run", e.file}})
	next.WaitLine(`"msg":"listening"`)
	e.Signal(syscall.SIGTERM)
	e.Wait(testutil.Minutes)
	if text, err := os.ReadFile(path); err != nil || string(text) != fmt.Sprintf("%d\n", next.PID()) {
		t.Errorf("the pid file holds %q %v, not %d", text, err, next.PID())
	}
	if code, out := e.tell(t, "status"); code != 0 || !strings.Contains(out, fmt.Sprint(next.PID())) {
		t.Errorf("status: %d %s", code, out)
	}
}

// No signal that people send is silent.
func TestRun_upgradeSignal(t *testing.T) {
	e, _ := hanging(t, "1h")
	e.Signal(syscall.SIGUSR2)
	e.WaitLine(`"msg":"upgrading","program":".*edge"`)
	next, err := strconv.Atoi(e.WaitLine(`"msg":"upgraded: the new process serves, this one drains","pid":(\d+)`)[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(next, syscall.SIGKILL) })
	e.Signal(syscall.SIGUSR2)
	e.WaitLine(`"msg":"no upgrade","error":"an upgrade is under way"`)
	e.Signal(syscall.SIGPWR)
	e.WaitLine(`a signal that does nothing","signal":"power failure"`)
	e.Signal(syscall.SIGQUIT)
	e.WaitLine(`"msg":"draining cut short"`)
}

// A process without a terminal is not told of its window: somebody means to end it.
func TestRun_windowSignal(t *testing.T) {
	addr := testutil.FreeAddr(t)
	file := write(t, "error_log = \"error.log\"\n"+daemonText, addr)
	if code, out := daemonize(t, file, nil, "-d", "-c", file); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	log := filepath.Join(realPath(t, filepath.Dir(file)), "error.log")
	pid := daemonOf(t, file, log)
	if err := syscall.Kill(pid, syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, testutil.Minutes, says(log, `"signal":"window changed"`), "it tells")
	ends(t, file, pid)
}

// What users of other servers type is understood, or answered by what to type.
func TestWords_ofOthers(t *testing.T) {
	for args, want := range map[string]string{
		"start": "type edge run", "quit": "type edge stop", "--config x.toml": "type -c FILE",
		"run -f x.toml": "type -c FILE", "run -fx.toml": "type -c FILE",
		"-s now": "reload, stop, quit, reopen or test", "run --port 80": "edge run --help lists its flags",
		"proxy": "edge proxy --help lists its flags",
	} {
		if code, out := edge(t, strings.Fields(args)...); code != 2 || !strings.Contains(out, want) {
			t.Errorf("edge %s: %d, want 2 and %q in\n%s", args, code, want, out)
		}
	}
	for args, want := range map[string]string{
		"-v": "edge dev (go", "-s test -c " + write(t, oneRoute, "/"): "configuration OK",
	} {
		if code, out := edge(t, strings.Fields(args)...); code != 0 || !strings.Contains(out, want) {
			t.Errorf("edge %s: %d, want 0 and %q in\n%s", args, code, want, out)
		}
	}
}

// The first line of the log says what serves; the last one is short unless more is asked for.
func TestRun_firstAndLastLine(t *testing.T) {
	file := write(t, oneRoute, "/x")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"run":   {[]string{"run", file}, `"msg":"stopped","requests":1,"served":"[0-9.ms]+"\}$`},
		"stats": {[]string{"run", "--stats", file}, `"msg":"stopped",.*"counters":\{.*"requests_total 2xx":1`},
		"debug": {[]string{"run", file, "--set", "log_level=debug"}, `"msg":"stopped",.*"counters":\{`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the end takes more than a second
			p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Args: c.args})
			p.WaitLine(fmt.Sprintf(`"msg":"starting","version":"dev","configuration":"%s","pid":%d\}$`, file, p.PID()))
			answers(t, "http://"+p.WaitLine(`"msg":"listening".*"address":"([^"]+)"`)[1]+"/x")
			p.Stop()
			p.WaitLine(c.want)
			if !strings.HasPrefix(p.Output(), "{\"time\"") || strings.Index(p.Output(), `"msg":"starting"`) > 100 {
				t.Errorf("it is not the first line:\n%s", p.Output())
			}
		})
	}
}

// Each address of a listener without a name is told by its own.
func TestRun_tellsEachAddress(t *testing.T) {
	socket := testutil.SocketPath(t)
	e := start(t, "log.output = []\n[[listeners]]\nlisten = [\"127.0.0.1:0\", \"unix:%s\"]\n[[listeners]]\n"+
		"name = \"web\"\nlisten = \"127.0.0.2:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n", socket)
	e.WaitLine(`"msg":"listening","listener":"127.0.0.1:0","address":"127.0.0.1:[1-9]`)
	e.WaitLine(`"msg":"listening","listener":"unix:` + socket + `","address":"unix:` + socket + `"`)
	e.WaitLine(`"msg":"listening","listener":"web","address":"127.0.0.2:`)
}

// Too few file descriptors for the configuration are told, with what raises the limit.
func TestRun_fewDescriptors(t *testing.T) {
	for _, c := range []struct{ limit, connections, want string }{
		{"200", "", `"limit":200,"wanted":1024,"try":"LimitNOFILE=65536 `},
		{"2000", "", ""},
		{"2000", "limits.connections = 900", ""},
		{"2000", "limits.connections = 100000", `"limit":2000,"wanted":200064,"try":"LimitNOFILE=262144 `},
	} {
		t.Run(c.limit+" "+c.connections, func(t *testing.T) {
			t.Parallel() // the end takes more than a second
			text := "[[listeners]]\nlisten = \"127.0.0.1:0\"\n" + c.connections +
				"\n[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n"
			const script = `ulimit -n "$0" && exec "$1" run "$2"`
			p := testutil.Start(t, testutil.Command{Path: "/bin/sh", Args: []string{"-c", script, c.limit,
				testutil.Binary(t, "./cmd/edge"), write(t, "%s", text)}})
			p.WaitLine(`"msg":"listening"`)
			p.Stop()
			if got := strings.Contains(p.Output(), "few file descriptors"); got != (c.want != "") ||
				!strings.Contains(p.Output(), c.want) {
				t.Errorf("%+v:\n%s", c, p.Output())
			}
		})
	}
}

// The line of a request comes when it is answered, not with those of the next second.
func TestProxy_linesAtOnce(t *testing.T) {
	const many = 20 // which take as many seconds where lines are gathered
	p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"),
		Args: []string{"proxy", "--from", "127.0.0.1:0", "--to", origin(t)}})
	url := p.WaitLine(`edge: (http://\S+)/ -> `)[1]
	c, begun := client(t), time.Now()
	for i := range many {
		testutil.Get(t, c, fmt.Sprintf("%s/bytes/%d", url, i))
		p.WaitLine(fmt.Sprintf(`"GET /bytes/%d HTTP/1\.1" 200 %[1]d 127\.0\.0\.1:[0-9]+ [0-9.]+ms$`, i))
	}
	if took := time.Since(begun); took > many*time.Second/2 {
		t.Errorf("%d lines took %v", many, took)
	}
}

// The demo names an address that a browser takes.
func TestDemo_address(t *testing.T) {
	p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"),
		Args: []string{"serve-demo", "--listen", ":0"}})
	url := p.WaitLine(`demo origin on (http://localhost:[1-9][0-9]*/)$`)[1]
	if resp, _ := testutil.Get(t, client(t), url); resp.StatusCode != 200 {
		t.Errorf("%d", resp.StatusCode)
	}
}

// The user that a process has become may ask for it and end it, although only root sees what it has open.
func TestControl_asTheUser(t *testing.T) {
	uid, gid := nobody(t)
	dir := owned(t, uid, gid)
	file, bin := filepath.Join(dir, "edge.toml"), filepath.Join(dir, "edge")
	text := fmt.Sprintf("user = \"nobody\"\nadmin.listen = false\npid_file = %q\n"+oneRoute,
		filepath.Join(dir, "edge.pid"), "/x")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(testutil.Binary(t, "./cmd/edge"), bin); err != nil {
		t.Skip(err)
	}
	p := testutil.Start(t, testutil.Command{Path: bin, Args: []string{"run", file}})
	p.WaitLine(`"msg":"listening"`)
	for _, word := range []string{"status", "reload", "stop"} {
		cmd := exec.Command(bin, word, file)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), fmt.Sprint(p.PID())) {
			t.Errorf("%s: %v %s", word, err, out)
		}
	}
	if code := p.Wait(testutil.Minutes); code != 0 {
		t.Errorf("exit code %d", code)
	}
	p.WaitLine(`(?s)"msg":"configuration reloaded.*"msg":"drained"`)
}

// What --json prints is one object of JSON, whatever comes of the command.
func TestControl_json(t *testing.T) {
	socket, dir := testutil.SocketPath(t), t.TempDir()
	e := start(t, operated, socket)
	told := func(args ...string) (code int, found map[string]any) {
		t.Helper()
		code, out, problems := edgeIn(t, dir, "", args...)
		if err := json.Unmarshal([]byte(out), &found); err != nil {
			t.Errorf("%q: %v: %s%s", args, err, out, problems)
		}
		return code, found
	}
	wrong := filepath.Join(dir, "wrong.toml")
	putFile(t, wrong, "bad = 1\n")
	code, found := told("reload", "--json", "-c", wrong)
	if list, _ := found["findings"].([]any); code != 1 || found["applied"] != false || len(list) == 0 {
		t.Errorf("reload: %d %v", code, found)
	}
	code, found = told("diff", "--json", e.file, wrong)
	if list, _ := found["findings"].([]any); code != 1 || found["applicable"] != false || len(list) == 0 {
		t.Errorf("diff: %d %v", code, found)
	}
	if code, found = told("schema", "--json"); code != 0 || found["$schema"] == nil {
		t.Errorf("schema: %d %v", code, found["$schema"])
	}
	code, found = told("stop", "--json", "-c", e.file)
	if code != 0 || found["ended"] != true || found["pid"] != float64(e.PID()) {
		t.Errorf("stop: %d %v", code, found)
	}
	pid := filepath.Join(dir, "pid")
	e = start(t, "pid_file = %q\n[admin]\nlisten = false\n[http]\nlisten = \"127.0.0.1:0\"\n[[routes]]\n"+
		"pattern = \"/*\"\ndest = \"status:200\"\n", pid)
	if code, found = told("reload", "--json", "-c", e.file); code != 0 || found["signal"] != "SIGHUP" {
		t.Errorf("reload by a signal: %d %v", code, found)
	}
	if code, found = told("stop", "--json", "-c", e.file); code != 0 || found["ended"] != true {
		t.Errorf("stop by a signal: %d %v", code, found)
	}
}

// A process that breaks a connection off, or is too busy to answer, has not ended.
func TestStopBy_waitsForTheEnd(t *testing.T) {
	l := testutil.ListenUnix(t)
	var asked atomic.Int32
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, `{"pid":7,"grace":"1s"}`)
			return
		}
		switch asked.Add(1) {
		case 1:
			panic(http.ErrAbortHandler) // the connection is closed
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			fmt.Fprint(w, `{"pid":7}`)
		default:
			fmt.Fprint(w, `{"pid":8}`)
		}
	})}
	go srv.Serve(l) //nolint:errcheck // until Close
	defer srv.Close()
	client, err := admin.NewClient(admin.Target{Address: "unix:" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := new(asking).stopBy(client, &out, false); err != nil || asked.Load() < 4 ||
		!strings.Contains(out.String(), "has ended") {
		t.Errorf("%v after %d questions: %s", err, asked.Load(), out.String())
	}
}
