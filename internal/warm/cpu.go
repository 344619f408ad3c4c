package warm

import (
	"testing"

	"golang.org/x/sys/unix"
)

// CPUTime is what this process has used of the processor, in nanoseconds: unlike time it does not count what other
// processes took.
func CPUTime(t testing.TB) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
