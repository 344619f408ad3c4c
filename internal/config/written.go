package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
)

// checkWritten reports logs, the pid file and Unix sockets that a start could not make.
func checkWritten(doc *document, g *Global, rep *Report) {
	for _, log := range doc.logFiles() {
		if !value.IsLogTarget(log.path) {
			g.checkMade(rep, log.at, log.path, 0)
		}
	}
	if e := doc.global; e.Has("pid_file") && !e.Failed("pid_file") {
		g.checkMade(rep, e.At("pid_file"), g.PIDFile, fs.ModeIrregular)
	}
	if e := doc.global; e.Has("upgrade_sock") && !e.Failed("upgrade_sock") {
		g.checkMade(rep, e.At("upgrade_sock"), g.UpgradeSock, fs.ModeSocket)
	}
	for _, e := range slices.Concat(doc.listeners, doc.services) {
		g.CheckSockets(rep, &e.Given, e.Addresses)
	}
}

// CheckSockets reports the Unix sockets among the addresses of listen of e that a start could not make.
func (g *Global) CheckSockets(rep *Report, e *schema.Given, listen []Address) {
	for i := range listen {
		if listen[i].Network == "unix" {
			g.checkMade(rep, e.ElementAt("listen", i, len(listen)), listen[i].Path, fs.ModeSocket)
		}
	}
}

// checkMade reports a file that cannot be made or written at a path: 0 is a log, fs.ModeSocket a socket, and
// fs.ModeIrregular another file. A missing folder is an error for any user, unless systemd makes it at the start. What
// this user may not write is a warning, and only where the configuration does not say that another user runs edge, or
// that root makes the file.
func (g *Global) checkMade(rep *Report, at syntax.Span, named string, kind fs.FileMode) {
	mine := g.mayRun() && (kind == 0 || g.User == "" || os.Geteuid() == 0)
	path := g.FromWorkingDirectory(named)
	folder := filepath.Dir(path)
	within, err := os.Stat(folder)
	present, missing := os.Stat(path)
	shown := syntax.QuotePath(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && syntax.VariableHint(path) != "":
		rep.Errorf(at, syntax.VariableHint(named), "%s is in no folder", shown)
	case errors.Is(err, fs.ErrNotExist) && kind != 0 && strings.HasPrefix(folder, "/run/"):
		rep.Warnf(codeNoRuntimeFolder, at, "RuntimeDirectory= in the unit of systemd makes it; else mkdir -p "+
			syntax.QuotePath(folder), "the folder of %s is missing", shown)
	case errors.Is(err, fs.ErrNotExist):
		rep.Errorf(at, "mkdir -p "+syntax.QuotePath(folder)+" makes it", "the folder of %s is missing", shown)
	case err == nil && !within.IsDir():
		rep.Errorf(at, "", "%s is in a file, not in a folder", shown)
	case missing == nil && kind == fs.ModeSocket && present.Mode()&fs.ModeSocket == 0:
		rep.Errorf(at, "remove it, or name another path", "%s is no socket", shown)
	case missing == nil && present.IsDir():
		rep.Errorf(at, "name a file in it", "%s is a folder", shown)
	case !mine || err != nil: // another user sees more
	case missing == nil && kind != fs.ModeSocket && !writable(path),
		(kind == fs.ModeSocket || errors.Is(missing, fs.ErrNotExist)) && !writable(folder):
		rep.Warnf(codeLogNotWritable, at, "the user that runs edge has to be allowed to",
			"this user may not write %s", shown)
	}
}

// writable reports whether this process may write the file, or make one in the folder.
func writable(path string) bool {
	const write = 2 // W_OK
	return syscall.Access(path, write) == nil
}
