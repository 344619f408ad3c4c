package lint

import "testing"

func TestAlone(t *testing.T) { clean(t, "alone") }

func TestAlone_fires(t *testing.T) {
	const ours = "import \"github.com/edge-proxy/edge/"
	fires(t, "alone", files{
		"tinyufo/a.go", "package tinyufo\nimport \"math/bits\"\n" + ours + "timerwheel\"\n" +
			ours + "internal/base/list\"\n",
		"tinyufo/a_test.go", "package tinyufo\n" + ours + "internal/test/testutil\"\n",
		"ketama/maglev/a.go", "package maglev\n" + ours + "ketama\"\n" + ours + "timerwheel\"\n",
		"limits/a_arm64.go", "package limits\nimport \"golang.org/x/sys/cpu\"\n",
		"pool/a.go", "package pool\nimport \"C\"\nimport \"unsafe\"\n",
		"engine/a.go", "package engine\nimport \"golang.org/x/sys/unix\"\n" + ours + "timerwheel\"\n",
	}, "tinyufo/a.go:4 internal/base/list", "ketama/maglev/a.go:3 timerwheel",
		"limits/a_arm64.go:2 golang.org/x/sys/cpu", "pool/a.go:2 C")
}
