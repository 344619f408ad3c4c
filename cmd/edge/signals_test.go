package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// SIGHUP to a process that reads its configuration still is a reload, once there is something to reload. The file is a
// pipe, so that the process waits for the test. A signal to end does not wait for it.
func TestRun_reloadWhileStarting(t *testing.T) {
	const text = "http.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/%d\"\ndest = \"status:200\"\n"
	pipe := filepath.Join(t.TempDir(), "edge.toml")
	testutil.Must(t, syscall.Mkfifo(pipe, 0o600))
	p := launch(t, "", "run", "-c", pipe)
	for i, said := range []string{`"msg":"listening"`, `"msg":"configuration reloaded"`} {
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // returns when somebody reads
		testutil.Must(t, err)
		if i == 0 {
			p.Signal(syscall.SIGHUP)
			p.Signal(syscall.SIGUSR1)
		}
		if _, err = fmt.Fprintf(w, text, i); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		p.WaitLine(said)
	}
	p.Signal(syscall.SIGHUP)
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // somebody reads, and there is nothing to read
	testutil.Must(t, err)
	defer w.Close()
	p.Signal(syscall.SIGTERM)
	endsWell(t, p)
}

// A process whose logs nobody reads any more serves on: no SIGPIPE ends it.
func TestRun_outputThatIsGone(t *testing.T) {
	address := testutil.FreeAddr(t)
	conf := write(t, "[log]\noutput = [\"stdout\"]\n[admin]\nlisten = false\n[http]\nlisten = %q\n[[routes]]\n"+
		"pattern = \"/*\"\ndest = \"status:200\"\n", address)
	cmd := exec.Command(testutil.Binary(t, "./cmd/edge"), "run", "-c", conf)
	out, err := cmd.StdoutPipe()
	testutil.Must(t, err)
	errs, err := cmd.StderrPipe()
	testutil.Must(t, err)
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() //nolint:errcheck // it is killed
	defer cmd.Process.Kill()
	ask := func() error {
		resp, err := http.Get("http://" + address + "/")
		if err == nil {
			err = resp.Body.Close()
		}
		return err
	}
	testutil.Eventually(t, testutil.Minutes, func() bool { return ask() == nil }, "it serves")
	out.Close()
	errs.Close()
	for range 6 {
		if err := ask(); err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Error(err)
	}
}

// Signals that come while the process ends neither kill it nor keep its pid file.
func TestRun_signalsWhileItEnds(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1} {
		pid := filepath.Join(t.TempDir(), "pid")
		e := start(t, "pid_file = %q\n[admin]\nlisten = false\n[http]\nlisten = \"127.0.0.1:0\"\n[[routes]]\n"+
			"pattern = \"/*\"\ndest = \"status:200\"\n", pid)
		for e.Signal(syscall.SIGINT); e.Running(); {
			e.Signal(sig)
		}
		code := e.Wait(testutil.Minutes)
		if _, err := os.Stat(pid); code != 0 || err == nil {
			t.Errorf("%v: exit code %d, the pid file: %v", sig, code, err)
		}
	}
}

// A signal to make run ends the proxy and the demo origin.
func TestMake_runEndsBoth(t *testing.T) {
	dir := t.TempDir()
	testutil.Must(t, os.Mkdir(filepath.Join(dir, "bin"), 0o700))
	testutil.Must(t, os.Symlink(testutil.Binary(t, "./cmd/edge"), filepath.Join(dir, "bin/edge")))
	addrs := []string{testutil.FreeAddr(t), testutil.FreeAddr(t)}
	p := testutil.Start(t, testutil.Command{Path: "/bin/sh", Dir: dir, Env: []string{"MAKEFLAGS="}, Args: []string{"-c",
		`exec make -f "$0" -o bin/edge run LISTEN="$1" DEMO="$2"`, filepath.Join(testutil.Root(t), "Makefile"),
		addrs[0], addrs[1]}})
	for _, addr := range addrs {
		p.WaitPort(addr)
	}
	p.Stop()
	for _, addr := range addrs {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			t.Errorf("%s is still served", addr)
		}
	}
}
