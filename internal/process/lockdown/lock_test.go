package lockdown

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// lockedEnv has the test binary lock itself down to a folder and a port, and say what it can do then.
const lockedEnv = "EDGE_TEST_LOCKED"

func TestMain(m *testing.M) {
	if dir := os.Getenv(lockedEnv); dir != "" {
		beLocked(dir)
		os.Exit(0)
	}
	os.Exit(testutil.Main(m))
}

// attempt is something that a locked process tries. Its folder is dir.
type attempt struct {
	name  string
	by    string // what refuses it: "" nothing, files, calls
	again func(dir string) error
}

var attempts = []attempt{
	{"read below the folder", "", func(dir string) error { return read(filepath.Join(dir, "in", "file")) }},
	{"read beside it", "files", func(dir string) error { return read(filepath.Join(dir, "beside")) }},
	{"write where it may", "", func(dir string) error {
		f, err := os.CreateTemp(filepath.Join(dir, "out"), "x")
		if err != nil {
			return err
		}
		defer f.Close()
		return os.Rename(f.Name(), f.Name()+".1")
	}},
	{"write where it may read", "files", func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "in", "new"), nil, 0o600)
	}},
	{"leave its folder by a link", "files", func(dir string) error { return read(filepath.Join(dir, "in", "link")) }},
	{"start a program", "files", func(string) error { return exec.Command("/bin/true").Run() }},
	{"start a file in memory", "calls", func(string) error {
		fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC)
		if err != nil {
			return os.NewSyscallError("memfd_create", err)
		}
		return unix.Close(fd)
	}},
	{"bind a port", "files", func(string) error { return bind(unix.AF_INET, 1) }},
	{"bind any port", "", func(string) error { return bind(unix.AF_INET, 0) }},
	{"trace a process", "calls", func(string) error { return unix.PtraceAttach(1 << 30) }},
	{"make a namespace", "calls", func(string) error { return unix.Unshare(unix.CLONE_NEWUSER) }},
	{"mount", "calls", func(dir string) error { return unix.Mount("none", dir, "tmpfs", unix.MS_REMOUNT, "") }},
	{"open a packet socket", "calls", func(string) error { return bind(unix.AF_PACKET, 0) }},
}

func read(path string) error {
	_, err := os.ReadFile(path)
	return err
}

// bind makes a socket and binds it to a port of this machine.
func bind(family, port int) error {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	return unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
}

// beLocked locks the process down and makes all attempts on threads that were there before, and on new ones.
func beLocked(dir string) {
	const threads = 4
	begin := make(chan struct{})
	var wait, ready sync.WaitGroup
	results := make([][]error, 2*threads)
	try := func(i int) {
		for _, a := range attempts {
			results[i] = append(results[i], a.again(dir))
		}
	}
	onThread := func(i int) {
		ready.Add(1)
		wait.Go(func() {
			runtime.LockOSThread() // the thread ends with the goroutine
			ready.Done()
			<-begin
			try(i)
		})
	}
	for i := range threads {
		onThread(i)
	}
	ready.Wait()
	r := &Rules{Read: []string{filepath.Join(dir, "in"), "/proc", "/dev/null", "/missing"},
		Write: []string{filepath.Join(dir, "out")}, Ports: []int{0}}
	lock, err := r.Enforce()
	for i := range threads {
		onThread(threads + i)
	}
	close(begin)
	wait.Wait()
	fmt.Printf("lock %s: %v\n", lock, strings.ReplaceAll(fmt.Sprint(err), "\n", "; "))
	for i := range results {
		for j, a := range attempts {
			fmt.Printf("%s|%t|%v\n", a.name, refusedBy(results[i][j]), results[i][j])
		}
	}
	_ = os.Setenv(Variable, strings.TrimPrefix(lock.Environment(), Variable+"="))
	again, err := Inherited()
	fmt.Printf("inherited %v %v\n", again != nil && again.Calls == lock.Calls && again.ABI == lock.ABI, err)
}

func refusedBy(err error) bool {
	return errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM)
}

// What is refused is refused in every thread, whether it was there before the lock or not.
func TestRules_Enforce(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"in", "out"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"beside", "in/file"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../beside", filepath.Join(dir, "in", "link")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), lockedEnv+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	head, rest, _ := strings.Cut(string(out), "\n")
	held := map[string]bool{"": false, "calls": strings.Contains(head, "system calls"),
		"files": strings.Contains(head, "files") && strings.Contains(head, "ports")}
	if !held["calls"] {
		t.Errorf("system calls are not limited: %s", head)
	}
	if !strings.Contains(rest, "inherited true <nil>") {
		t.Errorf("%s", rest)
	}
	lines := strings.Split(strings.TrimSpace(rest), "\n")
	if want := 8*len(attempts) + 1; len(lines) != want {
		t.Fatalf("%d lines, want %d: %s", len(lines), want, out)
	}
	for _, line := range lines[:len(lines)-1] {
		part := strings.Split(line, "|")
		a := attempts[slices.IndexFunc(attempts, func(a attempt) bool { return a.name == part[0] })]
		if a.by == "files" && !held["files"] || a.name == "start a file in memory" && !sealsMemory() {
			continue // the build, or the kernel, cannot do it
		}
		if want := held[a.by]; (part[1] == "true") != want {
			t.Errorf("%s, to be refused: %t", line, want)
		}
	}
	if !held["files"] {
		t.Skipf("files and ports were not looked at: %s", head)
	}
}

// Without a lock the variable does not pass for one.
func TestInherited_forged(t *testing.T) {
	texts := []string{"x", "{}", `{"rules":{},"abi":7,"calls":true}`}
	if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || set != 0 {
		texts = texts[:2] // the tests run in a sandbox, which leaves the same marks
	}
	for _, text := range texts {
		t.Setenv(Variable, text)
		if l, err := Inherited(); err == nil || l != nil {
			t.Errorf("%s: %v, %v", text, l, err)
		}
	}
	t.Setenv(Variable, "")
	if l, err := Inherited(); err != nil || l != nil {
		t.Errorf("%v, %v", l, err)
	}
}
