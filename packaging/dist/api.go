package main

import (
	"cmp"
	"fmt"
	"go/types"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/exp/apidiff"
	"golang.org/x/tools/go/packages"
)

// api returns a table of the packages that programs import, with what changed in each since the release before.
func (r *release) api() (string, error) {
	now, err := public(r.source)
	if err != nil {
		return "", err
	}
	since := r.before()
	before := map[string]*types.Package{}
	if since != "" {
		if before, err = r.publicAt(since); err != nil {
			return "", err
		}
	}
	var table, details strings.Builder
	fmt.Fprintf(&table, "## Go packages\n\n| package | since %s |\n|---|---|\n", cmp.Or(since, "the first release"))
	for _, path := range slices.Sorted(maps.Keys(merged(now, before))) {
		what, list := changes(before[path], now[path])
		name := strings.TrimPrefix(path, "github.com/edge-proxy/edge/")
		fmt.Fprintf(&table, "| `%s` | %s |\n", name, what)
		if len(list) > 0 {
			fmt.Fprintf(&details, "\n`%s`:\n\n- %s\n", name, strings.Join(list, "\n- "))
		}
	}
	return table.String() + details.String(), nil
}

func merged(a, b map[string]*types.Package) map[string]*types.Package {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// changes returns what a row says of a package, and each change, the incompatible ones first.
func changes(before, now *types.Package) (what string, list []string) {
	switch {
	case before == nil:
		return "new, " + count(exported(now), "name"), nil
	case now == nil:
		return "**removed**", nil
	}
	incompatible := 0
	report := apidiff.Changes(before, now)
	for _, c := range report.Changes {
		if !c.Compatible {
			incompatible++
			list = append(list, "**"+c.Message+"**")
		}
	}
	for _, c := range report.Changes {
		if c.Compatible {
			list = append(list, c.Message)
		}
	}
	switch {
	case len(list) == 0:
		return "the same", nil
	case incompatible == 0:
		return count(len(list), "addition"), list
	default:
		more := count(len(list)-incompatible, "addition")
		return "**" + count(incompatible, "incompatible change") + "**, " + more, list
	}
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func exported(p *types.Package) (n int) {
	for _, name := range p.Scope().Names() {
		if p.Scope().Lookup(name).Exported() {
			n++
		}
	}
	return n
}

// public returns the packages of a tree that programs of others can import, for amd64.
func public(dir string) (map[string]*types.Package, error) {
	all, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedTypes | packages.NeedImports, Dir: dir,
		Env: append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off"),
	}, "./...")
	if err != nil {
		return nil, err
	}
	found := map[string]*types.Package{}
	for _, p := range all {
		if len(p.Errors) > 0 {
			return nil, fmt.Errorf("%s: %w", p.PkgPath, p.Errors[0])
		}
		if p.Name != "main" && !slices.ContainsFunc(strings.Split(p.PkgPath, "/"), private) {
			found[p.PkgPath] = p.Types
		}
	}
	return found, nil
}

func private(folder string) bool {
	return slices.Contains([]string{"internal", "cmd", "examples", "packaging"}, folder)
}

// before returns the tag of the release before this one, "" for the first.
func (r *release) before() string {
	tags, err := r.git("tag", "--list", "--merged", "HEAD", "--sort=-version:refname", "v*")
	if err != nil {
		return "" // the sources of an archive, without git
	}
	for tag := range strings.Lines(tags) {
		if tag = strings.TrimSpace(tag); tag != "v"+r.version {
			return tag
		}
	}
	return ""
}

// publicAt returns the packages of a tag.
func (r *release) publicAt(tag string) (map[string]*types.Package, error) {
	work, err := os.MkdirTemp("", "edge-before")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work) //nolint:errcheck // nothing is lost with it
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", `git archive "$1" | tar -x -C "$2"`, "-", tag, work)
	cmd.Dir = r.source
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("git archive %s: %w\n%s", tag, err, out)
	}
	return public(work)
}
