package process

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A path that leads to something else by the time the socket is given away is an error, and what it leads to stays
// whose it is.
func TestIdentity_ownSocket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	const other = 65534
	dir, err := os.MkdirTemp("", "edge")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"socket", "second", "foreign"} {
		l, err := net.Listen("unix", in(name))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	err = errors.Join(os.WriteFile(in("file"), nil, 0o600), os.Symlink(in("second"), in("link")),
		os.Link(in("second"), in("hard link")), os.Chown(in("foreign"), other+1, -1))
	if err != nil {
		t.Skip(err)
	}
	id := &identity{UID: other, GID: other}
	for name, want := range map[string]error{
		"socket": nil, "second": errOtherSocket, "foreign": errOtherSocket, "file": errOtherSocket,
		"link": errOtherSocket, "hard link": errOtherSocket, ".": errOtherSocket, "none": os.ErrNotExist,
	} {
		before, _ := os.Lstat(in(name))
		if err := id.ownSocket(in(name)); !errors.Is(err, want) {
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
	}
}
