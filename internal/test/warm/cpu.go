package warm

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// CPUTime is the processor time of this process, in nanoseconds. Unlike wall time it does not count other processes.
func CPUTime(t testing.TB) int64 {
	var u unix.Rusage
	testutil.Must(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return u.Utime.Nano() + u.Stime.Nano()
}
