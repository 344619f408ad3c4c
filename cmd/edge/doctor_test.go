package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/server/doctor"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// found runs edge doctor --json in the folder of a configuration and returns its exit code and what it says by check.
func found(t *testing.T, dir string) (code int, all map[string]doctor.Finding) {
	t.Helper()
	code, out := in(t, dir, "doctor", "--json")
	var r doctor.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Checks == 0 {
		t.Fatalf("%v: %s", err, out)
	}
	all = map[string]doctor.Finding{}
	for _, f := range r.Findings {
		all[f.Check] = f
	}
	return code, all
}

// A process of another program on an address of the configuration is named, and ends it with 1. The process that serves
// the configuration is none.
func TestDoctor_sockets(t *testing.T) {
	e := start(t, controlled, "/one")
	if _, all := found(t, filepath.Dir(e.file)); all["sockets"].What != "" {
		t.Errorf("the process that serves: %+v", all["sockets"])
	}
	taken := testutil.Listen(t).Addr().String()
	dir := filepath.Dir(write(t, "http.listen = %q\n[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n", taken))
	// The kernel may leave a line of its table out while other sockets come and go.
	testutil.Eventually(t, testutil.Minutes, func() bool {
		code, all := found(t, dir)
		f := all["sockets"]
		return code == 1 && f.Level == doctor.Error && strings.Contains(f.What, taken) &&
			len(f.Fix) == 1 && f.Fix[0] == "kill "+strconv.Itoa(os.Getpid())
	}, "the process of this test is named")
	commands(t, dir, command{"doctor", 1, "error sockets"})
}

// A configuration with errors is not looked at further.
func TestDoctor_wrongFile(t *testing.T) {
	commands(t, filepath.Dir(write(t, "lisen = 1\n")), command{"doctor", 1, "lisen"})
}

// A process that serves on after its program was replaced is told.
func TestDoctor_binary(t *testing.T) {
	t.Parallel()
	program := []byte(textOf(t, testutil.Binary(t, "./cmd/edge")))
	dir := filepath.Dir(write(t, "pid_file = \"edge.pid\"\nhttp.listen = \"127.0.0.1:0\"\n"+
		"[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"))
	own := filepath.Join(dir, "edge")
	putAs(t, own, 0o700, program)
	p := testutil.Start(t, testutil.Command{Path: own, Args: []string{"run"}, Dir: dir})
	p.WaitLine(`"msg":"listening"`)
	testutil.Eventually(t, testutil.Minutes, func() bool {
		code, _ := in(t, dir, "status")
		return code == 0
	}, "it runs")
	if _, all := found(t, dir); all["binary"].What != "" {
		t.Errorf("%+v", all["binary"])
	}
	testutil.Must(t, os.Remove(own))
	putAs(t, own, 0o700, append(program, 0))
	_, all := found(t, dir)
	if want := fmt.Sprintf("process %d runs the program", p.PID()); !strings.Contains(all["binary"].What, want) {
		t.Errorf("%+v", all["binary"])
	}
}
