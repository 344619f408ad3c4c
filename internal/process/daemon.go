package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// daemonVariable tells a process that it is to become a daemon, and gives the descriptor of the pipe to its
// parent, which waits there. It is removed before another process could inherit it.
const daemonVariable = "EDGE_DAEMON_FD"

var (
	errDaemonEnded = errors.New("daemon: it ended before it served")
	errNotWaited   = errors.New(daemonVariable + " is set, but no process waits there: only edge sets it")
)

// detach starts the program again, with the same arguments, in a session of its own: a Go process cannot fork. It
// returns when the new process serves, or has ended: then the error is a *DaemonError with its exit code.
//
//	detach ── start ──► new process: configuration, addresses, logs, pid file, rights
//	  │ waits on a pipe                 │ an error: told on the terminal; the end of the process closes the pipe
//	  ◄──────────── one byte ───────────┘ it serves, and leaves the terminal
func detach() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	defer r.Close()
	child := &exec.Cmd{
		Path: "/proc/self/exe", Args: os.Args, // the program that runs, also when its file was replaced
		Env:    append(os.Environ(), daemonVariable+"=3"),
		Stderr: os.Stderr, ExtraFiles: []*os.File{w}, // stdin and stdout are /dev/null
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = child.Start()
	_ = w.Close() // now only the child has that end
	if err != nil {
		return fmt.Errorf("daemon: start again: %w", err)
	}
	if n, _ := r.Read(make([]byte, 1)); n == 1 {
		return child.Process.Release()
	}
	err = child.Wait()
	if ended := (*exec.ExitError)(nil); errors.As(err, &ended) && ended.Exited() {
		return &DaemonError{ended.ExitCode()}
	}
	if err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	return errDaemonEnded
}

// DaemonError says that the process that was to serve has ended by itself before it did. It has printed why.
type DaemonError struct{ Code int }

// Error names the exit code.
func (e *DaemonError) Error() string {
	return fmt.Sprintf("daemon: it ended with exit code %d", e.Code)
}

// Detached reports whether the process is to become a daemon: then its parent has already reported on the
// configuration. It is false after Run has begun.
func Detached() bool { return os.Getenv(daemonVariable) != "" }

// waitingParent returns the pipe to the parent that waits; nil when the process is not to become a daemon.
func waitingParent() (*os.File, error) {
	text := os.Getenv(daemonVariable)
	if text == "" {
		return nil, nil
	}
	if err := os.Unsetenv(daemonVariable); err != nil {
		return nil, err
	}
	fd, err := strconv.Atoi(text)
	var at syscall.Stat_t
	if err != nil || fd < 3 || syscall.Fstat(fd, &at) != nil || at.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return nil, errNotWaited
	}
	syscall.CloseOnExec(fd)
	// The kernel has named the process after /proc/self/exe.
	_ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0)
	return os.NewFile(uintptr(fd), "parent"), nil
}

// release leaves the terminal and tells the parent that the process serves. Without a parent it does nothing.
func release(parent *os.File, events *eventLog) error {
	if parent == nil {
		return nil
	}
	defer parent.Close()
	if err := events.detach(); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	if _, err := parent.Write([]byte{1}); err != nil {
		return fmt.Errorf("daemon: the process that started it has ended: %w", err)
	}
	return nil
}

// detach makes stderr the file of the event log, or /dev/null without a file: so what the runtime prints when the
// process crashes is kept. Lines from before still go to the terminal.
func (e *eventLog) detach() error {
	e.sync()
	e.changing.Lock()
	defer e.changing.Unlock()
	e.detached = true
	return e.redirect()
}

// redirect makes stderr the file of the output. e.changing is held.
func (e *eventLog) redirect() error {
	to := e.out.file
	if to == os.Stderr || to == nil {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer null.Close()
		to = null
	}
	raw, err := to.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.Dup3(int(fd), syscall.Stderr, 0) }); err != nil {
		return err
	}
	return failed
}
