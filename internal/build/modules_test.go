package build

import (
	"runtime/debug"
	"slices"
	"testing"
)

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
