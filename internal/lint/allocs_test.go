package lint

import "testing"

func TestAllocs(t *testing.T) { clean(t, "allocs") }

func TestAllocs_fires(t *testing.T) {
	fires(t, "allocs", files{
		"h1/a_test.go", "package h1\nimport \"testing\"\nfunc f() { testing.AllocsPerRun(1, f) }\n",
		"internal/test/testutil/a.go",
		"package testutil\nimport \"testing\"\nfunc f() { testing.AllocsPerRun(1, f) }\n",
	}, "h1/a_test.go:3 f")
}
