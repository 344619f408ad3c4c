package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// repository is a tree of git with one commit.
type repository struct {
	t   *testing.T
	dir string
}

func newRepository(t *testing.T, files map[string]string) *repository {
	t.Helper()
	g := &repository{t, t.TempDir()}
	g.run("git", "init", "-q", "-b", "main")
	g.commit(files)
	return g
}

func (g *repository) run(args ...string) string {
	g.t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = g.dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a",
		"GIT_COMMITTER_EMAIL=a@example.com", "GIT_COMMITTER_DATE=2026-02-03T04:05:06Z", "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (g *repository) commit(files map[string]string) {
	g.t.Helper()
	for name, text := range files {
		path := filepath.Join(g.dir, name)
		testutil.Must(g.t, os.MkdirAll(filepath.Dir(path), 0o700))
		testutil.Must(g.t, os.WriteFile(path, []byte(text), 0o600))
	}
	g.run("git", "add", ".")
	g.run("git", "commit", "-q", "--allow-empty", "-m", "a commit")
}

const changelog = `# Changelog

## [1.1.0] - unreleased

What [is new](docs/new.md#there), and [elsewhere](https://example.com/).

## [1.0.0] - 2026-02-03

The first one.
`

// What is no release is refused with the reason, before anything is made.
func TestReady(t *testing.T) {
	for name, c := range map[string]struct {
		version, want string // want: a part of the error; "": none
		before        func(g *repository)
	}{
		"a release":              {"1.0.0", "", nil},
		"before the release":     {"1.1.0-rc.1", "", nil},
		"no day yet":             {"1.1.0", "calls 1.1.0 unreleased", nil},
		"not in the changelog":   {"1.2.0", `no heading "## [1.2.0]`, nil},
		"nor before the release": {"1.2.0-rc.1", `no heading "## [1.2.0]`, nil},
		"a changed file": {"1.0.0", "CHANGELOG.md", func(g *repository) {
			testutil.Must(t, os.WriteFile(filepath.Join(g.dir, "CHANGELOG.md"), []byte(changelog+"\n"), 0o600))
		}},
		"a file more": {"1.0.0", "?? more", func(g *repository) {
			testutil.Must(t, os.WriteFile(filepath.Join(g.dir, "more"), nil, 0o600))
		}},
		"the tag is there":         {"1.0.0", "", func(g *repository) { g.run("git", "tag", "v1.0.0") }},
		"the tag is elsewhere":     {"1.0.0", "the tag v1.0.0 is there", tagged("git", "tag", "v1.0.0")},
		"an annotated tag as well": {"1.0.0", "the tag v1.0.0 is there", tagged("git", "tag", "-m", "it", "v1.0.0")},
		"no git": {"1.0.0", "git status", func(g *repository) {
			testutil.Must(t, os.RemoveAll(filepath.Join(g.dir, ".git")))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRepository(t, map[string]string{"CHANGELOG.md": changelog})
			if c.before != nil {
				c.before(g)
			}
			r := release{source: g.dir, out: filepath.Join(g.dir, "dist"), version: c.version, final: true}
			err := r.ready()
			if c.want == "" && (err != nil || r.commit != g.run("git", "rev-parse", "HEAD") ||
				!r.when.Equal(time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC))) {
				t.Errorf("%v, commit %s, %v", err, r.commit, r.when)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if c.want == "" {
				return
			}
			if again := r.make(); again == nil || again.Error() != err.Error() {
				t.Error(again)
			}
			if _, err := os.Stat(r.out); !os.IsNotExist(err) {
				t.Error("something was made", err)
			}
		})
	}
}

// tagged makes a tag, and a commit after it.
func tagged(command ...string) func(*repository) {
	return func(g *repository) {
		g.run(command...)
		g.commit(nil)
	}
}
