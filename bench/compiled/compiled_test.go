package compiled

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// release is the release of Go that the lists are of.
const release = "go1.26"

var update = flag.Bool("update", false, "write testdata/bounds.txt")

// compile returns what the compiler says of packages with a debugging flag.
func compile(t *testing.T, option string, packages []string) string {
	t.Helper()
	if !strings.HasPrefix(runtime.Version(), release) || runtime.GOARCH != "amd64" {
		t.Skip("the lists are of ", release, " on amd64")
	}
	cmd := exec.Command("go", append([]string{"build", "-gcflags=" + option}, packages...)...)
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// lines returns the lines of a list.
func lines(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestInlined(t *testing.T) {
	want := map[string][]string{}
	for _, line := range lines(t, "inlined.txt") {
		dir, name, _ := strings.Cut(line, " ")
		want[dir] = append(want[dir], name)
	}
	for _, dir := range slices.Sorted(maps.Keys(want)) {
		out := compile(t, "-m=1", []string{"./" + dir})
		for _, name := range want[dir] {
			if !regexp.MustCompile(`: can inline ` + regexp.QuoteMeta(name) + `\n`).MatchString(out) {
				t.Errorf("%s: %s is not inlined any more", dir, name)
			}
		}
	}
}

func TestBounds(t *testing.T) {
	most := map[string]int{}
	var packages []string
	for _, line := range lines(t, "bounds.txt") {
		var n int
		var file string
		if _, err := fmt.Sscan(line, &n, &file); err != nil {
			t.Fatal(line, err)
		}
		most[file] = n
		if dir := "./" + file[:strings.LastIndexByte(file, '/')]; !slices.Contains(packages, dir) {
			packages = append(packages, dir)
		}
	}
	got := map[string]int{}
	for line := range strings.Lines(compile(t, "-d=ssa/check_bce/debug=1", packages)) {
		if file, _, found := strings.Cut(line, ".go:"); found && strings.Contains(line, "Found Is") {
			got[file+".go"]++
		}
	}
	var list strings.Builder
	for _, file := range slices.Sorted(maps.Keys(most)) {
		fmt.Fprintln(&list, got[file], file)
		switch {
		case got[file] > most[file]:
			t.Errorf("%s has %d checks of bounds, %d are allowed", file, got[file], most[file])
		case got[file] < most[file] && !*update:
			t.Errorf("%s has %d checks of bounds, less than %d: run with -update", file, got[file], most[file])
		}
	}
	if *update {
		if err := os.WriteFile("testdata/bounds.txt", []byte(list.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
