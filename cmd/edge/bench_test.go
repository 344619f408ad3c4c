package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// installed returns a copy of edge in a folder of its own, where it has no edge-bench beside it.
func installed(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(testutil.Binary(t, "./cmd/edge"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "edge")
	if err := os.WriteFile(path, b, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBench_becomesTheBinaryBesideIt(t *testing.T) {
	path := installed(t)
	script := "#!/bin/sh\necho \"got $*\"\nexit 7\n"
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "edge-bench"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "bench", "micro", "--run", "^timer/", "--help", "-q")
	out, err := cmd.CombinedOutput()
	if string(out) != "got micro --run ^timer/ --help -q\n" || cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestBench_saysThatThereIsNone(t *testing.T) {
	cmd := exec.Command(installed(t), "bench", "micro")
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != exitError || strings.Count(string(out), "\n") != 1 ||
		!strings.Contains(string(out), "/edge-bench: it is a binary of its own") ||
		!strings.Contains(string(out), "the archive of a release has it beside edge") {
		t.Errorf("exit code %d\n%s", cmd.ProcessState.ExitCode(), out)
	}
}

func TestBench_saysWhyItDoesNotRun(t *testing.T) {
	path := installed(t)
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "edge-bench"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "bench").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "permission denied") {
		t.Errorf("%v\n%s", err, out)
	}
}
