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

	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

const controlled = "pid_file = \"edge.pid\"\nadmin.listen = false\ngrace_period = \"20s\"\n" + oneRoute

// tell runs a command in the folder of e's configuration.
func (r *running) tell(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	return in(t, filepath.Dir(r.file), args...)
}

// commands runs commands in the folder of e's configuration.
func (r *running) commands(t *testing.T, all ...command) {
	t.Helper()
	commands(t, filepath.Dir(r.file), all...)
}

func TestControl_ofOneProcess(t *testing.T) {
	t.Parallel()
	e := start(t, controlled, "/one")
	pid := strconv.Itoa(e.PID())
	dir := filepath.Dir(e.file)
	commands(t, dir, command{"status", 0, "runs as process " + pid + " since "})
	code, out := e.tell(t, "status", "--json")
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
	putFile(t, e.file, controlled, "/two")
	commands(t, dir, command{"reload", 0, "process " + pid + " reads"})
	e.WaitLine(`"msg":"configuration reloaded"`)
	answers(t, "http://"+e.addr+"/two")
	commands(t, dir, command{"-s reopen", 0, ""})
	e.WaitLine(`log files opened again`)
	commands(t, dir, command{"stop", 0, "within 20s|" + pid + " has ended"})
	endsWell(t, e)
	e.WaitLine(`"msg":"drained"`)
	const none = "no edge runs: there is no "
	commands(t, dir, command{"status", 1, none}, command{"stop", 1, none}, command{"reload", 1, none},
		command{"-s quit", 1, none}, command{"status --json", 1, `"running": false`})
}

// A file with errors is not sent; the process can be ended all the same.
func TestControl_wrongFile(t *testing.T) {
	e := start(t, controlled, "/one")
	putFile(t, e.file, "htp.listen = 1\n")
	e.commands(t,
		command{"reload", 1, "edge.toml:1:1: error|was told nothing"},
		command{"stop", 1, "--pid-file"},
		command{"stop --now --pid-file edge.pid", 0, "cuts"},
	)
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
	t.Parallel()
	for _, c := range []struct{ args, said string }{
		{"stop", "grace period over"}, {"-s quit", "grace period over"},
		{"stop --now", "stopping at once"}, {"-s stop", "stopping at once"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			e, _ := hanging(t, "300ms")
			e.commands(t, command{c.args, 0, "has ended"})
			e.Wait(testutil.Minutes)
			e.WaitLine(c.said)
		})
	}
}

// What a pid file says is not believed.
func TestControl_pidFilesThatLie(t *testing.T) {
	t.Parallel()
	other := launch(t, "", "serve-demo", "--listen", "127.0.0.1:0")
	other.WaitLine("demo origin")
	for _, c := range []struct{ name, content, want string }{
		{"another process", fmt.Sprintln(other.PID()), fmt.Sprintf("process %d is ", other.PID())},
		{"a past process", "4194999\n", "was left by process 4194999"},
		{"no number", "edge\n", "holds no number"},
		{"all processes", "-1\n", "holds no number"},
		{"the process zero", "0\n", "holds no number"},
		{"nothing", "", "is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Dir(write(t, controlled, "/x"))
			putFile(t, filepath.Join(dir, "edge.pid"), "%s", c.content)
			commands(t, dir, command{"stop", 1, c.want}, command{"stop --now", 1, c.want},
				command{"reload", 1, c.want}, command{"status", 1, c.want})
		})
	}
	if !other.Running() {
		t.Error("another process was ended")
	}
	commands(t, filepath.Dir(write(t, oneRoute, "/x")), command{"stop", 1, "has no pid_file"})
}

// A second process with the same pid file does not start, whatever else it would serve; it leaves the first one alone.
func TestPIDFile_ofASecondProcess(t *testing.T) {
	t.Parallel()
	e := start(t, controlled, "/x")
	pid := fmt.Sprintf("%d\n", e.PID())
	noneLeft(t, e.file)
	already := "edge runs already, as process " + pid
	e.commands(t, command{"run " + e.file, 1, already}, command{"run -d " + e.file, 1, already})
	if got := textOf(t, filepath.Join(filepath.Dir(e.file), "edge.pid")); got != pid {
		t.Errorf("the pid file holds %q", got)
	}
	answers(t, "http://"+e.addr+"/x")
}

// What a killed process has left does not keep the next one from starting, also when its number is another process's by
// now: in a container it always is.
func TestPIDFile_left(t *testing.T) {
	t.Parallel()
	e := start(t, controlled, "/x")
	path := filepath.Join(filepath.Dir(e.file), "edge.pid")
	e.Signal(syscall.SIGKILL)
	e.Wait(testutil.Minutes)
	for _, left := range []int{e.PID(), os.Getpid()} {
		if left != e.PID() {
			putFile(t, path, "%d\n", left)
		}
		if got := textOf(t, path); got != fmt.Sprintln(left) {
			t.Fatalf("it left %q", got)
		}
		next := launch(t, filepath.Dir(e.file), "run", e.file)
		next.WaitLine(`"msg":"listening"`)
		if got := textOf(t, path); got != fmt.Sprintln(next.PID()) {
			t.Errorf("the pid file holds %q, not %d", got, next.PID())
		}
		next.Stop()
		if _, err := os.Stat(path); err == nil {
			t.Error("the pid file is still there")
		}
	}
}

// The next process takes the file while the one before drains, and keeps it when that one ends.
func TestPIDFile_whileAnotherDrains(t *testing.T) {
	t.Parallel()
	e, _ := hanging(t, "1h")
	path := filepath.Join(filepath.Dir(e.file), "edge.pid")
	e.Signal(syscall.SIGTERM)
	e.WaitLine(`"msg":"draining"`)
	e.commands(t, command{"status", 0, ""}) // it drains
	next := launch(t, filepath.Dir(e.file), "run", e.file)
	next.WaitLine(`"msg":"listening"`)
	e.Signal(syscall.SIGTERM)
	e.Wait(testutil.Minutes)
	if got := textOf(t, path); got != fmt.Sprintln(next.PID()) {
		t.Errorf("the pid file holds %q, not %d", got, next.PID())
	}
	e.commands(t, command{"status", 0, fmt.Sprint(next.PID())})
}

// No signal that people send is silent.
func TestRun_upgradeSignal(t *testing.T) {
	e, _ := hanging(t, "1h")
	e.Signal(syscall.SIGUSR2)
	e.WaitLine(`"msg":"upgrading","program":".*edge"`)
	next, err := strconv.Atoi(e.WaitLine(`"msg":"upgraded: the new process serves, this one drains","pid":(\d+)`)[1])
	testutil.Must(t, err)
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
	testutil.Must(t, syscall.Kill(pid, syscall.SIGWINCH))
	testutil.Eventually(t, testutil.Minutes, says(log, `"signal":"window changed"`), "it tells")
	ends(t, file, pid)
}

// What users of other servers type is understood, or answered by what to type.
func TestWords_ofOthers(t *testing.T) {
	commands(t, "",
		command{"start", 2, "type edge run"},
		command{"quit", 2, "type edge stop"},
		command{"--config x.toml", 2, "type -c FILE"},
		command{"run -f x.toml", 2, "type -c FILE"},
		command{"run -fx.toml", 2, "type -c FILE"},
		command{"-s now", 2, "reload, stop, quit, reopen or test"},
		command{"run --port 80", 2, "edge run --help lists its flags"},
		command{"proxy", 2, "edge proxy --help lists its flags"},
		command{"-v", 0, "edge dev (go"},
		command{"-s test -c " + write(t, oneRoute, "/"), 0, "configuration OK"},
	)
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
			p := launch(t, "", c.args...)
			p.WaitLine(fmt.Sprintf(`"msg":"starting","version":"dev","configuration":"%s","pid":%d\}$`, file, p.PID()))
			answers(t, "http://"+listens(p)+"/x")
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

// More clients than there are descriptors, each of which begins a request and waits: half of the descriptors are left
// to backends, so that each client gets its answer, some when others have gone.
func TestRun_moreClientsThanDescriptors(t *testing.T) {
	t.Parallel()
	text := "[global]\nworker_threads = 2\n[[listeners]]\nlisten = \"127.0.0.1:0\"\n[log]\noutput = []\n" +
		"[[routes]]\npattern = \"/*\"\ndest = %q\n"
	const script = `ulimit -n 200 && exec "$0" run "$1"`
	p := testutil.Start(t, testutil.Command{Path: "/bin/sh", Args: []string{"-c", script,
		testutil.Binary(t, "./cmd/edge"), write(t, text, origin(t))}})
	addr := p.WaitLine(`"msg":"listening".*"address":"([^"]+)"`)[1]
	var clients []*testutil.Wire
	for range 300 {
		clients = append(clients, testutil.Dial(t, addr))
		clients[len(clients)-1].Send("G")
	}
	for _, c := range clients {
		c.Send("ET /bytes/9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	}
	for i, c := range clients {
		if got := c.ReadAll(); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Fatalf("client %d: %.100q", i, got)
		}
	}
}

// The line of a request comes when it is answered, not with those of the next second.
func TestProxy_linesAtOnce(t *testing.T) {
	t.Parallel()
	const many = 20 // which take as many seconds where lines are gathered
	p := launch(t, "", "proxy", "--from", "127.0.0.1:0", "--to", origin(t))
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
	p := launch(t, "", "serve-demo", "--listen", ":0")
	url := p.WaitLine(`demo origin on (http://localhost:[1-9][0-9]*/)$`)[1]
	answersWith(t, url, 200)
}

// The user that a process has become may ask for it and end it, although only root sees what it has open.
func TestControl_asTheUser(t *testing.T) {
	uid, gid := nobody(t)
	dir := owned(t, uid, gid)
	file, bin := filepath.Join(dir, "edge.toml"), binaryIn(t, dir)
	putAs(t, file, 0o644, fmt.Appendf(nil, "user = \"nobody\"\nadmin.listen = false\npid_file = %q\n"+oneRoute,
		filepath.Join(dir, "edge.pid"), "/x"))
	p := testutil.Start(t, testutil.Command{Path: bin, Args: []string{"run", file}})
	p.WaitLine(`"msg":"listening"`)
	for _, word := range []string{"status", "reload", "stop"} {
		out, err := as(uid, gid, bin, word, file).CombinedOutput()
		if err != nil || !strings.Contains(string(out), fmt.Sprint(p.PID())) {
			t.Errorf("%s: %v %s", word, err, out)
		}
	}
	endsWell(t, p)
	p.WaitLine(`(?s)"msg":"configuration reloaded.*"msg":"drained"`)
}

// What --json prints is one object of JSON, whatever comes of the command.
func TestControl_json(t *testing.T) {
	t.Parallel()
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
	testutil.Must(t, err)
	var out strings.Builder
	if err := new(asking).stopBy(client, &out, false); err != nil || asked.Load() < 4 ||
		!strings.Contains(out.String(), "has ended") {
		t.Errorf("%v after %d questions: %s", err, asked.Load(), out.String())
	}
}
