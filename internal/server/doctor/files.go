package doctor

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/caching"
	"github.com/edge-proxy/edge/internal/server"
)

const expiresSoon = 14 * 24 * time.Hour

// certificates: those that have expired or soon will, keys that every user of the machine can read, and keys that the
// user of the process cannot.
func (e *exam) certificates() {
	all := make([]*config.Certificate, 0, len(e.config.Certificates)+len(e.config.Listeners))
	for i := range e.config.Certificates {
		all = append(all, &e.config.Certificates[i])
	}
	for _, l := range e.config.Listening() {
		if c := l.Certificate; c != nil {
			all = append(all, c)
		}
	}
	var said []string
	for _, c := range all {
		if c.Cert == "" || c.Cert == config.InternalCert || slices.Contains(said, c.Cert) {
			continue
		}
		said = append(said, c.Cert)
		renew := []string{"edge takes new files without a reload: put them in the place of " + c.Cert}
		if left := c.NotAfter.Sub(e.Now()); c.NotAfter.IsZero() {
			// Its text was not read: edge check says why.
		} else if left <= 0 {
			e.find(Error, renew, "%s has expired %s ago", c.Cert, days(-left))
		} else if left < expiresSoon {
			e.find(Warning, renew, "%s expires in %s", c.Cert, days(left))
		}
		key := cmp.Or(c.Key, c.Cert)
		if at, err := os.Stat(e.Path(key)); err == nil && at.Mode().Perm()&0o004 != 0 {
			e.find(Warning, []string{"chmod o= " + key}, "%s has the rights %v: every user can read the key", key,
				at.Mode().Perm())
		}
		e.canRead(key, "the key of "+c.Cert) // root reads it at the start, the user at a reload and when it is renewed
	}
}

func days(d time.Duration) string {
	if n := int(d.Hours() / 24); n != 1 {
		return fmt.Sprintf("%d days", n)
	}
	return "1 day"
}

// folders returns where files are written.
func (e *exam) folders() (all []string) {
	for _, path := range server.LogFiles(e.config) {
		dir := filepath.Dir(e.config.Global.FromWorkingDirectory(path))
		if filepath.IsAbs(dir) && !slices.Contains(all, dir) {
			all = append(all, dir)
		}
	}
	return all
}

// logs: in a folder that others may write, a link with the name of a log leads where they like.
func (e *exam) logs() {
	for _, dir := range e.folders() {
		at, err := os.Stat(e.Path(dir))
		if err == nil && at.Mode().Perm()&0o002 != 0 && at.Mode()&fs.ModeSticky == 0 {
			e.find(Warning, []string{"chmod o-w " + dir}, "%s, a folder of logs, may be written by every user", dir)
		}
	}
}

// cacheFolder returns the folder of answers on disk; "": there is none, or its path is unknown.
func (e *exam) cacheFolder() string {
	if path := e.config.Global.FromWorkingDirectory(caching.Of(e.config).DiskPath); filepath.IsAbs(path) {
		return path
	}
	return ""
}

// cache: a folder of answers that is not there, that others may write, or that the user of the process may not.
func (e *exam) cache() {
	path := e.cacheFolder()
	if path == "" {
		return
	}
	at, err := os.Stat(e.Path(path))
	switch {
	case err != nil || !at.IsDir():
		e.find(Error, []string{"install -d -m 700 " + path}, "there is no folder %s, where [cache] keeps answers", path)
	case at.Mode().Perm()&0o022 != 0:
		e.find(Error, []string{"chmod go-w " + path}, "%s, the folder of the cache, may be written by others", path)
	default:
		owner, ok := at.Sys().(*syscall.Stat_t)
		if id := e.keyReader(); ok && id != nil && int(owner.Uid) != id.UID && !e.HasACL(e.Path(path)) {
			e.find(Error, []string{fmt.Sprintf("chown -R %d %s", id.UID, path)},
				"%s, the folder of the cache, is not of the user of the process", path)
		}
	}
}

const spaceMin = 0.05

// disk: logs and state on a disk that is nearly full.
func (e *exam) disk() {
	dirs := e.folders()
	if path := e.cacheFolder(); path != "" {
		dirs = append(dirs, path)
	}
	if state, _, _ := strings.Cut(e.Getenv("STATE_DIRECTORY"), ":"); state != "" {
		dirs = append(dirs, state)
	} else if e.UID() == 0 {
		dirs = append(dirs, "/var/lib/edge")
	}
	for _, dir := range dirs {
		bytes, inodes, err := e.Space(e.Path(dir))
		if err != nil {
			continue
		}
		if bytes < spaceMin {
			e.find(Warning, []string{"du -xh " + dir + " | sort -h | tail"}, "%.0f %% of the disk of %s is free",
				100*bytes, dir)
		}
		if inodes < spaceMin {
			e.find(Warning, []string{"du -x --inodes " + dir + " | sort -n | tail"},
				"%.0f %% of the inodes of %s are free", 100*inodes, dir)
		}
	}
}

// labelled are the ports that the policies of SELinux allow to servers of HTTP.
var labelled = []int{80, 81, 443, 488, 8008, 8009, 8443, 9000}

// labels: what SELinux and AppArmor add to the rights of files and ports.
func (e *exam) labels() {
	if on, ok := e.number("/sys/fs/selinux/enforce"); ok && on == 1 {
		var ports []int
		e.each(func(a *config.Address) {
			if !slices.Contains(labelled, a.Port) && !slices.Contains(ports, a.Port) {
				ports = append(ports, a.Port)
			}
		})
		for _, p := range ports {
			e.find(Note, []string{fmt.Sprintf("semanage port -a -t http_port_t -p tcp %d", p)},
				"SELinux is enforcing, and port %d is none of those that it knows for HTTP", p)
		}
	}
	if e.running == 0 {
		return
	}
	label := e.text(fmt.Sprintf("/proc/%d/attr/apparmor/current", e.running))
	if name, mode, _ := strings.Cut(label, " "); mode == "(enforce)" {
		e.find(Note, []string{"journalctl -k | grep apparmor=.DENIED"}, "process %d has the AppArmor profile %s",
			e.running, name)
	}
}

// binary: a process that serves on with the program of before an update.
func (e *exam) binary() {
	if e.running == 0 {
		return
	}
	link := fmt.Sprintf("/proc/%d/exe", e.running)
	to, err := os.Readlink(e.Path(link))
	if err != nil {
		return
	}
	to = strings.TrimSuffix(to, " (deleted)")
	runs, err := e.Sum(e.Path(link))
	if err != nil {
		return
	}
	if now, err := e.Sum(e.Path(to)); err == nil && now != runs {
		e.find(Note, []string{"edge upgrade"}, "process %d runs the program that %s was before an update",
			e.running, to)
	}
}
