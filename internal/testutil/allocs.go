package testutil

import "testing"

// Allocs is testing.AllocsPerRun, and 0 under the race detector, where pools drop objects on purpose (RaceOn). f runs
// runs + 1 times either way.
func Allocs(runs int, f func()) float64 {
	n := testing.AllocsPerRun(runs, f)
	if RaceOn {
		return 0
	}
	return n
}
