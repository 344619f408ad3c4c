package pidfile

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/base/safeopen"
)

// File is the file that holds the number of the process. The process has it open until its end, which tells it from
// a process that has its number by chance, see Find. Until it drains it holds it by flock(2) too: the lock, and not
// the number in it, says that it is taken. So what a process that was killed has left has no owner.
//
//	take ── locked ──► write ── serving ──► release ── draining ──► remove
//	                                           └── from now on the next process may take it: then remove leaves it
type File struct {
	path string
	file *os.File // nil: there is none
}

// A process that looks whether the file is taken holds it for a moment.
const (
	pidFileWait  = 200 * time.Millisecond
	pidFilePause = 10 * time.Millisecond
	pidFileTries = 10 // of opening the file, which the process before may be removing
)

var (
	errPIDFileMoved = errors.New("it is removed again and again while edge opens it")
	errNoPIDFile    = errors.New("is not a regular file")
)

// Take locks the file at path; "": there is none. It fails where another process serves by that file.
func Take(path string) (*File, error) {
	if path == "" {
		return &File{}, nil
	}
	for try := 1; ; try++ {
		f, err := safeopen.Open(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("pid_file: %w", err)
		}
		p := &File{path, f}
		if err = p.take(); err == nil {
			safeopen.RemoveHidden(path)
			return p, nil
		}
		_ = f.Close()
		if !errors.Is(err, errPIDFileMoved) || try == pidFileTries {
			return nil, fmt.Errorf("pid_file: %s: %w", path, err)
		}
	}
}

// Inherited returns the file at path of a process that another one hands it to, by Replace. "": there is none.
func Inherited(path string) *File { return &File{path: path} }

// heldError says that another process has the pid file.
type heldError struct{ number string }

func (e heldError) Error() string {
	return "edge runs already, as process " + cmp.Or(e.number, "unknown") + ": edge stop ends it, edge reload gives " +
		"it a new configuration; a second one needs a pid_file of its own"
}

// take locks the file.
func (p *File) take() error {
	if at, err := p.file.Stat(); err != nil || !at.Mode().IsRegular() {
		return errors.Join(err, errNoPIDFile)
	}
	switch err := p.lock(); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		number, _ := readPID(p.file)
		return heldError{number}
	case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EOPNOTSUPP):
		// A file system without locks: nothing keeps a second process away.
	case err != nil:
		return err
	}
	if !p.inPlace() { // the process before has removed it meanwhile
		return errPIDFileMoved
	}
	return nil
}

// Replace puts a file of this process in the place of the file of the process before, whose copy is before; nil: it
// gave none. In a folder that this process may not write, or on a full disk, it writes its number into that one. It
// closes before, or keeps it as the file of p.
func (p *File) Replace(before *os.File) error {
	if p.path == "" {
		closeUnused(before)
		return nil
	}
	err := p.place()
	if err == nil || before == nil {
		closeUnused(before)
		return err
	}
	p.file = before // with its lock
	if !p.inPlace() {
		p.file = nil
		closeUnused(before)
		return err
	}
	return p.Write()
}

// closeUnused closes the file of the process before; nil: there is none.
func closeUnused(before *os.File) {
	if before != nil {
		_ = before.Close()
	}
}

// place puts a new file in its place, or leaves all as it was.
func (p *File) place() error {
	safeopen.RemoveHidden(p.path)
	hidden := safeopen.Hidden(p.path)
	f, err := safeopen.Open(hidden, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("pid_file: %w", err)
	}
	p.file = f
	err = p.lock()
	if err == nil {
		err = p.Write()
	}
	if err == nil {
		err = os.Rename(hidden, p.path)
	}
	if err != nil {
		_ = os.Remove(hidden)
		_ = f.Close()
		p.file = nil
		return fmt.Errorf("pid_file: %w", err)
	}
	return nil
}

// Descriptor returns the open file, for the process that this one hands it to; nil: there is none. It stays p's.
func (p *File) Descriptor() *os.File { return p.file }

// Restore makes the file name this process again, after another one had taken it and has ended.
func (p *File) Restore() error {
	if p.file == nil {
		return nil
	}
	if p.inPlace() {
		return p.Write()
	}
	_ = p.file.Close() // it is not found any more
	p.file = nil
	err := p.place()
	if err == nil {
		return nil
	}
	left, taken := Take(p.path) // the file that the other process has left has room for a number
	if taken != nil {
		return err
	}
	p.file = left.file
	return p.Write()
}

// Write writes the number of the process over the one before, and shortens the file after that. On a full disk a file
// that was emptied first would not get its space back.
func (p *File) Write() error {
	if p.file == nil {
		return nil
	}
	text := strconv.Itoa(os.Getpid()) + "\n" // a reader takes the first line
	_, err := p.file.WriteAt([]byte(text), 0)
	if err == nil {
		err = p.file.Truncate(int64(len(text)))
	}
	if err != nil {
		return fmt.Errorf("pid_file: %w", err)
	}
	return nil
}

// Release lets the next process take the file, while this one drains.
func (p *File) Release() {
	if p.file != nil {
		_ = flock(p.file, syscall.LOCK_UN)
	}
}

// Remove removes the file unless it is another process's by now. Where the process may not write the folder any more
// it empties the file.
func (p *File) Remove() {
	if p.file == nil {
		return
	}
	defer p.file.Close() //nolint:errcheck // nothing waits to be written
	if errors.Is(p.lock(), syscall.EWOULDBLOCK) || !p.inPlace() {
		return
	}
	if number, err := readPID(p.file); err != nil || number != "" && number != strconv.Itoa(os.Getpid()) {
		return
	}
	if os.Remove(p.path) != nil {
		_ = p.file.Truncate(0)
	}
}

// lock locks the file, and waits for those that only look.
func (p *File) lock() error {
	begun := time.Now()
	for {
		err := flock(p.file, syscall.LOCK_EX)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Since(begun) > pidFileWait {
			return err
		}
		time.Sleep(pidFilePause)
	}
}

// inPlace reports whether the path leads to the file that is open.
func (p *File) inPlace() bool {
	now, err := os.Stat(p.path)
	if err != nil {
		return false
	}
	at, err := p.file.Stat()
	return err == nil && os.SameFile(at, now)
}

// flock is flock(2), which does not wait.
func flock(f *os.File, how int) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = syscall.Flock(int(fd), how|syscall.LOCK_NB) })
	return errors.Join(err, failed)
}

// readPID returns the first line of a pid file.
func readPID(f *os.File) (string, error) {
	text := make([]byte, 32)
	n, err := f.ReadAt(text, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	line, _, _ := strings.Cut(string(text[:n]), "\n")
	return strings.TrimSpace(line), nil
}
