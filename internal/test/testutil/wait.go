package testutil

import (
	"fmt"
	"testing"
	"time"
)

// Patience bounds every wait that has no deadline of its own and is for code of the test's own process. It is long,
// since only a test that fails waits for all of it.
const Patience = 30 * time.Second

// Minutes bounds every wait for another process: a compiler, a package manager, an edge that the test has started.
// On a machine that builds other programs too, a compiler takes minutes for what takes it seconds otherwise.
const Minutes = 5 * time.Minute

// pollEvery is how often Eventually looks.
const pollEvery = 2 * time.Millisecond

// Eventually returns as soon as cond holds and fails the test when it does not within the given
// time. what is a format with its arguments: the name of the condition.
func Eventually(t testing.TB, within time.Duration, cond func() bool, what ...any) {
	t.Helper()
	if !poll(within, cond) {
		t.Fatalf("not within %v: %s", within, describe(what))
	}
}

func poll(within time.Duration, cond func() bool) bool {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			return cond()
		}
		<-tick.C
	}
	return true
}

func describe(what []any) string {
	if len(what) == 0 {
		return "the condition"
	}
	if format, ok := what[0].(string); ok {
		return fmt.Sprintf(format, what[1:]...)
	}
	return fmt.Sprint(what...)
}
