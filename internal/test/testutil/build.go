package testutil

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// built holds the binaries of this test run. guarded by mu.
var built struct {
	mu    sync.Mutex
	dir   string
	paths map[string]string
}

// Main runs the tests of a package that calls Binary and then removes what was built:
//
//	func TestMain(m *testing.M) { os.Exit(testutil.Main(m)) }
func Main(m *testing.M) int {
	os.Setenv("XDG_RUNTIME_DIR", "/nonexistent") // processes would meet in that folder, and without one below /tmp
	code := m.Run()
	built.mu.Lock()
	defer built.mu.Unlock()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	return code
}

// Binary builds a main package of edge's module, named from its root ("./cmd/edge"), and returns the path of the
// binary. It is without cgo, as releases are: with it the process could not be locked down. flags are more of go build.
// A second call with the same name and flags returns the same path. With EDGE_QEMU_ARM64=qemu-aarch64-static it is one
// for arm64, and the path leads to a script that emulates it. Safe for any goroutine.
func Binary(t testing.TB, pkg string, flags ...string) string {
	t.Helper()
	return BinaryIn(t, ".", pkg, flags...)
}

// BinaryIn is Binary for a main package that another module builds, of its own or of a project that it requires. module
// is its folder, from the root of edge's module.
func BinaryIn(t testing.TB, module, pkg string, flags ...string) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	key := strings.Join(append([]string{module, pkg}, flags...), " ")
	if path := built.paths[key]; path != "" {
		return path
	}
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "edge-test")
		Must(t, err)
		built.dir, built.paths = dir, map[string]string{}
	}
	path := filepath.Join(built.dir, fmt.Sprintf("%d-%s", len(built.paths), filepath.Base(pkg)))
	to, run := path, exec.Command("go", "run", "-buildvcs=false", "-ldflags=-s -w")
	run.Dir, run.Env = filepath.Join(Root(t), module), append(os.Environ(), "CGO_ENABLED=0")
	if qemu := os.Getenv("EDGE_QEMU_ARM64"); qemu != "" {
		to = path + "-arm64"
		run.Env = append(run.Env, "GOARCH=arm64")
		script := fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", qemu, to) // the process keeps its number
		Must(t, os.WriteFile(path, []byte(script), 0o700))                //nolint:gosec // it is run
	}
	// go run keeps the binary in Go's cache, and cp copies it from there; go build would link it for each test package.
	run.Args = append(append(run.Args, flags...), "-exec", "cp", pkg, to)
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("go run %s: %v\n%s", pkg, err, out)
	}
	built.paths[key] = path
	return path
}

// Root returns the root directory of edge's module, also to tests in the modules that lie within it.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := root()
	Must(t, err)
	return dir
}

// root walks up from the folder of the test: the go command takes a tenth of a second to answer.
var root = sync.OnceValues(func() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		text, _ := os.ReadFile(filepath.Join(dir, "go.mod"))
		if strings.HasPrefix(string(text), "module github.com/edge-proxy/edge\n") {
			return dir, nil
		} else if dir == "/" {
			err = errors.New("the test does not run below the module of edge")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
})
