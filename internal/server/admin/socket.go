package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/base/socketfile"
)

// The modes of a Unix socket. A client that may connect has the rights of its user, which may be none.
const (
	modeGroup = 0o660
	modeAll   = 0o666
)

// listenUnix makes a socket at path, which is owned by o.UID and o.GID where they are above 0; with replaces in the
// place of another process's. It is made under another name and renamed, so that the path leads to a socket at any
// moment. The socket of a dead process is replaced.
func listenUnix(path string, o Options, replaces bool) (net.Listener, *socketfile.File, error) {
	if err := vacantPath(path); err != nil && (!replaces || !errors.Is(err, errTaken)) {
		return nil, nil, err
	}
	hidden := filepath.Join(filepath.Dir(path), "."+strconv.Itoa(os.Getpid())) // no longer than most names
	_ = os.Remove(hidden)
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), modeGroup) }) // bind(2) takes the umask off
		return errors.Join(err, failed)
	}}
	l, err := config.Listen(context.Background(), "unix", hidden)
	if err != nil {
		var failed *os.SyscallError
		if errors.As(err, &failed) {
			err = failed
		}
		return nil, nil, fmt.Errorf("%w%s", err, folderHint(path, err))
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // of an AF_UNIX socket it is one
	file, err := placeSocket(hidden, path, o.UID, o.GID)
	if err != nil {
		_ = os.Remove(hidden)
		_ = l.Close()
		return nil, nil, err
	}
	return l, file, nil
}

// placeSocket gives the socket its mode and owner, and its name.
func placeSocket(hidden, path string, uid, gid int) (*socketfile.File, error) {
	file, err := socketfile.Made(hidden)
	if err != nil {
		return nil, err
	}
	if err = file.Give(orUnchanged(uid), orUnchanged(gid), modeGroup); err == nil {
		err = file.Rename(path)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
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

// vacantPath returns an error unless a socket may be made at path: there is no file, or a socket that no process
// serves, or the socket of a process that drains.
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
	return vacant("unix", path, "http")
}

// openTo lets the group connect to a socket, or all users. nil is none.
func openTo(f *socketfile.File, all bool) {
	if !f.InPlace() {
		return
	}
	mode := fs.FileMode(modeGroup)
	if all {
		mode = modeAll
	}
	_ = f.Give(-1, -1, mode) // where this fails the mode stays what it was, and rights do not depend on it
}

// usable reports whether a socket can be made in a folder.
func usable(dir string) bool {
	at, err := os.Stat(dir)
	return err == nil && at.IsDir() && unix.Access(dir, unix.W_OK|unix.X_OK) == nil
}
