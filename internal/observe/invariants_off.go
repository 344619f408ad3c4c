//go:build !invariants

package observe

// check does something with -tags invariants only.
func (r *Ring) check()         {}
func (r *Ring) checkReserved() {}
