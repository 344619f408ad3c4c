package importer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/crypto/bcrypt"

	importer "github.com/edge-proxy/edge/cmd/edge-import/internal/importer"
	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// read returns the text of a file.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// write makes a file, with the folder it is in.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fileOf writes a text to a file of its own.
func fileOf(t *testing.T, text string) string {
	file := filepath.Join(t.TempDir(), "file.yml")
	write(t, file, text)
	return file
}

// planOf imports a text.
func planOf(t *testing.T, program, text string) *plan.Plan {
	t.Helper()
	return planOfFile(t, program, fileOf(t, text))
}

// planOfFile imports a file.
func planOfFile(t *testing.T, program, file string) *plan.Plan {
	t.Helper()
	p, err := importer.Import(program, file, &plan.Reader{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// planOfFiles imports the first of some files, each of which is a name and a text.
func planOfFiles(t *testing.T, program string, files ...string) *plan.Plan {
	t.Helper()
	all := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		all[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	p, err := importer.Import(program, files[0], &plan.Reader{Files: all})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// withFindings returns the result of an import and its findings. The test fails if edge refuses the result.
func withFindings(t *testing.T, p *plan.Plan) string {
	t.Helper()
	result := p.Text(plan.TextOnly)
	if report := plan.TextOnly(result); !report.OK() {
		t.Error(report.Errors)
	}
	var b strings.Builder
	b.WriteString(string(result) + "\n# Findings:\n")
	for _, f := range p.Findings() {
		b.WriteString("# " + f.String() + "\n")
	}
	return b.String()
}

// hashed returns the password "p" as files of users have it.
func hashed(t *testing.T) string {
	hash, err := bcrypt.GenerateFromPassword([]byte("p"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// serveBoth runs the program and edge, each with the text for a port of its own. It returns what asks them for a
// status, and the text of edge.
func (d *dialect) serveBoth(t *testing.T, dir string, text func(port string) string) (
	there, here func(r *request) int, ours string) {
	theirs, port := freePort(t), freePort(t)
	ours = text(port)
	d.start(t, dir, text(theirs))
	d.startEdge(t, filepath.Join(dir, "here"), ours)
	return clientOf(t, theirs), clientOf(t, port), ours
}
