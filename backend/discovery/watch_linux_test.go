package discovery

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// instances returns how many instances of inotify this process has.
func instances(t *testing.T) (n int) {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	testutil.Must(t, err)
	for _, fd := range all {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.Contains(to, "inotify") {
			n++
		}
	}
	return n
}

// A user of Linux has 128 instances of inotify for all processes.
func TestFile_manySourcesShareAnInstance(t *testing.T) {
	dir, before := t.TempDir(), instances(t)
	for i := range 200 {
		path := filepath.Join(dir, fmt.Sprint(i%100), fmt.Sprint(i))
		testutil.Must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		write(t, path, "10.0.0.1:1\n", false)
		set, _ := follow(t, "file://"+path)
		becomes(t, set, "1")
		if i%50 == 0 {
			write(t, path, "10.0.0.1:2\n", true)
			becomes(t, set, "2")
		}
	}
	if n := instances(t) - before; n > 1 {
		t.Errorf("%d more instances of inotify", n)
	}
}

// event is one of inotify, as the kernel writes it.
func event(id int32, mask uint32) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(id))
	b = binary.NativeEndian.AppendUint32(b, mask)
	return append(b, make([]byte, 8)...)
}

func TestFolders_overflowWakesAll(t *testing.T) {
	for _, tc := range []struct {
		event []byte
		want  int
	}{
		{event(-1, unix.IN_Q_OVERFLOW), 3},
		{event(1, unix.IN_CREATE), 1},
		{event(7, unix.IN_CREATE), 0},
	} {
		f := folders{watchers: map[*watcher]int{}}
		for id := range 3 {
			f.watchers[&watcher{news: make(chan struct{}, 1)}] = id
		}
		f.tell(tc.event)
		woken := 0
		for w := range f.watchers {
			woken += len(w.news)
		}
		if woken != tc.want {
			t.Errorf("%x wakes %d watchers, want %d", tc.event, woken, tc.want)
		}
	}
}

// Where the kernel watches no folder, files are read every two seconds.
func TestFolders_pollWithoutInotify(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		f := folders{watchers: map[*watcher]int{}, fd: -1}
		w := f.watch(filepath.Join(t.TempDir(), "list"))
		defer f.close(w)
		begun := time.Now()
		if err := f.wait(context.Background(), w); err != nil || time.Since(begun) != lookForFolder {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		if !f.warned {
			t.Error("nothing is logged")
		}
	})
}

// A folder that no source follows any more takes no watch of the kernel, and without a source there is no instance.
func TestFolders_closeEndsTheWatch(t *testing.T) {
	f := folders{watchers: map[*watcher]int{}}
	paths := []string{t.TempDir() + "/list", t.TempDir() + "/list"}
	first, second, other := f.watch(paths[0]), f.watch(paths[0]), f.watch(paths[1])
	for _, tc := range []struct {
		w    *watcher
		want int
	}{{first, 2}, {second, 1}} {
		f.close(tc.w)
		text := testutil.ReadFile(t, fmt.Sprint("/proc/self/fdinfo/", f.fd))
		if n := strings.Count(string(text), "inotify wd:"); n != tc.want {
			t.Errorf("%d folders are watched, want %d", n, tc.want)
		}
	}
	if f.close(other); f.fd != 0 || f.events != nil {
		t.Error("the instance stays open")
	}
}
