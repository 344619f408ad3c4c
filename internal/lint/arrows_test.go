package lint

import (
	"os"
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
		"hpack up": {files{"h2/hpack/a.go", "package hpack\n" + own + `h2"`}, []string{"h2/hpack/a.go:2 h2"}},
		"closed":   {files{"engine/a.go", "package engine\n" + own + `h1"`}, []string{"engine/a.go:2 h1"}},
		"net/http": {files{"engine/a.go", "package engine\nimport \"net/http\""}, []string{"engine/a.go:2 net/http"}},
		"shipped":  {files{"h1/a.go", "package h1\n" + own + `internal/sim"`}, []string{"h1/a.go:2 internal/sim"}},
		"tested":   {files{"engine/a_test.go", "package engine\n" + own + `internal/sim"`}, nil},
		"baseline": {files{"cmd/edge/a.go", "package main\n" + own + `bench"`}, []string{"cmd/edge/a.go:2 bench"}},
		"alone": {files{"config/syntax/a.go", "package syntax\n" + own + `message"`},
			[]string{"config/syntax/a.go:2 message"}},
		"root":     {files{"a.go", "package edge\n" + own + `config/schema"`}, []string{"a.go:2 config/schema"}},
		"no floor": {files{"attic/a.go", "package attic"}, []string{"attic/a.go:1 attic"}},
	} {
		t.Run(name, func(t *testing.T) { fires(t, "arrows", c.in, c.want...) })
	}
}

// The table of packages in docs/architecture.md has the floors from the top down, so that no import points up in it.
func TestFloors_areTheOrderOfTheTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	above, rows := len(floors), 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		lowest := above
		for _, dir := range packagesOf(cells[1]) {
			floor, _ := floorOf(dir)
			if floor < 0 || floor > above {
				t.Errorf("%s has floor %d, below a row with %d", dir, floor, above)
			}
			lowest = min(lowest, floor)
		}
		above = lowest
		rows++
	}
	if rows < 80 {
		t.Errorf("the table has %d rows", rows)
	}
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
