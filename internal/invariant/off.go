//go:build !invariants

package invariant

// On reports whether this build checks its invariants. It is a constant, so that code behind it
// disappears from a build without the tag.
const On = false

// That does nothing in this build; with -tags invariants it panics with the formatted message
// unless cond holds. Safe for any goroutine.
func That(cond bool, format string, args ...any) {}
