package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Logs that were moved are opened again at their paths: by SIGUSR1, and by a reload that changes nothing, whether a
// signal or a command asks for it. What was before is in the moved files.
func TestRun_opensMovedLogsAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	events, requests := filepath.Join(dir, "error.log"), filepath.Join(dir, "access.log")
	e := &running{file: write(t, "admin.listen = \"unix:%s\"\nerror_log = %q\n"+
		"log = { output = [%q], format = \"common\" }\nhttp.listen = \"127.0.0.1:0\"\n"+
		"routes = [{ pattern = \"/*\", dest = \"status:204\" }]\n", testutil.SocketPath(t), events, requests)}
	e.Process = launch(t, "", "run", "-c", e.file)
	url := "http://" + listening(t, events)
	testutil.Eventually(t, testutil.Minutes, says(events, `"section":"admin"`), "commands find it")
	for i, reopen := range []func(){
		func() { e.Signal(syscall.SIGUSR1) },
		func() { e.Signal(syscall.SIGHUP) },
		func() { e.commands(t, command{"reload", 0, ""}) },
	} {
		answers(t, fmt.Sprint(url, "/before", i))
		for _, name := range []string{events, requests} {
			testutil.Must(t, os.Rename(name, fmt.Sprint(name, i)))
		}
		reopen()
		testutil.Eventually(t, testutil.Minutes, says(events, `"msg"`), "the event log is opened again")
		answers(t, fmt.Sprint(url, "/after", i))
		testutil.Eventually(t, testutil.Minutes, says(requests, fmt.Sprint("/after", i)), "and the access log")
		testutil.Eventually(t, testutil.Minutes, says(fmt.Sprint(requests, i), fmt.Sprint("/before", i)), "the old one")
	}
	e.Signal(syscall.SIGINT)
	endsWell(t, e)
}

// No line is lost or written twice while logs are rotated, SIGUSR1 and reloads in between, and both logs in one file.
func TestRun_rotatesLogs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, log := filepath.Join(dir, "edge.toml"), filepath.Join(dir, "edge.log")
	putFile(t, file, "http.listen = \"127.0.0.1:0\"\ngrace_period = \"1s\"\nerror_log = %q\n"+
		"log = { output = [%q], rotate = { size = \"64k\", keep = 1000 } }\n"+
		"routes = [{ pattern = \"/*\", dest = \"status:204\" }]\n", log, log)
	p := launch(t, "", "run", "-c", file)
	url := "http://" + listening(t, log)
	c := &http.Client{Transport: &http.Transport{}}
	asked := 0
	for round := range 2 {
		for range 400 { // more than 64 KiB
			if r, _ := testutil.Get(t, c, fmt.Sprintf("%s/number-%d-", url, asked)); r.StatusCode != 204 {
				t.Fatal(r.StatusCode)
			}
			asked++
		}
		p.Signal([]syscall.Signal{syscall.SIGUSR1, syscall.SIGHUP}[round])
		testutil.Eventually(t, testutil.Minutes, func() bool {
			all, _ := filepath.Glob(log + ".*.zst")
			return len(all) > round
		}, "the log is rotated and compressed")
	}
	c.CloseIdleConnections()
	stopsWell(t, p)
	lines := allLines(t, log)
	for i := range asked {
		if n := strings.Count(lines, fmt.Sprintf("/number-%d-", i)); n != 1 {
			t.Fatalf("request %d is logged %d times", i, n)
		}
	}
	for _, line := range []string{`"msg":"listening"`, `"msg":"log rotated"`, `"msg":"stopped"`} {
		if !strings.Contains(lines, line) {
			t.Errorf("no %s", line)
		}
	}
}

// allLines returns what a log and its rotated files hold.
func allLines(t *testing.T, log string) string {
	t.Helper()
	var all strings.Builder
	names, err := filepath.Glob(log + "*")
	testutil.Must(t, err)
	for _, name := range names {
		text := textOf(t, name)
		var from io.Reader = strings.NewReader(text)
		if strings.HasSuffix(name, ".zst") {
			if from, err = zstd.NewReader(from); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.Copy(&all, from); err != nil {
			t.Fatal(name, err)
		}
	}
	return all.String()
}
