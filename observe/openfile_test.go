package observe

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// A log may be a pipe, but nobody waits for its reader.
func TestOpenFile_pipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	testutil.Must(t, syscall.Mkfifo(path, 0o600))
	if f, err := OpenFile(path); !errors.Is(err, syscall.ENXIO) {
		t.Fatal(f, err)
	}
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	testutil.Must(t, err)
	defer r.Close()
	w, err := OpenFile(path)
	testutil.Must(t, err)
	defer w.Close()
	if _, err := io.WriteString(w, "line\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(r).ReadString('\n'); line != "line\n" {
		t.Errorf("%q %v", line, err)
	}
}
