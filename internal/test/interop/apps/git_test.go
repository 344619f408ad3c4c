//go:build apps

package apps

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// TestGit pushes and clones over the CGI program of git, which nginx and fcgiwrap run.
func TestGit(t *testing.T) {
	a := begin(t, "git http-backend")
	git := a.need("git", "git")
	a.versionOf(git, "--version")
	out, err := exec.Command(git, "--exec-path").Output()
	testutil.Must(t, err)
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	a.need("nginx", "nginx-light")
	fcgiwrap := a.need("fcgiwrap", "fcgiwrap")
	repositories, socket := t.TempDir(), testutil.SocketPath(t)
	a.start(testutil.Command{Path: fcgiwrap, Args: []string{"-s", "unix:" + socket}, Env: []string{
		"GIT_HTTP_EXPORT_ALL=1", "GIT_PROJECT_ROOT=" + repositories, "HOME=" + repositories,
	}})
	address := a.startNginx(fmt.Sprintf(`
location / {
	fastcgi_pass unix:%s;
	fastcgi_param SCRIPT_FILENAME %s;
	fastcgi_param PATH_INFO $uri;
	fastcgi_param QUERY_STRING $query_string;
	fastcgi_param REQUEST_METHOD $request_method;
	fastcgi_param CONTENT_TYPE $content_type;
	fastcgi_param CONTENT_LENGTH $content_length;
	fastcgi_param REMOTE_ADDR $remote_addr;
	fastcgi_param REMOTE_USER tester;
	fastcgi_param SERVER_PROTOCOL $server_protocol;
}
`, socket, backend))
	testutil.Eventually(t, testutil.Minutes, func() bool {
		_, err := os.Stat(socket)
		return err == nil
	}, "fcgiwrap listens")
	a.frontAll(address)

	work := filepath.Join(t.TempDir(), "work")
	a.write(filepath.Join(work, "large.bin"), string(noise(20e6, 7)))
	a.write(filepath.Join(work, "read.me"), "hello\n")
	run(t, a.ways[0], work, "init", "-q", "-b", "main")
	commit(t, work, "one")
	for _, w := range a.ways {
		run(t, w, repositories, "init", "-q", "--bare", "-b", "main", repository(w))
	}
	// git speaks HTTP/2 with TLS alone.
	over := func(w *way) bool { return !w.h2 || w.tls }
	a.ask("push of 20 MB", over, func(t *testing.T, w *way) string {
		return run(t, w, work, "push", "-q", "--porcelain", w.url+"/"+repository(w), "main")
	})
	a.ask("clone of 20 MB", over, func(t *testing.T, w *way) string {
		dir := filepath.Join(t.TempDir(), "clone")
		run(t, w, work, "clone", "-q", w.url+"/"+repository(w), dir)
		return sum(a.read(filepath.Join(dir, "large.bin"))) + run(t, w, dir, "log", "--format=%H %s")
	})
	a.write(filepath.Join(work, "read.me"), "hello again\n")
	commit(t, work, "two")
	a.ask("a small push", over, func(t *testing.T, w *way) string {
		return run(t, w, work, "push", "-q", "--porcelain", w.url+"/"+repository(w), "main", "main:refs/tags/two")
	})
	a.ask("what is there", over, func(t *testing.T, w *way) string {
		return run(t, w, work, "ls-remote", w.url+"/"+repository(w))
	})
	a.ask("a clone without a past", over, func(t *testing.T, w *way) string {
		dir := filepath.Join(t.TempDir(), "clone")
		run(t, w, work, "clone", "-q", "--depth=1", w.url+"/"+repository(w), dir)
		return run(t, w, dir, "log", "--format=%H %s")
	})
	a.ask("a repository that is not there", over, func(t *testing.T, w *way) string {
		cmd := gitCommand(t, w, work, "ls-remote", w.url+"/nothing.git")
		out, err := cmd.CombinedOutput()
		return fmt.Sprintf("%v %s", err, out)
	})
}

// repository is where a way pushes to.
func repository(w *way) string { return w.slug + ".git" }

func commit(t *testing.T, dir, subject string) {
	t.Helper()
	run(t, &way{}, dir, "add", ".")
	run(t, &way{}, dir, "commit", "-q", "-m", subject)
}

// run runs git by way of w, without the settings of the machine and of the user, and returns what it prints.
func run(t *testing.T, w *way, dir string, args ...string) string {
	t.Helper()
	out, err := gitCommand(t, w, dir, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func gitCommand(t *testing.T, w *way, dir string, args ...string) *exec.Cmd {
	version := "HTTP/1.1"
	if w.h2 {
		version = "HTTP/2"
	}
	cmd := exec.CommandContext(t.Context(), "git", append([]string{
		"-c", "core.compression=0", "-c", "http.proxy=", "-c", "http.version=" + version,
	}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_SSL_CAINFO="+w.ca,
		"GIT_AUTHOR_NAME=tester", "GIT_AUTHOR_EMAIL=tester@example.test",
		"GIT_COMMITTER_NAME=tester", "GIT_COMMITTER_EMAIL=tester@example.test")
	return cmd
}
