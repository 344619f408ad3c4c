package warm

import (
	"testing"

	"golang.org/x/sys/unix"
)

// CPUTime is the processor time of this process, in nanoseconds. Unlike wall time it does not count other processes.
func CPUTime(t testing.TB) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
