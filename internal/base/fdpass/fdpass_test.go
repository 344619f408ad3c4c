package fdpass

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// pair returns both ends of a connection.
func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	a, theirs, err := Pair("test")
	testutil.Must(t, err)
	if b, err = Open(theirs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
	})
	return a, b
}

// Messages arrive in one piece each, with their descriptors, also after the sender has ended.
func TestConn(t *testing.T) {
	a, b := pair(t)
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	testutil.Must(t, err)
	defer f.Close()
	for _, m := range []struct {
		text string
		fds  []int
	}{{"one", nil}, {"two", []int{int(f.Fd()), int(f.Fd())}}, {strings.Repeat("x", 200_000), []int{int(f.Fd())}}} {
		testutil.Must(t, a.Send([]byte(m.text), m.fds, time.Minute))
		p := make([]byte, 256<<10)
		n, fds, err := b.Receive(p, time.Time{})
		if err != nil || string(p[:n]) != m.text || len(fds) != len(m.fds) {
			t.Fatalf("%d bytes, %d descriptors, %v", n, len(fds), err)
		}
		for _, fd := range fds {
			got := os.NewFile(uintptr(fd), "got")
			if _, err := got.WriteString("x"); err != nil {
				t.Error(err)
			}
			_ = got.Close()
		}
	}
	if at, err := f.Stat(); err != nil || at.Size() != 3 {
		t.Errorf("%v, %v", at, err)
	}
	testutil.Must(t, b.Send([]byte("unread"), nil, time.Minute))
	testutil.Must(t, a.Send([]byte("last"), nil, time.Minute))
	_ = a.Close()
	p := make([]byte, 10)
	if n, _, err := b.Receive(p, time.Time{}); err != nil || string(p[:n]) != "last" {
		t.Errorf("%q, %v", p[:n], err)
	}
	if _, _, err := b.Receive(p, time.Time{}); !errors.Is(err, io.EOF) {
		t.Errorf("%v after the end", err)
	}
	if b.Send([]byte("x"), nil, time.Minute) == nil {
		t.Error("somebody has taken it")
	}
}

// Nobody waits for ever.
func TestConn_waits(t *testing.T) {
	a, b := pair(t)
	if _, _, err := b.Receive(make([]byte, 10), time.Now()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, and nothing was sent", err)
	}
	for n := 0; ; n++ {
		if err := a.Send(make([]byte, 100_000), nil, time.Millisecond); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil || n > 1000 {
			t.Fatalf("%d: %v", n, err)
		}
	}
}

func TestOpen_refuses(t *testing.T) {
	r, w, err := os.Pipe()
	testutil.Must(t, err)
	defer w.Close()
	if c, err := Open(r); err == nil {
		t.Errorf("a pipe is %v", c)
	}
}
