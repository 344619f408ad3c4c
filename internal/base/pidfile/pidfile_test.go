package pidfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// However many begin at once, and look meanwhile, one of them has the file; and after it is removed the next.
func TestPIDFile_oneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	for range 5 {
		var all sync.WaitGroup
		var taken atomic.Pointer[File]
		for range 8 {
			all.Go(func() {
				p, err := Take(path)
				switch {
				case err == nil && p.Write() != nil:
					t.Error("it cannot be written")
				case err == nil && taken.Swap(p) != nil:
					t.Error("two have it")
				case err != nil && !errors.As(err, new(heldError)):
					t.Error(err)
				}
				_, _ = Find(path)
			})
		}
		all.Wait()
		p := taken.Load()
		if p == nil {
			t.Fatal("nobody has it")
		}
		i, err := Find(path)
		if err != nil || i.PID != os.Getpid() || i.Ended() {
			t.Errorf("found %v %v", i, err)
		}
		p.Remove()
		if _, err := os.Stat(path); err == nil {
			t.Fatal("it is still there")
		}
	}
}

func TestPIDFile_refuses(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		pipe: "not a regular file", os.DevNull: "not a regular file", dir: "pid_file: ",
		filepath.Join(dir, "none", "pid"): "no such file",
	} {
		if _, err := Take(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// A file that a script has removed or replaced is not the process's to remove.
func TestPIDFile_replaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	p, err := Take(path)
	if err != nil || p.Write() != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	p.Remove()
	if text, err := os.ReadFile(path); err != nil || string(text) != "1\n" {
		t.Errorf("%q %v", text, err)
	}
}

// A process that looks whether the file is taken does not keep it from being removed.
func TestPIDFile_lookedAtMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	p, err := Take(path)
	if err != nil || p.Write() != nil {
		t.Fatal(err)
	}
	p.Release()
	looks, err := os.Open(path)
	if err != nil || flock(looks, syscall.LOCK_SH) != nil {
		t.Fatal(err)
	}
	removed := make(chan struct{})
	go func() {
		p.Remove()
		close(removed)
	}()
	_ = looks.Close()
	<-removed
	if _, err := os.Stat(path); err == nil {
		t.Error("it is still there")
	}
}

// In a folder where it can make no file, a process writes into that of the process before, which does not remove it
// then.
func TestPIDFile_handedOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	before, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	copied, err := syscall.Dup(int(before.Descriptor().Fd()))
	if err != nil {
		t.Fatal(err)
	}
	// Root may write any folder: what keeps it from making its file is one with that name.
	hidden := fmt.Sprintf("%s/.pid.%d", filepath.Dir(path), os.Getpid())
	if err := os.MkdirAll(hidden+"/full", 0o700); err != nil {
		t.Fatal(err)
	}
	p := Inherited(path)
	if err := p.Replace(os.NewFile(uintptr(copied), path)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, "%d\n", os.Getpid()+1), 0o600); err != nil { // as of another process
		t.Fatal(err)
	}
	before.Remove()
	if _, err := os.Stat(path); err != nil {
		t.Fatal("the process before has removed it: ", err)
	}
	if err := p.Write(); err != nil {
		t.Fatal(err)
	}
	if p.Remove(); !errors.Is(statOf(path), os.ErrNotExist) {
		t.Error("it is still there")
	}
	if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p = Inherited(path); p.Replace(nil) == nil {
		t.Error("nothing was handed over, and the file was replaced")
	}
}

func statOf(path string) error {
	_, err := os.Stat(path)
	return err
}
