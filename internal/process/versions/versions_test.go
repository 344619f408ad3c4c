package versions

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// of returns the files of a configuration with this text.
func of(text string) *config.Files {
	return &config.Files{Main: "/edge.toml", Texts: []schema.Text{{Path: "/edge.toml", Real: "/e", Text: []byte(text)}}}
}

func open(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func add(t *testing.T, s *Store, text string) int {
	t.Helper()
	n, err := s.Add(of(text), "test", noon)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// numbers returns what s has: "3:text".
func numbers(s *Store) (all []string) {
	for _, v := range s.List() {
		all = append(all, fmt.Sprintf("%d:%s", v.Number, v.Files.Texts[0].Text))
	}
	return all
}

func TestStore_keepsTheLast(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		s := open(t, Options{Dir: dir, Most: 3, Bytes: 100})
		for i, text := range []string{"a", "b", "b", "c", "d"} {
			if n, want := add(t, s, text), []int{1, 2, 2, 3, 4}[i]; n != want || s.Present() != want {
				t.Errorf("%s is version %d, and %d in force; want %d", text, n, s.Present(), want)
			}
		}
		if got := numbers(s); !slices.Equal(got, []string{"2:b", "3:c", "4:d"}) {
			t.Errorf("kept: %v", got)
		}
		s.Limit(2, 100)
		add(t, s, strings.Repeat("large", 30)) // more than all may have: the others go
		if got := numbers(s); len(got) != 1 || !strings.HasPrefix(got[0], "5:large") {
			t.Errorf("kept: %v", got)
		}
		s.Limit(0, 100)
		add(t, s, "e")
		if got := numbers(s); len(got) != 0 {
			t.Errorf("kept: %v", got)
		}
	}
}

func TestStore_find(t *testing.T) {
	s := open(t, Options{Most: 9, Bytes: 100})
	if _, err := s.Find(0); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	for _, text := range []string{"a", "b", "c", "b"} { // the last one: a rollback to the second one
		add(t, s, text)
	}
	for number, want := range map[int]string{0: "c", 1: "a", 4: "b"} {
		if v, err := s.Find(number); err != nil || string(v.Files.Texts[0].Text) != want {
			t.Errorf("version %d: %+v %v, want %q", number, v, err, want)
		}
	}
	if _, err := s.Find(7); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "7") {
		t.Error(err)
	}
}

// What was kept is there for the next process, with the same numbers, and for nobody else.
func TestStore_outlivesTheProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "[versions]")
	o := Options{Dir: dir, Most: 3, Bytes: 1000}
	s := open(t, o)
	for i := range 5 {
		add(t, s, fmt.Sprint("text ", i))
	}
	again := open(t, o)
	if got := numbers(again); !slices.Equal(got, numbers(s)) || again.Present() != 0 {
		t.Errorf("kept: %v, and %d in force", got, again.Present())
	}
	if n := add(t, again, "text 4"); n != 5 || again.Present() != 5 {
		t.Errorf("the same files are version %d", n)
	}
	if v, err := again.Find(0); err != nil || v.Number != 4 || !v.At.Equal(noon) || v.Cause != "test" {
		t.Errorf("%+v %v", v, err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "00000005.version.json"): 0o600} {
		if at, err := os.Stat(path); err != nil || at.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want %o", path, at, err, mode)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 || len(must(os.ReadDir(dir))) != 3 {
		t.Errorf("left over: %v", left)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Two processes with one folder take different numbers.
func TestStore_twoProcesses(t *testing.T) {
	o := Options{Dir: t.TempDir(), Most: 9, Bytes: 1000}
	a, b := open(t, o), open(t, o)
	if x, y, z := add(t, a, "a"), add(t, b, "b"), add(t, a, "c"); x != 1 || y != 2 || z != 3 {
		t.Errorf("numbers %d, %d, %d", x, y, z)
	}
	if got := numbers(open(t, o)); !slices.Equal(got, []string{"1:a", "2:b", "3:c"}) {
		t.Errorf("kept: %v", got)
	}
}

// A file that is not a version is passed over; a folder that cannot be written leaves memory.
func TestStore_badFolder(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, Most: 9, Bytes: 1000}
	add(t, open(t, o), "a")
	whole := must(os.ReadFile(filepath.Join(dir, "00000001.version.json")))
	for name, text := range map[string]string{
		"00000002.version.json": string(whole), "00000003.version.json": string(whole[:len(whole)/2]),
		"x.version.json": string(whole), "00000004.version.json": "",
		"00000005.version.json": `{"number":5}`, "other": "x",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "00000006.version.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Open(o)
	if got := numbers(s); !slices.Equal(got, []string{"1:a"}) || strings.Count(fmt.Sprint(err), errShape.Error()) != 6 {
		t.Errorf("kept: %v, %v", got, err)
	}
	s, err = Open(Options{Dir: filepath.Join(dir, "other", "below"), Most: 9, Bytes: 1000})
	if err == nil {
		t.Error("no error for a folder below a file")
	}
	if n, err := s.Add(of("a"), "test", noon); n != 1 || err != nil || len(s.List()) != 1 {
		t.Errorf("in memory: %d %v", n, err)
	}
	s = open(t, Options{Dir: filepath.Join(dir, "goes"), Most: 9, Bytes: 1000})
	if err := os.RemoveAll(filepath.Join(dir, "goes")); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Add(of("a"), "test", noon); n != 1 || err == nil || len(s.List()) != 1 {
		t.Errorf("a folder that has gone: %d %v", n, err)
	}
}

// Whatever is added and limited: the bounds hold, numbers rise, the newest stays, the folder has what the Store has.
func TestStore_againstItsBounds(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 1))
		o := Options{Dir: t.TempDir(), Most: 1 + r.IntN(5), Bytes: 1 + r.IntN(50)}
		s := open(t, o)
		last := ""
		for range 30 {
			switch r.IntN(6) {
			case 0:
				o.Most, o.Bytes = 1+r.IntN(5), 1+r.IntN(50)
				s.Limit(o.Most, o.Bytes)
			case 1:
				s = open(t, o)
			default:
				last = strings.Repeat(string(rune('a'+r.IntN(3))), 1+r.IntN(20))
				add(t, s, last)
			}
			list, size := s.List(), 0
			for i, v := range list {
				size += v.Files.Size()
				if i > 0 && v.Number <= list[i-1].Number {
					t.Fatalf("seed %d: %v", seed, numbers(s))
				}
			}
			if len(list) > o.Most || size > o.Bytes && len(list) > 1 {
				t.Fatalf("seed %d: %d versions of %d bytes, bounds %+v", seed, len(list), size, o)
			}
			if last != "" && string(list[len(list)-1].Files.Texts[0].Text) != last {
				t.Fatalf("seed %d: %v, the last one is %s", seed, numbers(s), last)
			}
			if got := numbers(open(t, o)); !slices.Equal(got, numbers(s)) {
				t.Fatalf("seed %d: the folder has %v, the store %v", seed, got, numbers(s))
			}
		}
	}
}
