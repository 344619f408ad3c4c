package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const sites = "examples/sites"

// The script of each site starts edge with the site's file, asks it, and ends with an error after an answer that it did
// not expect.
func TestSites(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join(testutil.Root(t), sites, "*", "try.sh"))
	if err != nil || len(scripts) < 5 {
		t.Fatal(scripts, err)
	}
	for _, script := range scripts {
		name := filepath.Base(filepath.Dir(script))
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

// runSite runs the script of a site on a copy, with ports of the test. page: another first page of the application.
func runSite(t *testing.T, name, page string) (out []byte, err error) {
	t.Helper()
	dir, programs := t.TempDir(), t.TempDir()
	stage := newStage(t, t.TempDir())
	from := filepath.Join(testutil.Root(t), sites)
	for _, part := range []string{"begin.sh", name} {
		err := filepath.WalkDir(filepath.Join(from, part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			to := filepath.Join(dir, strings.TrimPrefix(path, from))
			text := stage.place(string(testutil.ReadFile(t, path)))
			if page != "" && filepath.Base(path) == "index.html" {
				text = page
			}
			testutil.Must(t, os.MkdirAll(filepath.Dir(to), 0o700))
			return os.WriteFile(to, []byte(text), 0o600)
		})
		testutil.Must(t, err)
	}
	testutil.Must(t, os.Symlink(testutil.Binary(t, "./cmd/edge"), filepath.Join(programs, "edge")))
	env := []string{"PATH=" + programs + ":" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir(),
		"HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=*"}
	return bash(t, dir, env, filepath.Join(name, "try.sh"))
}
