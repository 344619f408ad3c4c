package compiled

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// release is the release of Go that the lists are of.
const release = "go1.26"

var update = flag.Bool("update", false, "write testdata/bounds.txt")

// compiled returns what the compiler says of the packages in both lists about inlining and bounds. It runs once.
var compiled = sync.OnceValues(func() (string, error) {
	var dirs []string
	for _, line := range lines("inlined.txt") {
		dir, _, _ := strings.Cut(line, " ")
		dirs = append(dirs, "./"+dir)
	}
	for _, line := range lines("bounds.txt") {
		_, file, _ := strings.Cut(line, " ")
		dirs = append(dirs, "./"+path.Dir(file))
	}
	slices.Sort(dirs)
	args := []string{"build", "-trimpath=false", "-gcflags=-m=1 -d=ssa/check_bce/debug=1"}
	cmd := exec.Command("go", append(args, slices.Compact(dirs)...)...)
	cmd.Dir = "../../.."
	out, err := cmd.CombinedOutput()
	return string(out), err
})

// output is what compiled returns. A function that outgrows the budget of inlining costs a call on every request, and a
// check of bounds in a loop over bytes costs a branch for each of them: no other test notices.
func output(t *testing.T) string {
	t.Helper()
	if !strings.HasPrefix(runtime.Version(), release) || runtime.GOARCH != "amd64" {
		t.Skip("the lists are of ", release, " on amd64")
	}
	out, err := compiled()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// lines returns the lines of a list.
func lines(name string) []string {
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		panic(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestInlined(t *testing.T) {
	inlined := map[string]bool{}
	said := regexp.MustCompile(`(?m)^(.*)/[^/]+\.go:[0-9:]+ can inline (.*)$`)
	for _, m := range said.FindAllStringSubmatch(output(t), -1) {
		inlined[m[1]+" "+m[2]] = true
	}
	for _, line := range lines("inlined.txt") {
		if !inlined[line] {
			t.Errorf("%s is not inlined any more", line)
		}
	}
}

func TestBounds(t *testing.T) {
	most, got := map[string]int{}, map[string]int{}
	for _, line := range lines("bounds.txt") {
		var n int
		var file string
		if _, err := fmt.Sscan(line, &n, &file); err != nil {
			t.Fatal(line, err)
		}
		most[file] = n
	}
	seen := map[string]bool{} // with -m the compiler says some lines several times
	for line := range strings.Lines(output(t)) {
		if seen[line] {
			continue
		}
		seen[line] = true
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
