package build

import (
	"runtime/debug"
	"strings"
)

// own is the path of edge's module.
const own = "github.com/edge-proxy/edge"

// Set by the linker in programs of edge build: the packages that were asked for, with commas between them.
var added string

// Module is a module in this program.
type Module struct {
	Path    string
	Version string // "" where a folder stood for it, or where nothing is known
	Dir     string // the folder, as go.mod named it
}

// Added returns the paths of the packages that edge build was asked for, in that order.
func Added() []string {
	if added == "" {
		return nil
	}
	return strings.Split(added, ",")
}

// ModuleOf returns the module of a package in this program. isEdge is true for edge's own.
func ModuleOf(pkg string) (m Module, isEdge bool) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if m = moduleOf(info, pkg); m.Path != own {
		return m, false
	}
	return Module{Path: own, Version: Version()}, true
}

// moduleOf returns the module with the longest path that pkg can belong to. Where none can, it is named as pkg.
func moduleOf(info *debug.BuildInfo, pkg string) Module {
	best := &debug.Module{}
	for _, m := range append(info.Deps, &info.Main) {
		if (pkg == m.Path || strings.HasPrefix(pkg, m.Path+"/")) && len(m.Path) > len(best.Path) {
			best = m
		}
	}
	switch r := best.Replace; {
	case best.Path == "":
		return Module{Path: pkg}
	case r != nil && (r.Version == "" || r.Version == "(devel)"):
		return Module{Path: best.Path, Dir: r.Path}
	case r != nil:
		return Module{Path: best.Path, Version: r.Version}
	}
	return Module{Path: best.Path, Version: best.Version}
}
