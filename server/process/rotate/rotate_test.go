package rotate

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// log makes a log of some size in a folder of its own.
func log(t *testing.T, size int, written time.Time) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(path, []byte(strings.Repeat("x", size)), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, written, written); err != nil {
		t.Fatal(err)
	}
	return path
}

func names(t *testing.T, path string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// A file is due by its size, or when a period begins after its first line.
func TestRotator_Look(t *testing.T) {
	for name, c := range map[string]struct {
		policy  Policy
		size    int
		written time.Time
		due     bool
	}{
		"small":                 {Policy{Size: 100}, 99, noon, false},
		"large":                 {Policy{Size: 100}, 100, noon, true},
		"large, no size":        {Policy{}, 1000, noon, false},
		"empty and old":         {Policy{Size: 100, Every: time.Hour}, 0, noon.Add(-9 * time.Hour), false},
		"of this hour":          {Policy{Every: time.Hour}, 1, noon, false},
		"of the hour before":    {Policy{Every: time.Hour}, 1, noon.Add(-time.Second), true},
		"of today":              {Policy{Every: 24 * time.Hour}, 1, noon.Add(-12 * time.Hour), false},
		"of yesterday":          {Policy{Every: 24 * time.Hour}, 1, noon.Add(-13 * time.Hour), true},
		"small and of long ago": {Policy{Size: 100}, 1, noon.Add(-999 * time.Hour), false},
	} {
		t.Run(name, func(t *testing.T) {
			path := log(t, c.size, c.written)
			moved, err := NewRotator().Look(&c.policy, []string{path}, noon)
			if err != nil || (len(moved) == 1) != c.due {
				t.Fatal(moved, err)
			}
			want := []string{"access.log"}
			if c.due {
				want = []string{"access.log.20261122T120000.000Z"}
			}
			if got := names(t, path); !slices.Equal(got, want) {
				t.Error(got)
			}
		})
	}
}

// A file that is written all the time is as old as its first line, not as its last one.
func TestRotator_ageOfTheFirstLine(t *testing.T) {
	path := log(t, 1, noon.Add(time.Minute))
	r, p := NewRotator(), &Policy{Every: time.Hour}
	for at := time.Minute; at < time.Hour; at += time.Minute {
		if moved, err := r.Look(p, []string{path}, noon.Add(at)); len(moved) > 0 || err != nil {
			t.Fatal(at, moved, err)
		}
		if err := os.Chtimes(path, noon.Add(at), noon.Add(at)); err != nil {
			t.Fatal(err)
		}
	}
	if moved, err := r.Look(p, []string{path}, noon.Add(time.Hour)); len(moved) != 1 || err != nil {
		t.Fatal(moved, err)
	}
}

// What is no file of its own is left alone, names never collide, and an error is returned once a minute.
func TestRotator_LookAtOddPaths(t *testing.T) {
	path := log(t, 100, noon)
	dir, p := filepath.Dir(path), &Policy{Size: 10}
	link, missing := filepath.Join(dir, "link"), filepath.Join(dir, "none", "log")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".20261122T120000.000Z", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := NewRotator()
	moved, err := r.Look(p, []string{link, missing, dir, path}, noon)
	if err != nil || len(moved) != 1 || moved[0].To != path+".20261122T120000.001Z" {
		t.Fatal(moved, err)
	}
	if err := moved[0].Settle(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, path); !slices.Equal(got, []string{"access.log", "access.log.20261122T120000.000Z", "link"}) {
		t.Errorf("after it could not be opened again: %v", got)
	}
	if os.Geteuid() == 0 {
		return // root may do everything
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700) //nolint:errcheck // the test is over
	for i, want := range map[time.Duration]bool{0: true, 30 * time.Second: false} {
		if _, err := r.Look(p, []string{path}, noon.Add(i)); (err != nil) != want {
			t.Errorf("after %v: %v", i, err)
		}
	}
}

// The newest are kept, as many as they may be and as long, each whole under one name.
func TestTidy(t *testing.T) {
	path := log(t, 1, noon)
	for i := range 6 {
		name := path + "." + noon.Add(time.Duration(i)*time.Hour).Format(stamp)
		if err := os.WriteFile(name, fmt.Appendf(nil, "lines of %d", i), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []string{".gz", ".20261122T120000.000Z.bak", ".20261122T170000.000Z.gz.tmp", ".1"} {
		if err := os.WriteFile(path+other, nil, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	others := []string{"access.log", "access.log.1", "access.log.20261122T120000.000Z.bak"}
	p := &Policy{Keep: 4, KeepFor: 3 * time.Hour, Compress: "gzip"}
	for range 2 {
		if err := Tidy(context.Background(), p, path, noon.Add(5*time.Hour)); err != nil {
			t.Fatal(err)
		}
		want := append(slices.Clone(others), "access.log.20261122T140000.000Z.gz", "access.log.20261122T150000.000Z.gz",
			"access.log.20261122T160000.000Z.gz", "access.log.20261122T170000.000Z.gz", "access.log.gz")
		if got := names(t, path); !slices.Equal(got, want) {
			t.Fatalf("got  %v\nwant %v", got, want)
		}
	}
	f, err := os.Open(path + ".20261122T150000.000Z.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || string(text) != "lines of 3" {
		t.Errorf("%q %v", text, err)
	}
	if at, _ := f.Stat(); at.Mode().Perm() != 0o640 {
		t.Error(at.Mode())
	}
	if err := Tidy(context.Background(), p, filepath.Join(t.TempDir(), "gone", "log"), noon); err != nil {
		t.Error(err)
	}
}

// The end of the process leaves the file as it was, and nothing beside it.
func TestTidy_cutShort(t *testing.T) {
	path := log(t, 0, noon)
	name := path + "." + noon.Format(stamp)
	if err := os.WriteFile(name, make([]byte, 4*pieceBytes), 0o640); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Tidy(ctx, &Policy{Compress: "gzip"}, path, noon); err != nil {
		t.Fatal(err)
	}
	if got := names(t, path); !slices.Equal(got, []string{"access.log", filepath.Base(name)}) {
		t.Error(got)
	}
}
