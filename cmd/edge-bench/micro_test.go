package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/bench/micro"
)

func TestMicro_printsRatios(t *testing.T) {
	out, notes, err := runBench(t, "micro", "--run", "parse-request/small/fasthttp", "-t", "100x", "-n", "3")
	if err != nil || !strings.Contains(out, "parse-request/small/edge") || !strings.Contains(out, "edge ÷ it") {
		t.Errorf("%v\n%s", err, out)
	}
	if n := strings.Count(notes, "\n"); n != 6 || strings.Contains(out, "nethttp") {
		t.Errorf("%d notes of 3 rounds with 2 benchmarks:\n%s", n, notes)
	}
}

func TestMicro_printsJSON(t *testing.T) {
	out, notes, err := runBench(t, "micro", "--run", "^crc32/", "-t", "10x", "-n", "2", "--json", "--quiet")
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

func TestMicro_printsWhatBenchstatReads(t *testing.T) {
	out, _, err := runBench(t, "micro", "--run", "^crc32/", "-t", "10x", "-n", "3", "--format", "benchstat", "-q")
	const line = "\nBenchmarkMicro/crc32/short/stdlib"
	if err != nil || strings.Count(out, line) != 3 || !strings.HasPrefix(out, "goos: ") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestMicro_comparesAndWritesAPage(t *testing.T) {
	_, text := wantComparison(t, []string{"micro", "--run", "^crc32/", "-t", "10x", "-n", "2", "--quiet"})
	if !strings.Contains(text, "with so few rounds") {
		t.Error(text)
	}
}

// What people see on a terminal: one line that is drawn anew, and nothing of it when all is done.
func TestMicro_drawsABarOnATerminal(t *testing.T) {
	master, terminal := openTerminal(t)
	tell, finish := progress(terminal)
	for n := range 3 {
		tell(micro.Step{Name: "crc32/short/edge", Round: n + 1, Rounds: 3, Done: n, Steps: 3})
	}
	finish()
	if err := terminal.Close(); err != nil {
		t.Fatal(err)
	}
	drawn, _ := io.ReadAll(master) // a terminal that was closed ends with an error
	for _, want := range []string{"2 of 3", "3/3 crc32/short/edge", "█", "\x1b["} {
		if !strings.Contains(string(drawn), want) {
			t.Errorf("%q was not drawn: %q", want, drawn)
		}
	}
	if last := drawn[bytes.LastIndexByte(drawn, '\n')+1:]; string(last) != lineUp+clearBelow {
		t.Errorf("a bar is left: %q", drawn)
	}
}

// openTerminal opens a pair: what is written to one end is read at the other.
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err) // a sandbox may have none
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100}); err != nil {
		t.Fatal(err)
	}
	return master, terminal
}

func TestMicro_lists(t *testing.T) {
	out, _, err := runBench(t, "micro", "--list", "--run", "^timer/move")
	if err != nil || strings.Count(out, "timer/move-later/") != 4 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestMicro_refuses(t *testing.T) {
	refuses(t, [][]string{{"--run", "("}, {"--run", "^nosuch$"}, {"--benchtime", "soon"},
		{"--format", "xml"}, {"--compare", "/nosuch.json"}, {"--compare", "/dev/null"},
		{"--report", "/nosuch/out.html"}}, "micro")
}
