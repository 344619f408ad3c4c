package testutil

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Sites is the folder of the sites to copy, from the root of the module.
const Sites = "examples/sites"

// RunSite runs the script of a site on a copy of its files, and returns the output. change returns the text of a copy
// for the text of a file. programs are programs that the script needs beside edge: name → path.
func RunSite(
	t testing.TB, name string, change func(file, text string) string, programs map[string]string,
) (out []byte, err error) {
	t.Helper()
	dir, bin, from := t.TempDir(), t.TempDir(), filepath.Join(Root(t), Sites)
	for _, part := range []string{"begin.sh", name} {
		err := filepath.WalkDir(filepath.Join(from, part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			file := strings.TrimPrefix(path, from)
			to := filepath.Join(dir, file)
			Must(t, os.MkdirAll(filepath.Dir(to), 0o700))
			return os.WriteFile(to, []byte(change(file, string(ReadFile(t, path)))), 0o600)
		})
		Must(t, err)
	}
	Must(t, os.Symlink(Binary(t, "./cmd/edge"), filepath.Join(bin, "edge")))
	for program, path := range programs {
		Must(t, os.Symlink(path, filepath.Join(bin, program)))
	}
	env := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir(),
		"HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=*"}
	return Bash(t, dir, env, filepath.Join(name, "try.sh"))
}

// Bash runs a script in a folder, with env added to the environment, and returns its output. It is killed with what it
// has started when it takes minutes.
func Bash(t testing.TB, dir string, env []string, args ...string) (out []byte, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Minutes)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = Patience // a process of an upgrade may hold the output
	return cmd.CombinedOutput()
}
