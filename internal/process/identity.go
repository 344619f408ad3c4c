package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/base/safeopen"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server"
)

// identity is the user and group that the process takes after it has opened what only root may open; nil: it
// keeps its own.
//
//	enter ──► logs, certificates, backends ──► listeners, pid file ──► become ──► the first connection is accepted
type identity config.Identity

var errRootLeft = errors.New("user: the process could become root again, so it does not start")

// enter goes to the working directory and returns the identity to take. What cannot be is refused before anything
// is opened: a process that kept its identity would have rights that it was not meant to have.
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

// present reports whether the process has the identity already.
func (id *identity) present() bool {
	return id == nil || (id.UID < 0 || id.UID == os.Getuid() && id.UID == os.Geteuid()) &&
		(id.GID < 0 || id.GID == os.Getgid() && id.GID == os.Getegid())
}

// become gives up the rights of root, in all threads. Logs, Unix sockets and the internal authority, whose file is
// authority, were given to the user when they were made. Other files keep their owners.
func (id *identity) become(authority string) error {
	if id == nil {
		return nil
	}
	if id.UID >= 0 { // groups first: only root can set them
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

// owner returns the owner of files that the Server makes.
func (id *identity) owner() *server.Owner {
	if id == nil {
		return nil
	}
	return &server.Owner{UID: id.UID, GID: id.GID}
}

// ownLogs makes the log files that do not exist yet and gives them to the user: it opens them again after a
// rotation. It ignores errors: to open them next will fail as well.
func (id *identity) ownLogs(c *config.Config) {
	if id == nil {
		return
	}
	for _, path := range server.LogFiles(c) {
		// O_EXCL follows no link: in a folder of the user one could lead to any file of root's.
		f, err := safeopen.Open(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
		if err != nil {
			continue
		}
		_ = f.Chown(id.UID, id.GID)
		_ = f.Close()
	}
}

// reachesAuthority returns an error if the user, whose rights the process has now, cannot renew the internal
// certificate.
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
