//go:build !invariants

package invariant

// On reports whether this build checks its invariants. It is a constant, so that code that depends on it
// disappears from a build without the tag.
const On = false

// That does nothing in this build; with -tags invariants it panics with the formatted message
// unless cond holds. Safe for any goroutine.
func That(cond bool, format string, args ...any) {}

// Owner names the goroutine that owns an object, in a build with -tags invariants; in this one it is empty.
type Owner struct{}

// Take makes the calling goroutine the owner.
func (o *Owner) Take() {}

// Drop ends that: the object has no owner.
func (o *Owner) Drop() {}

// OnReactor does nothing in this build; with -tags invariants it panics when o names another goroutine than the
// caller's.
func OnReactor(o *Owner) {}
