package lint

import "testing"

func TestMachinePath(t *testing.T) { clean(t, "machine-path") }

func TestMachinePath_fires(t *testing.T) {
	const slash = "/"
	fires(t, "machine-path", files{
		"Makefile", "X = " + slash + "home/ada/src/edge\nY = /usr/local/bin\n",
		"a.go", "package a\nvar p = \"" + slash + "root/edge.toml\"\nvar q = \"https://example.com/home/x/y\"\n",
	}, "Makefile:1 "+slash+"home/ada/src/edge", "a.go:2 "+slash+"root/edge.toml")
}
