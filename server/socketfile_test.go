package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// stays reports whether the path still leads to the file that at is of.
func stays(path string, at os.FileInfo) bool {
	now, err := os.Lstat(path)
	return err == nil && os.SameFile(at, now)
}

// The file of a Unix socket has the mode of the configuration, stays as long as a configuration names it, and goes with
// the listener or the process, unless it is another one's by then.
func TestSocketFile_life(t *testing.T) {
	const text = quiet + "[[listeners]]\nlisten = [\"127.0.0.1:0\"%s]\nsocket_mode = \"0606\"\n" +
		"[[routes]]\npattern = \"/%s\"\ndest = \"status:204\"\n"
	path := testutil.SocketPath(t)
	with := `, "unix:` + path + `"`
	s := start(t, Options{}, text, with, "one")
	at, err := os.Lstat(path)
	if err != nil || at.Mode().Perm() != 0o606 {
		t.Fatalf("%v %v", at, err)
	}
	apply(t, s, text, with, "two")
	if !stays(path, at) {
		t.Error("a reload that keeps it made another one")
	}
	apply(t, s, text, "", "two")
	if _, err := os.Lstat(path); err == nil {
		t.Error("a reload that drops it leaves its file")
	}
	apply(t, s, text, with, "two")
	if at, err = os.Lstat(path); err != nil || at.Mode().Perm() != 0o606 {
		t.Fatalf("taken back: %v %v", at, err)
	}
	if conn, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	if err := s.Stop(); err != nil || stays(path, at) {
		t.Errorf("after the end it is there still, %v", err)
	}

	s = start(t, Options{}, text, with, "one")
	try(t, os.Remove(path))
	l, err := net.Listen("unix", path)
	try(t, err)
	defer l.Close()
	if at, err = os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil || !stays(path, at) {
		t.Errorf("it removed the socket of another one, %v", err)
	}
}

// A listener that cannot be opened whole leaves no file.
func TestSocketFile_failedStart(t *testing.T) {
	t.Parallel()
	path, taken := testutil.SocketPath(t), testutil.Listen(t).Addr()
	s, err := New(parse(t, quiet+fmt.Sprintf("http.listen = [\"unix:%s\", %q]\n", path, taken)), Options{})
	try(t, err)
	defer s.Stop() //nolint:errcheck // it serves nothing
	if err := s.Start(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("start: %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("it left its file")
	}
}

// socket_owner goes before the user of the process.
func TestSocketFile_owner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	for text, want := range map[string][2]uint32{
		"": {7, 8}, "socket_owner = \"4711:4712\"": {4711, 4712}, "socket_owner = \":4712\"": {0, 4712},
	} {
		path := testutil.SocketPath(t)
		start(t, Options{Owner: &Owner{7, 8}}, quiet+"[[listeners]]\nlisten = \"unix:%s\"\n%s\n", path, text)
		at, err := os.Lstat(path)
		try(t, err)
		if st := at.Sys().(*syscall.Stat_t); [2]uint32{st.Uid, st.Gid} != want {
			t.Errorf("%q: %d:%d, want %v", text, st.Uid, st.Gid, want)
		}
	}
}
