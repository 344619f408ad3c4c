package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// put writes a file, and the folders above it.
func put(t *testing.T, path, text string) {
	t.Helper()
	testutil.Must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	testutil.Must(t, os.WriteFile(path, []byte(text), 0o600))
}

// serverOf makes a Server of a configuration that was read, until the test ends.
func serverOf(t *testing.T, cfg *config.Config, report *config.Report) *server.Server {
	t.Helper()
	if !report.OK() {
		t.Fatal(report.Errors)
	}
	s, err := server.New(cfg, server.Options{})
	testutil.Must(t, err)
	t.Cleanup(func() { _ = s.Stop() })
	return s
}

const (
	watchedMain = "include = [\"conf.d/*.toml\"]\nvia = \"${file:secret}\"\nerror_pages.404 = \"FOLDER/404.html\"\n" +
		"http.listen = \":80\"\nlists.office.file = \"FOLDER/office.txt\"\n"
	watchedPart = "[[routes]]\npattern = \"/*\"\ndest = \"status:404\"\n"
)

// watchedFolder makes a configuration as Kubernetes mounts one: each name leads through the link ..data. It returns the
// watch of it, and what reads it again.
func watchedFolder(t *testing.T) (dir string, w *watch, read func()) {
	t.Helper()
	dir = t.TempDir()
	put(t, dir+"/..1/edge.toml", strings.ReplaceAll(watchedMain, "FOLDER", dir))
	put(t, dir+"/conf.d/a.toml", watchedPart)
	put(t, dir+"/secret", "one")
	put(t, dir+"/404.html", "gone")
	put(t, dir+"/office.txt", "10.0.0.0/8\n")
	testutil.Must(t, os.Symlink("..1", dir+"/..data"))
	testutil.Must(t, os.Symlink("..data/edge.toml", dir+"/edge.toml"))
	w = &watch{}
	read = func() {
		before := w.look()
		files := &config.Files{}
		cfg, _ := config.Options{Record: files, Dir: dir}.Load(dir + "/edge.toml")
		w.use(files, cfg, before)
	}
	read()
	if len(w.files.Texts) != 2 || len(w.pages) != 2 {
		t.Fatalf("%+v %q", w.files, w.pages)
	}
	return dir, w, read
}

// A change is told once, when two looks have seen the same.
func TestWatch_tellsChanges(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, dir string){
		"the same size": func(t *testing.T, dir string) {
			put(t, dir+"/conf.d/a.toml", strings.Replace(watchedPart, "404", "405", 1))
		},
		"another size":          func(t *testing.T, dir string) { put(t, dir+"/..1/edge.toml", watchedMain+"\n") },
		"a quoted file":         func(t *testing.T, dir string) { put(t, dir+"/secret", "two") },
		"a list":                func(t *testing.T, dir string) { put(t, dir+"/office.txt", "10.0.0.0/9\n") },
		"a page":                func(t *testing.T, dir string) { put(t, dir+"/404.html", "lost") },
		"one more file":         func(t *testing.T, dir string) { put(t, dir+"/conf.d/b.toml", "") },
		"one file less":         func(t *testing.T, dir string) { testutil.Must(t, os.Remove(dir+"/conf.d/a.toml")) },
		"the main file is gone": func(t *testing.T, dir string) { testutil.Must(t, os.Remove(dir+"/..1/edge.toml")) },
		"an editor renames": func(t *testing.T, dir string) {
			put(t, dir+"/conf.d/.a.toml.swp", watchedPart)
			testutil.Must(t, os.Rename(dir+"/conf.d/.a.toml.swp", dir+"/conf.d/a.toml"))
		},
		"Kubernetes": func(t *testing.T, dir string) {
			put(t, dir+"/..2/edge.toml", watchedMain)
			testutil.Must(t, os.Symlink("..2", dir+"/..data_tmp"))
			testutil.Must(t, os.Rename(dir+"/..data_tmp", dir+"/..data"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, w, read := watchedFolder(t)
			if w.changed() || w.changed() {
				t.Fatal("a change before there is one")
			}
			change(t, dir)
			if first, second := w.changed(), w.changed(); first || !second {
				t.Errorf("the first look: %v, the second one: %v", first, second)
			}
			read()
			if w.changed() || w.changed() {
				t.Error("the change is told twice")
			}
		})
	}
}

// A file that is written again and again is read when it rests.
func TestWatch_waitsForTheEnd(t *testing.T) {
	dir, w, _ := watchedFolder(t)
	for i := range 5 {
		put(t, dir+"/secret", watchedPart[:i])
		if w.changed() {
			t.Fatalf("told after write %d", i)
		}
	}
	if !w.changed() {
		t.Error("not told at the end")
	}
}

// What changes while the files are read is one more change: in a file that was watched, and in one that is new.
func TestWatch_changesDuringAReading(t *testing.T) {
	for _, path := range []string{"/secret", "/conf.d/b.toml"} {
		dir, w, _ := watchedFolder(t)
		put(t, dir+"/conf.d/b.toml", "# one\n")
		w.changed()
		if !w.changed() {
			t.Fatal("not told")
		}
		before, files := w.look(), &config.Files{}
		cfg, _ := config.Options{Record: files, Dir: dir}.Load(dir + "/edge.toml")
		put(t, dir+path, "# two")
		w.use(files, cfg, before)
		w.changed()
		if !w.changed() {
			t.Errorf("%s has changed after it was read, and that is not told", path)
		}
	}
}

// An upgrade delays what the watch has seen: one that is under way, and one that begins while the files are read.
func TestReloads_watchDuringAnUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edge.toml")
	const text = "http.listen = \"127.0.0.1:0\"\nroutes = [{ pattern = \"/*\", dest = \"status:200\" }]\n"
	put(t, path, text)
	files := &config.Files{}
	cfg, report := config.Options{Record: files}.Load(path)
	s := serverOf(t, cfg, report)
	u, reads := newUpgrades(nil, nil), 0
	during := func() {}
	r := newReloads(s, onStderr(), cfg, &Options{Files: files, Load: func(r Reading) (*config.Config, *config.Report) {
		reads++
		during()
		return config.Options{Record: r.Record}.Load(path)
	}})
	r.upgrades = u
	r.watch.use(files, cfg, view{})
	look := func(what string, want int) {
		t.Helper()
		reads = 0
		for range 4 {
			r.lookOnce(nil)
		}
		if reads != want {
			t.Errorf("%s: read %d times, want %d", what, reads, want)
		}
	}
	underWay := func(is bool) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.current = nil; is {
			u.current = &attempt{}
		}
	}
	for _, c := range []struct {
		name   string
		before bool
		reads  int
	}{{"an upgrade is under way", true, 0}, {"one begins during the reading", false, 1}} {
		put(t, path, text+"# "+c.name+"\n")
		underWay(c.before)
		during = func() { underWay(true) }
		look(c.name, c.reads)
		during = func() {}
		underWay(false)
		look(c.name+", and has failed", 1)
		look(c.name+", and nothing has changed since", 0)
	}
}

// So is another file, a folder or a pipe in the place of a new one, also if that cannot be read a second time.
func TestWatch_replacedDuringAReading(t *testing.T) {
	for name, place := range map[string]func(path string) error{
		"the same text": func(path string) error { return os.WriteFile(path, []byte("# one\n"), 0o600) },
		"a folder":      func(path string) error { return os.Mkdir(path, 0o700) },
		"a pipe":        func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"nothing":       func(string) error { return nil },
		"one more file": func(path string) error {
			kept := filepath.Dir(filepath.Dir(path)) + "/kept"
			return errors.Join(os.Rename(kept, path), os.WriteFile(path+".toml", nil, 0o600))
		},
	} {
		dir, w, _ := watchedFolder(t)
		path := dir + "/conf.d/b.toml"
		put(t, path, "# one\n")
		before, files := w.look(), &config.Files{}
		cfg, _ := config.Options{Record: files, Dir: dir}.Load(dir + "/edge.toml")
		testutil.Must(t, os.Rename(path, dir+"/kept")) // so that no other file gets its inode
		testutil.Must(t, place(path))
		w.use(files, cfg, before)
		w.changed()
		if !w.changed() {
			t.Errorf("%s in its place is not told", name)
		}
	}
}

// A touched file, or a hidden one that an editor leaves, is no reason to read a folder again and again.
func TestWatch_hiddenFiles(t *testing.T) {
	dir, w, _ := watchedFolder(t)
	put(t, dir+"/conf.d/.a.toml.swp", "x")
	put(t, dir+"/conf.d/notes.txt", "x")
	testutil.Must(t, os.Mkdir(dir+"/conf.d/folder.toml", 0o700))
	if w.changed() || w.changed() {
		t.Error("told")
	}
}
