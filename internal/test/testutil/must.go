package testutil

import (
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// Must ends the test with the first of errs that is not nil.
func Must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// ReadFile returns what is in a file.
func ReadFile(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	Must(t, err)
	return text
}

// Panics fails the test when f returns. what names the reason to panic.
func Panics(t testing.TB, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

// Pass lets the clock of a synctest bubble advance, and what is due then be done.
func Pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
