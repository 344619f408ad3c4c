package lint

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestModules(t *testing.T) { clean(t, "modules") }

func TestModules_fires(t *testing.T) {
	fires(t, "modules", files{
		"proxy/a.go", "package proxy\nimport _ \"github.com/valyala/fasthttp\"\nimport _ \"net/http\"",
		"proxy/b.go", "package proxy\nimport _ \"example.com/surprise\"",
		"bench/a.go", "package bench\nimport _ \"github.com/valyala/fasthttp\"",
		"proxy/a_test.go", "package proxy\nimport _ \"github.com/valyala/fasthttp\"",
	}, "proxy/a.go:2 github.com/valyala/fasthttp", "proxy/b.go:2 example.com/surprise")
}

// What is linked is known to the go command, whichever way an import came in.
func TestModules_baselinesStayOutOfTheBinary(t *testing.T) {
	if _, err := os.Stat("../../cmd/edge"); err != nil {
		t.Skip("cmd/edge is not there")
	}
	out, err := exec.Command("go", "list", "-e", "-deps", module+"/cmd/edge").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(out)) {
		switch mod := moduleOf(p); {
		case mod != "" && len(moduleHomes[mod]) == 1 && moduleHomes[mod][0] == "bench":
			t.Errorf("edge links %s", p)
		case isTestOnly(strings.TrimPrefix(p, module+"/")):
			t.Errorf("edge links %s, which is for tests", p)
		}
	}
}

func TestListed(t *testing.T) { clean(t, "listed") }

func TestListed_fires(t *testing.T) {
	fires(t, "listed", files{
		"go.mod", "module a\n\nrequire (\n\texample.com/a v1.0.0\n\texample.com/b/v2 v2.0.0\n" +
			"\texample.com/c v1.0.0 // indirect\n)\n",
		"docs/dependencies.md", "| `example.com/a` | because |\n",
	}, "go.mod:5 example.com/b/v2")
}
