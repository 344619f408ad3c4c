package build

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
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
	text := testutil.ReadFile(t, program)
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

func TestModuleOf(t *testing.T) {
	info := &debug.BuildInfo{
		Main: debug.Module{Path: own + "/cmd/edge/custom"},
		Deps: []*debug.Module{
			{Path: "example.com/tenant", Version: "v1.2.0"},
			{Path: "example.com/tenant/keys", Version: "v0.3.0"},
			{Path: "example.com/here", Version: "v0.0.0", Replace: &debug.Module{Path: "../here", Version: "(devel)"}},
			{Path: "example.com/fork", Version: "v1.0.0",
				Replace: &debug.Module{Path: "example.com/f", Version: "v1.0.1"}},
			{Path: own, Version: "v1.4.0"},
		},
	}
	for pkg, want := range map[string]Module{
		"example.com/tenant":         {Path: "example.com/tenant", Version: "v1.2.0"},
		"example.com/tenant/sub":     {Path: "example.com/tenant", Version: "v1.2.0"},
		"example.com/tenant/keys/x":  {Path: "example.com/tenant/keys", Version: "v0.3.0"},
		"example.com/tenants":        {Path: "example.com/tenants"}, // not of a path that begins with the same letters
		"example.com/here":           {Path: "example.com/here", Dir: "../here"},
		"example.com/fork/sub":       {Path: "example.com/fork", Version: "v1.0.1"},
		own + "/filter/browser":      {Path: own, Version: "v1.4.0"},
		own + "/cmd/edge/custom/any": {Path: own + "/cmd/edge/custom"},
	} {
		if got := moduleOf(info, pkg); got != want {
			t.Errorf("%s is of %+v, want %+v", pkg, got, want)
		}
	}
	if m, isEdge := ModuleOf(own + "/filter"); !isEdge || m.Path != own || m.Version != Version() {
		t.Errorf("edge's own packages are of %+v, %v", m, isEdge)
	}
	if m, isEdge := ModuleOf("example.com/none"); isEdge || m.Path != "example.com/none" {
		t.Errorf("a package of no module is of %+v, %v", m, isEdge)
	}
}

func TestAdded(t *testing.T) {
	if got := Added(); got != nil {
		t.Errorf("a program that edge build has not built has %q", got)
	}
	added = "example.com/a,example.com/b/c"
	defer func() { added = "" }()
	if got := Added(); !slices.Equal(got, []string{"example.com/a", "example.com/b/c"}) {
		t.Errorf("%q", got)
	}
}
