package testutil

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// CheckLeaks fails the test when, at its end, more goroutines run or more file descriptors are
// open than now. Call it first: cleanups run last in, first out, so everything that the test
// registers later has been closed by then. Not for tests that run in parallel.
func CheckLeaks(t testing.TB) {
	t.Helper()
	checkLeaks(t, Patience)
}

func checkLeaks(t testing.TB, within time.Duration) {
	t.Helper()
	wakeNetpoller(t)
	fds, goroutines := FDs(t), runtime.NumGoroutine()
	t.Cleanup(func() {
		if !poll(within, func() bool { return runtime.NumGoroutine() <= goroutines }) {
			t.Errorf("%d goroutines, %d before the test:\n%s", runtime.NumGoroutine(), goroutines, stacks())
		}
		if !poll(within, func() bool { return FDs(t) <= fds }) {
			t.Errorf("%d file descriptors, %d before the test:\n%s", FDs(t), fds, openFiles())
		}
	})
}

// FDs counts the open file descriptors of this process.
func FDs(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	Must(t, err)
	return len(entries) - 1 // the directory itself was open while it was read
}

// wakeNetpoller makes the runtime open its own epoll and event descriptors, which stay for the
// life of the process and are no leak.
var wakeNetpoller = func() func(testing.TB) {
	var once sync.Once
	return func(t testing.TB) {
		once.Do(func() {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			Must(t, err)
			l.Close()
		})
	}
}()

func stacks() string {
	buf := make([]byte, 64<<10)
	return string(buf[:runtime.Stack(buf, true)])
}

func openFiles() string {
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, name := range names {
		if target, err := os.Readlink(name); err == nil {
			b.WriteString(filepath.Base(name) + " -> " + target + "\n")
		}
	}
	return b.String()
}
