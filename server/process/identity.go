package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/internal/safeopen"
	"github.com/edge-proxy/edge/server"
)

// identity is whom the process becomes once it has opened what only root may open; nil: it stays who it is.
//
//	enter ──► logs, certificates, backends ──► listeners, pid file ──► become ──► the first connection is accepted
type identity config.Identity

var errRootLeft = errors.New("user: the process could become root again, so it does not start")

// enter goes to the working directory and says whom the process has to become. It refuses before anything is opened:
// a process that stayed who it is would have rights that nobody meant it to have.
func enter(g *config.Global) (*identity, error) {
	id, err := g.Identity()
	if err != nil {
		return nil, err
	}
	to := (*identity)(id)
	if to.present() || id.UID > 0 && id.UID == os.Getuid() && id.UID == os.Geteuid() && g.Group == "" {
		to = nil
	}
	if uid := os.Geteuid(); to != nil && uid != 0 {
		return nil, fmt.Errorf("user = %q, group = %q: only root can become somebody else, and this is the user %d: "+
			"start it as root, or leave these keys out", g.User, g.Group, uid)
	}
	if g.WorkingDirectory != "" {
		if err := os.Chdir(g.WorkingDirectory); err != nil {
			return nil, fmt.Errorf("working_directory: %w", err)
		}
	}
	return to, nil
}

// present tells whether the process is id already.
func (id *identity) present() bool {
	return id == nil || (id.UID < 0 || id.UID == os.Getuid() && id.UID == os.Geteuid()) &&
		(id.GID < 0 || id.GID == os.Getgid() && id.GID == os.Getegid())
}

// become gives away the sockets that edge has made and then the rights of root, in all threads. Logs and the internal
// authority, in the file authority, were given away where they are made; files that others made keep their owners.
func (id *identity) become(addresses []server.Address, authority string) error {
	if id == nil {
		return nil
	}
	if err := id.ownSockets(addresses); err != nil {
		return err
	}
	if id.UID >= 0 { // in this order: without root neither of the others can be set
		if err := syscall.Setgroups(id.Groups); err != nil {
			return fmt.Errorf("user: set the groups %v: %w", id.Groups, err)
		}
	}
	if id.GID >= 0 {
		if err := syscall.Setgid(id.GID); err != nil {
			return fmt.Errorf("group: become %d: %w", id.GID, err)
		}
	}
	if id.UID < 0 {
		return nil
	}
	if err := syscall.Setuid(id.UID); err != nil {
		return fmt.Errorf("user: become %d: %w", id.UID, err)
	}
	if id.UID > 0 && syscall.Setuid(0) == nil {
		return errRootLeft
	}
	return id.reachesAuthority(authority)
}

// owner returns who owns the files that the Server makes.
func (id *identity) owner() *server.Owner {
	if id == nil {
		return nil
	}
	return &server.Owner{UID: id.UID, GID: id.GID}
}

// ownLogs makes the log files that do not exist yet, so that they can be opened again after a rotation. Whoever opens
// them next reports what is wrong.
func (id *identity) ownLogs(c *config.Config) {
	if id == nil {
		return
	}
	for _, path := range append(server.LogPaths(c), c.Global.ErrorLog) {
		if path == "stdout" || path == "stderr" {
			continue
		}
		// O_EXCL follows no link: in a folder of the user it could lead to any file of root's.
		f, err := safeopen.Open(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
		if err != nil {
			continue
		}
		_ = f.Chown(id.UID, id.GID)
		_ = f.Close()
	}
}

// ownSockets gives the user the sockets among addresses that are in the file system.
func (id *identity) ownSockets(addresses []server.Address) error {
	for _, a := range addresses {
		if !a.Addr.IsUnix() {
			continue
		}
		if err := id.ownSocket(a.Addr.Path); err != nil {
			return fmt.Errorf("user: %s: %w", a.Addr.Path, err)
		}
	}
	return nil
}

var errOtherSocket = errors.New("it is no longer the socket that edge has made: somebody else may write its folder")

// ownSocket gives the user a socket that edge has made. What is given away is what was looked at: in a folder that the
// user may write, the path could lead to a file of root's by then.
func (id *identity) ownSocket(path string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	var at unix.Stat_t
	if err := unix.Fstat(fd, &at); err != nil {
		return err
	}
	if at.Mode&unix.S_IFMT != unix.S_IFSOCK || at.Nlink != 1 || int(at.Uid) != os.Geteuid() {
		return errOtherSocket
	}
	return unix.Fchownat(fd, "", id.UID, id.GID, unix.AT_EMPTY_PATH)
}

// reachesAuthority reports that the user, who the process is by now, cannot make the internal certificate anew.
func (id *identity) reachesAuthority(file string) error {
	if file == "" {
		return nil
	}
	dir := filepath.Dir(file)
	if err := unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("internal authority: the user %d cannot use %s: %w: chmod o+x the folders above it",
			id.UID, dir, err)
	}
	return nil
}
