//go:build apps

package apps

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// need returns the path of a command. Where it is missing its Debian package is installed.
func (a *app) need(command, debian string) string {
	a.Helper()
	if path, err := exec.LookPath(command); err == nil {
		return path
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		a.skip("%s is missing, and so is apt-get", command)
	}
	updateLists()
	if out, err := asRoot("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", "install", "-y",
		"--no-install-recommends", debian).CombinedOutput(); err != nil {
		a.skip("apt-get install %s: %s", debian, lastLine(out))
	}
	// Debian starts a service that it has installed. The tests have processes and ports of their own.
	_ = asRoot("service", debian, "stop").Run() // most packages have none
	path, err := exec.LookPath(command)
	if err != nil {
		a.skip("%s is missing, also after apt-get install %s", command, debian)
	}
	return path
}

// updateLists brings the lists of packages up to date, once in a run. A failure is told by the installation.
var updateLists = sync.OnceFunc(func() { _ = asRoot("apt-get", "-qq", "update").Run() })

func asRoot(args ...string) *exec.Cmd {
	if os.Getuid() != 0 {
		args = append([]string{"sudo", "-n", "-E"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	return cmd
}

// project copies a folder of testdata to a place of its own, with the packages that its package.json names. They are
// installed once, in the user's cache.
func (a *app) project(name string) (dir string) {
	a.Helper()
	a.need("node", "nodejs")
	npm := a.need("npm", "npm")
	cache, err := os.UserCacheDir()
	if err != nil {
		a.skip("npm has no folder for its packages: %v", err)
	}
	cache = filepath.Join(cache, "edge-interop", name)
	source := filepath.Join("testdata", name)
	wanted := a.read(filepath.Join(source, "package.json"))
	installed := filepath.Join(cache, "package.json")
	// npm writes the file in node_modules when all else is there.
	_, err = os.Stat(filepath.Join(cache, "node_modules", ".package-lock.json"))
	if have, _ := os.ReadFile(installed); err != nil || !bytes.Equal(have, wanted) {
		a.write(installed, string(wanted))
		cmd := exec.Command(npm, "install", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1")
		cmd.Dir = cache
		if out, err := cmd.CombinedOutput(); err != nil {
			os.Remove(installed)
			a.skip("npm install for %s: %s", name, firstLine(out))
		}
	}
	dir = filepath.Join(a.TempDir(), name)
	testutil.Must(a, os.CopyFS(dir, os.DirFS(source)))
	testutil.Must(a, os.Symlink(filepath.Join(cache, "node_modules"), filepath.Join(dir, "node_modules")))
	return dir
}

// versionOf takes the version from what a command prints.
func (a *app) versionOf(command string, args ...string) {
	a.Helper()
	out, err := exec.Command(command, args...).CombinedOutput()
	if err != nil {
		a.Fatalf("%s: %v\n%s", command, err, out)
	}
	if version := regexp.MustCompile(`\d+\.\d[\w.+-]*`).Find(out); version != nil {
		a.version = string(version)
	}
}

// versionIn takes the version from the package.json of an installed package.
func (a *app) versionIn(dir, name string) {
	a.Helper()
	text := a.read(filepath.Join(dir, "node_modules", name, "package.json"))
	if m := regexp.MustCompile(`"version":\s*"([^"]+)"`).FindSubmatch(text); m != nil {
		a.version = string(m[1])
	}
}

// start runs a server until the test ends. SIGTERM lets it end its own processes.
func (a *app) start(c testutil.Command) *testutil.Process {
	a.Helper()
	p := testutil.Start(a, c)
	a.Cleanup(func() { p.Stop() })
	return p
}

func (a *app) read(path string) []byte {
	a.Helper()
	text := testutil.ReadFile(a, path)
	return text
}

// write writes a file, and its folder where it is missing.
func (a *app) write(path, text string) {
	a.Helper()
	testutil.Must(a, os.MkdirAll(filepath.Dir(path), 0o755))
	testutil.Must(a, os.WriteFile(path, []byte(text), 0o644))
}

// firstLine is where npm says what failed.
func firstLine(out []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

// lastLine is where apt-get says it.
func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
