//go:build invariants

package invariant

import "fmt"

// On reports whether this build checks its invariants. It is a constant, so that code that depends on it
// disappears from a build without the tag.
const On = true

// That panics with the formatted message unless cond holds.
// Safe for any goroutine.
func That(cond bool, format string, args ...any) {
	if !cond {
		panic("invariant: " + fmt.Sprintf(format, args...))
	}
}
