package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// installed returns a copy of edge in a folder of its own, where it has no other program beside it.
func installed(t *testing.T) string {
	t.Helper()
	b := []byte(textOf(t, testutil.Binary(t, "./cmd/edge")))
	path := filepath.Join(t.TempDir(), "edge")
	testutil.WriteProgram(t, path, b)
	return path
}

func TestBecome_theBinaryBesideItOrOfThePath(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"bench", "import"} {
		for _, beside := range []bool{true, false} {
			path, script := installed(t), "#!/bin/sh\necho \"got $*\"\nexit 7\n"
			folder := t.TempDir()
			if beside {
				folder = filepath.Dir(path)
			}
			testutil.WriteProgram(t, filepath.Join(folder, "edge-"+name), []byte(script))
			cmd := exec.Command(path, name, "micro", "--run", "^timer/", "--help", "-q")
			cmd.Env = []string{"PATH=/usr/bin:/bin:" + folder}
			out, err := cmd.CombinedOutput()
			if string(out) != "got micro --run ^timer/ --help -q\n" || cmd.ProcessState.ExitCode() != 7 {
				t.Errorf("%v\n%s", err, out)
			}
		}
	}
}

func TestBecome_saysThatThereIsNone(t *testing.T) {
	for _, name := range []string{"bench", "import"} {
		cmd := exec.Command(installed(t), name, "micro")
		cmd.Env = []string{"PATH=/nowhere"}
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != exitError || strings.Count(string(out), "\n") != 1 ||
			!strings.Contains(string(out), "there is no edge-"+name+" beside ") ||
			!strings.Contains(string(out), "archives and packages of a release have it") {
			t.Errorf("exit code %d\n%s", cmd.ProcessState.ExitCode(), out)
		}
	}
}

func TestBecome_saysWhyItDoesNotRun(t *testing.T) {
	path := installed(t)
	putFile(t, filepath.Join(filepath.Dir(path), "edge-bench"), "")
	out, err := exec.Command(path, "bench").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "permission denied") {
		t.Errorf("%v\n%s", err, out)
	}
}

// edge completes the programs that edge-import reads, which it does not link.
func TestImport_completesItsPrograms(t *testing.T) {
	t.Parallel()
	complete := func(pkg string, args ...string) string {
		out, err := exec.Command(testutil.Binary(t, pkg), append([]string{"__complete"}, args...)...).Output()
		testutil.Must(t, err)
		return string(out)
	}
	list := complete("./cmd/edge-import", "")
	if got := complete("./cmd/edge", "import", ""); got != list || !strings.HasPrefix(got, "caddy\n") {
		t.Errorf("%q, want %q", got, list)
	}
}
