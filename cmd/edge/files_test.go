package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// in runs the binary to its end in a folder.
func in(t *testing.T, dir string, args ...string) (code int, out string) {
	t.Helper()
	return inWith(t, dir, nil, args...)
}

// inWith is in with more variables than the test has.
func inWith(t *testing.T, dir string, env []string, args ...string) (code int, out string) {
	t.Helper()
	cmd := exec.Command(testutil.Binary(t, "./cmd/edge"), args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// A file is named by -c or as the argument, not by both.
func TestFile_asArgument(t *testing.T) {
	right := write(t, "http.listen = \":80\"\n[[routes]]\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\n")
	commands(t, "",
		command{"check " + right, 0, "configuration OK"},
		command{"check --strict " + right, 0, "configuration OK"},
		command{"validate " + right, 0, "configuration OK"},
		command{"test -c " + right, 0, "configuration OK"},
		command{"check -c " + right + " " + right, 2,
			"the configuration is given twice: -c " + right + " and " + right},
		command{"check " + right + " b.toml", 2, `edge check takes one file`},
		command{"check --acme= " + right, 1, `--acme= names no authority`}, // a variable may be empty
		command{"run missing.toml", 1, "missing.toml: error: cannot read"},
		command{"run -c " + right + " " + right, 2, "edge run --help lists its flags"},
		command{right, 2, "type edge run " + right},
	)
}

// Of several files that are looked for the first one is read, and a warning names the others.
func TestFile_order(t *testing.T) {
	dir := t.TempDir()
	const yaml = "http: {listen: ':80'}\nroutes:\n- {pattern: /*, dest: 'status:200'}\n"
	commands(t, dir, command{"check", 1, "edge.toml, .yaml, .yml, .json"})
	putFile(t, filepath.Join(dir, "edge.json"),
		`{"http": {"listen": ":80"}, "routes": [{"pattern": "/*", "dest": "10.0.0.1:80"}]}`)
	commands(t, dir, command{"check --strict", 0, ""})
	for _, c := range [][2]string{{"edge.yml", yaml}, {"edge.yaml", yaml}, {"edge.toml",
		"http.listen = \":80\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"}} {
		putFile(t, filepath.Join(dir, c[0]), "%s", c[1])
		commands(t, dir, command{"check --strict", 2,
			c[0] + `: warning: "edge.json" is not read: "` + c[0] + `" goes before it   [ignored-file]`})
	}
	commands(t, dir, command{"check --strict -c edge.yml", 0, ""})
}
