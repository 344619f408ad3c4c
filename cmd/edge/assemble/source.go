package assemble

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// listed is a package, as go list tells of it.
type listed struct {
	ImportPath string
	Name       string
	Dir        string
	DepOnly    bool
	GoFiles    []string
	EmbedFiles []string
	Module     *struct {
		Path, Version string
		Replace       *struct{ Path string }
	}
}

// list asks the go command for the packages to link with all that they import, and notes their modules.
func (w *work) list() (main *listed, err error) {
	const fields = "-json=ImportPath,Name,Dir,DepOnly,GoFiles,EmbedFiles,Module"
	args := []string{"list", "-mod=mod", "-deps", fields, command}
	for _, m := range w.added() {
		args = append(args, m.Path)
	}
	out, err := w.tool.run(args...)
	if err != nil {
		return nil, w.explain(err)
	}
	found := map[string]*listed{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &listed{}
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if p.Module != nil && otherMajor.compile().MatchString(p.Module.Path) {
			return nil, w.otherEdge(p.Module.Path)
		}
		if !p.DepOnly {
			found[p.ImportPath] = p
		}
	}
	main = found[command]
	if main == nil || main.Module == nil {
		return nil, fmt.Errorf("%s has no package %s", w.edge, command)
	}
	w.result.Edge = linkedOf(main, w.edge)
	for _, m := range w.added() {
		p := found[m.Path]
		if p == nil || p.Module == nil {
			return nil, fmt.Errorf("module %s: there is no such package", m)
		}
		if p.Name == "main" {
			return nil, fmt.Errorf("module %s: its package is a program: name a package that registers filters", m)
		}
		w.result.Modules = append(w.result.Modules, linkedOf(p, m))
	}
	return main, w.checkEdge()
}

func linkedOf(p *listed, m Module) Linked {
	l := Linked{Path: m.Path, Version: p.Module.Version, Dir: m.Dir}
	if m.Dir != "" && m.Version == "" {
		l.Version = "" // only the go.mod knows it
	}
	return l
}

// checkEdge: the go command takes a newer edge where a module in a folder requires one.
func (w *work) checkEdge() error {
	got := w.result.Edge.Version
	if w.edge.Dir != "" || !release.compile().MatchString(w.edge.Version) || got == w.edge.Version {
		return nil
	}
	graph, err := w.tool.run("mod", "graph")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(graph)) {
		if by, ok := strings.CutSuffix(strings.TrimSpace(line), " "+Edge+"@"+got); ok && !strings.HasPrefix(by, own) {
			by, _, _ = strings.Cut(by, "@"+replaced)
			return w.newerEdge(strings.Replace(by, "@", " ", 1), got)
		}
	}
	return w.newerEdge("a module", got)
}

// writePackage writes the main package: edge's own, and the imports of modules.
func (w *work) writePackage() error {
	main, err := w.list()
	if err != nil {
		return err
	}
	for _, name := range slices.Concat(main.GoFiles, main.EmbedFiles) {
		text, err := os.ReadFile(filepath.Join(main.Dir, name))
		if err != nil {
			return err
		}
		to := filepath.Join(w.tool.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, text, 0o600)); err != nil {
			return err
		}
	}
	imports := "package main\n\n"
	for _, m := range w.added() {
		imports += fmt.Sprintf("import _ %q\n", m.Path)
	}
	return os.WriteFile(filepath.Join(w.tool.dir, "modules_added.go"), []byte(imports), 0o600)
}

var (
	// otherMajor matches the path of another major version of edge.
	otherMajor = expr(`^` + regexp.QuoteMeta(Edge) + `/v\d+$`)
	// namesOtherMajor finds it in what the go command says.
	namesOtherMajor = expr(regexp.QuoteMeta(Edge) + `/v\d+`)
	// needsNewer finds which module requires which edge, where go get was told another one.
	needsNewer = expr(`go: (\S+) requires ` + regexp.QuoteMeta(Edge) + `@(v[^\s,]+), not `)
	// noPackage finds a package that a module does not have.
	noPackage = expr(`module (\S+) found(?: \([^)]*\))?, but does not contain package (\S+)`)
)

// moved has the public packages whose path changed before 0.1.0, by their old paths.
var moved = map[string]string{"balance": "backend/balance", "cache": "proxy/cache",
	"backend/discovery/registry": "backend/registry"}

// explain says what a failure of the go command means, where it is about versions of edge.
func (w *work) explain(err error) error {
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	if m := needsNewer.compile().FindStringSubmatch(f.out); m != nil {
		return w.newerEdge(strings.Replace(m[1], "@", " ", 1), m[2])
	}
	if other := namesOtherMajor.compile().FindString(f.out); other != "" {
		return w.otherEdge(other)
	}
	if m := noPackage.compile().FindStringSubmatch(f.out); m != nil && strings.HasPrefix(m[2], Edge+"/") {
		if now := moved[strings.TrimPrefix(m[2], Edge+"/")]; now != "" {
			return fmt.Errorf("a module imports %s, which %s does not have: import %s/%s", m[2], w.edge, Edge, now)
		}
		return fmt.Errorf("a module imports %s, which %s does not have: it is for another version of edge; "+
			"CHANGELOG.md lists packages that moved, and the names in their place", m[2], w.edge)
	}
	return err
}

func (w *work) newerEdge(module, version string) error {
	return fmt.Errorf("%s needs edge %s, and %s is built: take an earlier version of the module, or a newer edge by "+
		"--with %s@%s", module, version, w.edge.Version, Edge, version)
}

func (w *work) otherEdge(name string) error {
	return fmt.Errorf("a module is for %s, another major version of edge, whose filters this one does not know: "+
		"take the module's version for %s", name, Edge)
}
