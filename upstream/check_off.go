//go:build !invariants

package upstream

// check does something with -tags invariants only.
func (l *local) check() {}
