package static

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/proxy"
)

// get asks f for a path, and returns the body; a failure has its text.
func (f *files) get(path string) (body string) {
	w := httptest.NewRecorder()
	defer func() {
		if e, ok := recover().(*proxy.Error); ok {
			body = e.Text
		}
	}()
	(&visit{files: f}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Body.String()
}

// Links and folders that change while they are opened lead nowhere outside, however often.
func TestFiles_linksThatChange(t *testing.T) {
	swaps := 100_000
	if testing.Short() {
		swaps = 2_000
	}
	dir := t.TempDir()
	www := filepath.Join(dir, "www")
	for _, folder := range []string{"www/in", "out"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"www/in/f": "inside", "out/f": "outside"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(www)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f := &files{Config: Config{Index: []string{"f"}, Try: []string{"{path}"}, Listing: true}, root: root}
	var over atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		defer over.Store(true)
		link, fresh := filepath.Join(www, "link"), filepath.Join(www, "fresh")
		for i := range swaps {
			to := []string{"in", "../out", filepath.Join(dir, "out"), "in/../../out"}[i%4]
			if err := os.Symlink(to, fresh); err != nil {
				t.Error(err)
				return
			}
			if err := os.Rename(fresh, link); err != nil {
				t.Error(err)
				return
			}
		}
	})
	inside := 0
	for !over.Load() {
		for _, path := range []string{"/link/f", "/link/", "/in/f"} {
			switch body := f.get(path); {
			case strings.Contains(body, "outside"):
				t.Fatal(path, body)
			case body == "inside":
				inside++
			}
		}
	}
	all.Wait()
	if inside == 0 {
		t.Error("nothing was served")
	}
}

// Paths of a thousand kinds lead to nothing outside.
func FuzzFiles_paths(f *testing.F) {
	dir := f.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "www", "a"), 0o755); err != nil {
		f.Fatal(err)
	}
	for name, text := range map[string]string{"secret": "outside", "www/a/f": "inside", "www/f": "inside"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	root, err := os.OpenRoot(filepath.Join(dir, "www"))
	if err != nil {
		f.Fatal(err)
	}
	c := Config{Index: []string{"f"}, Try: []string{"{path}", "{path}.x", "/f"}, Hidden: true}
	served := &files{Config: c, root: root}
	for _, seed := range []string{"/a/f", "/../secret", "/a/%2e%2e/%2e%2e/secret", "/a/..%2f..%2fsecret",
		"/a//../../secret", "/a/..;/secret", "/a/.../secret", "/%00", "/a\\..\\secret", "/a/%5c..%5c/secret", "/a/f/",
		"//secret"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r, err := http.NewRequest(http.MethodGet, "http://a.test", nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.URL, err = r.URL.Parse(path); err != nil {
			t.Skip()
		}
		w := httptest.NewRecorder()
		defer func() {
			p := recover()
			if _, ok := p.(*proxy.Error); p != nil && !ok {
				panic(p)
			}
			if strings.Contains(w.Body.String(), "outside") {
				t.Fatal(path)
			}
		}()
		(&visit{files: served}).ServeHTTP(w, r)
	})
}
