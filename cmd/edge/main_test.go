package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/process"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(originEnv); address != "" {
		fmt.Println(serveOrigin(address))
		os.Exit(1)
	}
	if socket := os.Getenv(middleEnv); socket != "" {
		fmt.Fprintln(os.Stderr, becomeEdge(socket))
		os.Exit(1)
	}
	if os.Getenv(activateEnv) != "" {
		fmt.Println(activate())
		os.Exit(1)
	}
	os.Exit(testutil.Main(m))
}

// edge runs the binary to its end.
func edge(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	return in(t, t.TempDir(), args...)
}

// command is a command line, with the exit code and the texts that it has to have. Blanks count as one, "|" stands
// between two texts, and "!" before a text that must not be there.
type command struct {
	args string
	code int
	want string
}

// commands runs commands of edge in a folder, one after the other. dir is "" for a folder of their own.
func commands(t *testing.T, dir string, all ...command) {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	for _, c := range all {
		code, out := in(t, dir, strings.Fields(c.args)...)
		text := strings.Join(strings.Fields(out), " ")
		for want := range strings.SplitSeq(c.want, "|") {
			want, not := strings.CutPrefix(want, "!")
			if code != c.code || strings.Contains(text, strings.Join(strings.Fields(want), " ")) == not {
				t.Errorf("edge %s: %d, want %d and %q in\n%s", c.args, code, c.code, want, out)
			}
		}
	}
}

// dial opens a connection.
func dial(t testing.TB, network, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, addr)
	testutil.Must(t, err)
	return c
}

// origin is the demo origin, in the process of the test.
func origin(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(demo())
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return strings.TrimPrefix(s.URL, "http://")
}

// running is an edge run with a configuration of the test.
type running struct {
	*testutil.Process
	file string // the configuration
	addr string // of the first listener
}

// run starts edge with a configuration and waits until it listens.
func start(t *testing.T, format string, args ...any) *running {
	t.Helper()
	r := &running{file: write(t, format, args...)}
	r.Process = launch(t, filepath.Dir(r.file), "run", "--stats", "-c", r.file)
	r.addr = listens(r)
	return r
}

// waitable is a process, whatever rig holds it.
type waitable interface {
	WaitLine(pattern string) []string
	Stop() int
	Wait(within time.Duration) int
}

// launch starts edge with arguments. It works in dir; "": in a folder of its own.
func launch(t *testing.T, dir string, args ...string) *testutil.Process {
	t.Helper()
	return testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Args: args, Dir: dir})
}

// listens waits until p listens, and returns its first address.
func listens(p waitable) (addr string) {
	return p.WaitLine(`"msg":"listening".*"address":"([^"]+)"`)[1]
}

// stopsWell has p end.
func stopsWell(t *testing.T, p waitable) {
	t.Helper()
	if code := p.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// endsWell waits for the end of p, which was asked to end.
func endsWell(t *testing.T, p waitable) {
	t.Helper()
	if code := p.Wait(testutil.Minutes); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func putFile(t *testing.T, path, format string, args ...any) {
	t.Helper()
	putAs(t, path, 0o600, fmt.Appendf(nil, format, args...))
}

func putAs(t *testing.T, path string, mode os.FileMode, text []byte) {
	t.Helper()
	testutil.Must(t, os.WriteFile(path, text, mode))
}

func write(t *testing.T, format string, args ...any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edge.toml")
	putFile(t, path, format, args...)
	return path
}

// change rewrites the configuration and tells the process.
func (r *running) change(t *testing.T, format string, args ...any) {
	t.Helper()
	putFile(t, r.file, format, args...)
	r.Signal(syscall.SIGHUP)
}

// client makes a client with connections of its own.
func client(t *testing.T) *http.Client {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{}, Timeout: testutil.Patience}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestProxy_inFrontOfTheDemo(t *testing.T) {
	bin := testutil.Binary(t, "./cmd/edge")
	to := testutil.FreeAddr(t) // nobody else's when the origin has ended
	origin := testutil.Start(t, testutil.Command{Path: bin, Args: []string{"serve-demo", "--listen", to}})
	origin.WaitLine(`demo origin on http://` + to + `/`)
	p := testutil.Start(t, testutil.Command{Path: bin, Args: []string{"proxy", "--from", "127.0.0.1:0", "--to", to}})
	url := p.WaitLine(`edge: (http://\S+)/ -> `)[1]
	c := client(t)
	if resp, body := testutil.Get(t, c, url+"/"); resp.StatusCode != 200 || body != demoText {
		t.Errorf("/: %d %q", resp.StatusCode, body)
	}
	if _, body := testutil.Get(t, c, url+"/addr"); body != to+"\n" {
		t.Errorf("/addr: %q, want %s", body, to)
	}
	if resp, body := testutil.Get(t, c, url+"/bytes/3000000"); resp.StatusCode != 200 || len(body) != 3_000_000 {
		t.Errorf("/bytes: %d, %d bytes", resp.StatusCode, len(body))
	}
	if _, body := testutil.Get(t, c, url+"/chunked/100"); !strings.HasSuffix(body, "line 100 of 100\n") {
		t.Errorf("/chunked ends with %q", body[max(0, len(body)-20):])
	}
	if out := curlWith(t, "--data-binary", "hello", url+"/echo"); !strings.HasSuffix(out, "hello") {
		t.Errorf("curl: %q", out)
	}
	p.WaitLine(`"GET /bytes/3000000 HTTP/1\.1" 200 3000000 ` + to + ` [0-9.]+ms$`)
	stopsWell(t, origin)
	if resp, _ := testutil.Get(t, c, url+"/"); resp.StatusCode != 502 {
		t.Errorf("without its origin: %d, want 502", resp.StatusCode)
	}
	p.WaitLine(`a backend fails.*does it run, and listen there`)
	c.CloseIdleConnections()
	stopsWell(t, p)
}

func TestProxy_flagsThatMakeNoSense(t *testing.T) {
	commands(t, "",
		command{"proxy", exitUsage, "--to"},
		command{"proxy --to localhost", exitUsage, "--to:"},
		command{"proxy --from nowhere --to localhost:1", exitUsage, "--from:"},
		command{"proxy --to localhost:1 more", exitUsage, "takes no argument"},
	)
}

func TestCheck_exitCodes(t *testing.T) {
	t.Parallel()
	right := write(t, "http.listen = \":80\"\n[[routes]]\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\n")
	wrong := write(t, "http.listen = \":80\"\nhttp.lisen = \":81\"\n")
	warned := write(t, "http.listen = \":80\"\n")
	commands(t, "",
		command{"check -c " + right, 0, "configuration OK: 1 listener, 1 route, 1 upstream"},
		command{"-t -c " + right, 0, "configuration OK: 1 listener, 1 route, 1 upstream"},
		command{"--conf " + right + " --test", 0, "configuration OK"},
		command{"check --strict -c " + right, 0, "configuration OK"},
		command{"check -c " + wrong, 1, "did you mean \"listen\"?"},
		command{"-t -c " + wrong, 1, "edge.toml:2:"},
		command{"run -c " + wrong, 1, "edge.toml:2:"},
		command{"check -c " + warned, 0, "no-route"},
		command{"check --strict -c " + warned, 2, "no-route"},
		command{"check -c missing.toml", 1, "cannot read"},
		command{"run -c missing.toml", 1, "cannot read"},
		command{"check", 1, "no configuration"},
		command{"-d -c " + wrong, 1, "edge.toml:2:"},
		command{"-d -t -c " + right, 0, "configuration OK"},
		command{"check -d", 2, "unknown shorthand flag: 'd'"},
		command{"-u", 1, "needs upgrade_sock"},
		command{"run --upgrade", 1, "needs upgrade_sock"},
		command{"chek", 2, "did you mean \"check\"?"},
		command{"-h", 0, "serve-demo"},
		command{"--version", 0, "edge dev (go"},
		command{"-V", 0, "edge dev (go"},
		command{"version", 0, "edge dev (go|buffers for TLS records are lent"},
	)
}

// A program that edge starts and that fails has printed nothing for edge: only a daemon has.
func TestConclude_exitCodes(t *testing.T) {
	failed := exec.Command("sh", "-c", "exit 7").Run()
	for want, err := range map[int]error{
		0: nil, exitError: fmt.Errorf("a tool: %w", failed), exitUsage: usage{nil, errNoFile}, 5: exit(5),
		7: fmt.Errorf("start: %w", &process.DaemonError{Code: 7}),
	} {
		if got := conclude(err); got != want {
			t.Errorf("%v: exit code %d, want %d", err, got, want)
		}
	}
}

// edge check makes the filters that are used, as a reload would: what only New can see is found before.
func TestCheck_makesFilters(t *testing.T) {
	const conf = "[filters.door]\ntype = \"basic_auth\"\nfile = \"%s\"\n\n[[routes]]\npattern = \"/*\"\n" +
		"dest = \"status:204\"\nfilters = [%s]\n"
	none := filepath.Join(t.TempDir(), "none")
	path := write(t, conf, none, `"door"`)
	commands(t, "",
		command{"check -c " + path, 1,
			path + ":3:8: error: the filter \"door\" cannot be made: |file = |edge hash-password"},
		command{"check -c " + write(t, conf, none, ""), 0, ""}, // it is not used
	)
}

func TestCheck_json(t *testing.T) {
	code, out := edge(t, "check", "--json", "-c", write(t, "[htp]\n"))
	var report config.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 1 || len(report.Errors) != 1 {
		t.Errorf("%d %v %+v in %q", code, err, report, out)
	}
	var v struct {
		Version string
		Buffers string `json:"tls_buffers"`
	}
	_, out = edge(t, "version", "--json")
	if err := json.Unmarshal([]byte(out), &v); err != nil || v.Version != "dev" || v.Buffers != "lent" {
		t.Errorf("version --json prints %q", out)
	}
}

func TestCheck_example(t *testing.T) {
	commands(t, filepath.Join(testutil.Root(t), "examples"),
		command{"check --strict -c edge.toml", 0, "configuration OK: 1 listener, 9 routes, 3 upstreams"},
		command{"check --strict -c https.toml", 0,
			"configuration OK: 2 listeners, 3 routes, 3 upstreams, 1 certificate"},
	)
}

// edge finds a file in the working directory, and takes a file that -c names.
func TestRun_findsTheFile(t *testing.T) {
	file := write(t, oneRoute, "/x")
	for _, p := range []*testutil.Process{launch(t, filepath.Dir(file)), launch(t, "", "run", file)} {
		answers(t, "http://"+listens(p)+"/x")
	}
}

func TestRun_addressInUse(t *testing.T) {
	t.Parallel()
	l := testutil.Listen(t)
	file := write(t, "http.listen = %q\n[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n", l.Addr())
	code, out := edge(t, "run", "-c", file)
	want := fmt.Sprintf("edge: %s:1:15: listener %s: listen %[2]s: address already in use\n", file, l.Addr())
	who := fmt.Sprintf(", process %d, listens there\n", os.Getpid())
	if code != 1 || !strings.Contains(out, want) || !strings.HasSuffix(out, who) {
		t.Errorf("%d, want %q and %q in %q", code, want, who, out)
	}
	code, out = edge(t, "proxy", "--from", l.Addr().String(), "--to", "1")
	want = fmt.Sprintf("edge: listener %s: listen %[1]s: address already in use\n", l.Addr())
	if code != 1 || !strings.Contains(out, want) || !strings.HasSuffix(out, who) {
		t.Errorf("edge proxy: %d, want %q and %q in %q", code, want, who, out)
	}
}

const oneRoute = `
log.output = []
http.listen = "127.0.0.1:0"
[[routes]]
pattern = %q
dest = "status:204"
`

func TestRun_reloadKeepsConnections(t *testing.T) {
	e := start(t, oneRoute, "/before")
	w := testutil.Dial(t, e.addr)
	ask := func(path string) int {
		w.Send("GET ", path, " HTTP/1.1\r\nHost: edge.test\r\n\r\n")
		resp, _ := w.ReadResponse("GET")
		return resp.StatusCode
	}
	if status := ask("/before"); status != 204 {
		t.Fatalf("before: %d", status)
	}
	e.change(t, oneRoute, "/after")
	e.WaitLine(`"msg":"configuration reloaded","changes":.*"route /after"`)
	if before, after := ask("/before"), ask("/after"); before != 404 || after != 204 {
		t.Errorf("on the open connection: %d %d, want 404 204", before, after)
	}

	e.change(t, "log.output = []\nhttp.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/x\"\ndes = \"status:200\"\n")
	e.WaitLine(`"level":"ERROR".*edge.toml:5:1: error: unknown key`)
	e.WaitLine(`reload failed, nothing has changed`)
	if status := ask("/after"); status != 204 {
		t.Errorf("behind the bad file: %d", status)
	}
	e.change(t, "threads = 3"+oneRoute, "/after")
	e.WaitLine(`take effect after a restart.*worker_threads`)
}

func TestRun_terminateUnderLoadFailsNoRequest(t *testing.T) {
	t.Parallel()
	e := start(t, `
log.output = ["access.log"]
http.listen = "127.0.0.1:0"
[[routes]]
pattern = "/*"
dest = %q
`, origin(t))
	l := newLoad(t)
	for i := range 32 {
		path := []string{"/bytes/200000", "/delay/50", "/bytes/100", "/bytes/100"}[i%4]
		l.wait.Go(func() {
			if !l.askOver(e.addr, path) {
				t.Error("a connection was not told that it closes")
			}
		})
	}
	testutil.Eventually(t, testutil.Minutes, func() bool { return l.asked.Load() > 500 }, "load runs")
	e.Signal(syscall.SIGTERM)
	endsWell(t, e)
	l.wait.Wait()
	l.stop()
	text := textOf(t, filepath.Join(filepath.Dir(e.file), "access.log"))
	if n := strings.Count(text, "\n"); int64(n) != l.asked.Load() {
		t.Errorf("%d lines in the access log for %d answers", n, l.asked.Load())
	}
	e.WaitLine(`"msg":"drained"`)
}

// hanging starts edge with an exchange that takes a minute.
func hanging(t *testing.T, grace string) (*running, *testutil.Wire) {
	t.Helper()
	e := start(t, `
pid_file = "edge.pid"
grace_period = %q
http.listen = "127.0.0.1:0"
[[routes]]
pattern = "/*"
dest = %q
`, grace, origin(t))
	w := testutil.Dial(t, e.addr)
	w.Send("GET /stream HTTP/1.1\r\nHost: edge.test\r\n\r\n")
	w.ReadUntil("line 1\n")
	return e, w
}

func TestRun_gracePeriodCutsWhatHangs(t *testing.T) {
	t.Parallel()
	e, w := hanging(t, "300ms")
	e.Signal(syscall.SIGQUIT)
	endsWell(t, e)
	w.ReadAll()
	e.WaitLine(`grace period over.*"connections_cut":1`)
}

func TestRun_secondSignalEndsTheDrain(t *testing.T) {
	e, _ := hanging(t, "1h")
	e.Signal(syscall.SIGTERM)
	e.WaitLine(`"msg":"draining"`)
	if c, err := net.Dial("tcp", e.addr); err == nil {
		// Between the line and the closing of the sockets a connection may still be taken. Then it is served.
		c.Close()
	}
	e.Signal(syscall.SIGTERM)
	endsWell(t, e)
	e.WaitLine(`draining cut short`)
}

func TestRun_interruptStopsAtOnce(t *testing.T) {
	e, _ := hanging(t, "1h")
	e.Signal(syscall.SIGINT)
	endsWell(t, e)
	e.WaitLine(`"msg":"stopped","requests":0,"served":"[0-9.ms]+","counters":.*"connections_total":1`)
}

func TestRun_pidFile(t *testing.T) {
	t.Parallel()
	e := start(t, "pid_file = \"edge.pid\""+oneRoute, "/x")
	path := filepath.Join(filepath.Dir(e.file), "edge.pid")
	testutil.Eventually(t, testutil.Minutes, says(path, fmt.Sprintln(e.PID())), "the pid file holds %d", e.PID())
	e.Stop()
	if _, err := os.Stat(path); err == nil {
		t.Error("the pid file is still there")
	}
}

// RFC 7686 §2: DNS is not asked for a name below onion, so that it takes no time to know that there is none.
func TestRun_nameThatDoesNotResolve(t *testing.T) {
	e := start(t, "http.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"nowhere.onion:80\"\n")
	resp, _ := testutil.Get(t, client(t), "http://"+e.addr+"/")
	if resp.StatusCode != 503 || !strings.Contains(resp.Header.Get("Proxy-Status"), "destination_unavailable") {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	e.WaitLine(`backend does not resolve`)
}

func TestDemo_answers(t *testing.T) {
	url := "http://" + origin(t)
	c := client(t)
	for path, want := range map[string]int{
		"/": 200, "/status/204": 204, "/status/503": 503, "/status/99": 400, "/status/x": 400, "/bytes/10": 200,
		"/bytes/99999999999": 400, "/delay/1": 200, "/delay/60001": 400, "/chunked/3": 200, "/none": 404,
	} {
		if resp, body := testutil.Get(t, c, url+path); resp.StatusCode != want {
			t.Errorf("%s: %d %q, want %d", path, resp.StatusCode, body, want)
		}
	}
	resp, err := c.Post(url+"/echo?q=1", "text/plain", strings.NewReader("hello"))
	testutil.Must(t, err)
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if !strings.HasPrefix(string(body), "POST /echo?q=1 HTTP/1.1\r\n") ||
		!strings.HasSuffix(string(body), "\r\n\r\nhello") {
		t.Errorf("/echo: %q", body)
	}
}
