package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/config"
)

var errOtherSocket = errors.New("it is no longer the socket that edge has made: another user may write its folder")

// socketFile is the file of a Unix socket that the server has made. It is held open: as long as that lasts no other
// file has its inode, so another process's socket at the same path is not taken for it.
type socketFile struct {
	path string
	fd   int // O_PATH
}

// openSocketFile returns the file of a socket that this process has just made.
func openSocketFile(path string) (*socketFile, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := &socketFile{path, fd}
	at, err := f.stat()
	if err == nil && (at.Mode&unix.S_IFMT != unix.S_IFSOCK || at.Nlink != 1 || int(at.Uid) != os.Geteuid()) {
		err = errOtherSocket
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// adoptSocketFile returns the file at path if it is still the one that id names.
func adoptSocketFile(path string, id FileID) (*socketFile, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := &socketFile{path, fd}
	if f.id() != id {
		f.close()
		return nil, errOtherSocket
	}
	return f, nil
}

// id names the file of f as long as f is open; the zero FileID for nil.
func (f *socketFile) id() FileID {
	if f == nil {
		return FileID{}
	}
	at, err := f.stat()
	if err != nil {
		return FileID{}
	}
	return FileID{uint64(at.Dev), at.Ino}
}

// socketRights returns the owner and the mode of the Unix sockets of c; nil and 0: they stay as they are.
func (s *Server) socketRights(c *config.Listener) (*Owner, fs.FileMode) {
	owner := s.opts.Owner
	if c.SocketOwner.Text != "" {
		owner = &Owner{c.SocketOwner.UID, c.SocketOwner.GID}
	}
	return owner, c.SocketMode
}

// give gives the file an owner and a mode. It changes the file that is open, not what the path leads to: in a folder
// that another user may write that could be any file of root's by then.
func (f *socketFile) give(owner *Owner, mode fs.FileMode) error {
	at, err := f.stat()
	if err != nil {
		return err
	}
	if owner != nil && (owner.UID >= 0 && owner.UID != int(at.Uid) || owner.GID >= 0 && owner.GID != int(at.Gid)) {
		if err := unix.Fchownat(f.fd, "", owner.UID, owner.GID, unix.AT_EMPTY_PATH); err != nil {
			return fmt.Errorf("give %s to user %d, group %d: %w", f.path, owner.UID, owner.GID, err)
		}
	}
	if mode == 0 || fs.FileMode(at.Mode)&fs.ModePerm == mode {
		return nil
	}
	// fchmod(2) takes no descriptor of O_PATH; its link in /proc leads to the same file.
	if err := os.Chmod(fmt.Sprintf("/proc/self/fd/%d", f.fd), mode); err != nil {
		return fmt.Errorf("give %s the mode %#o: %w", f.path, mode, err)
	}
	return nil
}

// remove removes the file, unless the path leads to another one by now, and closes it. nil is no file.
func (f *socketFile) remove() {
	if f == nil {
		return
	}
	defer f.close()
	var now unix.Stat_t
	at, err := f.stat()
	if err == nil && unix.Lstat(f.path, &now) == nil && at.Dev == now.Dev && at.Ino == now.Ino {
		_ = os.Remove(f.path) // a process that gave up its rights may not be allowed to: the next start replaces it
	}
}

func (f *socketFile) stat() (at unix.Stat_t, err error) {
	err = unix.Fstat(f.fd, &at)
	return at, err
}

func (f *socketFile) close() { _ = unix.Close(f.fd) }
