package socketfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Errors of Unix sockets.
var (
	ErrOther  = errors.New("it is no longer the socket that edge has made: another user may write its folder")
	errNoProc = errors.New("the mode of a socket is changed through /proc/self/fd before Linux 6.6: mount /proc")
)

// File is the file of a Unix socket that the process has made. It is held open: as long as that lasts no other file
// has its inode, so another process's socket at the same path is not taken for it. What changes it changes the file
// that is open, not what the path leads to: in a folder that another user may write that could be any file of root's by
// then.
// Owned by its maker; nil is no file.
type File struct {
	path string
	fd   int // O_PATH; -1: closed
}

// Made returns the file of a socket that this process has just made at path.
func Made(path string) (*File, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	at, err := f.stat()
	if err == nil && (at.Mode&unix.S_IFMT != unix.S_IFSOCK || at.Nlink != 1 || int(at.Uid) != os.Geteuid()) {
		err = ErrOther
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Adopt returns the file at path if it is the one of dev and ino. Another process holds that one open.
func Adopt(path string, dev, ino uint64) (*File, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	if d, i := f.ID(); d != dev || i != ino {
		f.Close()
		return nil, ErrOther
	}
	return f, nil
}

func open(path string) (*File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &File{path, fd}, nil
}

// Give gives the file an owner, of which -1 stays as it is, and a mode, of which 0 does.
func (f *File) Give(uid, gid int, mode fs.FileMode) error {
	at, err := f.stat()
	if err != nil {
		return err
	}
	if mode != 0 && fs.FileMode(at.Mode)&fs.ModePerm != mode { // first: the owner may
		if err := f.chmod(mode); err != nil {
			return fmt.Errorf("give %s the mode %#o: %w", f.path, mode, err)
		}
	}
	if (uid < 0 || uid == int(at.Uid)) && (gid < 0 || gid == int(at.Gid)) {
		return nil
	}
	if err := unix.Fchownat(f.fd, "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("give %s to user %d, group %d: %w", f.path, uid, gid, err)
	}
	return nil
}

// chmod is fchmod(2), which takes no descriptor of O_PATH.
func (f *File) chmod(mode fs.FileMode) error {
	// fchmodat2(2) is of Linux 6.6, and containers may forbid what they do not know.
	if changeMode(f.fd, "", uint32(mode), unix.AT_EMPTY_PATH) == nil {
		return nil
	}
	link := fmt.Sprintf("%s/%d", procFiles, f.fd) // leads to the file
	err := changeMode(unix.AT_FDCWD, link, uint32(mode), 0)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return errNoProc
	}
	return err
}

// Changed by tests.
var (
	changeMode = unix.Fchmodat
	procFiles  = "/proc/self/fd"
)

// Rename gives the file another name, in place of what has it.
func (f *File) Rename(path string) error {
	if err := os.Rename(f.path, path); err != nil {
		return err
	}
	f.path = path
	return nil
}

// Remove removes the file, unless the path leads to another one by now, and closes it.
func (f *File) Remove() {
	if f.InPlace() {
		_ = os.Remove(f.path) // a process that gave up its rights may not be allowed to: the next start replaces it
	}
	f.Close()
}

// Close forgets the file, which stays.
func (f *File) Close() {
	if f != nil && f.fd >= 0 {
		_ = unix.Close(f.fd)
		f.fd = -1
	}
}

// InPlace reports whether the path leads to the file.
func (f *File) InPlace() bool {
	if f == nil || f.fd < 0 {
		return false
	}
	var now unix.Stat_t
	at, err := f.stat()
	return err == nil && unix.Lstat(f.path, &now) == nil && at.Dev == now.Dev && at.Ino == now.Ino
}

// ID names the file as long as a process holds it open; 0 and 0 for nil.
func (f *File) ID() (dev, ino uint64) {
	if f == nil {
		return 0, 0
	}
	at, err := f.stat()
	if err != nil {
		return 0, 0
	}
	return uint64(at.Dev), at.Ino
}

func (f *File) stat() (at unix.Stat_t, err error) {
	err = unix.Fstat(f.fd, &at)
	return at, err
}
