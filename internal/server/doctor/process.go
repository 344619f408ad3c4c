package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/edge-proxy/edge/internal/base/pidfile"
	"github.com/edge-proxy/edge/internal/config"
)

// pidFile: a pid file that a killed process has left. The next start replaces it. Until then scripts may take it for
// the pid file of a running process.
func (e *exam) pidFile() {
	file := e.config.Global.FromWorkingDirectory(e.config.Global.PIDFile)
	if e.running != 0 || e.config.Global.PIDFile == "" {
		return
	}
	_, err := pidfile.Find(e.Path(file))
	if stale := (*pidfile.StaleError)(nil); errors.As(err, &stale) {
		e.find(Note, []string{"rm " + file + ", or the next start replaces it"}, "%v", err)
	}
}

const generationsMax = 8 // how many are looked for; at most two processes of edge drain

// generations: processes from before an upgrade that still drain. Each one is the parent of the next.
func (e *exam) generations() {
	pid, name := e.running, e.comm(e.running)
	for range generationsMax {
		parent, err := strconv.Atoi(e.status(pid, "PPid"))
		if err != nil || parent <= 1 || name == "" || e.comm(parent) != name || e.supervises(parent) {
			return
		}
		e.find(Note, []string{fmt.Sprintf("kill %d ends it at once, and cuts its connections", parent)},
			"process %d, of before an upgrade, drains: it ends when its connections have, or grace_period is over",
			parent)
		pid = parent
	}
}

// supervises reports whether a process is the parent that --supervise asks for.
func (e *exam) supervises(pid int) bool {
	args := strings.Split(e.text(fmt.Sprintf("/proc/%d/cmdline", pid)), "\x00")
	return slices.ContainsFunc(args, func(arg string) bool {
		return arg == "--supervise" || strings.HasPrefix(arg, "--supervise=")
	})
}

func (e *exam) comm(pid int) string { return e.text(fmt.Sprintf("/proc/%d/comm", pid)) }

// status returns a line of the status of a process; "" where there is none.
func (e *exam) status(pid int, name string) string { return e.line(pid, "status", name+":") }

// unit returns the service of systemd that a process belongs to; "": none is known.
func (e *exam) unit(pid int) string {
	if name := path.Base(e.line(pid, "cgroup", "0::")); path.Ext(name) == ".service" {
		return name
	}
	return ""
}

// line returns the rest of the line with that beginning in a file of /proc/PID; "" where there is none.
func (e *exam) line(pid int, file, begin string) string {
	for line := range strings.Lines(e.text(fmt.Sprintf("/proc/%d/%s", pid, file))) {
		if rest, found := strings.CutPrefix(line, begin); found {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// keyReader returns the user that reads keys again after the start: the user of the running process, else what user
// names. nil: it is not known, or there is nothing to check. Root may read all files, and edge check has looked at them
// as the user of this command.
func (e *exam) keyReader() *config.Identity {
	id := &config.Identity{UID: -1, GID: -1}
	if uids := strings.Fields(e.status(e.running, "Uid")); e.running != 0 && len(uids) == 4 {
		gids := strings.Fields(e.status(e.running, "Gid"))
		if len(gids) != 4 {
			return nil
		}
		id.UID, _ = strconv.Atoi(uids[1]) // the effective one
		id.GID, _ = strconv.Atoi(gids[1])
		for _, text := range strings.Fields(e.status(e.running, "Groups")) {
			if gid, err := strconv.Atoi(text); err == nil {
				id.Groups = append(id.Groups, gid)
			}
		}
	} else if named, err := e.config.Global.Identity(); err == nil && named != nil {
		id = named
	}
	if id.UID <= 0 || id.UID == e.UID() {
		return nil
	}
	return id
}

// unreadable returns what keeps a user from reading a file, by the rights of the file and of the folders above it; "":
// nothing, or it is not known. It does not know what an ACL of the file or of a folder gives.
func (e *exam) unreadable(id *config.Identity, path string) string {
	const read, search = 4, 1
	if !filepath.IsAbs(path) {
		return ""
	}
	wanted := fs.FileMode(read)
	for at := path; ; at = filepath.Dir(at) {
		info, err := os.Stat(e.Path(at))
		if err != nil {
			return ""
		}
		file, ok := info.Sys().(*syscall.Stat_t)
		if !ok || e.HasACL(e.Path(at)) {
			return ""
		}
		bits := info.Mode().Perm()
		switch gid := int(file.Gid); {
		case int(file.Uid) == id.UID:
			bits >>= 6
		case gid == id.GID || slices.Contains(id.Groups, gid):
			bits >>= 3
		}
		if bits&wanted == 0 {
			return at
		}
		if at == "/" {
			return ""
		}
		wanted = search
	}
}

// tables: files of lists and maps that the user of the process cannot read.
func (e *exam) tables() {
	for _, file := range e.config.Language.Files() {
		e.canRead(file, "the file of a list, a map or a database")
	}
}

// canRead finds what keeps the user of the process from reading a file.
func (e *exam) canRead(path, what string) {
	id := e.keyReader()
	if id == nil {
		return
	}
	at := e.unreadable(id, path)
	if at == "" {
		return
	}
	fix := []string{fmt.Sprintf("chgrp %d %s && chmod g+r %[2]s", id.GID, path)}
	if at != path {
		fix = []string{fmt.Sprintf("chgrp %d %s && chmod g+x %[2]s", id.GID, at)}
	}
	e.find(Warning, fix, "user %d cannot read %s, %s, because of the rights of %s: reloads that read it "+
		"again fail, and so do upgrades", id.UID, path, what, at)
}
