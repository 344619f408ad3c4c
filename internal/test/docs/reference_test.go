package docs

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/edge-proxy/edge/cmd/edge/report" // likewise
	"github.com/edge-proxy/edge/internal/config"
	_ "github.com/edge-proxy/edge/internal/config/acme"    // likewise
	_ "github.com/edge-proxy/edge/internal/config/caching" // likewise
	_ "github.com/edge-proxy/edge/internal/config/tracing" // likewise
	_ "github.com/edge-proxy/edge/internal/filter/builtin" // it registers the types of filters
	_ "github.com/edge-proxy/edge/internal/filter/static"  // and the one of destinations
	_ "github.com/edge-proxy/edge/internal/process/rotate" // likewise
	_ "github.com/edge-proxy/edge/internal/server/admin"   // it registers its sections
	_ "github.com/edge-proxy/edge/internal/server/logsink" // and of log sinks
	"github.com/edge-proxy/edge/internal/test/testutil"
)

var update = flag.Bool("update", false, "write the pages anew that are made from code")

// docs/configuration.md and docs/config are made from the rows of all sections: the sections of other packages than
// config are among them.
func TestReference_isUpToDate(t *testing.T) {
	pages := splitReference(t, strings.Join(reference(t), "\n"), keyPages)
	docs := filepath.Join(testutil.Root(t), "docs")
	for name, text := range pages {
		path := filepath.Join(docs, name)
		if *update {
			testutil.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			testutil.Must(t, os.WriteFile(path, []byte(text), 0o644))
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%s is out of date: go test ./internal/test/docs -run Reference -update writes it", path)
		}
	}
	files, err := filepath.Glob(filepath.Join(docs, "config", "*"))
	testutil.Must(t, err)
	if len(files) != len(pages)-1 {
		t.Errorf("docs/config has %d files, want the %d pages of the reference", len(files), len(pages)-1)
	}
}

// reference returns the lines of the reference in one piece.
func reference(t *testing.T) []string {
	t.Helper()
	var b strings.Builder
	testutil.Must(t, config.Reference(&b))
	return strings.Split(b.String(), "\n")
}

// All keys of a section stand together, those that another package adds to it too. A heading names one section, so that
// links to it know their page.
func TestReference_hasEachSectionOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, line := range reference(t) {
		if strings.HasPrefix(line, "##") && seen[line] {
			t.Errorf("%s is there twice", line)
		}
		seen[line] = true
	}
}

// Each key is explained once: where another section has it too, a line names it. The name of a row is its last word,
// since a table may stand inside another section: sample of [log] is access_log.sample of listeners.
func TestReference_hasEachKeyOnce(t *testing.T) {
	seen, section := map[string]string{}, ""
	for _, line := range reference(t) {
		if strings.HasPrefix(line, "#") {
			section = strings.TrimLeft(line, "# ")
		}
		key, cells, isRow := strings.Cut(strings.TrimPrefix(line, "| `"), "` | ")
		if !strings.HasPrefix(line, "| `") || !isRow {
			continue
		}
		cells, _, _ = strings.Cut(cells, " Also written ")
		row := key[strings.LastIndexByte(key, '.')+1:] + cells
		if seen[row] != "" || seen[section+key] != "" {
			t.Errorf("%s: %s has a row in %s already", section, key, seen[row]+seen[section+key])
		}
		seen[row], seen[section+key] = section, section
	}
	if len(seen) < 300 {
		t.Errorf("%d rows and names were found", len(seen))
	}
}
