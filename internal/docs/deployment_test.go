package docs

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// blockOf returns the only block of a language in docs/deployment.md.
func blockOf(t *testing.T, lang string) *block {
	t.Helper()
	var found []*block
	for _, b := range pages(t)["docs/deployment.md"] {
		if b.lang == lang {
			found = append(found, b)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d blocks of %s", len(found), lang)
	}
	return found[0]
}

// accepts fails unless edge takes a command line: it then says what is wrong with its configuration.
func accepts(t *testing.T, args []string) {
	t.Helper()
	if i := slices.Index(args, "/etc/edge/edge.toml"); i > 0 {
		args[i] = filepath.Join(t.TempDir(), "none.toml")
	}
	out, err := exec.Command(testutil.Binary(t, "./cmd/edge"), args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "none.toml: ") {
		t.Errorf("edge %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// The unit says all that an operator expects of it, and systemd, where it is installed, understands it.
func TestUnit(t *testing.T) {
	b := blockOf(t, "ini")
	in, section := map[string][]string{}, ""
	for _, line := range b.lines {
		key, value, pair := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
		case !pair || section == "" || strings.TrimSpace(key) != key:
			t.Errorf("%v: %q", b, line)
		default:
			in[section+"."+key] = append(in[section+"."+key], value)
		}
	}
	for key, want := range map[string]string{
		"Service.Type": "notify", "Service.NotifyAccess": "main", "Service.WatchdogSec": "30",
		"Service.LimitNOFILE": "1048576", "Service.ProtectSystem": "strict",
		"Service.AmbientCapabilities": "CAP_NET_BIND_SERVICE", "Service.StateDirectory": "edge",
		"Service.Restart": "on-failure", "Install.WantedBy": "multi-user.target",
	} {
		if got := strings.Join(in[key], " "); got != want {
			t.Errorf("%s=%s, want %s", key, got, want)
		}
	}
	commands := slices.Concat(in["Service.ExecStart"], in["Service.ExecReload"])
	if len(commands) != 3 || commands[2] != "/bin/kill -HUP $MAINPID" {
		t.Fatal(commands)
	}
	for _, c := range commands[:2] {
		accepts(t, strings.Fields(c)[1:])
	}
	verify(t, b)
}

func verify(t *testing.T, b *block) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Log("systemd-analyze is not installed")
		return
	}
	path := filepath.Join(t.TempDir(), "edge.service")
	text := strings.ReplaceAll(b.text(), "/usr/local/bin/edge", testutil.Binary(t, "./cmd/edge"))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "edge.service") { // the rest is about units of the machine
			t.Error(line)
		}
	}
	if err != nil && len(out) == 0 {
		t.Error(err)
	}
}

// The last stage of the container file is the binary with its folder, and runs without rights.
func TestDockerfile(t *testing.T) {
	b := blockOf(t, "dockerfile")
	last := map[string][]string{}
	stages := map[string]bool{}
	for in := bufio.NewScanner(strings.NewReader(b.text())); in.Scan(); {
		word, rest, _ := strings.Cut(in.Text(), " ")
		switch word {
		case "":
		case "FROM":
			last = map[string][]string{word: {rest}}
			if _, name, ok := strings.Cut(rest, " AS "); ok {
				stages[name] = true
			}
		case "COPY", "RUN", "WORKDIR", "USER", "ENV", "EXPOSE", "ENTRYPOINT", "CMD":
			last[word] = append(last[word], rest)
		default:
			t.Errorf("%v: %q", b, in.Text())
		}
	}
	for _, c := range last["COPY"] {
		from, _, ok := strings.Cut(strings.TrimPrefix(c, "--from="), " ")
		if !ok || !stages[from] {
			t.Errorf("COPY %s", c)
		}
	}
	if last["FROM"][0] != "scratch" || !slices.Equal(last["USER"], []string{"65532:65532"}) || last["RUN"] != nil {
		t.Errorf("%v", last)
	}
	var entry, args []string
	if err := json.Unmarshal([]byte(last["ENTRYPOINT"][0]), &entry); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(last["CMD"][0]), &args); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(last["COPY"], func(c string) bool { return strings.HasSuffix(c, " "+entry[0]) }) {
		t.Errorf("ENTRYPOINT %v is not in the image", entry)
	}
	accepts(t, args)
}
