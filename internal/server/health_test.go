package server

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// checkedOrigin is a backend whose checks can be made to fail, while it answers clients still.
type checkedOrigin struct {
	*httptest.Server
	ill    atomic.Bool
	checks atomic.Int64
}

func newCheckedOrigin(t *testing.T, name string) *checkedOrigin {
	o := &checkedOrigin{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			fmt.Fprint(w, name)
			return
		}
		if o.checks.Add(1); o.ill.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *checkedOrigin) address() string { return o.Listener.Addr().String() }

// answersOf returns who answers so many requests.
func answersOf(t *testing.T, s *Server, n int) map[string]int {
	t.Helper()
	got := make(map[string]int)
	for range n {
		status, body := get(t, s, "web", "/")
		if status != 200 {
			body = fmt.Sprint(status)
		}
		got[body]++
	}
	return got
}

const checks = "[health_check]\npath = \"/healthz\"\n" +
	"interval = \"300ms\"\nfast_interval = \"10ms\"\ntimeout = \"300ms\"\n"

// A backend that fails its checks gets no request, and gets them again when they pass. A reload keeps what is known;
// without checks it serves.
func TestHealth_takesABackendAwayAndBringsItBack(t *testing.T) {
	var log testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&log, nil))
	one, two := newCheckedOrigin(t, "one"), newCheckedOrigin(t, "two")
	file := quiet + "[http]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n" +
		"[[routes]]\npattern = \"/*\"\ndest = \"" + one.address() + ", " + two.address() + "\"\n"
	s := start(t, Options{}, "%s", file+checks)
	testutil.Eventually(t, testutil.Patience, func() bool {
		return one.checks.Load() > 3 && two.checks.Load() > 3
	}, "both are checked")
	if got := answersOf(t, s, 8); got["one"] == 0 || got["two"] == 0 {
		t.Errorf("answers of %v", got)
	}
	name := fmt.Sprintf("%s, %s", one.address(), two.address())
	down := func() float64 { return counter(s, "edge_check_backends", name, "down") }
	two.ill.Store(true)
	testutil.Eventually(t, testutil.Patience, func() bool { return down() == 1 }, "two is down")
	if got := answersOf(t, s, 8); got["one"] != 8 {
		t.Errorf("two is down; answers of %v", got)
	}
	want := `level=WARN msg="backend down" upstream="?.*"? backend=` + regexp.QuoteMeta(two.address()) +
		` tier=0 reason=status expected=200-299 got=503 after=[13]/[13] took=\S+ next=\S+ (was_up=\S+ )?open=1/2`
	testutil.Eventually(t, testutil.Patience, func() bool { return regexp.MustCompile(want).MatchString(log.String()) },
		"a line like ", want, " in ", &log)

	apply(t, s, "%s", file+strings.Replace(checks, "10ms", "11ms", 1)) // other checks
	wantEqual(t, down(), 1, "a reload forgets that a backend is down")
	if got := answersOf(t, s, 8); got["one"] != 8 {
		t.Errorf("after a reload answers of %v", got)
	}
	two.ill.Store(false)
	testutil.Eventually(t, testutil.Patience, func() bool { return down() == 0 }, "two is up")
	if n := strings.Count(log.String(), "msg=\"backend down\""); n != 1 {
		t.Errorf("%d lines say that it is down", n)
	}
	if n := strings.Count(log.String(), "msg=\"backend up\""); n != 1 {
		t.Errorf("%d lines say that it is up", n)
	}

	two.ill.Store(true)
	testutil.Eventually(t, testutil.Patience, func() bool { return down() == 1 }, "two is down again")
	apply(t, s, "%s", file) // no checks
	testutil.Eventually(t, testutil.Patience, func() bool { return answersOf(t, s, 8)["two"] > 0 }, "two serves")
	n := one.checks.Load()
	answersOf(t, s, 100)
	if m := one.checks.Load(); m != n {
		t.Errorf("%d checks after they were turned off", m-n)
	}
	wantCounter(t, s, 2, "edge_check_verdicts_total", name, "down")
}

// An upstream has checks of its own, or none where it says so.
func TestHealth_upstreamsOfTheirOwn(t *testing.T) {
	t.Parallel()
	one, two, three := newCheckedOrigin(t, "one"), newCheckedOrigin(t, "two"), newCheckedOrigin(t, "three")
	s := start(t, Options{}, "%s", quiet+"[http]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"+
		"[[routes]]\npattern = \"/*\"\ndest = \"one\"\n[[routes]]\npattern = \"/2\"\ndest = \"two\"\n"+
		"[[routes]]\npattern = \"/3\"\ndest = \"three\"\n"+
		"[upstreams.one]\nbackends = [{ address = \""+one.address()+"\" }]\nhealth_check = { path = \"/none\" }\n"+
		"[upstreams.two]\nbackends = [{ address = \""+two.address()+"\" }]\nhealth_check = false\n"+
		"[upstreams.three]\nbackends = [{ address = \""+three.address()+"\" }]\n"+checks)
	testutil.Eventually(t, testutil.Patience, func() bool { return three.checks.Load() > 3 }, "three is checked")
	testutil.Eventually(t, testutil.Patience, func() bool {
		return counter(s, "edge_check_results_total", "one", "passed") > 3
	}, "one is checked by its own path")
	if one.checks.Load() > 0 || two.checks.Load() > 0 {
		t.Errorf("%d and %d checks that nobody asked for", one.checks.Load(), two.checks.Load())
	}
}

// A member that is to be checked before it serves answers 503 until then, and serves soon.
func TestHealth_checkedBeforeItServes(t *testing.T) {
	one := newCheckedOrigin(t, "one")
	one.ill.Store(true)
	s := start(t, Options{}, "%s", quiet+"[http]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"+
		"[[routes]]\npattern = \"/*\"\ndest = \""+one.address()+"\"\n"+checks+"start = \"checked\"\n")
	if got := answersOf(t, s, 4); got["503"] != 4 {
		t.Errorf("before it is checked: %v", got)
	}
	one.ill.Store(false)
	testutil.Eventually(t, testutil.Patience, func() bool { return answersOf(t, s, 1)["one"] == 1 }, "it serves")
}

// With passive_counts a backend that answers requests is not checked.
func TestHealth_passiveCounts(t *testing.T) {
	t.Parallel()
	one := newCheckedOrigin(t, "one")
	s := start(t, Options{}, "%s", quiet+"[http]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"+
		"[[routes]]\npattern = \"/*\"\ndest = \""+one.address()+"\"\n"+checks+"passive_counts = true\n")
	testutil.Eventually(t, testutil.Patience, func() bool {
		statusOf(t, s, "/")
		return counter(s, "edge_check_replaced_total") > 1
	}, "checks are left out")
}

// agent is one that says the same to all, after it has got what it is to be sent.
type agent struct {
	says  atomic.Value // string; "": it sends nothing at all
	asked atomic.Int32
	port  int
}

// answer has a say a line, and returns when it was heard: a client that asks again has read the answer before.
func (a *agent) answer(t *testing.T, line string) {
	t.Helper()
	a.says.Store(line)
	before := a.asked.Load()
	testutil.Eventually(t, testutil.Patience, func() bool { return a.asked.Load() >= before+2 }, "the agent is asked")
}

func newAgent(t *testing.T, asked string) *agent {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testutil.Must(t, err)
	t.Cleanup(func() { l.Close() })
	a := &agent{port: l.Addr().(*net.TCPAddr).Port}
	a.says.Store("ready")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			a.asked.Add(1)
			got := make([]byte, len(asked))
			if _, err := io.ReadFull(c, got); err == nil && string(got) == asked {
				fmt.Fprint(c, a.says.Load())
			}
			c.Close()
		}
	}()
	return a
}

const agentConf = quiet + `
listeners = [{ listen = "127.0.0.1:0" }]
routes = [{ pattern = "/*", dest = "api" }]
[upstreams.api]
backends = [{ address = %q, weight = 100 }]
%s
`

// What an agent says of its backend holds until it says something else; a reload without agents ends it. The backend
// alone has no agent to ask: that changes nothing.
func TestAgent_saysWhatItsBackendGets(t *testing.T) {
	a := newAgent(t, "api\n")
	address, _ := countingOrigin(t, sorry)
	var log testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&log, nil))
	s := start(t, Options{}, agentConf, address, fmt.Sprintf(
		`health_check = { type = "agent", agent = { port = %d, interval = "20ms", send = "api\n" } }`, a.port))
	want := func(says string, up, weight float64) {
		t.Helper()
		a.says.Store(says)
		testutil.Eventually(t, testutil.Patience, func() bool {
			return counter(s, "edge_backend_up", "api") == up && counter(s, "edge_backend_weight", "api") == weight
		}, says)
	}
	want("50%\n", 1, 50)
	want("drain\r\n", 0, 50)
	want("75%", 0, 75)
	want("ready\n", 1, 75)
	want("down 100%#no database\n", 0, 100)
	a.says.Store("")
	testutil.Eventually(t, testutil.Patience, func() bool {
		return strings.Contains(log.String(), "does not answer: what it said last holds\" upstream=api")
	})
	a.answer(t, "nonsense\n")
	want("nonsense\n", 0, 100)
	if n := counter(s, "edge_agent_results_total", "api", "agent"); n == 0 {
		t.Error("nonsense is not counted")
	}
	want("up 25%\n", 1, 25)
	want("maint\n", 0, 25)
	apply(t, s, agentConf, address, "")
	if up, weight := counter(s, "edge_backend_up", "api"), counter(s, "edge_backend_weight", "api"); weight != 100 {
		t.Errorf("without agents up %v, weight %v", up, weight)
	}
	for _, line := range []string{
		"msg=\"backend down\" upstream=api backend=" + address + " tier=0 reason=agent got=drain open=0/1",
		"reason=agent got=\"down 100%#no database\"", "msg=\"the agent of a backend answers again\"",
		"reason=agent by=\"checks are off\"",
	} {
		wantPart(t, log.String(), line, "the log")
	}
}

// The same lines have the same effect as in HAProxy, where that is installed.
func TestAgent_asHAProxy(t *testing.T) {
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is not installed")
	}
	a, b := newAgent(t, ""), newAgent(t, "")
	address, _ := countingOrigin(t, sorry)
	dir := t.TempDir()
	control := testutil.SocketPath(t)
	file := filepath.Join(dir, "haproxy.cfg")
	conf := fmt.Sprintf("global\n stats socket %s level admin\n"+
		"defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n"+
		"frontend f\n bind unix@%s\n default_backend api\nbackend api\n"+
		" server one %s weight 100 agent-check agent-port %d agent-inter 10ms\n",
		control, testutil.SocketPath(t), address, b.port)
	testutil.Must(t, os.WriteFile(file, []byte(conf), 0o600))
	testutil.Start(t, testutil.Command{Path: haproxy, Args: []string{"-db", "-f", file}})
	weightOf := func() string {
		c, err := net.Dial("unix", control)
		if err != nil {
			return ""
		}
		defer c.Close()
		fmt.Fprint(c, "show stat -1 4 -1 typed\n")
		text, _ := io.ReadAll(c)
		return weightAndStatus(string(text))
	}
	s := start(t, Options{}, agentConf, address,
		fmt.Sprintf(`health_check = { type = "agent", agent = { port = %d, interval = "10ms" } }`, a.port))
	for _, c := range []struct{ says, want string }{
		{"50%\n", "50"}, {"drain\n", "0"}, {"up\n", "0"},
		{"ready\n", "50"}, {"maint\n", "0"},
		{"75%\n", "0"}, {"ready up\n", "75"}, {"down #gone\n", "0"}, {"ready\n", "0"},
		{"up,100%\n", "100"}, {"fail\n", "0"},
		{"UP 10%\r\n", "10"}, {"stopped 20%\n", "0"}, {"up\n", "20"},
	} {
		a.answer(t, c.says)
		b.answer(t, c.says)
		testutil.Eventually(t, testutil.Patience, func() bool {
			weight := counter(s, "edge_backend_up", "api") * counter(s, "edge_backend_weight", "api")
			return fmt.Sprint(weight) == c.want
		}, "edge has the weight %s after %q", c.want, c.says)
		testutil.Eventually(t, testutil.Patience, func() bool { return weightOf() == c.want },
			"HAProxy has the weight %s after %q", c.want, c.says)
	}
}

// weightAndStatus returns the weight of the server in a listing of HAProxy, "0" where it gets nothing.
func weightAndStatus(listing string) (weight string) {
	status := ""
	for line := range strings.Lines(listing) {
		field, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case strings.Contains(field, ".status."):
			status = value[strings.LastIndexByte(value, ':')+1:]
		case strings.Contains(field, ".weight."):
			weight = value[strings.LastIndexByte(value, ':')+1:]
		}
	}
	if !strings.HasPrefix(status, "UP") && status != "no check" {
		return "0"
	}
	return weight
}
