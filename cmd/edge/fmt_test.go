package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const (
	untidy = "[http]\n  listen = ':0'   # any\n  via=true\n[[routes]]\npattern = '/*'\ndest = 'status:204'\n"
	tidy   = "[http]\nlisten = \":0\"  # any\nvia    = true\n\n[[routes]]\n" +
		"pattern = \"/*\"\ndest    = \"status:204\"\n"
)

// edgeIn runs edge in a folder with a text on its standard input; with "" that is /dev/null.
func edgeIn(t *testing.T, dir, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(testutil.Binary(t, "./cmd/edge"), args...)
	cmd.Dir = dir
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	var out, problems strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), problems.String()
}

func textOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	testutil.Must(t, err)
	return string(text)
}

// A file that is named twice, also by another path to it, is one.
func TestFmt_fileNamedTwice(t *testing.T) {
	dir := folder(t, map[string]string{"a.toml": untidy})
	testutil.Must(t, os.Symlink("a.toml", filepath.Join(dir, "b.toml")))
	code, out, problems := edgeIn(t, dir, "", "fmt", "a.toml", "./a.toml", "b.toml", "a.toml")
	if code != 0 || out != "a.toml\n" || textOf(t, filepath.Join(dir, "a.toml")) != tidy {
		t.Errorf("exit %d: %s%s", code, out, problems)
	}
}

func TestFmt_writesInPlace(t *testing.T) {
	dir := folder(t, map[string]string{"a.toml": untidy, "b.toml": tidy, "real/c.toml": untidy})
	testutil.Must(t, os.Chmod(filepath.Join(dir, "a.toml"), 0o640))
	testutil.Must(t, os.Symlink("real/c.toml", filepath.Join(dir, "c.toml")))
	code, out, _ := edgeIn(t, dir, "", "fmt", "--check", "a.toml", "b.toml", "c.toml")
	if code != 1 || out != "a.toml\nc.toml\n" || textOf(t, filepath.Join(dir, "a.toml")) != untidy {
		t.Errorf("--check: exit %d: %s", code, out)
	}
	if code, out, problems := edgeIn(t, dir, "", "fmt", "a.toml", "b.toml", "c.toml"); code != 0 ||
		out != "a.toml\nc.toml\n" {
		t.Errorf("exit %d: %s%s", code, out, problems)
	}
	for _, name := range []string{"a.toml", "b.toml", "real/c.toml"} {
		if got := textOf(t, filepath.Join(dir, name)); got != tidy {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	at, err := os.Lstat(filepath.Join(dir, "c.toml"))
	if err != nil || at.Mode()&os.ModeSymlink == 0 {
		t.Error("the link is one no more", err)
	}
	if at, err := os.Stat(filepath.Join(dir, "a.toml")); err != nil || at.Mode().Perm() != 0o640 {
		t.Error(at.Mode(), err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, ".*.toml*")); len(files) > 0 {
		t.Error("left over:", files)
	}
	if code, out, _ := edgeIn(t, dir, "", "fmt", "--check", "a.toml", "b.toml", "c.toml"); code != 0 || out != "" {
		t.Errorf("again: exit %d: %s", code, out)
	}
}

func TestFmt_keepsOwners(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	dir := folder(t, map[string]string{"edge.toml": untidy})
	path := filepath.Join(dir, "edge.toml")
	if err := os.Chown(path, 12345, 23456); err != nil {
		t.Skip(err)
	}
	if code, _, problems := edgeIn(t, dir, "", "fmt", "edge.toml"); code != 0 {
		t.Fatal(problems)
	}
	at, err := os.Stat(path)
	testutil.Must(t, err)
	if st := at.Sys().(*syscall.Stat_t); st.Uid != 12345 || st.Gid != 23456 || st.Mode&0o777 != 0o600 {
		t.Errorf("%d:%d %o", st.Uid, st.Gid, st.Mode)
	}
}

// -c is the configuration: the file and those that it includes. So is no argument at all.
func TestFmt_configuration(t *testing.T) {
	files := map[string]string{
		"edge.toml": "include=['conf.d/*']\n" + untidy, "conf.d/a.toml": "[log]\n  format='json'\n",
		"conf.d/b.yaml": "global:\n    log_level:   warn\n", "other.toml": "a=1\n",
	}
	for _, args := range [][]string{{"fmt", "-c", "edge.toml"}, {"fmt"}} {
		dir := folder(t, files)
		code, out, problems := edgeIn(t, dir, "", args...)
		if code != 0 || out != "edge.toml\nconf.d/a.toml\n" ||
			!strings.HasPrefix(problems, "conf.d/b.yaml is left as it is: ") {
			t.Errorf("%q: exit %d: %s%s", args, code, out, problems)
		}
		if got := textOf(t, filepath.Join(dir, "conf.d/a.toml")); got != "[log]\nformat = \"json\"\n" {
			t.Error(got)
		}
		for _, name := range []string{"conf.d/b.yaml", "other.toml"} {
			if textOf(t, filepath.Join(dir, name)) != files[name] {
				t.Error(name, "has changed")
			}
		}
	}
}

func TestFmt_standardInput(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{"fmt"}, {"fmt", "-"}} {
		if code, out, problems := edgeIn(t, dir, untidy, args...); code != 0 || out != tidy || problems != "" {
			t.Errorf("%q: exit %d: %s%s", args, code, out, problems)
		}
	}
	if code, out, _ := edgeIn(t, dir, untidy, "fmt", "--check"); code != 1 || out != "-\n" {
		t.Errorf("--check: exit %d: %s", code, out)
	}
	code, out, _ := edgeIn(t, dir, untidy, "fmt", "--json", "-")
	var got struct{ Files []formattedFile }
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || len(got.Files) != 1 ||
		got.Files[0].Text != tidy || !got.Files[0].Differs || got.Files[0].Written {
		t.Errorf("--json: exit %d, %v: %s", code, err, out)
	}
}

// With an error in one file nothing is written, and the error says where it is.
func TestFmt_errors(t *testing.T) {
	files := map[string]string{
		"good.toml": untidy, "bad.toml": "[http]\nlisten = :80\n", "tree.yaml": "http:\n  listen: :80\n",
		"tree.json": "{}", "noext": "http:\n  listen: :80\n",
	}
	dir := folder(t, files)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"good.toml", "bad.toml"}, 1, "bad.toml:2:10: error: a string needs quotes"},
		{[]string{"good.toml", "tree.yaml"}, 1, "tree.yaml: edge fmt formats TOML"},
		{[]string{"tree.json"}, 1, "tree.json: edge fmt formats TOML"},
		{[]string{"noext"}, 1, "noext: edge fmt formats TOML"},
		{[]string{"good.toml", "missing.toml"}, 1, `cannot read "missing.toml": no such file`},
		{[]string{"-c", "missing.toml"}, 1, `cannot read "missing.toml"`},
		{[]string{"."}, 1, `cannot read ".": not a regular file`},
		{[]string{"-c", "good.toml", "good.toml"}, 2, "files are given twice"},
		{[]string{"-c", "bad.toml"}, 1, "bad.toml:2:10"},
		{nil, 1, "no configuration"},
	} {
		code, out, problems := edgeIn(t, dir, "", append([]string{"fmt"}, c.args...)...)
		if code != c.code || out != "" || !strings.Contains(problems, c.want) {
			t.Errorf("%q: exit %d: %s%s", c.args, code, out, problems)
		}
	}
	for name, text := range files {
		if textOf(t, filepath.Join(dir, name)) != text {
			t.Error(name, "has changed")
		}
	}
}

// A file in a folder that takes no new file stays as it is, and so does one that changed in the meantime.
func TestReplaceFile_failures(t *testing.T) {
	dir := folder(t, map[string]string{"edge.toml": "new"})
	path := filepath.Join(dir, "edge.toml")
	if err := replaceFile(path, []byte("old"), []byte("text")); err == nil || textOf(t, path) != "new" {
		t.Error(err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Error(names, err)
	}
	if err := replaceFile(filepath.Join(dir, "none"), nil, nil); err == nil {
		t.Error("a file that is not there")
	}
	if err := replaceFile(path, []byte("new"), []byte("text")); err != nil || textOf(t, path) != "text" {
		t.Error(err)
	}
}
