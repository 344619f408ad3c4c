package lint

import (
	"path"
	"slices"
	"strings"
	"testing"
)

func TestArrows(t *testing.T) { clean(t, "arrows") }

func TestArrows_fires(t *testing.T) {
	const own = "import \"" + module + "/"
	for name, c := range map[string]struct {
		in   files
		want []string
	}{
		"up":       {files{"h1/a.go", "package h1\n" + own + `engine"`}, []string{"h1/a.go:2 engine"}},
		"up, test": {files{"h1/a_test.go", "package h1\n" + own + `engine"`}, []string{"h1/a_test.go:2 engine"}},
		"sideways": {files{"pool/a.go", "package pool\n" + own + `limits"`}, []string{"pool/a.go:2 limits"}},
		"down":     {files{"proxy/a.go", "package proxy\n" + own + `session"`}, nil},
		"within":   {files{"bench/a.go", "package bench\n" + own + `bench/floor"`}, nil},
		"hpack":    {files{"h2/a.go", "package h2\n" + own + `h2/hpack"`}, nil},
		"closed":   {files{"engine/a.go", "package engine\n" + own + `h1"`}, []string{"engine/a.go:2 h1"}},
		"public":   {files{"quic/a.go", "package quic\n" + own + `pool"`}, []string{"quic/a.go:2 pool"}},
		"internal": {files{"quic/a.go", "package quic\n" + own + `internal/base/tally"`}, nil},
		"net/http": {files{"engine/a.go", "package engine\nimport \"net/http\""}, []string{"engine/a.go:2 net/http"}},
		"shipped": {files{"h1/a.go", "package h1\n" + own + `internal/test/sim"`},
			[]string{"h1/a.go:2 internal/test/sim"}},
		"tested":   {files{"engine/a_test.go", "package engine\n" + own + `internal/test/sim"`}, nil},
		"baseline": {files{"cmd/edge/a.go", "package main\n" + own + `bench"`}, []string{"cmd/edge/a.go:2 bench"}},
		"alone": {files{"internal/config/syntax/a.go", "package syntax\n" + own + `message"`},
			[]string{"internal/config/syntax/a.go:2 message"}},
		"root": {files{"a.go", "package edge\n" + own + `internal/config/schema"`},
			[]string{"a.go:2 internal/config/schema"}},
		"no layer": {files{"attic/a.go", "package attic"}, []string{"attic/a.go:1 attic"}},
	} {
		t.Run(name, func(t *testing.T) { fires(t, "arrows", c.in, c.want...) })
	}
}

// The table of docs/architecture.md has the layers and their folders in this order, and no import runs up in it.
func TestLayers_areTheTableOfTheDocs(t *testing.T) {
	tree, err := loadTree()
	if err != nil {
		t.Fatal(err)
	}
	rows, folders, layer, last := map[string]int{}, map[int]bool{}, -1, -1
	eachLine(tree.texts["docs/architecture.md"], func(n int, line string) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 {
			return
		}
		if name, ok := strings.CutPrefix(cells[1], " **"); ok {
			if layer++; layer >= len(layers) || name != layers[layer].name+"** " {
				t.Fatalf("line %d: layer %d has another name in internal/lint", n, layer)
			}
		}
		for i, dir := range packagesOf(cells[1]) {
			at, home := layerOf(dir)
			if home != layers[layer].name || i == 0 && at < last {
				t.Errorf("line %d: %s is of the layer %q, or above the row before", n, dir, home)
			}
			last, rows[dir], folders[at] = max(at, last), n, true
		}
	})
	for _, s := range tree.sources {
		for _, spec := range s.ast.Imports {
			to, own := strings.CutPrefix(importPath(spec)+"/", module+"/")
			from, at := rowOf(rows, s.dir), rowOf(rows, path.Clean(to))
			if own && !s.test && at < from {
				t.Errorf("%s (line %d) imports %s (line %d)", s.path, from, to, at)
			}
		}
	}
	for _, l := range layers {
		for folder := range strings.FieldsSeq(l.folders) {
			if at, _ := layerOf(folder); !folders[at] {
				t.Errorf("the table has no row for %s", folder)
			}
		}
	}
}

// rowOf returns the row of a package, or of the nearest folder around it.
func rowOf(rows map[string]int, dir string) int {
	for rows[dir] == 0 && dir != "." {
		dir = path.Dir(dir)
	}
	return rows[dir]
}

// packagesOf returns the packages that a cell names: `a`, `b/{c,d}`; the root is `edge`.
func packagesOf(cell string) (dirs []string) {
	for i, text := range strings.Split(cell, "`") {
		if i%2 == 0 {
			continue
		}
		base, list, _ := strings.Cut(strings.TrimSuffix(text, "}"), "{")
		for name := range strings.SplitSeq(list, ",") {
			dirs = append(dirs, path.Join(base, name))
		}
	}
	if slices.Equal(dirs, []string{"edge"}) {
		return []string{"."}
	}
	return dirs
}
