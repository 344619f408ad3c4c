package socketfile

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const other = 65534 // a user who is not root

// sockets returns a folder in which processes listen at these names.
func sockets(t *testing.T, names ...string) (in func(name string) string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "edge") // the name of a test makes a path too long for a socket
	testutil.Must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	in = func(name string) string { return filepath.Join(dir, name) }
	for _, name := range names {
		l, err := net.Listen("unix", in(name))
		testutil.Must(t, err)
		t.Cleanup(func() { l.Close() })
	}
	return in
}

// A path that leads to something else by the time the socket is given away is an error, and what it leads to stays
// whose it is.
func TestFile_give(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	in := sockets(t, "socket", "second", "foreign")
	err := errors.Join(os.WriteFile(in("file"), nil, 0o600), os.Symlink(in("second"), in("link")),
		os.Link(in("second"), in("hard link")), os.Chown(in("foreign"), other+1, -1))
	if err != nil {
		t.Skip(err)
	}
	for name, want := range map[string]error{
		"socket": nil, "second": ErrOther, "foreign": ErrOther, "file": ErrOther,
		"link": ErrOther, "hard link": ErrOther, ".": ErrOther, "none": os.ErrNotExist,
	} {
		before, _ := os.Lstat(in(name))
		f, err := Made(in(name))
		if err == nil {
			err = f.Give(other, other, 0o606)
			f.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		now, err := os.Lstat(in(name))
		if err != nil {
			continue
		}
		uid := now.Sys().(*syscall.Stat_t).Uid
		if want == nil && uid != other || want != nil && uid != before.Sys().(*syscall.Stat_t).Uid {
			t.Errorf("%s belongs to %d", name, uid)
		}
		if changed := now.Mode().Perm() == 0o606; changed != (want == nil) {
			t.Errorf("%s has the mode %v", name, now.Mode())
		}
	}
}

// The file that is open changes, wherever its path leads by then, and Remove leaves what has its name.
func TestFile_replaced(t *testing.T) {
	in := sockets(t, "socket")
	f, err := Made(in("socket"))
	testutil.Must(t, err)
	defer f.Close()
	err = errors.Join(os.Rename(in("socket"), in("kept")), os.WriteFile(in("root's"), nil, 0o600),
		os.Symlink(in("root's"), in("socket")))
	testutil.Must(t, err)
	if f.InPlace() {
		t.Error("a link to another file is taken for it")
	}
	if err := f.Give(-1, -1, 0o606); err != nil {
		t.Error(err)
	}
	wantMode(t, in("kept"), 0o606)
	wantMode(t, in("root's"), 0o600)
	f.Remove()
	if _, err := os.Lstat(in("socket")); err != nil {
		t.Error(err)
	}
	f.Remove() // a second time does nothing
}

func wantMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	if at, err := os.Stat(path); err != nil || at.Mode().Perm() != want {
		t.Errorf("%s: %v, %v, want %#o", path, at, err, want)
	}
}

// Before Linux 6.6, and where a container forbids the call, /proc is the way. Without it there is an error that says
// so, unless the mode is right already.
func TestFile_olderKernel(t *testing.T) {
	change, proc := changeMode, procFiles
	defer func() { changeMode, procFiles = change, proc }()
	for name, one := range map[string]struct {
		flagged error
		proc    string
		mode    os.FileMode
		want    error
	}{
		"6.6":                {nil, "/none", 0o606, nil},
		"older":              {unix.EOPNOTSUPP, proc, 0o606, nil},
		"forbidden":          {unix.EPERM, proc, 0o606, nil},
		"no /proc":           {unix.EOPNOTSUPP, "/none", 0o606, errNoProc},
		"right without it":   {unix.EOPNOTSUPP, "/none", 0o640, nil},
		"no mode without it": {unix.EOPNOTSUPP, "/none", 0, nil},
	} {
		in := sockets(t, "socket")
		testutil.Must(t, os.Chmod(in("socket"), 0o640))
		procFiles = one.proc
		changeMode = func(dir int, path string, mode uint32, flags int) error {
			switch {
			case flags == 0:
				return change(dir, path, mode, 0)
			case one.flagged != nil:
				return one.flagged
			}
			return change(unix.AT_FDCWD, in("socket"), mode, 0) // what a kernel of any age can
		}
		f, err := Made(in("socket"))
		testutil.Must(t, err)
		if err = f.Give(-1, -1, one.mode); !errors.Is(err, one.want) {
			t.Errorf("%s: %v", name, err)
		}
		want := one.mode
		if err != nil || want == 0 {
			want = 0o640
		}
		if err != nil && !strings.Contains(err.Error(), "mount /proc") {
			t.Errorf("%s: %v says not what helps", name, err)
		}
		wantMode(t, in("socket"), want)
		f.Close()
	}
}

// A File is adopted by what identifies its file, and keeps it over a rename.
func TestFile_adopt(t *testing.T) {
	in := sockets(t, "socket", "other")
	f, err := Made(in("socket"))
	testutil.Must(t, err)
	defer f.Close()
	if err := f.Rename(in("renamed")); err != nil || !f.InPlace() {
		t.Fatal(err)
	}
	dev, ino := f.ID()
	if _, err := Adopt(in("other"), dev, ino); !errors.Is(err, ErrOther) {
		t.Error(err)
	}
	if _, err := Adopt(in("socket"), dev, ino); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	adopted, err := Adopt(in("renamed"), dev, ino)
	testutil.Must(t, err)
	adopted.Remove()
	if _, err := os.Lstat(in("renamed")); err == nil || f.InPlace() {
		t.Error("it stays")
	}
	var none *File
	if dev, ino := none.ID(); dev != 0 || ino != 0 || none.InPlace() {
		t.Error("no file has an identity")
	}
	none.Remove()
}
