package discovery

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// How often a file is read though nothing is known to have happened: file systems of other machines tell nothing.
const (
	lookAgain     = 30 * time.Second
	lookForFolder = 2 * time.Second       // where there is no folder to be told of
	gather        = 20 * time.Millisecond // after an event: a busy folder has many
)

// folders watches folders by one instance of inotify: a user has 128 of them for all processes.
// Safe for any goroutine.
type folders struct {
	mu       sync.Mutex
	fd       int // of events; 0: there is no watcher yet, or any more; guarded by mu, as all below
	events   *os.File
	watchers map[*watcher]int // with the number that inotify has for the folder; -1: it is not watched
	warned   bool             // that files are polled
}

// watched are the folders of this process.
var watched = folders{watchers: map[*watcher]int{}}

// watcher waits for something to happen in the folder of a file.
// Owned by the goroutine of its source.
type watcher struct {
	folder string
	pause  time.Duration // until the file is read without news
	news   chan struct{}
}

// watch begins. What happened before wait is called is not lost.
func (f *folders) watch(path string) *watcher {
	w := &watcher{folder: filepath.Dir(path), news: make(chan struct{}, 1)}
	f.add(w)
	return w
}

// add watches the folder of w, which may be another one than before. Where that fails, the file is polled.
func (f *folders) add(w *watcher) {
	const what = unix.IN_CLOSE_WRITE | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE |
		unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	f.mu.Lock()
	defer f.mu.Unlock()
	id, err := -1, f.open()
	if err == nil {
		id, err = unix.InotifyAddWatch(f.fd, w.folder, what)
	}
	if w.pause = lookAgain; err != nil {
		w.pause = lookForFolder
	}
	if err != nil && !f.warned && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		f.warned = true
		slog.Warn("discovery polls files", "folder", w.folder, "every", lookForFolder.String(), "error", err)
	}
	before := f.watchers[w]
	f.watchers[w] = id
	f.drop(before)
}

// open opens the instance where it is not open. mu is held.
func (f *folders) open() error {
	if f.fd != 0 {
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == nil {
		f.fd, f.events = fd, os.NewFile(uintptr(fd), "inotify")
		go f.read(f.events)
	}
	return os.NewSyscallError("inotify_init1", err)
}

// drop ends the watch of a folder that no watcher has. mu is held.
func (f *folders) drop(id int) {
	for _, other := range f.watchers {
		if other == id {
			return
		}
	}
	if id > 0 {
		_, _ = unix.InotifyRmWatch(f.fd, uint32(id)) // the error of a folder that is gone
	}
}

// read tells watchers of the events, until the last one has left.
func (f *folders) read(events *os.File) {
	var buf [4096]byte
	for {
		n, err := events.Read(buf[:])
		if err != nil {
			return
		}
		f.tell(buf[:n])
	}
}

// tell wakes the watchers of the folders that events name, and all watchers where the kernel dropped events.
func (f *folders) tell(events []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(events) >= unix.SizeofInotifyEvent {
		id, mask := int32(binary.NativeEndian.Uint32(events)), binary.NativeEndian.Uint32(events[4:])
		events = events[unix.SizeofInotifyEvent+binary.NativeEndian.Uint32(events[12:]):]
		for w, of := range f.watchers {
			if of == int(id) || mask&unix.IN_Q_OVERFLOW != 0 {
				select {
				case w.news <- struct{}{}:
				default: // it is told already
				}
			}
		}
	}
}

// wait returns when something has happened in the folder of w, or may have. The error is the context's.
func (f *folders) wait(ctx context.Context, w *watcher) error {
	select {
	case <-ctx.Done():
	case <-time.After(w.pause):
	case <-w.news:
		sleep(ctx, gather)
	}
	f.add(w) // the folder may be another one now; for a watched folder this changes nothing
	return ctx.Err()
}

func (f *folders) close(w *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := f.watchers[w]
	delete(f.watchers, w)
	if f.drop(id); len(f.watchers) == 0 && f.events != nil {
		_ = f.events.Close() // nothing was written
		f.fd, f.events = 0, nil
	}
}
