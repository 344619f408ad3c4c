package discovery

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// How often a file is read though nothing is known to have happened: file systems of other machines tell nothing.
const (
	lookAgain     = 30 * time.Second
	lookForFolder = 2 * time.Second       // where there is no folder to be told of
	gather        = 20 * time.Millisecond // after an event: a busy folder has many
)

// watcher waits for something to happen in the folder of a file.
// Owned by the goroutine of its source.
type watcher struct {
	ctx    context.Context
	folder string
	events *os.File // of inotify
	known  bool     // folder is watched
	buf    [4096]byte
	stop   func() bool
}

// watch begins. What happened before wait is called is not lost.
func watch(ctx context.Context, path string) (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	w := &watcher{ctx: ctx, folder: filepath.Dir(path), events: os.NewFile(uintptr(fd), "inotify")}
	w.stop = context.AfterFunc(ctx, func() { _ = w.events.SetReadDeadline(time.Unix(1, 0)) }) // ends a wait
	w.add()
	return w, nil
}

// add watches the folder. Where that fails, the file is looked at from time to time.
func (w *watcher) add() {
	const what = unix.IN_CLOSE_WRITE | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE |
		unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	raw, err := w.events.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // the error of a closed file
		_, err := unix.InotifyAddWatch(int(fd), w.folder, what)
		w.known = err == nil
	})
}

// wait returns when something has happened, or may have. The error is the context's.
func (w *watcher) wait() error {
	pause := lookAgain
	if !w.known {
		pause = lookForFolder
	}
	_ = w.events.SetReadDeadline(time.Now().Add(pause)) // where it fails, the read does too
	if w.ctx.Err() != nil {
		return w.ctx.Err()
	}
	_, err := w.events.Read(w.buf[:])
	switch {
	case w.ctx.Err() != nil:
		return w.ctx.Err()
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case err == nil && !sleep(w.ctx, gather):
		return w.ctx.Err()
	}
	w.add() // the folder may be another one now; for a watched folder this changes nothing
	return nil
}

func (w *watcher) close() {
	w.stop()
	w.events.Close() //nolint:errcheck // nothing was written
}
