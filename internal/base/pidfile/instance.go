package pidfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Instance is another process that a pid file names, found by Find. Safe for any goroutine.
type Instance struct {
	PID     int
	Since   time.Time // when it wrote the file, just before it served
	process *os.Process
}

// StaleError says that the process that a pid file names has ended.
type StaleError struct{ text string }

// Error says which one, and what became of it.
func (e *StaleError) Error() string { return e.text }

// Find returns the process that the pid file at path names, which has the file open. The number in it is not
// believed: the process may have been killed and another one have its number, or the number may belong to another
// container.
func Find(path string) (*Instance, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no edge runs: there is no %s", path)
	} else if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was read
	at, err := f.Stat()
	if err != nil {
		return nil, err
	}
	text, err := readPID(f)
	if err != nil {
		return nil, err
	}
	if text == "" {
		return nil, fmt.Errorf("no edge runs: %s is empty, as edge leaves it where it may not remove it", path)
	}
	pid, err := strconv.Atoi(text)
	if err != nil || pid <= 0 {
		return nil, fmt.Errorf("no edge runs: %s holds no number of a process", path)
	}
	process, err := os.FindProcess(pid) // by pidfd_open(2): another process may get the number from here on
	if err != nil {
		return nil, err
	}
	i := &Instance{pid, at.ModTime(), process}
	open, err := i.hasOpen(at)
	switch locked := isLocked(f); {
	case open, locked && errors.Is(err, fs.ErrPermission):
		return i, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s names process %d, and only its user or root can see whether that is edge: "+
			"try again with sudo", path, pid)
	case locked:
		return nil, fmt.Errorf("%s is of a process that is %d where it runs, and not here: run this command in its "+
			"container, or as root", path, pid)
	case errors.Is(err, fs.ErrNotExist), i.Ended():
		return nil, &StaleError{fmt.Sprintf("no edge runs: %s was left by process %d, which has ended without "+
			"removing it", path, pid)}
	case err != nil:
		return nil, err
	}
	return nil, &StaleError{fmt.Sprintf("no edge runs: %s is an old file, and process %d is %s by now", path, pid,
		i.name())}
}

// isLocked reports whether a process that serves holds the pid file f.
func isLocked(f *os.File) bool {
	err := flock(f, syscall.LOCK_SH)
	if err == nil {
		_ = flock(f, syscall.LOCK_UN)
	}
	return errors.Is(err, syscall.EWOULDBLOCK)
}

// hasOpen reports whether i has a file open.
func (i *Instance) hasOpen(file fs.FileInfo) (bool, error) {
	dir := i.proc("fd")
	list, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, fd := range list {
		if at, err := os.Stat(filepath.Join(dir, fd.Name())); err == nil && os.SameFile(at, file) {
			return true, nil
		}
	}
	return false, nil
}

// Signal sends sig to i.
func (i *Instance) Signal(sig os.Signal) error {
	err := i.process.Signal(sig)
	switch {
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("process %d belongs to another user: try again with sudo", i.PID)
	case err != nil:
		return fmt.Errorf("process %d: %w", i.PID, err)
	}
	return nil
}

// Ended reports whether i has ended. A process that its parent has not waited for yet has.
func (i *Instance) Ended() bool {
	if errors.Is(i.process.Signal(syscall.Signal(0)), os.ErrProcessDone) {
		return true
	}
	text, err := os.ReadFile(i.proc("stat"))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	_, rest, _ := strings.Cut(string(text[max(0, strings.LastIndexByte(string(text), ')')):]), " ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

func (i *Instance) name() string {
	text, err := os.ReadFile(i.proc("comm"))
	if err != nil {
		return "another one"
	}
	return strings.TrimSpace(string(text))
}

func (i *Instance) proc(name string) string { return filepath.Join("/proc", strconv.Itoa(i.PID), name) }
