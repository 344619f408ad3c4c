package testutil

import "testing"

// Rounds is how often a test does what it does n times: a quarter of that in a short run, and a tenth in a short run
// under the race detector. It is 1 or more.
func Rounds(n int) int {
	switch {
	case testing.Short() && RaceOn:
		n /= 10
	case testing.Short():
		n /= 4
	}
	return max(n, 1)
}

// RaceRounds is Rounds for a test that is quick without the race detector: n, and a tenth in a short run with it.
func RaceRounds(n int) int {
	if testing.Short() && RaceOn {
		n /= 10
	}
	return max(n, 1)
}

// OnlyPlain skips a test in a short run under the race detector: it has one goroutine, or waits and counts, so that the
// detector finds nothing in it that it does not find in others, and takes ten times as long. The run without the
// detector has it, and so has a long one.
func OnlyPlain(t testing.TB) {
	t.Helper()
	if RaceOn && testing.Short() {
		t.Skip("not in a short run with the race detector")
	}
}
