package docs

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// elsewhere are sites whose scripts need programs that the module of edge does not build.
var elsewhere = []string{
	"replicas", // Pebble and etcd: TestSite_replicas of internal/test/interop
}

// The script of each site starts edge with the site's file, asks it, and ends with an error after an answer that it did
// not expect.
func TestSites(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join(testutil.Root(t), testutil.Sites, "*", "try.sh"))
	if err != nil || len(scripts) < 6 {
		t.Fatal(scripts, err)
	}
	for _, script := range scripts {
		name := filepath.Base(filepath.Dir(script))
		if slices.Contains(elsewhere, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out, err := runSite(t, name, ""); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// An answer that is another one ends the script with an error that names it.
func TestSites_fire(t *testing.T) {
	t.Parallel()
	out, err := runSite(t, "app", "<title>another</title>")
	if err == nil || !strings.Contains(string(out), `FAILED: no "<title>app</title>"`) {
		t.Errorf("%v\n%s", err, out)
	}
}

// A script whose address another program has ends before it tries that program in place of its own.
func TestSites_nameTakenAddresses(t *testing.T) {
	t.Parallel()
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	stage, address := newStage(t, t.TempDir()), taken.Listener.Addr().String()
	out, err := testutil.RunSite(t, "api", func(_, text string) string {
		return stage.place(strings.ReplaceAll(text, "127.0.0.1:3001", address))
	}, nil)
	if want := "FAILED: another program answers at " + taken.URL; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("%v\n%s", err, out)
	}
}

// A script whose program is missing says which, and how to get it.
func TestSites_nameMissingPrograms(t *testing.T) {
	t.Parallel()
	programs := t.TempDir()
	for _, name := range []string{"dirname", "mktemp", "rm"} { // of begin.sh
		path, err := exec.LookPath(name)
		testutil.Must(t, err, os.Symlink(path, filepath.Join(programs, name)))
	}
	for _, c := range []struct{ there, want string }{
		{"true", "FAILED: etcd is not on the PATH: apt-get install etcd-server"},
		{"etcd", "FAILED: pebble is not on the PATH: go install github.com/letsencrypt/pebble/"},
	} {
		stub := filepath.Join(programs, c.there)
		testutil.Must(t, os.WriteFile(stub, nil, 0o700)) //nolint:gosec // the script looks for a program
		env := []string{"PATH=" + programs, "TMPDIR=" + t.TempDir()}
		out, err := testutil.Bash(t, filepath.Join(testutil.Root(t), testutil.Sites, "replicas"), env, "try.sh")
		if err == nil || !strings.HasPrefix(string(out), c.want) {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// runSite runs the script of a site with ports of the test. page: another first page of the application.
func runSite(t *testing.T, name, page string) (out []byte, err error) {
	t.Helper()
	stage := newStage(t, t.TempDir())
	return testutil.RunSite(t, name, func(file, text string) string {
		if page != "" && filepath.Base(file) == "index.html" {
			return page
		}
		return stage.place(text)
	}, nil)
}
