package assemble

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Edge is the path of edge's own module. A Module of this path says which edge is built.
const Edge = "github.com/edge-proxy/edge"

// Module names a package that is linked, and where the go command finds it. immutable after Parse.
type Module struct {
	Path    string // of the package: the path of its module, or a path below it
	Version string // "v1.2.3", or what else the go command takes: a branch, a commit; "": the latest one
	Dir     string // a folder that stands for the module, absolute; "": the go command fetches it
}

// String returns m as Parse takes it.
func (m Module) String() string {
	text := m.Path
	if m.Version != "" {
		text += "@" + m.Version
	}
	if m.Dir != "" {
		text += "=" + m.Dir
	}
	return text
}

var (
	errNoPath    = errors.New("it begins with the path of a package, such as example.com/tenant")
	errNoDomain  = errors.New("the first part of its path is a domain, such as example.com")
	errDots      = errors.New(`a path has no parts "." and "..", nor "/" at its begin or end; a folder follows "="`)
	errSigns     = errors.New("a path begins with a letter and has letters, digits and - . _ ~ / alone")
	errNoVersion = errors.New(`nothing follows "@": a version looks like v1.2.3`)
	errVersion   = errors.New("a version has no spaces and none of the signs @ = , : /; it looks like v1.2.3")
	errNoFolder  = errors.New(`nothing follows "=": name the folder of the module`)
)

// expr is a regular expression that is compiled at each use, so that no other command of edge waits for it.
type expr string

func (e expr) compile() *regexp.Regexp { return regexp.MustCompile(string(e)) }

var (
	importPath = expr(`^[A-Za-z0-9][A-Za-z0-9._~/-]*$`)
	versionOf  = expr(`^[A-Za-z0-9][A-Za-z0-9._~+-]*$`)
)

// Parse returns the Module of a text path[@version][=folder]. A folder that is not absolute is one below dir.
func Parse(text, dir string) (Module, error) {
	var m Module
	rest, folder, replaced := strings.Cut(text, "=")
	name, version, pinned := strings.Cut(rest, "@")
	m.Path, m.Version = name, version
	if err := checkPath(name); err != nil {
		return m, fmt.Errorf("module %q: %w", text, err)
	}
	switch {
	case pinned && version == "":
		return m, fmt.Errorf("module %q: %w", text, errNoVersion)
	case pinned && !versionOf.compile().MatchString(version):
		return m, fmt.Errorf("module %q: %w", text, errVersion)
	case replaced && folder == "":
		return m, fmt.Errorf("module %q: %w", text, errNoFolder)
	case replaced && !filepath.IsAbs(folder):
		folder = filepath.Join(dir, folder)
	}
	m.Dir = folder
	return m, nil
}

func checkPath(name string) error {
	first, _, _ := strings.Cut(name, "/")
	switch {
	case name == "":
		return errNoPath
	case path.Clean(name) != name || path.IsAbs(name) || first == "." || first == "..":
		return errDots
	case !importPath.compile().MatchString(name):
		return errSigns
	case !strings.Contains(first, "."):
		return errNoDomain
	}
	return nil
}

// ParseFile returns the modules of a file: one a line, # begins a comment. Folders are relative to the folder of the
// file.
func ParseFile(name string) (list []Module, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		m, err := Parse(line, dir)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		list = append(list, m)
	}
	return list, nil
}

// unique refuses a path that is named twice: which of the two is meant cannot be known.
func unique(list []Module) error {
	seen := map[string]Module{}
	for _, m := range list {
		if first, twice := seen[m.Path]; twice {
			return fmt.Errorf("%s is named twice: %s and %s", m.Path, first, m)
		}
		seen[m.Path] = m
	}
	return nil
}
