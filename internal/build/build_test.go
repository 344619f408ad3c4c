package build

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

func TestVersion_ofTheBuild(t *testing.T) {
	of := func(module string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: module}, Settings: settings}
	}
	const sum = "0123456789abcdef0123"
	revision := debug.BuildSetting{Key: "vcs.revision", Value: sum}
	modified := func(v string) debug.BuildSetting { return debug.BuildSetting{Key: "vcs.modified", Value: v} }
	for _, c := range []struct {
		info            *debug.BuildInfo
		version, commit string
	}{
		{of("v1.2.3"), "v1.2.3", ""},
		{of("v1.2.3", revision), "v1.2.3", sum},
		{of("(devel)", revision), "dev-0123456789ab", sum},
		{of("", revision, modified("true")), "dev-0123456789ab-dirty", sum + "-dirty"},
		{of("", revision, modified("false")), "dev-0123456789ab", sum},
		{of("(devel)"), "dev", ""},
		{of("", modified("true")), "dev", ""},
	} {
		if got := versionOf(c.info); got != c.version {
			t.Errorf("version %q, want %q", got, c.version)
		}
		if got := commitOf(c.info); got != c.commit {
			t.Errorf("commit %q, want %q", got, c.commit)
		}
	}
	version, commit = "v9", "c9"
	defer func() { version, commit = "", "" }()
	if v, c := Version(), Commit(); v != "v9" || c != "c9" {
		t.Errorf("the linker's version and commit are %q and %q", v, c)
	}
}

// The sum is that of the file that runs, though another file has its path by now; sha256sum agrees.
func TestSum(t *testing.T) {
	own, err := Own()
	testutil.Must(t, err)
	program, err := os.Executable()
	testutil.Must(t, err)
	sum, err := Sum(program)
	if err != nil || sum != own.Sum || own.Version == "" {
		t.Errorf("own %+v, its file %s, %v", own, sum, err)
	}
	changed := filepath.Join(t.TempDir(), "changed")
	text, err := os.ReadFile(program)
	testutil.Must(t, err)
	testutil.Must(t, os.WriteFile(changed, append(text, 0), 0o600))
	other, err := Sum(changed)
	if err != nil || other == sum {
		t.Errorf("a changed file has the sum %s, %v", other, err)
	}
	if out, err := exec.Command("sha256sum", changed).Output(); err == nil && string(out[:64]) != other {
		t.Errorf("%s, sha256sum says %s", other, out)
	}
	if _, err := Sum(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
