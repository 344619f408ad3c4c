package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/edge-proxy/edge/config"
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

// become gives away what edge has made and then the rights of root, in all threads. Files that others made keep their
// owners.
func (id *identity) become(s *Server) error {
	if id == nil {
		return nil
	}
	if err := id.ownFiles(s); err != nil {
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
	return nil
}

// ownLogs makes the log files that do not exist yet, so that they can be opened again after a rotation. Whoever opens
// them next reports what is wrong.
func (id *identity) ownLogs(c *config.Config) {
	if id == nil {
		return
	}
	for _, path := range append(logPaths(c), c.Global.ErrorLog) {
		if path = cleanPath(path); path == "" || path == "stdout" || path == "stderr" {
			continue
		}
		// O_EXCL follows no link: in a folder of the user it could lead to any file of root's.
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
		if err != nil {
			continue
		}
		_ = f.Chown(id.UID, id.GID)
		_ = f.Close()
	}
}

// ownFiles gives the user the sockets that s has made in the file system, and the internal authority.
func (id *identity) ownFiles(s *Server) error {
	var paths []string
	for _, l := range s.present.listeners {
		if a := l.open.Addr(); a.IsUnix() {
			paths = append(paths, a.Path)
		}
	}
	if s.present.authority != "" {
		paths = append(paths, s.opts.StateDir)
		err := filepath.WalkDir(filepath.Dir(s.present.authority), func(path string, _ fs.DirEntry, err error) error {
			paths = append(paths, path)
			return err
		})
		if err != nil {
			return fmt.Errorf("user: %w", err)
		}
	}
	for _, path := range paths {
		if err := os.Lchown(path, id.UID, id.GID); err != nil {
			return fmt.Errorf("user: %w", err)
		}
	}
	return nil
}
