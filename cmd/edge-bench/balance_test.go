package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/bench/balance"
)

func TestBalance_printsATableAndWritesAPage(t *testing.T) {
	page, svg := filepath.Join(t.TempDir(), "a.html"), filepath.Join(t.TempDir(), "a.svg")
	out, notes, err := runBench(t, "balance", "--run", "^uniform 80", "--method", "adaptive,p2c-exact", "--members",
		"4", "--reactors", "2", "--seeds", "1", "--scale", "0.01", "--report", page, "--svg", svg)
	if err != nil || !strings.Contains(out, "p2c-exact") || !strings.Contains(out, "uniform 80 %") ||
		notes != "uniform 80 %, 4 backends\n" {
		t.Errorf("%v, %q\n%s", err, notes, out)
	}
	for name, begin := range map[string]string{page: "<!doctype html>", svg: "<svg"} {
		if b, err := os.ReadFile(name); err != nil || !strings.HasPrefix(string(b), begin) {
			t.Errorf("%s: %v\n%.200s", name, err, b)
		}
	}
}

func TestBalance_comparesWithAnEarlierRun(t *testing.T) {
	old := filepath.Join(t.TempDir(), "old.json")
	args := []string{"balance", "--quiet", "--run", "^uniform 80", "--members", "4", "--reactors", "1", "--seeds", "1",
		"--scale", "0.01", "--method", "p2c"}
	out, _, err := runBench(t, append(args, "--format", "json")...)
	if err != nil || !json.Valid([]byte(out)) {
		t.Fatalf("%v\n%s", err, out)
	}
	out = strings.Replace(out, `"p99": 1`, `"p99": 3`, 1) // as if it had been worse
	if err := os.WriteFile(old, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, err = runBench(t, append(args, "--compare", old)...)
	if err != nil || !strings.Contains(out, "more: 1 cells; 0 are new, 0 gone") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestBalance_takesOnesOwnNumbers(t *testing.T) {
	out, _, err := runBench(t, "balance", "--quiet", "--load", "0.7", "--members", "6", "--workers", "2,8",
		"--weights", "1,4", "--service", "exponential:40ms", "--slow", "1:10", "--fail", "1", "--pause", "100ms",
		"--reactors", "8", "--seeds", "1", "--scale", "0.02", "--format", "json")
	var table balance.Table
	if err != nil || json.Unmarshal([]byte(out), &table) != nil || len(table.Cells) != 1 {
		t.Fatalf("%v\n%s", err, out)
	}
	want := "exponential:40ms, load 70 %, 1 of them 10 × slower, 1 of them fail, pauses of 100ms"
	if c := table.Cells[0]; c.Members != 6 || c.Reactors != 8 || c.What != want || len(c.Methods) != 8 {
		t.Errorf("%+v", c)
	}
}

func TestBalance_takesOnesOwnPolicy(t *testing.T) {
	out, _, err := runBench(t, "balance", "--quiet", "--load", "0.6", "--zones", "6,4,2", "--zone-share", "50,30,20",
		"--leave", "3:10:5s", "--hang", "0.01:500ms", "--slow-start", "10s", "--hedge-after", "60ms", "--reactors", "2",
		"--seeds", "1", "--scale", "0.05", "--method", "adaptive,p2c-exact", "--format", "json")
	var table balance.Table
	if err != nil || json.Unmarshal([]byte(out), &table) != nil || len(table.Cells) != 2 {
		t.Fatalf("%v\n%s", err, out)
	}
	what := "lognormal:10ms:1, load 60 %, zones of [6 4 2] backends, 3 of them away for 10 s of each 30 s, then 10 × " +
		"slower, less and less for 5s, one of them keeps 1 % of its requests waiting for 500ms"
	policy := ", slow_start = 10s, zones = prefer, zone_share, hedge_after = 60ms"
	without, with := table.Cells[0], table.Cells[1]
	if without.Scenario != "own, without" || without.What != what || with.What != what+policy || with.Members != 12 {
		t.Errorf("%+v\n%+v", without, with)
	}
	if f := without.Methods[0]; f.Hedges != nil || f.Crossing.Is < 0.5 {
		t.Errorf("%+v", f)
	}
	if f := with.Methods[0]; f.Hedges == nil || f.Hedges.Sent == 0 || f.Crossing.Is > 0.3 {
		t.Errorf("%+v", f)
	}
}

func TestBalance_lists(t *testing.T) {
	out, _, err := runBench(t, "balance", "--list", "--run", "long polling$")
	if err != nil || !strings.Contains(out, "method least-exact ") || strings.Count(out, "scenario ") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestBalance_wrongPolicies(t *testing.T) {
	refuses(t, [][]string{
		{"--leave", "4"}, {"--leave", "1:10"}, {"--leave", "1:1:5s"}, {"--leave", "1:10:25s"}, {"--leave", "x"},
		{"--hang", "500ms"}, {"--hang", "1.5:1s"}, {"--hang", "0.1:x"}, {"--zones", "3,0"},
		{"--zones", "3,3", "--members", "6"}, {"--zones", "3,3", "--zone-share", "50"}, {"--zone-share", "100"},
		{"--zones", "3,3", "--zone-share", "50,60"}, {"--zones", "3,3", "--zone-share", "100,0"},
		{"--slow-start", "-1s"}, {"--hedge-after", "-1s"},
	}, "balance", "--load", "0.5", "--quiet", "--scale", "0.001")
}

func TestBalance_wrongFlags(t *testing.T) {
	refuses(t, [][]string{
		{"--method", "none"}, {"--run", "("}, {"--run", "^none$"}, {"--format", "xml"}, {"--seeds", "0"},
		{"--reactors", "0"}, {"--members", "5000"}, {"--load", "1.2"}, {"--load", "0.5", "--service", "lognormal"},
		{"--load", "0.5", "--service", "normal:10ms"}, {"--load", "0.5", "--slow", "4:10"},
		{"--load", "0.5", "--slow", "x"}, {"--load", "0.5", "--fail", "4"}, {"--load", "0.5", "--workers", "0"},
		{"--compare", filepath.Join(t.TempDir(), "none.json")},
	}, "balance", "--quiet", "--scale", "0.001")
}
