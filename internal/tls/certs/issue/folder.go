package issue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/base/private"
)

// Folder is a Storage in the files of a folder, as certmagic and Caddy keep them. Processes that share the folder share
// its locks, on one machine or over a file system with locks of the kernel. Safe for any goroutine.
type Folder struct {
	in *private.Folder

	mu    sync.Mutex
	locks map[string]*lock // the locks of this process; guarded by mu
}

// NewFolder returns the Storage at dir, which is made where it is not there. If the process is root and will become
// another user, uid and gid are that user's, and get what is in the folder; below 0 the process keeps its user. A
// folder that belongs to another user, or that others may write, is an error.
func NewFolder(dir string, uid, gid int) (*Folder, error) {
	in, err := private.New(dir, uid, gid)
	if err != nil {
		return nil, err
	}
	if err := in.HandOver(); err != nil {
		return nil, err
	}
	root, _, err := in.Open()
	if err != nil {
		return nil, err
	}
	return &Folder{in: in, locks: make(map[string]*lock)}, root.Close()
}

// Store is for Storage.
func (f *Folder) Store(_ context.Context, key string, value []byte) error {
	return f.in.Replace(key, value)
}

// Load is for Storage.
func (f *Folder) Load(_ context.Context, key string) ([]byte, error) {
	text, err := f.in.Read(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err) // of a large file the error has no name
	}
	return text, nil
}

// Delete is for Storage.
func (f *Folder) Delete(_ context.Context, key string) error { return f.in.Remove(key) }

// List is for Storage.
func (f *Folder) List(ctx context.Context, at string, recursive bool) (keys []string, err error) {
	root, _, err := f.in.Open()
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // it was read
	err = fs.WalkDir(root.FS(), at, func(key string, e fs.DirEntry, err error) error {
		if err != nil || key == at {
			return err
		}
		keys = append(keys, key)
		if e.IsDir() && !recursive {
			return fs.SkipDir
		}
		return ctx.Err()
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return keys, err
}

// Lock is for Storage. The kernel gives the lock back when the process ends, however that is.
func (f *Folder) Lock(ctx context.Context, name string) error {
	at := path.Join("locks", Safe(name)+".lock")
	file, err := tryLock(f.in, at)
	for file == nil && err == nil { // another process has it
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockAgain):
			file, err = tryLock(f.in, at)
		}
	}
	if err != nil {
		return err
	}
	l := &lock{in: f.in, name: at, file: file, stop: make(chan struct{})}
	l.done.Go(l.renew)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.locks[name] = l
	return nil
}

// Unlock is for Storage.
func (f *Folder) Unlock(_ context.Context, name string) error {
	f.mu.Lock()
	l := f.locks[name]
	delete(f.locks, name)
	f.mu.Unlock()
	if l == nil {
		return fs.ErrNotExist
	}
	return l.release()
}
