package config

import (
	"os"
	"path/filepath"
	"testing"
)

// A configuration whose texts were kept is read again as it was, whatever has become of the files.
func TestLoad_keptTexts(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("edge.toml", "include = [\"conf.d/*.toml\", \"[x]/one.toml\"]\nhttp.listen = \":80\"\n")
	write("conf.d/a.toml", "[[routes]]\npattern = \"/a\"\ndest = \"10.0.0.1:${file:port}\"\n")
	write("conf.d/b.toml", "")
	write("conf.d/.hidden.toml", "wrong")
	write("x/one.toml", "[[routes]]\npattern = \"/x\"\ndest = \"10.0.0.2:80\"\n")
	write("port", "81\n")
	main := filepath.Join(dir, "edge.toml")
	kept := &Files{}
	was, rep := Options{Record: kept, Dir: dir}.Load(main)
	if was == nil {
		t.Fatal(rep.Errors)
	}
	if len(kept.Texts) != 4 || len(kept.Globs) != 2 || len(kept.Quoted) != 1 || kept.Main != main || !kept.Unchanged() {
		t.Fatalf("%+v", kept)
	}
	write("conf.d/b.toml", "log_level = \"debug\"\n")
	if kept.Unchanged() {
		t.Error("a file has another text, and that does not count")
	}
	write("conf.d/b.toml", "")
	write("conf.d/c.toml", "wrong = 1\n")
	if kept.Unchanged() {
		t.Error("a pattern stands for one more file, and that does not count")
	}
	write("edge.toml", "wrong")
	if err := os.RemoveAll(filepath.Join(dir, "conf.d")); err != nil {
		t.Fatal(err)
	}
	again := &Files{}
	now, rep := Options{Kept: kept, Record: again, Dir: dir}.Load(main)
	if now == nil {
		t.Fatal(rep.Errors)
	}
	if len(now.Routes) != 2 || len(was.Routes) != 2 || now.Upstreams[0].Backends[0].Port != 81 || !again.Same(kept) {
		t.Errorf("%+v", now.Routes)
	}
	wrong := &Files{}
	if c, _ := (Options{Record: wrong}).Load(main); c != nil || len(wrong.Texts) != 1 || wrong.Same(kept) {
		t.Errorf("%+v of a wrong file", wrong)
	}
	if missing := (&Files{Main: main}); missing.Size() != 0 || kept.Size() == 0 {
		t.Error("sizes")
	}
	if c, _ := (Options{Kept: &Files{Main: main}}).Load(main); c != nil {
		t.Error("a configuration without texts")
	}
}
