package issue

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/base/private"
)

// How certmagic has its locks, so that a Caddy and an edge wait for each other: the file is there, and its text is
// renewed.
const (
	lockRenewed = 5 * time.Second
	lockStale   = 2 * lockRenewed
	lockAgain   = 250 * time.Millisecond // how often a lock is tried that another process has
)

// lock is a file that this process has locked (F_OFD_SETLK of fcntl(2)).
//
//	the kernel's lock is held ── by an edge that lives ──► wait
//	no process holds it       ── text of an edge ────────► it has died: take the lock
//	                          └─ text of a Caddy ────────► wait while it is fresh
type lock struct {
	in   *private.Folder
	name string
	file *os.File
	stop chan struct{}
	done sync.WaitGroup
}

// lockText is the text of a lock file.
type lockText struct {
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
	Kernel  bool      `json:"kernel,omitempty"` // an edge wrote it, and is dead if the kernel's lock is free
}

// tryLock takes the lock, or returns nil where another process has it.
func tryLock(in *private.Folder, name string) (*os.File, error) {
	root, _, err := in.Open()
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // the file stays open
	if err := in.MakeIn(root, path.Dir(name)); err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	taken, err := takeKernel(f)
	if taken {
		taken, err = free(root, f, name)
	}
	if taken && err == nil {
		_ = writeLock(f, time.Now()) // on a full disk the kernel's lock has to do
		return f, nil
	}
	return nil, errors.Join(err, f.Close())
}

// takeKernel takes the lock of the kernel on f.
func takeKernel(f *os.File) (bool, error) {
	whole := unix.Flock_t{Type: unix.F_WRLCK}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &whole)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

// free tells whether the kernel's lock on f is all that it takes: it is still the file of that name, and no Caddy has
// written it lately.
func free(root *os.Root, f *os.File, name string) (bool, error) {
	opened, err := f.Stat()
	if err != nil {
		return false, err
	}
	if !opened.Mode().IsRegular() {
		return false, private.ErrNoRegular // a pipe would be read for ever
	}
	now, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(opened, now) {
		return false, nil // the process that had the lock has removed the file meanwhile
	}
	if err != nil {
		return false, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 2048))
	if err != nil {
		return false, err
	}
	var by lockText
	wrong := json.Unmarshal(text, &by) != nil
	age := time.Since(by.Updated)
	if age < -lockStale { // its clock was ahead, and a dead Caddy would have the lock until then
		age = time.Since(opened.ModTime()).Abs()
	}
	return wrong || by.Kernel || age > lockStale, nil
}

func writeLock(f *os.File, created time.Time) error {
	text, err := json.Marshal(lockText{Created: created, Updated: time.Now(), Kernel: true})
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(text, 0); err == nil {
		err = f.Truncate(int64(len(text)))
	}
	return err
}

// renew keeps the text fresh for a Caddy, until release.
func (l *lock) renew() {
	ticks := time.NewTicker(lockRenewed)
	defer ticks.Stop()
	created := time.Now()
	for {
		select {
		case <-l.stop:
			return
		case <-ticks.C:
			_ = writeLock(l.file, created) // on a full disk a Caddy may take the lock
		}
	}
}

// release gives the lock back. The file goes first: another process that opened it finds that out. If another process
// has removed it before, as a Caddy does while this process is halted, the file of that name is another's lock.
func (l *lock) release() error {
	close(l.stop)
	l.done.Wait()
	root, _, err := l.in.Open()
	if err != nil {
		return errors.Join(err, l.file.Close())
	}
	defer root.Close() //nolint:errcheck // nothing was written
	if own, err := l.file.Stat(); err == nil {
		if at, err := root.Lstat(l.name); err != nil || !os.SameFile(own, at) {
			return l.file.Close()
		}
	}
	return errors.Join(root.Remove(l.name), l.file.Close())
}
