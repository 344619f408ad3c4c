package server

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

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
	try(t, err)
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
		if !strings.Contains(log.String(), line) {
			t.Errorf("no line with %s:\n%s", line, log.String())
		}
	}
}

// The same lines have the same effect as in HAProxy, where that is installed.
func TestAgent_asHAProxy(t *testing.T) {
	t.Parallel()
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
	try(t, os.WriteFile(file, []byte(conf), 0o600))
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
		weight := counter(s, "edge_backend_up", "api") * counter(s, "edge_backend_weight", "api")
		if got := fmt.Sprint(weight); got != c.want {
			t.Errorf("edge after %q: %s, want %s", c.says, got, c.want)
		}
		if got := weightOf(); got != c.want {
			t.Errorf("HAProxy after %q: %s, want %s", c.says, got, c.want)
		}
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
