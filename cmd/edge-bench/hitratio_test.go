package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHitratio_printsATable(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "a.svg")
	out, notes, err := runBench(t, "hitratio", "--policy", "ufo,lru,ufo/4", "--workload", "^loop$", "--svg", svg)
	if err != nil || !strings.Contains(out, "loop@500") || !strings.Contains(out, "ufo/4") || notes != "1/1 loop\n" {
		t.Errorf("%v, %q\n%s", err, notes, out)
	}
	if picture, err := os.ReadFile(svg); err != nil || !strings.HasPrefix(string(picture), "<svg") {
		t.Errorf("%v\n%s", err, picture)
	}
}

func TestHitratio_readsAFolderOfTraces(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "cpp.txt"), []byte("1\n2\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, err := runBench(t, "hitratio", "-q", "--traces", folder, "-w", "^cpp$", "-p", "lru", "--format", "markdown")
	if err != nil || !strings.Contains(out, "| cpp@35 | **33.3** | 33.3 |") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestHitratio_lists(t *testing.T) {
	out, _, err := runBench(t, "hitratio", "--list", "--workload", "^scan$")
	if err != nil || !strings.Contains(out, "policy otter") || strings.Count(out, "workload ") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestHitratio_wrongFlags(t *testing.T) {
	refuses(t, [][]string{
		{"--policy", "none"}, {"--workload", "("}, {"--workload", "^none$"}, {"--format", "xml"},
		{"--traces", t.TempDir()},
	}, "hitratio")
}
