package discovery

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/registry"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestParseFile(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"", ""},
		{"# none\n\n", ""},
		{"10.0.0.1:80\n 10.0.0.2:80 weight=3 zone=b backup # spare\nunix:/run/x\r\nweb:80", "10.0.0.1:80*0 " +
			"10.0.0.2:80*3 zone b tier 1 unix:/run/x*0 web:80*0"},
		{` ["10.0.0.1:80", {"address": "10.0.0.2:80", "weight": 3, "zone": "b", "backup": true}]`, "10.0.0.1:80*0 " +
			"10.0.0.2:80*3 zone b tier 1"},
		{"[]", ""},
		{"10.0.0.1:80\n10.0.0.1", `line 2: "10.0.0.1": want host:port`},
		{"10.0.0.1:80 weight=0", "line 1"},
		{"10.0.0.1:80 weight=70000", "line 1"},
		{"10.0.0.1:80 weight=x", "line 1"},
		{"10.0.0.1:80 wieght=1", `"wieght=1" is not one of`},
		{"10.0.0.1:80 zone=", `"zone=" is not one of`},
		{"10.0.0.1:80 backup=no", `"backup=no" is not one of`},
		{`["10.0.0.1"]`, "element 1: want host:port"},
		{`[{"address": "10.0.0.1:80", "weight": 0}]`, "element 1: want"},
		{`[{"address": "10.0.0.1:80", "wieght": 1}]`, "element 1: json: unknown field"},
		{`[7]`, "element 1: json"},
		{`["10.0.0.1:80"`, "unexpected end"},
	} {
		list, err := parseFile([]byte(tc.text))
		if got := describe(list, err); got != tc.want && (err == nil || !strings.Contains(got, tc.want)) {
			t.Errorf("%q: %s, want %s", tc.text, got, tc.want)
		}
	}
}

// describe says a list in one line.
func describe(list []backend.Spec, err error) string {
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, b := range list {
		text := b.Address + "*" + strconv.Itoa(b.Weight)
		if b.Zone != "" {
			text += " zone " + b.Zone
		}
		if b.Tier > 0 {
			text += " tier " + strconv.Itoa(b.Tier)
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// follow runs the source of a text and returns its set.
func follow(t *testing.T, text string) (*backend.Set, *Runner) {
	t.Helper()
	source, err := Open(text, Opening{})
	testutil.Must(t, err)
	set, r := backend.NewSet(), Start(Options{Name: text, Source: source})
	r.Join(set)
	t.Cleanup(r.Stop)
	<-r.Ready()
	return set, r
}

// becomes waits for the members of a set.
func becomes(t *testing.T, set *backend.Set, want string) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool { return members(set) == want })
}

// write puts text into a file by a rename, as careful programs do, or in place.
func write(t *testing.T, path, text string, rename bool) {
	t.Helper()
	to := path
	if rename {
		to += ".new"
	}
	testutil.Must(t, os.WriteFile(to, []byte(text), 0o600))
	if rename {
		testutil.Must(t, os.Rename(to, path))
	}
}

func TestFile_isFollowed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.txt")
	write(t, path, "10.0.0.1:1\n", false)
	set, r := follow(t, "file://"+path)
	becomes(t, set, "1")
	stays := set.Members()[0]
	write(t, path, "10.0.0.1:1\n10.0.0.1:2\n", true)
	becomes(t, set, "1 2")
	write(t, path, "10.0.0.1:1\n10.0.0.1:3\n", false)
	becomes(t, set, "1 3")
	failed := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return !r.failingSince.IsZero()
	}
	write(t, path, "10.0.0.1:1 what\n", true)
	testutil.Eventually(t, testutil.Patience, failed)
	write(t, path, `["10.0.0.1:1", "10.0.0.1:4"]`, true)
	becomes(t, set, "1 4")
	testutil.Must(t, os.Remove(path))
	testutil.Eventually(t, testutil.Patience, failed)
	if members(set) != "1 4" {
		t.Error("a file that is missing took members away")
	}
	write(t, path, "10.0.0.1:1\n10.0.0.1:5\n", true)
	becomes(t, set, "1 5")
	if set.Members()[0] != stays {
		t.Error("a member that stays is another one")
	}
}

// Kubernetes changes the files of a ConfigMap by a symbolic link to a folder, which it renames.
func TestFile_behindLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "users.txt")
	link := func(version string) {
		testutil.Must(t, os.Mkdir(filepath.Join(dir, version), 0o700))
		write(t, filepath.Join(dir, version, "users.txt"), "10.0.0.1:"+version+"\n", false)
		testutil.Must(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
		testutil.Must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	link("1")
	testutil.Must(t, os.Symlink("..data/users.txt", path))
	set, _ := follow(t, "file://"+path)
	becomes(t, set, "1")
	link("2")
	becomes(t, set, "2")
}

// A folder that comes later, or is replaced, is found.
func TestFile_folderThatComesLater(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "users.txt")
	set, _ := follow(t, "file://"+path)
	if set.Len() != 0 {
		t.Error(members(set))
	}
	for _, port := range []string{"1", "2"} {
		testutil.Must(t, os.Mkdir(dir, 0o700))
		write(t, path, "10.0.0.1:"+port+"\n", false)
		becomes(t, set, port)
		testutil.Must(t, os.RemoveAll(dir))
	}
}

func TestFile_tooLarge(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.txt")
	write(t, path, strings.Repeat("#", registry.FileMax)+"\n", false)
	if _, _, err := registry.ReadFile(path); err != registry.ErrFileSize {
		t.Error(err)
	}
}

// Stop ends a source that waits at once.
func TestFile_stops(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.txt")
	write(t, path, "10.0.0.1:1\n", false)
	for range 20 {
		_, r := follow(t, "file://"+path)
		begun := time.Now()
		r.Stop()
		if took := time.Since(begun); took > lookAgain/2 {
			t.Errorf("stopped after %s", took)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("10.0.0.1:80 weight=3 zone=b backup # spare\nunix:/run/x\r\nweb:80"))
	f.Add([]byte(`["10.0.0.1:80", {"address": "10.0.0.2:80", "weight": 3}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parseFile(text)
		for i := range list {
			if err == nil && !usable(&list[i]) {
				t.Errorf("%+v", list[i])
			}
		}
	})
}

// A pipe that nobody writes to is refused: it keeps neither the first answer waiting nor Stop.
func TestFile_pipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	testutil.Must(t, unix.Mkfifo(path, 0o600))
	r := Start(Options{Upstream: "u", Name: "file://" + path, Source: &fileSource{path: path}})
	select {
	case <-r.Ready():
	case <-time.After(testutil.Patience):
		w, err := os.OpenFile(path, os.O_WRONLY, 0) // lets the reader go on, so that Stop ends
		if err == nil {
			defer w.Close()
		}
		t.Error("it waits for somebody to write")
	}
	r.Stop()
}
