//go:build !turns

package poller

// TurnsByCPU says that the turns of event loops are measured by the CPU time of their threads, not by the clock.
const TurnsByCPU = false

// OwnThread does nothing unless TurnsByCPU.
func OwnThread() {}

// ThreadTime returns 0 unless TurnsByCPU.
func ThreadTime() int64 { return 0 }
