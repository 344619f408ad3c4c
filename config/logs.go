package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/lang"
)

// Log says how requests are logged.
type Log struct {
	Format string          // json, common or combined
	Output []string        // "stdout", "stderr" or paths; empty: no access log
	When   *lang.Condition `json:",omitempty"` // of what is logged; nil: all
	Line   *lang.Template  `json:",omitempty"` // in place of Format; nil: that
}

// logFile is a log that the configuration names.
type logFile struct {
	path string
	at   syntax.Span
}

// logFiles returns the files that logs go to, as they are written.
func (doc *document) logFiles() (all []logFile) {
	add := func(path string, at syntax.Span) {
		if path != "" && path != "stdout" && path != "stderr" {
			all = append(all, logFile{path, at})
		}
	}
	if g := doc.global; g.Has("error_log") {
		add(g.ErrorLog, g.At("error_log"))
	}
	if l := doc.log; l.Has("output") && !l.Failed("output") {
		for i, path := range l.Output {
			add(path, l.ElementAt("output", i, len(l.Output)))
		}
	}
	for _, e := range doc.listeners {
		if e.Has("access_log") {
			add(e.AccessLog.Path, e.At("access_log"))
		}
	}
	for _, e := range doc.routes {
		if e.Has("access_log") {
			add(e.AccessLog.Path, e.At("access_log"))
		}
	}
	return all
}

// checkLogs reports logs that cannot be written. What is missing is an error for any user. What this one may not
// write is a warning, and only where the configuration does not say that another user runs edge.
func checkLogs(doc *document, g *Global, rep *Report) {
	mine := g.mayRun()
	for _, log := range doc.logFiles() {
		path := g.FromWorkingDirectory(log.path)
		folder := filepath.Dir(path)
		within, err := os.Stat(folder)
		at, missing := os.Stat(path)
		shown := syntax.QuotePath(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && syntax.VariableHint(path) != "":
			rep.Errorf(log.at, syntax.VariableHint(log.path), "%s is in no folder", shown)
		case errors.Is(err, fs.ErrNotExist):
			rep.Errorf(log.at, "mkdir -p "+syntax.QuotePath(folder)+" makes it", "the folder of %s is missing", shown)
		case err == nil && !within.IsDir():
			rep.Errorf(log.at, "", "%s is in a file, not in a folder", shown)
		case missing == nil && at.IsDir():
			rep.Errorf(log.at, "name a file in it, such as "+syntax.QuotePath(filepath.Join(log.path, "edge.log")),
				"%s is a folder", shown)
		case !mine || err != nil: // another user sees more
		case missing == nil && !writable(path) || errors.Is(missing, fs.ErrNotExist) && !writable(folder):
			rep.Warnf(codeLogNotWritable, log.at, "the user that runs edge has to be allowed to",
				"this user may not write %s", shown)
		}
	}
}

// resolveLog compiles what is said about the lines of access logs.
func resolveLog(r *resolver) {
	e := r.doc.log
	if e.Has("when") && !e.Failed("when") {
		r.c.Log.When = r.c.Language.Condition(r.rep, e.KeyNode("when"), lang.Log)
	}
	if !e.Has("line") || e.Failed("line") {
		return
	}
	r.c.Log.Line = r.c.Language.Template(r.rep, e.KeyNode("line"), lang.Log)
	switch {
	case e.Has("format"):
		r.rep.Errorf(e.Head("format"), "remove one of the two", "line stands in place of format")
	case strings.ContainsAny(e.line, "\r\n"):
		r.rep.Errorf(e.At("line"), "", "a line of the log has no end of a line in it")
	}
}

// warnNoLog warns of a process in the background whose logs all go to its stdout and stderr.
func warnNoLog(doc *document, rep *Report) {
	if doc.global.Daemon && len(doc.logFiles()) == 0 {
		rep.Warnf(codeNoLog, doc.global.At("daemon"), `add error_log = "/var/log/edge/error.log", and output to [log]`,
			"stdout and stderr lead nowhere in the background: nothing is logged")
	}
}

// writable reports whether this process may write the file, or make one in the folder.
func writable(path string) bool {
	const write = 2 // W_OK
	return syscall.Access(path, write) == nil
}
