package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	_ "github.com/edge-proxy/edge/internal/process/rotate" // it registers keys of [log]
	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.Main(m)) }

const (
	unitFile   = "systemd/edge.service"
	socketFile = "systemd/edge.socket"
	installed  = "/usr/bin/edge" // where packages have the program
)

// unit has the values of a unit's keys, by section and key: "Service.User".
type unit map[string][]string

func readUnit(t *testing.T, path string) unit {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	u, section := unit{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		key, value, pair := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
		case !pair || section == "" || strings.TrimSpace(key) != key || strings.TrimSpace(value) != value:
			t.Errorf("%s: %q", path, line)
		default:
			u[section+"."+key] = append(u[section+"."+key], value)
		}
	}
	return u
}

// words returns the words of a key of the service.
func (u unit) words(key string) []string { return strings.Fields(strings.Join(u["Service."+key], " ")) }

// tool returns the path of a program, and skips the test where it is not installed.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: make packages-deps", name)
	}
	return path
}

// The unit says what an operator expects of it, and its commands are commands of edge.
func TestUnit_commands(t *testing.T) {
	u := readUnit(t, unitFile)
	for key, want := range map[string]string{
		"Service.Type": "notify", "Service.NotifyAccess": "main", "Service.WatchdogSec": "30",
		"Service.CacheDirectory": "edge",
		"Service.User":           "edge", "Service.LimitNOFILE": "1048576", "Service.ProtectSystem": "strict",
		"Service.AmbientCapabilities": "CAP_NET_BIND_SERVICE", "Service.CapabilityBoundingSet": "CAP_NET_BIND_SERVICE",
		"Service.StateDirectory": "edge", "Service.Restart": "on-failure", "Install.WantedBy": "multi-user.target",
	} {
		if got := strings.Join(u[key], " "); got != want {
			t.Errorf("%s=%s, want %s", key, got, want)
		}
	}
	program := testutil.Binary(t, "./cmd/edge")
	for _, key := range []string{"Service.ExecStart", "Service.ExecReload"} {
		if len(u[key]) != 1 {
			t.Fatalf("%s=%q", key, u[key])
		}
		args := strings.Fields(u[key][0])
		missing := filepath.Join(t.TempDir(), "none.toml")
		if i := slices.Index(args, "/etc/edge/edge.toml"); i < 0 || args[0] != installed {
			t.Fatalf("%s=%q", key, args)
		} else {
			args[i] = missing
		}
		out, err := exec.Command(program, args[1:]...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "none.toml: ") {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}

// systemd understands each line of the units.
func TestUnit_verify(t *testing.T) {
	analyze, dir := tool(t, "systemd-analyze"), t.TempDir()
	args := []string{"verify", "--man=no"}
	for _, file := range []string{unitFile, socketFile} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Base(file))
		here := strings.ReplaceAll(string(text), installed, testutil.Binary(t, "./cmd/edge"))
		if err := os.WriteFile(path, []byte(here), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	out, err := exec.Command(analyze, args...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "edge.s") { // the rest is about units of the machine
			t.Error(line)
		}
	}
	if err != nil && len(out) == 0 {
		t.Error(err)
	}
}

// The sockets of the unit are those of the listeners in the configuration of packages, and nothing starts them unasked.
func TestUnit_sockets(t *testing.T) {
	u := readUnit(t, socketFile)
	stdout := []string{"log.output=stdout"} // the folder of its log is one of the package
	cfg, report := config.Options{Set: stdout}.Load("edge.toml")
	if !report.OK() {
		t.Fatalf("%+v", report.Errors)
	}
	var want []string
	for i := range cfg.Listeners {
		for _, a := range cfg.Listeners[i].Addresses {
			if a.Network != "tcp" {
				t.Errorf("%s is not an address for IPv4 and IPv6", a.Text)
			}
			want = append(want, strconv.Itoa(a.Port))
		}
	}
	if got := u["Socket.ListenStream"]; !slices.Equal(got, want) {
		t.Errorf("ListenStream=%q, and listeners have %q", got, want)
	}
	for key, want := range map[string][]string{
		"Socket.BindIPv6Only": {"both"}, "Socket.Accept": nil, "Socket.FileDescriptorName": nil,
		"Install.WantedBy": {"sockets.target"},
	} {
		if !slices.Equal(u[key], want) {
			t.Errorf("%s=%q, want %q", key, u[key], want)
		}
	}
	service := readUnit(t, unitFile)
	if list := append(service["Service.Sockets"], service["Unit.Requires"]...); len(list) > 0 {
		t.Errorf("the service wants %q", list)
	}
}

// The drop-in for notify-reload makes systemd send SIGHUP, which the unit's own command would do a second time.
func TestUnit_dropIn(t *testing.T) {
	u := readUnit(t, "systemd/notify-reload.conf")
	kind, reload := u["Service.Type"], u["Service.ExecReload"]
	if !slices.Equal(kind, []string{"notify-reload"}) || !slices.Equal(reload, []string{""}) {
		t.Errorf("%q", u)
	}
}

// systemd rates what a service could do if it were taken over, from 0 (nothing) to 10. More than 2 is too much.
func TestUnit_exposure(t *testing.T) {
	out, err := exec.Command(tool(t, "systemd-analyze"), "security", "--offline=yes", "--no-pager", "--threshold=20",
		unitFile).CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(lines[len(lines)-1])
	if err != nil || !strings.Contains(lines[len(lines)-1], "Overall exposure level for edge.service") {
		t.Errorf("%v\n%s", err, out)
	}
}
