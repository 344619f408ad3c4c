package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// The modes of a Unix socket. A client that may connect has the rights of its user, which may be none.
const (
	modeGroup = 0o660
	modeAll   = 0o666
)

// socketFile is the file of a Unix socket that the process has made.
// Immutable.
type socketFile struct {
	path     string
	dev, ino uint64
}

// listenUnix makes a socket at path, which is owned by o.UID and o.GID where they are above 0; with replaces in the
// place of another process's. It is made under another
// name and renamed, so that the path leads to a socket at any moment. One that a dead process has left is replaced.
func listenUnix(path string, o Options, replaces bool) (net.Listener, *socketFile, error) {
	if err := vacantPath(path); err != nil && (!replaces || !errors.Is(err, errTaken)) {
		return nil, nil, err
	}
	hidden := filepath.Join(filepath.Dir(path), "."+strconv.Itoa(os.Getpid())) // no longer than most names
	_ = os.Remove(hidden)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		var failed *os.SyscallError
		if errors.As(err, &failed) {
			err = failed
		}
		return nil, nil, fmt.Errorf("%w%s", err, folderHint(path, err))
	}
	l.SetUnlinkOnClose(false)
	file, err := placeSocket(hidden, path, o.UID, o.GID)
	if err != nil {
		_ = os.Remove(hidden)
		_ = l.Close()
		return nil, nil, err
	}
	return l, file, nil
}

// placeSocket gives the socket its mode and owner, and its name.
func placeSocket(hidden, path string, uid, gid int) (*socketFile, error) {
	if err := os.Chmod(hidden, modeGroup); err != nil {
		return nil, err
	}
	if uid > 0 || gid > 0 {
		if err := os.Lchown(hidden, orUnchanged(uid), orUnchanged(gid)); err != nil {
			return nil, err
		}
	}
	var at unix.Stat_t
	if err := unix.Lstat(hidden, &at); err != nil {
		return nil, err
	}
	if err := os.Rename(hidden, path); err != nil {
		return nil, err
	}
	return &socketFile{path, uint64(at.Dev), at.Ino}, nil
}

// orUnchanged returns what chown(2) takes for an owner that stays.
func orUnchanged(id int) int {
	if id <= 0 {
		return -1
	}
	return id
}

// folderHint says what helps where a socket cannot be made at path.
func folderHint(path string, err error) string {
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ": mkdir -p " + dir + " makes its folder"
	case errors.Is(err, fs.ErrPermission):
		return ": the user of the process has to own " + dir
	}
	return ""
}

// vacantPath returns an error unless a socket may be made at path: there is no file, or a socket that nobody serves, or
// that of a process that drains.
func vacantPath(path string) error {
	at, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case at.Mode()&fs.ModeSocket == 0:
		return errors.New("there is a file that is no socket")
	}
	return vacant("unix", path, "http", "")
}

// open lets the group connect, or all users. nil is no file.
func (f *socketFile) open(all bool) {
	if f == nil || !f.inPlace() {
		return
	}
	mode := fs.FileMode(modeGroup)
	if all {
		mode = modeAll
	}
	_ = os.Chmod(f.path, mode) // where this fails the mode stays what it was, and rights do not depend on it
}

// remove removes the file, unless the path leads to that of another process by now. nil is no file.
func (f *socketFile) remove() {
	if f != nil && f.inPlace() {
		_ = os.Remove(f.path) // without the right to, the next start replaces it
	}
}

// inPlace reports whether the path leads to the socket that the process has made.
func (f *socketFile) inPlace() bool {
	var at unix.Stat_t
	return unix.Lstat(f.path, &at) == nil && uint64(at.Dev) == f.dev && at.Ino == f.ino
}

// usable reports whether a socket can be made in a folder.
func usable(dir string) bool {
	at, err := os.Stat(dir)
	return err == nil && at.IsDir() && unix.Access(dir, unix.W_OK|unix.X_OK) == nil
}
