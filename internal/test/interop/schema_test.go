package interop

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// compiled returns what edge schema prints, compiled by a validator that others wrote. That takes the schema for one of
// draft 7, or the test fails.
func compiled(t *testing.T) *jsonschema.Schema {
	out, err := exec.Command(testutil.Binary(t, "./cmd/edge"), "schema").Output()
	testutil.Must(t, err)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(out))
	testutil.Must(t, err)
	c := jsonschema.NewCompiler()
	testutil.Must(t, c.AddResource("edge.schema.json", document))
	return c.MustCompile("edge.schema.json")
}

// The schema for editors takes every configuration of the tests that loads.
func TestSchema_takesWhatLoads(t *testing.T) {
	schema := compiled(t)
	files, err := filepath.Glob(filepath.Join(testutil.Root(t), "internal", "config", "testdata", "valid", "*.toml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text := testutil.ReadFile(t, file)
		var v map[string]any
		if err := toml.Unmarshal(text, &v); err != nil {
			t.Fatal(file, err)
		}
		if err := schema.Validate(any(v)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// It refuses what an editor has to find.
func TestSchema_refusesWhatIsWrong(t *testing.T) {
	schema := compiled(t)
	for _, text := range []string{
		"lisen = 1", "[http]\nlistn = \":80\"", "[global]\nlog_level = \"loud\"", "[global]\nworker_threads = 0",
		"[[routes]]\npatern = \"/*\"", "[upstreams.a]\nload_balancing = 1", "routes = \"x\"",
		"[upstreams.a.pool]\nidle = \"many\"",
	} {
		var v map[string]any
		if err := toml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(text, err)
		}
		err := schema.Validate(any(v))
		if err == nil || !strings.Contains(err.Error(), "edge.schema.json") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
