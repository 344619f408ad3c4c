package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const watchedFile = "include = [\"conf.d/*.toml\"]\nhttp.listen = \"127.0.0.1:0\"\n[[routes]]\nname = \"one\"\n" +
	"pattern = \"%s\"\ndest = \"status:404\"\n"

// edge run --watch applies what an editor writes, prints what that changes, and goes on with what it has where the file
// is wrong.
func TestRun_watch(t *testing.T) {
	t.Parallel()
	file := write(t, watchedFile, "/a")
	p := launch(t, filepath.Dir(file), "run", "--watch", "-c", "edge.toml")
	p.WaitLine(`"msg":"listening"`)
	save := func(text string) { // as editors do
		t.Helper()
		putFile(t, file+"~", "%s", text)
		testutil.Must(t, os.Rename(file+"~", file))
	}
	save(fmt.Sprintf(watchedFile, "/b"))
	p.WaitLine(`^~ route one: path$`)
	p.WaitLine(`^connections of clients: none is closed$`)
	save("htp.listen = 1\n")
	p.WaitLine(`edge\.toml:1:1: error: `)
	p.WaitLine(`the files have changed, and nothing else: the configuration has errors`)
	save(fmt.Sprintf(watchedFile, "/b"))
	p.WaitLine(`^nothing changes$`)
	testutil.Must(t, os.Mkdir(filepath.Join(filepath.Dir(file), "conf.d"), 0o700))
	more := filepath.Join(filepath.Dir(file), "conf.d", "more.toml")
	const part = "watch = false\nroutes = [{ name = \"two\", pattern = \"/c\", dest = \"status:410\" }]\n"
	putFile(t, more, "%s", part)
	p.WaitLine(`^\+ route two$`)
	if n := strings.Count(p.Output(), "the files have changed"); n != 4 {
		t.Errorf("told %d times:\n%s", n, p.Output())
	}
	stopsWell(t, p)
}

// watch = true in the file does the same, without a word on the terminal, until the file says otherwise.
func TestRun_watchByTheFile(t *testing.T) {
	t.Parallel()
	e := start(t, "watch = true\nworking_directory = %q\n"+watchedFile, t.TempDir(), "/a")
	text := textOf(t, e.file)
	put := func(text string) { putFile(t, e.file, "%s", text) }
	put(strings.Replace(text, "/a", "/b", 1))
	e.WaitLine(`"changed":\["route one"\]`)
	put(strings.Replace(text, "watch = true", "watch = false", 1))
	e.WaitLine(`"changed":\["global","route one"\]`)
	put(text)
	e.change(t, "%s", text)
	e.WaitLine(`"msg":"configuration reloaded","changes":{"changed":\["global"\]}`)
	if strings.Contains(e.Output(), "the files have changed") {
		t.Errorf("it prints:\n%s", e.Output())
	}
}
