//go:build turns

package poller

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// TurnsByCPU says that the turns of event loops are measured by the CPU time of their threads, not by the clock: on a
// machine with other work, the clock also counts how long a thread that could run had to wait for a processor. Builds
// with -tags turns have it, for tests: it costs two system calls a turn.
const TurnsByCPU = true

// OwnThread binds the goroutine that calls it to its thread, so that ThreadTime goes on from one call to the next.
func OwnThread() { runtime.LockOSThread() }

// ThreadTime returns how long the thread has run so far, in ns.
func ThreadTime() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return t.Nano()
}
