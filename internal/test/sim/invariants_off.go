//go:build !invariants

package sim

// check does something with -tags invariants only.
func (w *World) check() {}
