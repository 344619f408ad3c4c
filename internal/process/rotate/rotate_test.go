package rotate

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// log makes a log of some size in a folder of its own.
func log(t *testing.T, size int, written time.Time) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "access.log")
	testutil.Must(t, os.WriteFile(path, []byte(strings.Repeat("x", size)), 0o640))
	testutil.Must(t, os.Chtimes(path, written, written))
	return path
}

func names(t *testing.T, path string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	testutil.Must(t, err)
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
		testutil.Must(t, os.Chtimes(path, noon.Add(at), noon.Add(at)))
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
	testutil.Must(t, os.Symlink(path, link))
	testutil.Must(t, os.WriteFile(path+".20261122T120000.000Z", nil, 0o600))
	r := NewRotator()
	moved, err := r.Look(p, []string{link, missing, dir, path}, noon)
	if err != nil || len(moved) != 1 || moved[0].To != path+".20261122T120000.001Z" {
		t.Fatal(moved, err)
	}
	testutil.Must(t, moved[0].Settle())
	if got := names(t, path); !slices.Equal(got, []string{"access.log", "access.log.20261122T120000.000Z", "link"}) {
		t.Errorf("after it could not be opened again: %v", got)
	}
	if os.Geteuid() == 0 {
		return // root may do everything
	}
	testutil.Must(t, os.Chmod(dir, 0o500))
	defer os.Chmod(dir, 0o700) //nolint:errcheck // the test is over
	for i, want := range map[time.Duration]bool{0: true, 30 * time.Second: false} {
		if _, err := r.Look(p, []string{path}, noon.Add(i)); (err != nil) != want {
			t.Errorf("after %v: %v", i, err)
		}
	}
}

// The newest are kept, as many as they may be and as long, each whole under one name and however it is compressed.
func TestTidy(t *testing.T) {
	for word, c := range compressors {
		t.Run(word, func(t *testing.T) { tidies(t, word, c.ending) })
	}
}

func tidies(t *testing.T, word, ending string) {
	path := log(t, 1, noon)
	for i := range 6 {
		name := path + "." + noon.Add(time.Duration(i)*time.Hour).Format(stamp)
		testutil.Must(t, os.WriteFile(name, fmt.Appendf(nil, "lines of %d", i), 0o640))
	}
	for _, other := range []string{".gz", ".20261122T120000.000Z.bak", ".20261122T170000.000Z.gz.tmp", ".1",
		".20261122T170000.000Z.zst.tmp", ".20261122T170000.000Z.tmp", ".20261122T110000.000Z.gz",
		".20261122T110000.001Z.zst"} {
		testutil.Must(t, os.WriteFile(path+other, nil, 0o640))
	}
	p := &Policy{Keep: 4, KeepFor: 3 * time.Hour, Compress: word}
	for range 2 {
		if _, err := Tidy(context.Background(), p, path, noon.Add(5*time.Hour)); err != nil {
			t.Fatal(err)
		}
		want := []string{"access.log", "access.log.1", "access.log.20261122T120000.000Z.bak",
			"access.log.20261122T140000.000Z" + ending, "access.log.20261122T150000.000Z" + ending,
			"access.log.20261122T160000.000Z" + ending, "access.log.20261122T170000.000Z" + ending,
			"access.log.20261122T170000.000Z.tmp", "access.log.gz"}
		slices.Sort(want)
		if got := names(t, path); !slices.Equal(got, want) {
			t.Fatalf("got  %v\nwant %v", got, want)
		}
	}
	name := path + ".20261122T150000.000Z" + ending
	if text := contentOf(t, name); text != "lines of 3" {
		t.Errorf("%q", text)
	}
	if at, err := os.Stat(name); err != nil || at.Mode().Perm() != 0o640 {
		t.Error(at.Mode(), err)
	}
}

// contentOf returns what a compressed file holds: by the program of that name where there is one.
func contentOf(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	testutil.Must(t, err)
	defer f.Close()
	var from io.Reader
	if strings.HasSuffix(path, ".gz") {
		from, err = gzip.NewReader(f)
	} else if program, missing := exec.LookPath("zstd"); missing == nil {
		text, err := exec.Command(program, "-dc", path).Output()
		testutil.Must(t, err)
		return string(text)
	} else {
		from, err = zstd.NewReader(f)
	}
	testutil.Must(t, err)
	text, err := io.ReadAll(from)
	testutil.Must(t, err)
	return string(text)
}

// Without a key of rotate the logs are left to other programs.
func TestOf_noKey(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "log.output = \"access.log\"": false, "log.rotate.keep = 3": true,
	} {
		c, rep := config.Parse("edge.toml", []byte(text))
		if !rep.OK() || (Of(c) != nil) != want {
			t.Errorf("%q: %v, %+v", text, rep.Errors, Of(c))
		}
	}
}

// true and false are words of compress too, and another one is an error that names those that there are.
func TestOf_compress(t *testing.T) {
	for text, want := range map[string]string{
		`keep = 3`: "zstd", `compress = false`: "none", `compress = true`: "zstd", `compress = "off"`: "none",
		`compress = "gz"`: "gzip", `compress = "zstd"`: "zstd",
	} {
		c, rep := config.Parse("edge.toml", []byte("log.rotate = { "+text+" }"))
		if !rep.OK() || Of(c).Compress != want {
			t.Errorf("%s: %v, want %s", text, rep.Errors, want)
		}
	}
	_, rep := config.Parse("edge.toml", []byte("log.rotate.compress = \"xz\""))
	if rep.OK() || !strings.Contains(rep.Errors[0].Message, `"zstd", "gzip" or "none"`) {
		t.Error(rep.Errors)
	}
}

// A log of several pieces comes out as it went in.
func TestCompressor_longText(t *testing.T) {
	text := accessLog(3*pieceBytes + 1000)
	for word, c := range compressors {
		name := filepath.Join(t.TempDir(), word)
		testutil.Must(t, os.WriteFile(name, text, 0o600))
		testutil.Must(t, c.compress(context.Background(), name))
		if got := contentOf(t, name+c.ending); got != string(text) {
			t.Errorf("%s: %d bytes of %d", word, len(got), len(text))
		}
	}
}

// A folder that is removed while its logs are rotated is an error once, and none to tidy up.
func TestRotate_folderRemoved(t *testing.T) {
	path := log(t, 100, noon)
	r, p := NewRotator(), &Policy{Size: 10, Compress: "zstd"}
	moved, err := r.Look(p, []string{path}, noon)
	if err != nil || len(moved) != 1 {
		t.Fatal(moved, err)
	}
	testutil.Must(t, os.RemoveAll(filepath.Dir(path)))
	if err := moved[0].Settle(); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a log without a name:", err)
	}
	if _, err := Tidy(context.Background(), p, path, noon); err != nil {
		t.Error(err)
	}
	if err := compressors["zstd"].compress(context.Background(), moved[0].To); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if moved, err := r.Look(p, []string{path}, noon.Add(time.Hour)); len(moved) > 0 || err != nil {
		t.Error(moved, err)
	}
	testutil.Must(t, os.Mkdir(filepath.Dir(path), 0o700))
	testutil.Must(t, os.WriteFile(path, make([]byte, 100), 0o600))
	if moved, err := r.Look(p, []string{path}, noon.Add(time.Hour)); len(moved) != 1 || err != nil {
		t.Error("the folder is there again:", moved, err)
	}
}

// smallDisk is the folder of a file system of 256 KiB, in the process that a test starts for itself.
var smallDisk = os.Getenv("EDGE_TEST_SMALL_DISK")

// On a full disk a log is renamed all the same, the oldest are removed first, nothing half is left, and what could not
// be compressed is compressed when there is room.
func TestRotate_fullDisk(t *testing.T) {
	if smallDisk == "" {
		onSmallDisk(t)
		return
	}
	path := filepath.Join(smallDisk, "access.log")
	random := make([]byte, 64<<10) // which no compressor makes smaller
	rand.NewChaCha8([32]byte{}).Read(random)
	for i := range 2 {
		name := path + "." + noon.Add(time.Duration(i)*time.Hour).Format(stamp)
		testutil.Must(t, os.WriteFile(name, random, 0o600))
	}
	f, err := os.Create(path)
	testutil.Must(t, err)
	for err == nil {
		_, err = f.Write(random[:4096])
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal("the disk is not full:", err)
	}
	p := &Policy{Size: 10, Compress: "zstd", Keep: 3}
	moved, err := NewRotator().Look(p, []string{path}, noon.Add(2*time.Hour))
	if err != nil || len(moved) != 1 {
		t.Fatal(moved, err)
	}
	before := names(t, path)
	if _, err := Tidy(context.Background(), p, path, noon.Add(2*time.Hour)); !errors.Is(err, syscall.ENOSPC) ||
		strings.Count(err.Error(), "\n") > 0 {
		t.Error("it is said once that the disk is full:", err)
	}
	if got := names(t, path); !slices.Equal(got, before) || len(got) != 3 {
		t.Errorf("before %v\nafter  %v", before, got)
	}
	if err := f.Close(); err != nil { // as the writer does when it opens the path again
		t.Fatal(err)
	}
	p.Keep = 2
	if _, err := Tidy(context.Background(), p, path, noon.Add(2*time.Hour)); err != nil {
		t.Error("the oldest makes room:", err)
	}
	want := []string{"access.log.20261122T130000.000Z.zst", "access.log.20261122T140000.000Z.zst"}
	if got := names(t, path); !slices.Equal(got, want) {
		t.Error(got)
	}
}

// onSmallDisk runs the test again in a process with a small disk.
func onSmallDisk(t *testing.T) {
	t.Helper()
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip(err)
	}
	args := []string{"--mount"}
	if os.Geteuid() != 0 {
		args = append(args, "--map-root-user")
	}
	if out, err := exec.Command(unshare, append(args, "true")...).CombinedOutput(); err != nil {
		t.Skipf("no mounts here: %s", out)
	}
	dir := t.TempDir()
	cmd := exec.Command(unshare, append(args, "sh", "-ec",
		`mount -t tmpfs -o size=256k none "$EDGE_TEST_SMALL_DISK"; exec "$0" -test.run "^$1\$" -test.v`,
		os.Args[0], t.Name())...)
	cmd.Env = append(os.Environ(), "EDGE_TEST_SMALL_DISK="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}

// The end of the process leaves the file as it was, and nothing beside it.
func TestTidy_cutShort(t *testing.T) {
	path := log(t, 0, noon)
	name := path + "." + noon.Format(stamp)
	testutil.Must(t, os.WriteFile(name, make([]byte, 4*pieceBytes), 0o640))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Tidy(ctx, &Policy{Compress: "gzip"}, path, noon); err != nil {
		t.Fatal(err)
	}
	if got := names(t, path); !slices.Equal(got, []string{"access.log", filepath.Base(name)}) {
		t.Error(got)
	}
}

// A file to which a process still writes, and one that another process compresses, is left with what is half done.
func TestTidy_inUse(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, path string) *os.File{
		"written": func(t *testing.T, path string) *os.File {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			testutil.Must(t, err)
			return f
		},
		"compressed": func(t *testing.T, path string) *os.File {
			f, err := os.Open(path)
			if err == nil {
				err = take(f)
			}
			testutil.Must(t, err)
			testutil.Must(t, os.WriteFile(path+".gz.tmp", []byte("half"), 0o640))
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := log(t, 1, noon)
			renamed := path + "." + noon.Format(stamp)
			testutil.Must(t, os.WriteFile(renamed, []byte("line 1\n"), 0o640))
			f := use(t, renamed)
			defer f.Close()
			before := names(t, path)
			left, err := Tidy(context.Background(), &Policy{Compress: "gzip"}, path, noon)
			if got := names(t, path); !left || err != nil || !slices.Equal(got, before) {
				t.Fatalf("left: %v, %v: %v, before %v", left, err, got, before)
			}
			want := "line 1\n"
			if _, err := f.WriteString("line 2\n"); err == nil {
				want += "line 2\n"
			}
			f.Close()
			if left, err = Tidy(context.Background(), &Policy{Compress: "gzip"}, path, noon); left || err != nil {
				t.Error(left, err)
			}
			if got := names(t, path); !slices.Equal(got, []string{"access.log", filepath.Base(renamed) + ".gz"}) {
				t.Error(got)
			} else if text := contentOf(t, renamed+".gz"); text != want {
				t.Errorf("%q", text)
			}
		})
	}
}

// After the clock was set back, what is renamed last is the newest, and it is kept.
func TestRotate_clockSetBack(t *testing.T) {
	path := log(t, 100, noon)
	r, p := NewRotator(), &Policy{Size: 10, Keep: 2, Compress: "none"}
	future := noon.Add(365 * 24 * time.Hour)
	for i, now := range []time.Time{future, future.Add(time.Hour), noon, noon.Add(time.Second)} {
		testutil.Must(t, os.WriteFile(path, fmt.Appendf(nil, "lines of file %d", i), 0o600))
		if moved, err := r.Look(p, []string{path}, now); len(moved) != 1 || err != nil {
			t.Fatal(moved, err)
		}
		if _, err := Tidy(context.Background(), p, path, now); err != nil {
			t.Fatal(err)
		}
	}
	all, err := rotatedOf(path)
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	for i, want := range []string{"lines of file 3", "lines of file 2"} {
		if text, err := os.ReadFile(all[i].path); string(text) != want {
			t.Errorf("%s: %q, want %q: %v", all[i].path, text, want, err)
		}
	}
	// The name says next year; the file is old by the time of its last line.
	p.KeepFor = time.Hour
	if _, err := Tidy(context.Background(), p, path, time.Now().Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := names(t, path); len(got) != 0 {
		t.Error(got)
	}
}

// A configuration that rotates nothing is looked at every 10 s, since a reload may bring another one.
func TestRotation_without(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		asked := 0
		r := Begin(Logs{Config: func() *config.Config { asked++; return &config.Config{} }})
		time.Sleep(time.Minute + time.Millisecond) // synctest's clock
		r.End()
		if asked < 5 || asked > 7 {
			t.Error("looked at", asked, "times in a minute")
		}
	})
}
