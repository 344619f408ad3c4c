package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// forARM64 returns the binary for arm64, and skips the test where nothing emulates that.
func forARM64(t *testing.T) string {
	t.Helper()
	if os.Getenv("EDGE_QEMU_ARM64") == "" {
		t.Skip("make arm64-check sets EDGE_QEMU_ARM64")
	}
	return testutil.Binary(t, "./cmd/edge")
}

func TestARM64_commands(t *testing.T) {
	bin := forARM64(t)
	for _, c := range []struct{ args, want string }{
		{"version", " linux/arm64, "},
		{"check -c ../../packaging/edge.toml --set log.output=stdout", "configuration OK: 2 listeners"},
		{"doctor --json", `"check":`},
	} {
		out, err := exec.Command(bin, strings.Fields(c.args)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("edge %s: %v, no %q in\n%s", c.args, err, c.want, out)
		}
	}
}

// edge in front of the demo serves all kinds of clients, reloads and drains. Each system call after the lockdown, which
// the emulator does not know, is one that the filter for arm64 allows.
func TestARM64_serves(t *testing.T) {
	bin, p, trace := forARM64(t), newPKI(t, "a"), filepath.Join(t.TempDir(), "trace")
	demo := testutil.Start(t, testutil.Command{Path: bin, Args: []string{"serve-demo", "--listen", "127.0.0.1:0"}})
	to := demo.WaitLine(`demo origin on (http://\S+)/`)[1]
	file := filepath.Join(p.dir, "edge.toml")
	text := fmt.Sprintf("lockdown = true\npid_file = \"edge.pid\"\nupgrade_sock = \"edge.sock\"\n[admin]\n"+
		"listen = \"unix:%s/admin.sock\"\n[[listeners]]\nname = \"plain\"\nlisten = \"127.0.0.1:0\"\n"+
		"[[listeners]]\nname = \"secured\"\ntls = true\nlisten = \"127.0.0.1:0\"\n%s"+
		"[[routes]]\npattern = \"/*\"\ndest = %q\n", p.dir, p.pair("a"), to)
	putFile(t, file, "%s", text)
	e := testutil.Start(t, testutil.Command{
		Path: bin, Args: []string{"run", "-c", file}, Dir: p.dir,
		Env: []string{"QEMU_STRACE=1", "QEMU_LOG_FILENAME=" + trace},
	})
	plain := e.WaitLine(`"msg":"listening","listener":"plain","address":"([^"]+)"`)[1]
	_, port, _ := strings.Cut(e.WaitLine(`"msg":"listening","listener":"secured","address":"([^"]+)"`)[1], ":")
	secured := []string{"--cacert", p.path("ca.pem"), "--resolve", "a.example.org:" + port + ":127.0.0.1"}
	ask := func(want string, args ...string) {
		t.Helper()
		args = append(args, "-o", filepath.Join(p.dir, "body"), "-w", "%{http_version} %{http_code} %{size_download}")
		if got := curlWith(t, args...); got != want {
			t.Errorf("curl %q: %s, want %s", args, got, want)
		}
	}
	serves := func() {
		t.Helper()
		ask("1.1 200 3000000", "http://"+plain+"/bytes/3000000")
		ask("2 200 1000000", "--http2-prior-knowledge", "http://"+plain+"/bytes/1000000")
		ask("1.1 200 2000000", append(secured, "--http1.1", "https://a.example.org:"+port+"/bytes/2000000")...)
		ask("2 200 1000000", append(secured, "https://a.example.org:"+port+"/bytes/1000000")...)
		out := curlWith(t, append(secured, "-d", "hello", "https://a.example.org:"+port+"/echo")...)
		if !strings.HasSuffix(out, "hello") {
			t.Errorf("/echo: %q", out)
		}
	}
	serves()
	text += "[[routes]]\npattern = \"/new\"\ndest = \"status:204\"\n"
	putFile(t, file, "%s", text)
	e.Signal(syscall.SIGHUP)
	e.WaitLine(`"msg":"configuration reloaded"`)
	serves()
	ask("1.1 204 0", "http://"+plain+"/new")
	stopsWell(t, e)
	allowed := callsOfARM64(t)
	made := callsAfterLock(t, trace)
	for _, name := range made {
		if !slices.Contains(allowed, name) {
			t.Errorf("lockdown would refuse %s", name)
		}
	}
	t.Logf("%d system calls are made, of %d that are allowed: %v", len(made), len(allowed), made)
	if len(made) < 20 {
		t.Error("the trace is not one of a proxy")
	}
}

// callsOfARM64 returns the names of the calls that lockdown allows on arm64, as its source has them.
func callsOfARM64(t *testing.T) (names []string) {
	t.Helper()
	names = append(names, "clone", "socket", "memfd_create") // by conditions
	for _, file := range []string{"calls.go", "calls_arm64.go"} {
		text := textOf(t, filepath.Join("../../internal/process/lockdown", file))
		for _, m := range regexp.MustCompile(`unix\.SYS_(\w+)`).FindAllStringSubmatch(text, -1) {
			names = append(names, strings.ToLower(m[1]))
		}
	}
	return append(names, "newfstatat") // which package unix calls fstatat there
}

// callsAfterLock returns the names in a trace of qemu, from where the process asks for its filter.
func callsAfterLock(t *testing.T, trace string) []string {
	t.Helper()
	text := textOf(t, trace)
	_, after, found := strings.Cut(text, " seccomp(")
	if !found {
		t.Fatal("the process has not locked itself down")
	}
	names := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\d+ ([a-z]\w+)\(`).FindAllStringSubmatch(after, -1) {
		names[m[1]] = true
	}
	return slices.Sorted(maps.Keys(names))
}
