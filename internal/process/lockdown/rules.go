package lockdown

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/config"
)

// Rules is what a process may reach: paths without links, each with all that is below it.
// Immutable after Needs.Rules.
type Rules struct {
	Read    []string `json:"read"`
	Write   []string `json:"write"`
	Execute []string `json:"execute"`
	Ports   []int    `json:"ports"` // of TCP; 0: any that the kernel chooses
}

// Rules returns what has to be reached for n. Files that do not exist yet are left out: Landlock does not know them.
func (n *Needs) Rules() *Rules {
	r, program := &Rules{}, ""
	for i := range n.list {
		need := &n.list[i]
		switch {
		case need.Path == "":
			r.Ports = append(r.Ports, need.Port)
		case need.Access == Execute:
			program = need.Path
		case need.Access == Write:
			r.Write = append(r.Write, need.opened()...)
		default:
			r.Read = append(r.Read, need.opened()...)
		}
	}
	slices.Sort(r.Ports)
	r.Ports = slices.Compact(r.Ports)
	if program != "" {
		r.program(program)
	}
	r.Read, r.Write, r.Execute = outermost(r.Read), outermost(r.Write), outermost(r.Execute)
	return r
}

// opened returns the paths to open for a need: of a file its folder, and the folder of the file to which a link leads.
func (n *Need) opened() (paths []string) {
	for _, path := range []string{n.Path, realPath(n.Path)} {
		dir := filepath.Dir(path)
		if !n.Folder && !device(path) && dir != "/" && (n.Access == Write || !shared(dir)) {
			path = dir
		}
		if path = realPath(path); path != "/" && exists(path) && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// device reports whether a path names a device or a pipe, or is below /dev or /proc. Such a file is not replaced.
func device(path string) bool {
	at, err := os.Lstat(path)
	return err == nil && at.Mode()&(fs.ModeDevice|fs.ModeNamedPipe) != 0 || below(path, []string{"/dev", "/proc"})
}

// shared reports whether a folder is the root or one in it, such as /etc: much else is there.
func shared(dir string) bool { return strings.Count(filepath.Clean(dir), "/") < 2 }

// program opens the folder of a program, so that the next version can be put there. It does so where the folder has no
// programs of another name, and the process can make no files in it. Otherwise it opens the present file alone, which
// cannot be written while it runs.
func (r *Rules) program(path string) {
	for _, file := range []string{path, realPath(path)} {
		dir := realPath(filepath.Dir(file))
		if !shared(dir) && !below(dir, r.Write) && ownFolder(dir, filepath.Base(path)) {
			file = dir
		}
		if file = realPath(file); exists(file) {
			r.Execute = append(r.Execute, file)
			r.Read = append(r.Read, file)
		}
	}
}

// ownFolder reports whether all programs in a folder have names that begin with the name of one program, as edge and
// edge-1.2 do.
func ownFolder(dir, name string) bool {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		at, failed := e.Info()
		switch {
		case failed != nil, at.IsDir():
			return false
		case !at.Mode().IsRegular() && at.Mode()&fs.ModeSymlink == 0: // a socket, which has these bits too
		case at.Mode()&0o111 != 0 && !strings.HasPrefix(e.Name(), name):
			return false
		}
	}
	return err == nil
}

// outermost sorts paths, and leaves out those that are below another one.
func outermost(paths []string) (kept []string) {
	slices.Sort(paths)
	for _, path := range paths {
		if !below(path, kept) {
			kept = append(kept, path)
		}
	}
	return kept
}

// below reports whether one of folders is path, or has it below it.
func below(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(dir string) bool {
		return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
	})
}

// realPath returns a path without links, as far as it exists.
func realPath(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		return real
	}
	dir := filepath.Dir(path)
	if dir == path {
		return path
	}
	return filepath.Join(realPath(dir), filepath.Base(path))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// reaches reports whether r covers a need.
func (r *Rules) reaches(n *Need) bool {
	if n.Path == "" {
		return slices.Contains(r.Ports, n.Port)
	}
	folders := r.Write
	switch n.Access {
	case Read:
		folders = slices.Concat(r.Read, r.Write)
	case Execute:
		folders = r.Execute
	}
	// A link is resolved in its folder, which needs no right; what it leads to is opened.
	return below(realPath(n.Path), folders)
}

// Lines says in words what a process may reach, for people.
func (r *Rules) Lines() []string {
	ports := make([]string, 0, len(r.Ports))
	for _, port := range r.Ports {
		if port == 0 {
			ports = append(ports, "any that the kernel chooses")
			continue
		}
		ports = append(ports, strconv.Itoa(port))
	}
	lines := []string{}
	for _, list := range []struct {
		verb  string
		names []string
	}{{"read", r.Read}, {"write", r.Write}, {"execute", r.Execute}, {"bind TCP ports", ports}} {
		if len(list.names) > 0 {
			lines = append(lines, list.verb+": "+strings.Join(list.names, ", "))
		}
	}
	return lines
}

// Judge adds to the report the needs of n that the locked process cannot meet. n is nil where the configuration
// has errors: its needs are not known. upgrade adds what only the next process needs.
func (l *Lock) Judge(report *config.Report, n *Needs, upgrade bool) {
	if l.ABI == 0 {
		return
	}
	for i := range report.Errors {
		if p := &report.Errors[i]; strings.Contains(p.Message, unix.EACCES.Error()) {
			p.Hint = "the process is locked down: " + Hint
		}
	}
	if n != nil {
		report.Errors = append(report.Errors, l.outside(n, upgrade)...)
	}
}

// outside returns the needs of n that the process cannot reach.
func (l *Lock) outside(n *Needs, upgrade bool) (found []config.Problem) {
	for i := range n.list {
		need := &n.list[i]
		switch {
		case need.Later && !upgrade, need.Key == "system", l.Rules.reaches(need):
		case need.Path == "" && l.ABI < abiPorts:
		default:
			found = append(found, need.finding(n.main))
		}
	}
	return found
}

// Hint is what to do about a path or port that the lock keeps from the process.
const Hint = "a restart locks down with what the files name then; edge run --upgrade does so without a gap"

func (n *Need) finding(main string) config.Problem {
	p := config.Problem{Pos: n.Pos, Severity: config.SeverityError, Hint: Hint}
	p.File = cmp.Or(p.File, main)
	p.Message = fmt.Sprintf("%s: lockdown does not let the process %s %s", n.Key, n.Access, n.Path)
	if n.Path == "" {
		p.Message = fmt.Sprintf("%s: lockdown does not let the process bind port %d", n.Key, n.Port)
	}
	return p
}
