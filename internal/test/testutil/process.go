package testutil

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// Command says what Start runs. Path is a binary, usually one from Binary.
type Command struct {
	Path string
	Args []string
	Env  []string // added to the environment of the test
	Dir  string   // empty: a directory of its own, removed when the test ends

	Stderr *os.File   // where its stderr goes, unrecorded; nil: recorded
	Files  []*os.File // its descriptors from 3 on
}

// Process is a running binary with its output recorded. It is killed when the test ends, and its
// output goes to the log of a test that failed. Safe for any goroutine, except that Start, Stop,
// Wait and WaitLine may end the test and so belong to its goroutine.
//
//	p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Args: args})
//	addr := p.WaitLine(`listening on (\S+)`)[1]
//	code := p.Stop()
type Process struct {
	t      testing.TB
	cmd    *exec.Cmd
	out    Output
	exited chan struct{} // closed after code is set
	code   int
}

// Start runs the command and returns while it starts.
func Start(t testing.TB, c Command) *Process {
	t.Helper()
	p := &Process{t: t, cmd: exec.Command(c.Path, c.Args...), exited: make(chan struct{})}
	p.cmd.Dir = c.Dir
	if p.cmd.Dir == "" {
		p.cmd.Dir = t.TempDir()
	}
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.ExtraFiles = &p.out, &p.out, c.Files
	if c.Stderr != nil {
		p.cmd.Stderr = c.Stderr
	}
	p.cmd.WaitDelay = Patience / 3 // a grandchild that holds the pipe must not hold the test
	Must(t, p.cmd.Start())
	go p.reap()
	t.Cleanup(p.end)
	return p
}

// WriteProgram writes a file that is to be run. No child of this process begins meanwhile: a child that has the file
// open for writing, until its exec(2), keeps it from being run (ETXTBSY).
func WriteProgram(t testing.TB, path string, text []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	Must(t, os.WriteFile(path, text, 0o755)) //nolint:gosec // it is run
}

// StartEdge starts the edge of this module with a file of its configuration.
func StartEdge(t testing.TB, file string) *Process {
	t.Helper()
	return Start(t, Command{Path: Binary(t, "./cmd/edge"), Args: []string{"run", "-c", file}})
}

// WaitLine waits until a line of the output matches pattern and returns the match with its groups.
func (p *Process) WaitLine(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	var found []string
	p.waitUntil(func() bool {
		found = re.FindStringSubmatch(p.Output())
		return found != nil
	}, fmt.Sprintf("printed %q", pattern))
	return found
}

// WaitPort waits until addr accepts connections.
func (p *Process) WaitPort(addr string) {
	p.t.Helper()
	p.waitUntil(func() bool {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}, "listened on "+addr)
}

// Signal sends s. It is no failure when the process has already ended.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
}

// Wait waits for the end and returns the exit code, or 128 + the signal that killed the process.
func (p *Process) Wait(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.code
	case <-time.After(within):
		p.t.Fatalf("still running after %v", within)
		return 0
	}
}

// Stop sends SIGTERM and waits for the end.
func (p *Process) Stop() int {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Wait(Minutes)
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Running reports whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Output returns what was printed so far, to either stream.
func (p *Process) Output() string { return p.out.String() }

func (p *Process) waitUntil(cond func() bool, what string) {
	p.t.Helper()
	ok := false
	poll(Minutes, func() bool {
		running := p.Running() // read first: once it is false, the output is complete
		ok = cond()
		return ok || !running
	})
	if !ok {
		p.t.Fatalf("%s has not %s (running: %v)", filepath.Base(p.cmd.Path), what, p.Running())
	}
}

func (p *Process) reap() {
	p.cmd.Wait()
	p.code = p.cmd.ProcessState.ExitCode()
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		p.code = 128 + int(ws.Signal())
	}
	close(p.exited)
}

func (p *Process) end() {
	if p.Running() {
		p.cmd.Process.Kill()
		<-p.exited
	}
	if p.t.Failed() {
		p.t.Logf("%v ended with %d and had printed:\n%s", p.cmd.Args, p.code, p.Output())
	}
}
