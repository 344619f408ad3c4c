package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// ownerOf returns the owner of a file; of a link, not of its target.
func ownerOf(t *testing.T, path string) int {
	t.Helper()
	at, err := os.Lstat(path)
	testutil.Must(t, err)
	return int(at.Sys().(*syscall.Stat_t).Uid)
}

// fails runs a command that must not serve, and returns what it says.
func fails(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	testutil.Must(t, cmd.Start())
	late := time.AfterFunc(testutil.Minutes, func() { _ = cmd.Process.Kill() })
	if err := cmd.Wait(); err == nil || !late.Stop() {
		t.Errorf("it did not refuse: %v", err)
	}
	return out.String()
}

// asNobody writes a configuration with lines for a process that becomes nobody, and returns how to run it.
func asNobody(t *testing.T, dir, state, lines string) testutil.Command {
	t.Helper()
	file := filepath.Join(dir, "edge.toml")
	text := "user = \"nobody\"\nlog.output = []\n" + lines
	putAs(t, file, 0o644, []byte(text))
	return testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Args: []string{"run", "-c", file},
		Env: []string{"STATE_DIRECTORY=" + state}}
}

// Root gives the user the internal authority and the socket, by names that it knows, and nothing that lies beside them
// in folders which the user could write since the last start.
func TestRun_givesAwayOnlyWhatItMade(t *testing.T) {
	t.Parallel()
	uid, gid := nobody(t)
	dir := owned(t, uid, gid)
	state := filepath.Join(owned(t, 0, 0), "state")
	testutil.Must(t, os.Chmod(filepath.Dir(state), 0o755))
	in := func(name string) string { return filepath.Join(state, "internal", name) }
	command := asNobody(t, dir, state, fmt.Sprintf("[https]\nlisten = [\"127.0.0.1:0\", \"unix:%s/s\"]\n"+
		"cert = \"internal\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n", dir))
	for again := range 2 {
		p := testutil.Start(t, command)
		addr := p.WaitLine(`"msg":"listening".*"address":"(127[^"]+)"`)[1]
		got := curlWith(t, "--cacert", in("ca.pem"), "https://"+addr+"/", "-w", "%{http_code}")
		if got != "204" {
			t.Errorf("curl: %q", got)
		}
		p.Signal(syscall.SIGHUP)
		p.WaitLine(`"msg":"configuration reloaded`)
		for path, want := range map[string]int{
			in("."): uid, in("ca.pem"): uid, in("authority.pem"): uid,
			filepath.Join(dir, "s"): uid, state: 0,
		} {
			if got := ownerOf(t, path); got != want {
				t.Errorf("start %d: %s belongs to %d, want %d", again+1, path, got, want)
			}
		}
		if again > 0 {
			for _, name := range []string{"shadow", "sub", "sub/shadow", "link"} {
				if got := ownerOf(t, in(name)); got != 0 {
					t.Errorf("%s of root's belongs to %d", name, got)
				}
			}
		}
		stopsWell(t, p)
		_ = os.Mkdir(in("sub"), 0o700)
		for _, name := range []string{"shadow", "sub/shadow"} {
			putFile(t, in(name), "")
		}
		_ = os.Symlink("/etc/passwd", in("link"))
	}
}

// Where the user could not make the certificate anew later, the process does not start, and says what mends it.
func TestRun_authorityThatTheUserCannotReach(t *testing.T) {
	uid, gid := nobody(t)
	dir, state := owned(t, uid, gid), owned(t, 0, 0) // for root alone
	command := asNobody(t, dir, state, "https = { listen = \"127.0.0.1:0\", cert = \"internal\" }\n")
	cmd := exec.Command(command.Path, command.Args...)
	cmd.Env = command.Env
	want := fmt.Sprintf("the user %d cannot use %s/internal: permission denied: chmod o+x", uid, state)
	if out := fails(t, cmd); !strings.Contains(out, want) {
		t.Error(out)
	}
}

// A link that the user has put in the place of a log or of the pid file leads root to no file of its own.
func TestRun_followsNoLinkOfTheUser(t *testing.T) {
	uid, gid := nobody(t)
	secret := filepath.Join(owned(t, 0, 0), "secret")
	putFile(t, secret, "root's")
	for _, key := range []string{"pid_file", "error_log", "log.output"} {
		for kind, link := range map[string]func(string, string) error{"link": os.Symlink, "hard link": os.Link} {
			dir := owned(t, uid, gid)
			path := filepath.Join(dir, "file")
			if err := link(secret, path); err != nil {
				t.Skip(err)
			}
			command := asNobody(t, dir, dir, "http.listen = \"127.0.0.1:0\"\n")
			value := fmt.Sprintf("%s=%s", key, path)
			if key == "log.output" {
				value = fmt.Sprintf("%s=[%q]", key, path)
			}
			out := fails(t, exec.Command(command.Path, append(command.Args, "--set", value)...))
			if !strings.Contains(out, "is a link in a folder that others than root may write") {
				t.Errorf("%s is a %s: %s", key, kind, out)
			}
			if text, err := os.ReadFile(secret); err != nil || string(text) != "root's" || ownerOf(t, secret) != 0 {
				t.Errorf("%s is a %s: the file of root's is %q, %v", key, kind, text, err)
			}
		}
	}
}

// An authority in a folder for temporary files could be laid out by anybody before: there is none then.
func TestProxy_internalAuthorityWithoutHome(t *testing.T) {
	uid, gid := nobody(t)
	dir := owned(t, uid, gid)
	cmd := as(uid, gid, binaryIn(t, dir), "proxy", "--from", "127.0.0.1:0", "--to", "127.0.0.1:1", "--tls", "internal")
	cmd.Env = []string{"TMPDIR=" + dir, "XDG_RUNTIME_DIR=/nonexistent"}
	if out := fails(t, cmd); !strings.Contains(out, "set STATE_DIRECTORY, or HOME") {
		t.Error(out)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("it made %v, %v", left, err)
	}
}

// Root has a process of another user upgraded, as it does with sudo and the shipped unit.
func TestUpgrade_askedForByRoot(t *testing.T) {
	uid, gid := nobody(t)
	dir := owned(t, uid, gid)
	s := &service{t: t, dir: dir, bin: binaryIn(t, dir), addrs: []string{testutil.FreeAddr(t)}}
	s.configure(1, "user = \"nobody\"")
	testutil.Must(t, os.Chmod(filepath.Join(dir, "edge.toml"), 0o644))
	s.begin()
	pid := s.mustUpgrade()
	hasRights(t, pid, uid, gid)
	if err := s.answers(); err != nil {
		t.Error(err)
	}
}

// The socket beside a pid file, which no configuration names, is for root and the user of the process. The members of
// its group, such as all services with the group of nobody, have the rights at a socket that one names.
func TestAdmin_groupAtUsualSocket(t *testing.T) {
	uid, gid := nobody(t)
	dir := owned(t, uid, gid)
	testutil.Must(t, os.Chmod(dir, 0o755))
	socket, bin := filepath.Join(dir, "edge.admin.sock"), binaryIn(t, dir)
	lines := "http.listen = \"127.0.0.1:0\"\npid_file = \"" + filepath.Join(dir, "edge.pid") + "\"\n"
	p := testutil.Start(t, asNobody(t, dir, dir, lines))
	p.WaitLine(`edge\.admin\.sock`)
	ask := func() string {
		out, _ := as(uid-1, gid, bin, "log", "debug", "--admin", "unix:"+socket).CombinedOutput()
		return string(out)
	}
	if out := ask(); !strings.Contains(out, "only root and the user of the process") {
		t.Errorf("a member of the group: %s", out)
	}
	asNobody(t, dir, dir, fmt.Sprintf("admin.listen = \"unix:%s\"\n", socket)+lines)
	p.Signal(syscall.SIGHUP)
	p.WaitLine(`"msg":"configuration reloaded`)
	if out := ask(); !strings.Contains(out, "has the level debug") {
		t.Errorf("where the configuration names the socket: %s", out)
	}
}
