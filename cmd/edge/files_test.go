package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
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
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"check", right}, 0, "configuration OK"},
		{[]string{"check", "--strict", right}, 0, "configuration OK"},
		{[]string{"validate", right}, 0, "configuration OK"},
		{[]string{"test", "-c", right}, 0, "configuration OK"},
		{[]string{"check", "-c", right, right}, 2, "the configuration is given twice: -c " + right + " and " + right},
		{[]string{"check", right, "b.toml"}, 2, `edge check takes one file`},
		{[]string{"check", "--acme=", right}, 1, `--acme= names no authority`}, // a variable may be empty
		{[]string{"run", "missing.toml"}, 1, "missing.toml: error: cannot read"},
		{[]string{"run", "-c", right, right}, 2, "edge run --help lists its flags"},
		{[]string{right}, 2, "type edge run " + right},
	} {
		if code, out := edge(t, c.args...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("edge %q: %d, want %d and %q in\n%s", c.args, code, c.code, c.want, out)
		}
	}
}

func TestFile_runTakesIt(t *testing.T) {
	file := write(t, oneRoute, "/x")
	p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Args: []string{"run", file}})
	answers(t, "http://"+p.WaitLine(`"msg":"listening".*"address":"([^"]+)"`)[1]+"/x")
}

// Of several files that are looked for the first one is read, and a warning names the others.
func TestFile_order(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const yaml = "http: {listen: ':80'}\nroutes:\n- {pattern: /*, dest: '%s'}\n"
	if code, out := in(t, dir, "check"); code != 1 || !strings.Contains(out, "edge.toml, .yaml, .yml, .json") {
		t.Errorf("without a file: %d %s", code, out)
	}
	write("edge.json", `{"http": {"listen": ":80"}, "routes": [{"pattern": "/*", "dest": "10.0.0.1:80"}]}`)
	if code, out := in(t, dir, "check", "--strict"); code != 0 {
		t.Errorf("edge.json: %d %s", code, out)
	}
	for _, name := range []string{"edge.yml", "edge.yaml", "edge.toml"} {
		text := strings.Replace(yaml, "%s", "status:200", 1)
		if name == "edge.toml" {
			text = "http.listen = \":80\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"
		}
		write(name, text)
		code, out := in(t, dir, "check", "--strict")
		want := name + `: warning: "edge.json" is not read: "` + name + `" goes before it   [ignored-file]`
		if code != 2 || !strings.Contains(out, want) {
			t.Errorf("%s: %d, want %q in\n%s", name, code, want, out)
		}
	}
	if code, out := in(t, dir, "check", "--strict", "-c", "edge.yml"); code != 0 {
		t.Errorf("a file that is named: %d %s", code, out)
	}
}
