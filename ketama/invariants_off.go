//go:build !invariants

package ketama

// check does something with -tags invariants only.
func (c *circle[H]) check() {}
