package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/edge-proxy/edge/internal/testutil"
)

// A reload opens logs again at their paths, by the signal and by the command, also where nothing has changed.
func TestRun_reloadOpensRenamedLogsAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	requests := filepath.Join(dir, "access.log")
	e := start(t, "admin.listen = \"unix:%s\"\nhttp.listen = \"127.0.0.1:0\"\nlog.output = [%q]\n"+
		"routes = [{ pattern = \"/*\", dest = \"status:204\" }]\n", testutil.SocketPath(t), requests)
	e.WaitLine(`"section":"admin"`)
	for _, reload := range []func(){
		func() { e.Signal(syscall.SIGHUP) },
		func() {
			e.commands(t, command{"reload", 0, ""})
		},
	} {
		if err := os.Rename(requests, requests+".1"); err != nil {
			t.Fatal(err)
		}
		reload()
		testutil.Eventually(t, testutil.Minutes, func() bool {
			_, err := os.Stat(requests)
			return err == nil
		}, "the access log is there again")
	}
}

// No line is lost or written twice while logs are rotated, SIGUSR1 and reloads in between, and both logs in one file.
func TestRun_rotatesLogs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, log := filepath.Join(dir, "edge.toml"), filepath.Join(dir, "edge.log")
	text := fmt.Sprintf("http.listen = \"127.0.0.1:0\"\ngrace_period = \"1s\"\nerror_log = %q\n"+
		"log = { output = [%q], rotate = { size = \"64k\", keep = 1000 } }\n"+
		"routes = [{ pattern = \"/*\", dest = \"status:204\" }]\n", log, log)
	putFile(t, file, "%s", text)
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
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var from io.Reader = bytes.NewReader(text)
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
