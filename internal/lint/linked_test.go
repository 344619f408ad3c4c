package lint

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// linkedLinesMax bounds the lines of Go of this module that are compiled into edge on Linux. A feature that needs more
// raises it, and its commit says what the lines are for.
const linkedLinesMax = 183_830 // 183 248 before upgrades that clients of HTTP/3 do not notice, and HTTP/3 by default

// make lint prints the number.
func TestLinkedLines(t *testing.T) {
	const files = "{{with .Module}}{{if .Main}}{{$dir := $.Dir}}{{range $.GoFiles}}" +
		"{{$dir}}/{{.}}\n{{end}}{{end}}{{end}}"
	list := exec.Command("go", "list", "-deps", "-f", files, module+"/cmd/edge")
	list.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for name := range strings.FieldsSeq(string(out)) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines += bytes.Count(text, []byte("\n"))
	}
	if t.Logf("%d lines are linked into edge, %d are allowed", lines, linkedLinesMax); lines > linkedLinesMax {
		t.Error("delete what the change makes superfluous, or raise linkedLinesMax and say why")
	}
	if lines < 10_000 {
		t.Error("go list names few files: nothing was counted")
	}
}
