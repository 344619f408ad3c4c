package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// runMicro runs the subcommand with args.
func runMicro(t *testing.T, args ...string) (out, notes string, err error) {
	t.Helper()
	var stdout, stderr strings.Builder
	root := newRoot()
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(append([]string{"micro"}, args...))
	err = root.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

func TestMicro_printsRatios(t *testing.T) {
	out, notes, err := runMicro(t, "--run", "parse-request/small/fasthttp", "--benchtime", "100x", "--count", "3")
	if err != nil || !strings.Contains(out, "parse-request/small/edge") || !strings.Contains(out, "edge ÷ it") {
		t.Errorf("%v\n%s", err, out)
	}
	if n := strings.Count(notes, "\n"); n != 6 || strings.Contains(out, "nethttp") {
		t.Errorf("%d notes of 3 rounds with 2 benchmarks:\n%s", n, notes)
	}
}

func TestMicro_printsJSON(t *testing.T) {
	out, notes, err := runMicro(t, "--run", "^seam/", "--benchtime", "10x", "--count", "2", "--json", "--quiet")
	var report struct {
		Results []struct {
			Name    string
			Samples []struct{ N int }
		}
	}
	if err != nil || notes != "" || json.Unmarshal([]byte(out), &report) != nil {
		t.Fatalf("%v, %q\n%s", err, notes, out)
	}
	if len(report.Results) != 2 || len(report.Results[0].Samples) != 2 || report.Results[0].Samples[0].N != 10 {
		t.Errorf("got %+v", report)
	}
}

func TestMicro_lists(t *testing.T) {
	out, _, err := runMicro(t, "--list", "--run", "^timer/move")
	if err != nil || strings.Count(out, "timer/move-later/") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestMicro_refuses(t *testing.T) {
	for _, args := range [][]string{{"--run", "("}, {"--run", "^nosuch$"}, {"--benchtime", "soon"}} {
		if _, _, err := runMicro(t, args...); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
