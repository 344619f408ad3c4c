package main

import (
	"runtime/debug"
	"testing"
)

func TestVersion_ofTheBuild(t *testing.T) {
	of := func(module string, settings ...debug.BuildSetting) string {
		return versionOf(&debug.BuildInfo{Main: debug.Module{Version: module}, Settings: settings})
	}
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef0123"}
	for got, want := range map[string]string{
		of("v1.2.3"):            "v1.2.3",
		of("v1.2.3", revision):  "v1.2.3",
		of("(devel)", revision): "dev-0123456789ab",
		of("", revision, setting("vcs.modified", "true")):  "dev-0123456789ab-dirty",
		of("", revision, setting("vcs.modified", "false")): "dev-0123456789ab",
		of("(devel)"): "dev",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	version = "v9"
	defer func() { version = "" }()
	if got := programVersion(); got != "v9" {
		t.Errorf("the linker's version is %q", got)
	}
}

func setting(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
